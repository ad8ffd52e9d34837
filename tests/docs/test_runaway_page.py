"""The page on runaway agents, pasted into a plain shell beside a running stack, shows what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.test_readme import checkout, demo_stack, paste

__all__ = ["checkout", "demo_stack"]

pytestmark = pytest.mark.stack


def test_stop_a_runaway_agent__pasted_line_by_line__shows_what_it_says(checkout: Path) -> None:
    shown = paste("sh", folder=checkout, name="docs/how-to/stop-a-runaway-agent.md")

    assert shown.text(2, 4) == "200"

    assert shown.text(3, 1) == "False"
    [incident] = shown.answer(4, 3)["data"]
    assert (incident["rule"], incident["limit"], incident["effect"], incident["status"]) == (
        *("calls_per_minute", "40", "suspended", "open"),
    )
    assert float(incident["observed"]) > 40
    refused = shown.answer(4, 5)
    assert (refused["valid"], [reason["code"] for reason in refused["codes"]]) == (False, ["agent_suspended"])
    [entry] = shown.answer(4, 6)["data"]
    assert (entry["actor"]["kind"], entry["changes"]["incident"]) == ("worker", [None, incident["id"]])

    undone = shown.answer(5, 1)
    assert (undone["id"], undone["status"], undone["undo_reason"]) == (incident["id"], "undone", "a planned migration")
    assert (shown.text(5, 2), shown.text(5, 3)) == ("active", "True")
    assert (shown.text(6, 1), shown.text(6, 2)) == ("600", "None")
