"""The page on leaks, pasted into a plain shell beside a running stack, shows what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from licensing_site.environment import BASE_DIR
from tests.docs.test_readme import checkout, demo_stack, paste
from tests.stack_fixtures import LiveStack

__all__ = ["checkout", "demo_stack"]

pytestmark = pytest.mark.stack

PAGE = "docs/how-to/rotate-everything-after-a-leak.md"


def test_page__pasted_line_by_line__shows_what_it_says(demo_stack: LiveStack, checkout: Path) -> None:
    for name in (".venv", "manage.py"):
        (checkout / name).symlink_to(BASE_DIR / name)
    secrets = demo_stack.var_dir / "secrets.json"
    before = json.loads(secrets.read_text())

    shown = paste("sh", folder=checkout, name=PAGE)

    assert shown.answer(2, 3)["status"] == "revoked"
    assert (shown.text(2, 4), shown.text(2, 5)) == ("401", "200")
    actions = [entry["action"] for entry in shown.answer(2, 6)["data"]]
    assert actions == ["api_key.revoked", "api_key.created"]
    assert shown.answer(2, 6)["data"][0]["address"] == "127.0.0.1"

    both, then = [shown.text(3, line) for line in (4, 5)], [shown.text(3, line) for line in (7, 8, 9)]
    assert (both, then) == (["200", "200"], ["401", "401", "200"])
    assert shown.answer(3, 10)["networks"] == ["192.0.2.0/24"]
    assert shown.text(3, 11) == "403"

    assert len(shown.answer(4, 2)["license_key"]) == 29
    planned, compromised = shown.answer(5, 1), shown.answer(5, 2)
    assert planned["kid"] != compromised["kid"]
    assert {key["status"] for key in shown.answer(5, 4)["data"]} == {"active", "compromised"}
    assert [key["kid"] for key in shown.answer(5, 5)["keys"]] == [compromised["kid"]]

    assert shown.text(6, 1).startswith("pepper 1 (current): ")
    assert "A new pepper, which nothing is hashed with yet." in shown.text(6, 2)
    after = json.loads(secrets.read_text())
    assert after["key_peppers"].startswith(f"{before['key_peppers']},2=")
    assert {**after, "key_peppers": ""} == {**before, "key_peppers": ""}
