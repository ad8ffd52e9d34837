"""The pages on bills, pasted into a plain shell beside a running stack, show what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.test_readme import checkout, demo_stack, paste

__all__ = ["checkout", "demo_stack"]

pytestmark = pytest.mark.stack


def test_close_a_month_by_hand__pasted_line_by_line__shows_what_it_says(checkout: Path) -> None:
    shown = paste("sh", folder=checkout, name="docs/how-to/close-a-month-by-hand.md")

    assert shown.text(2, 2) == "succeeded"
    [final] = shown.answer(2, 3)["data"]
    assert (final["status"], final["used"], final["quantity"], final["amount"]) == ("finalized", "3", "2", "0.50")
    statement = shown.answer(2, 4)
    assert (statement["status"], statement["totals"][0]["total"]) == ("issued", "0.50")
    assert shown.answer(3, 1)["reversed"][0]["quantity"] == "1"
    credit, unchanged = shown.answer(3, 2)["data"]
    assert (credit["status"], credit["amount"], unchanged) == ("credit", "-0.25", final)
    assert shown.text(3, 3) == "0.50"
    tried, done = shown.answer(4, 3), shown.answer(4, 4)
    assert (tried["before"]["amount"], tried["after"]["amount"]) == ("0.25", "0.20")
    assert (tried["dry_run"], done["correction"]["amount"]) == (True, "-0.05")


def test_find_out_why__pasted_line_by_line__shows_what_it_says(checkout: Path) -> None:
    shown = paste("sh", folder=checkout, name="docs/how-to/find-out-why-a-bill-is-what-it-is.md")

    assert shown.text(2, 1) == "6.50"
    [line] = shown.answer(2, 2)["lines"]
    assert (line["used"], line["included"], line["over"], line["amount"]) == ("1800", "1000", "800", "6.50")
    assert [(each["quantity"], each["amount"]) for each in line["working"]] == [("500", "5"), ("300", "1.5")]
    before, after = shown.answer(3, 2), shown.answer(5, 3)
    assert (before["total"], after["total"]) == ("1800", "1000")
    [simulated] = shown.answer(4, 1)["data"]
    assert (simulated["present"], simulated["proposed"]) == ("6.50", "4.00")
    [entry] = shown.answer(5, 4)["data"]
    assert (entry["action"], entry["reason"]) == ("usage.voided", "test run")


def test_sell_per_call__pasted_line_by_line__shows_what_it_says(checkout: Path) -> None:
    shown = paste("sh", folder=checkout, name="docs/how-to/sell-per-call.md")

    assert (shown.answer(2, 1)["recorded"], shown.answer(2, 1)["duplicates"], shown.text(2, 2)) == (2, 1, "0.50")


def test_sell_per_token__pasted_line_by_line__shows_what_it_says(checkout: Path) -> None:
    assert paste("sh", folder=checkout, name="docs/how-to/sell-per-token.md").text(2, 2) == "12.00"


def test_sell_per_task__pasted_line_by_line__shows_what_it_says(checkout: Path) -> None:
    assert paste("sh", folder=checkout, name="docs/how-to/sell-per-task.md").text(2, 2) == "3.00"
