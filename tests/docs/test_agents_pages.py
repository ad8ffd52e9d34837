"""The pages on agents, pasted into a plain shell beside a running stack, show what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.test_readme import checkout, demo_stack, paste

__all__ = ["checkout", "demo_stack"]

pytestmark = pytest.mark.stack


def test_let_agents_spawn_agents__pasted_line_by_line__shows_what_it_says(checkout: Path) -> None:
    shown = paste("sh", folder=checkout, name="docs/how-to/let-agents-spawn-agents.md")

    assert shown.answer(2, 10)["limit"] == "1000"

    validated, allowed, quotas = shown.answer(3, 4), shown.answer(3, 5), shown.answer(3, 6)
    assert (validated["valid"], validated["features"]) == (True, {"email": False, "web_search": True})
    assert validated["agent"]["name"] == "worker-1"
    assert (allowed["allowed"], [quota["used"] for quota in allowed["quotas"]]) == (True, ["300", "300"])
    assert [(quota["limit"], quota["used"]) for quota in quotas["data"]] == [("1000", "300")]

    for line, field in ((1, "features.0"), (2, "rate_limits"), (3, "quotas.0.limit")):
        refused = shown.answer(4, line)
        assert (refused["code"], [each["field"] for each in refused["errors"]]) == ("exceeds_parent", [field])

    assert [each["name"] for each in shown.answer(5, 1)["data"]] == ["worker-1"]
    assert shown.answer(5, 2)["status"] == "revoked"
    assert shown.answer(5, 3)["code"] == "unauthorized"

    assert shown.answer(6, 1)["agent"]["features"] is None
    throttled, suspended, resumed = shown.answer(6, 2), shown.answer(6, 3), shown.answer(6, 4)
    assert (throttled["throttle"]["limit"], throttled["agents_changed"]) == (10, 1)
    assert (suspended["status"], suspended["agents_changed"]) == ("suspended", 2)
    assert (resumed["status"], resumed["throttle"], resumed["agents_changed"]) == ("active", None, 2)
    assert shown.answer(6, 5) == {"agents_changed": 2}
    assert shown.answer(6, 6)["code"] == "unauthorized"


def test_license_a_fleet__pasted_line_by_line__shows_what_it_says(checkout: Path) -> None:
    shown = paste("sh", folder=checkout, name="docs/how-to/license-a-fleet.md")

    assert [shown.text(3, line) for line in (2, 3, 4)] == ["True"] * 3
    assert shown.text(4, 1) == "2"
    assert [(each["label"], each["calls"]) for each in shown.answer(4, 2)["data"]] == [
        ("crawler-1", 2),
        ("crawler-2", 1),
    ]
    assert [shown.text(5, line) for line in (1, 2, 3)] == ["suspended", "False", "1"]
