"""The page on activations, pasted into a plain shell beside a running stack, shows what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.test_readme import checkout, demo_stack, paste

__all__ = ["checkout", "demo_stack"]

pytestmark = pytest.mark.stack

PAGE = "docs/how-to/activate-machines.md"


def test_page__pasted_line_by_line__shows_what_it_says(checkout: Path) -> None:
    shown = paste("sh", folder=checkout, name=PAGE)

    plan = shown.answer(2, 2)
    assert (plan["activation_required"], plan["activation_lease"], plan["lapse_policy"]) == (True, 3600, "refuse")

    missing, unknown, made, valid, again = (shown.answer(3, line) for line in range(2, 7))
    assert [each["code"] for each in (missing, unknown, valid)] == ["fingerprint_required", "not_activated", "valid"]
    assert (made["fingerprint"], made["label"], again["id"]) == ("host-1", "Line 1", made["id"])
    assert valid["activation"]["id"] == made["id"]
    assert valid["valid_until"] == valid["activation"]["expires_at"]

    beat, full, third = shown.answer(4, 2), shown.answer(4, 3), shown.answer(4, 5)
    assert beat["fingerprint"] == "host-2"
    assert (full["code"], full["limit"], full["current"]) == ("activation_limit_reached", 2, 2)
    assert third["fingerprint"] == "host-3"

    released, copy, allowed = shown.answer(5, 4), shown.answer(5, 5), shown.answer(5, 6)
    assert (released["status"], released["id"]) == ("released", third["id"])
    assert (copy["instance"], copy["fingerprint"]) == ("copy-3", None)
    assert allowed["allowed"] is True

    assert {row["id"] for row in shown.answer(6, 1)["data"]} == {made["id"], copy["id"]}
    assert shown.answer(6, 2)["code"] == "not_activated"
