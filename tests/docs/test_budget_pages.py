"""The pages on budgets and streams, pasted into a plain shell beside a running stack, show what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.test_readme import checkout, demo_stack, paste

__all__ = ["checkout", "demo_stack"]

pytestmark = pytest.mark.stack


def test_give_each_agent_a_dollar_budget__pasted_line_by_line__shows_what_it_says(checkout: Path) -> None:
    shown = paste("sh", folder=checkout, name="docs/how-to/give-each-agent-a-dollar-budget.md")

    made = shown.answer(2, 1)
    assert (len(made["meters"]), made["cost_meter"]["unit"], len(made["cost_meter"]["rate_card"])) == (5, "USD", 10)
    assert [row["unit_price"] for row in shown.answer(3, 2)["rate_card"]] == ["0.005", "0.006", "0.05"]

    allowed, refused, cheaper = (shown.answer(5, line) for line in (1, 2, 3))
    assert [(quota["scope"], quota["used"], quota["remaining"]) for quota in allowed["quotas"]] == [
        ("agent", "0.45", "0.05"),
        ("license", "0.45", "19.55"),
    ]
    assert [(each["code"], each["scope"], each["asked"]) for each in refused["codes"]] == [
        ("quota_exceeded", "agent", "0.3")
    ]
    assert (cheaper["allowed"], cheaper["quotas"][0]["used"]) == (True, "0.475")

    assert shown.answer(6, 1)["code"] == "rate_missing"
    assert shown.answer(6, 2)["results"][0]["flags"] == ["rate_missing"]

    assert [row["unit_price"] for row in shown.answer(7, 1)["rate_card"]] == ["0.000001", "0.000002"]
    assert [quota["used"] for quota in shown.answer(7, 2)["data"]] == ["0.475", "0.475"]
    usage = shown.answer(7, 3)
    assert ({row["group"]["model"]: row["value"] for row in usage["data"]}, usage["total"]) == (
        {"large": "0.45", "small": "0.025"},
        "0.475",
    )
    events = shown.answer(8, 1)["events"]
    assert [event["quantity"] for event in events] == ["200", "200", "1000", "130"]


def test_stream_an_llm_answer__pasted_line_by_line__shows_what_it_says(checkout: Path) -> None:
    shown = paste("sh", folder=checkout, name="docs/how-to/stream-an-llm-answer.md")

    def standing(block: int, line: int) -> tuple[str, str]:
        answer = shown.answer(block, line)
        [quota] = answer["data"] if "data" in answer else answer["quotas"]
        return quota["used"], quota["held"]

    assert standing(3, 2) == ("0", "9")
    assert standing(3, 3) == ("5", "0")
    assert shown.answer(3, 4)["replayed"] is True

    assert standing(4, 2) == ("6", "2")
    assert shown.answer(4, 3)["hold"]["status"] == "open"
    assert standing(4, 4) == ("6.5", "1.5")
    assert (standing(4, 5), shown.answer(4, 5)["hold"]["settled"]) == (("7", "0"), ["200"])

    assert standing(5, 2) == ("7.12", "0")
    assert standing(5, 4) == ("7.22", "0")
    assert shown.answer(5, 6)["code"] == "exceeds_hold"
    assert standing(5, 7) == ("7.32", "0")

    assert standing(6, 3) == ("7.32", "0")
    assert standing(6, 4) == ("7.52", "0")
