"""The page on imports, pasted into a plain shell beside a running stack, shows what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from licensing_site.environment import BASE_DIR
from tests.docs.test_readme import checkout, demo_stack, paste
from tests.stack_fixtures import LiveStack

__all__ = ["checkout", "demo_stack"]

pytestmark = pytest.mark.stack

PAGE = "docs/how-to/import-history.md"


def test_page__pasted_line_by_line__shows_what_it_says(demo_stack: LiveStack, checkout: Path) -> None:
    for name in (".venv", "manage.py"):
        (checkout / name).symlink_to(BASE_DIR / name)

    shown = paste("sh", folder=checkout, name=PAGE)

    first, refused = shown.text(4, 1).splitlines(), json.loads(shown.text(4, 2))
    assert first[0] == "3 lines: 2 recorded, 0 duplicates, 0 conflicts, 1 rejected."
    assert (refused["line"], refused["id"], refused["code"]) == (3, "import-3", "unknown_meter")
    assert shown.text(5, 1).splitlines()[0] == "3 lines: 0 recorded, 2 duplicates, 0 conflicts, 1 rejected."
    assert (shown.text(6, 4), shown.text(6, 5)) == ("1", "")
    assert shown.text(7, 2) == "7"
