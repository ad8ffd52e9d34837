"""A Chromium for the browser tests: Debian's where it is, else Playwright's own, else Debian's is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright

MISSING = (
    "The browser tests need Chromium and found none. Install Debian's package (apt-get install chromium) "
    "or Playwright's own (python -m playwright install chromium); as root, the tests install Debian's by themselves."
)


def launch(playwright: Playwright) -> Browser:
    """A headless browser; fails loudly where there is none to be had."""
    path = find(playwright) or install()
    if path is None:
        pytest.fail(MISSING, pytrace=False)
    # Chromium's sandbox does not work for root, and these pages are our own.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(executable_path=path, args=arguments)


def find(playwright: Playwright) -> str | None:
    """The path of a Chromium that is there."""
    known = ["/usr/bin/chromium", shutil.which("chromium"), playwright.chromium.executable_path]
    return next((path for path in known if path and Path(path).exists()), None)


def install() -> str | None:
    """Debian's package, if this is root on a Debian; None where that does not work."""
    apt = shutil.which("apt-get")
    if os.geteuid() != 0 or apt is None:
        return None
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "chromium"]):
        subprocess.run([apt, *command], env=environment, check=False, capture_output=True)
    return shutil.which("chromium")
