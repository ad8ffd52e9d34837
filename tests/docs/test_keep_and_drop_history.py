"""The page on history, pasted into a plain shell beside a running stack, shows what it says."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from licensing_site.environment import BASE_DIR
from tests.docs.test_readme import checkout, demo_stack, paste
from tests.stack_fixtures import LiveStack

__all__ = ["checkout", "demo_stack"]

pytestmark = pytest.mark.stack

PAGE = "docs/how-to/keep-and-drop-history.md"


def test_page__pasted_line_by_line__shows_what_it_says(demo_stack: LiveStack, checkout: Path) -> None:
    for name in (".venv", "manage.py"):
        (checkout / name).symlink_to(BASE_DIR / name)

    shown = paste("sh", folder=checkout, name=PAGE)

    assert shown.text(1, 3).startswith("no difference: ")
    assert shown.text(1, 4).startswith("no difference: ")
    assert shown.text(2, 1).startswith("no difference: ")
    events = int(shown.text(3, 1).split()[0])
    assert shown.text(3, 2).startswith("0 events in ")
    assert shown.text(3, 3) == "all.ndjson.gz: OK"
    with gzip.open(demo_stack.var_dir / "export" / "all.ndjson.gz") as file:
        rows = [json.loads(line) for line in file]
    assert len(rows) == events > 1000
    assert shown.text(4, 1) == "0 months dropped: 0 events, 0 ids forgotten"
