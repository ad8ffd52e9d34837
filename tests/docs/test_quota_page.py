"""The page on quotas and overage, pasted into a plain shell beside a running stack, shows what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.test_readme import checkout, demo_stack, paste

__all__ = ["checkout", "demo_stack"]

pytestmark = pytest.mark.stack


def test_sell_with_quota_and_overage__pasted_line_by_line__shows_what_it_says(checkout: Path) -> None:
    shown = paste("sh", folder=checkout, name="docs/how-to/sell-with-quota-and-overage.md")

    [quota] = shown.answer(2, 3)["quotas"]
    assert (quota["limit"], quota["ceiling"], quota["carry_over"]) == ("1000", "1500", False)

    first, second = shown.answer(3, 1), shown.answer(3, 2)
    assert (first["allowed"], first["quotas"][0]["state"]) == (True, "near_limit")
    assert (second["allowed"], second["quotas"][0]["state"]) == (True, "overage")
    [overage] = shown.answer(3, 4)["data"]
    assert (overage["quantity"], overage["amount"], overage["status"]) == ("100", "1.00", "open")

    assert shown.answer(4, 3)["allowed"] is True
    top_up = shown.answer(4, 4)
    assert (top_up["used"], top_up["remaining"], top_up["reference"]) == ("250", "50", "order-1042")
    [listed] = shown.answer(4, 5)["data"]
    assert (listed["limit"], listed["top_ups"], listed["used"], listed["state"]) == ("1000", "300", "1350", "overage")

    refused, allowed = shown.answer(5, 1), shown.answer(5, 2)
    assert (refused["allowed"], refused["code"], refused["codes"][0]["remaining"]) == (False, "quota_exceeded", "450")
    assert allowed["allowed"] is True

    voided = shown.answer(6, 2)
    assert (voided["state"], voided["remaining"], voided["used"]) == ("voided", "0", "0")

    refused = shown.answer(7, 2)
    assert (refused["codes"][0]["scope"], refused["codes"][0]["used"]) == ("agent", "1750")

    assert shown.answer(8, 1)["carry_over"] == {"max": "200"}
    assert {quota["carried_over"] for quota in shown.answer(8, 2)["data"]} == {"0"}
