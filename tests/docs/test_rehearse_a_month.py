"""The page on a rehearsed month, pasted into a plain shell beside a running stack, shows what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.test_readme import checkout, demo_stack, paste

__all__ = ["checkout", "demo_stack"]

pytestmark = pytest.mark.stack

PAGE = "docs/how-to/rehearse-a-month.md"


@pytest.mark.parametrize("time", ["the first time", "again"])
def test_page__pasted_line_by_line__ends_with_the_bill(checkout: Path, time: str) -> None:
    shown = paste("sh", folder=checkout, name=PAGE)

    begun = shown.answer(3, 4)
    assert (begun["mode"], begun["job"], begun["ahead_seconds"] > 0) == ("test", None, True)
    days = shown.text(4, 1).split("\n")
    assert days[::2] == ["recorded"] * 5
    jumped, bills, license = (shown.answer(5, line) for line in (1, 2, 3))
    happened = jumped["happened"]
    assert (happened["overages_finalized"], happened["expiries_announced"], happened["licenses_expired"]) == (1, 1, 1)
    [bill] = bills["data"]
    assert (bill["status"], bill["used"], bill["quantity"], bill["amount"]) == ("finalized", "1500", "500", "2.50")
    assert bill["finalized_at"] == bill["period_end"].replace("T00:", "T01:")
    assert license["status"] == "expired"
    assert happened["statements_issued"] == 1
    assert shown.text(5, 4)[:16] == bill["finalized_at"][:16]
