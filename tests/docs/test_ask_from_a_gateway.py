"""The page on gateways, pasted into a plain shell beside a running stack, shows what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.test_readme import checkout, demo_stack, paste

__all__ = ["checkout", "demo_stack"]

pytestmark = pytest.mark.stack

PAGE = "docs/how-to/ask-from-a-gateway.md"


def test_page__pasted_line_by_line__shows_what_it_says(checkout: Path) -> None:
    shown = paste("sh", folder=checkout, name=PAGE)

    assert [shown.answer(2, line)["id"][:4] for line in range(1, 6)] == ["prd_", "fea_", "fea_", "fea_", "pln_"]
    base = shown.answer(3, 2)["policy_decision_point"]
    assert shown.answer(3, 2)["access_evaluation_endpoint"] == f"{base}/access/v1/evaluation"

    granted, refused = shown.answer(4, 1), shown.answer(4, 2)
    assert (granted["decision"], granted["context"]["code"]) == (True, "valid")
    assert (refused["decision"], refused["context"]["code"]) == (False, "feature_value_not_allowed")
    assert refused["context"]["reasons"][0]["allowed"] == ["small", "large"]

    too_many, narrowed = shown.answer(5, 1), shown.answer(5, 2)
    assert (too_many["decision"], too_many["context"]["reasons"][0]["allowed"]) == (False, 20)
    assert (narrowed["decision"], narrowed["context"]["code"]) == (False, "feature_not_granted")
    assert narrowed["context"]["reasons"][0]["narrowed_by"] == narrowed["context"]["agent"]

    assert [each["decision"] for each in shown.answer(6, 1)["evaluations"]] == [True, False, True]
    assert [each["decision"] for each in shown.answer(6, 2)["evaluations"]] == [True, False]

    explained = {row["feature"]: row for row in shown.answer(7, 1)["data"]}
    assert (explained["models"]["value"], explained["models"]["narrowed_by"]) == (["small", "large"], None)
    assert (explained["max_tools"]["value"], explained["max_tools"]["granted"]) == (0, 20)
    assert explained["web_search"]["narrowed_by"] == narrowed["context"]["agent"]
    assert explained["models"]["grants"][0]["plan"].startswith("gate-")

    preview = shown.answer(8, 1)
    assert (preview["dry_run"], preview["licenses_affected"]) == (True, 1)
    assert [(each["feature"], each["before"], each["after"], each["effect"]) for each in preview["changes"]] == [
        ("max_tools", 20, 0, "loses"),
        ("models", ["small", "large"], ["small"], "loses"),
    ]
    after = shown.answer(8, 3)
    assert (after["decision"], after["context"]["reasons"][0]["allowed"]) == (False, ["small"])
