"""Which lines keep to their goals."""

from __future__ import annotations

import pytest

from benchmarks.goals import CURVE_GOALS, GOALS, Goal, goal_of
from benchmarks.report import CONTRACT


@pytest.mark.parametrize(
    ("goal", "line", "reached"),
    [
        (Goal(0.8), {"ratio": 0.8}, True),
        (Goal(0.8), {"ratio": 0.799}, False),
        (Goal(3, at_most=True), {"ratio": 3}, True),
        (Goal(3, at_most=True), {"ratio": 3.001}, False),
        (Goal(0, at_most=True, field="value"), {"value": 0, "ratio": None}, True),
        (Goal(0, at_most=True, field="value"), {"value": 1, "ratio": 0.1}, False),
        (Goal(0.8), {"ratio": None}, None),
    ],
)
def test_goal__at_its_border(goal: Goal, line: dict[str, float | None], reached: bool | None) -> None:
    assert goal.reached(line) is reached


def test_goals__each_name_of_the_contract_has_one() -> None:
    assert set(CONTRACT) <= set(GOALS)


def test_goal_of__point_of_a_curve__the_curves() -> None:
    assert (
        goal_of({"bench": "authorize_share_at_10_tenants", "curve": "authorize_share"})
        is CURVE_GOALS["authorize_share"]
    )
    assert goal_of({"bench": "close_periods"}) is GOALS["close_periods"]
    assert goal_of({"bench": "unknown"}) is None


@pytest.mark.parametrize(
    ("goal", "text"),
    [(Goal(0.35), "≥ 0.35"), (Goal(3, at_most=True), "≤ 3"), (Goal(300, at_most=True, field="value"), "value ≤ 300")],
)
def test_goal__text(goal: Goal, text: str) -> None:
    assert goal.text() == text
