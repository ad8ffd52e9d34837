from decimal import Decimal

import pytest

from metering.domain.runaway import (
    Measure,
    Minute,
    Reading,
    Rule,
    RunawayAction,
    RunawayRule,
    baseline,
    measure,
    strictest,
)

HOUR = 500_000


def rule(kind: RunawayRule, limit: str, **more: object) -> Rule:
    return Rule(kind=kind, limit=Decimal(limit), action=more.pop("action", RunawayAction.NOTIFY), **more)  # type: ignore[arg-type]


CALLS = rule(RunawayRule.CALLS_PER_MINUTE, "100")
MULTIPLE = rule(RunawayRule.BASELINE_MULTIPLE, "10", window=300, minimum_calls=300)
SHARE = rule(RunawayRule.REFUSAL_SHARE, "0.9", window=300, minimum_calls=200)
SPEND = rule(RunawayRule.SPEND_PER_HOUR, "5", meter="cost", window=3600)


def minutes(*calls: int) -> list[Minute]:
    return [Minute(each) for each in calls]


@pytest.mark.parametrize(
    ("mine", "broken"),
    [((100, 100), False), ((101, 0), True), ((0, 101), True), ((0, 0), False)],
)
def test_calls_per_minute__present_and_last_minute__above_the_limit_only(mine: tuple[int, ...], broken: bool) -> None:
    measured = measure(CALLS, Reading(minutes(*mine)))

    assert measured is not None
    assert (measured.broken, measured.observed) == (broken, max(mine))


@pytest.mark.parametrize(
    ("mine", "base", "broken"),
    [
        ((500, 0, 0, 0, 0, 0), 10, False),  # a burst of a minute is a tenth over five: exactly ten times
        ((501, 0, 0, 0, 0, 0), 10, True),
        ((0, 501, 0, 0, 0, 0), 10, True),
        ((0, 1, 0, 0, 0, 500), 10, True),  # as it stood a minute ago
        ((501, 0, 0, 0, 0, 0), None, False),
        ((299, 0, 0, 0, 0, 0), 1, False),
        ((300, 0, 0, 0, 0, 0), 1, True),
    ],
)
def test_baseline_multiple__over_the_whole_window(mine: tuple[int, ...], base: int | None, broken: bool) -> None:
    measured = measure(MULTIPLE, Reading(minutes(*mine), base))

    assert measured is not None
    assert measured.broken is broken


@pytest.mark.parametrize(
    ("calls", "refusals", "broken"), [(200, 181, True), (200, 180, False), (199, 199, False), (200, 500, True)]
)
def test_refusal_share__of_enough_calls__above_the_limit_only(calls: int, refusals: int, broken: bool) -> None:
    measured = measure(SHARE, Reading([Minute(calls, refusals), *[Minute()] * 5]))

    assert measured is not None
    assert measured.broken is broken


@pytest.mark.parametrize(("spent", "broken"), [("5", False), ("5.000000000001", True), ("0", False)])
def test_spend_per_hour__above_the_limit_only(spent: str, broken: bool) -> None:
    measured = measure(SPEND, Reading(spend={"cost": Decimal(spent)}))

    assert measured is not None
    assert measured.broken is broken


@pytest.mark.parametrize("unknown", [CALLS, MULTIPLE, SHARE, SPEND])
def test_measure__nothing_known__finds_nothing(unknown: Rule) -> None:
    assert measure(unknown, Reading()) is None


@pytest.mark.parametrize(("observed", "calm"), [("80", True), ("80.1", False), ("100", False)])
def test_calm__below_four_fifths(observed: str, calm: bool) -> None:
    assert Measure(Decimal(observed), Decimal(100)).calm is calm


def test_baseline__third_highest_of_the_hours__an_outburst_does_not_raise_it() -> None:
    peaks = {HOUR - back: 10 for back in range(1, 100)} | {HOUR - 5: 9000, HOUR - 6: 8000, HOUR: 7000}

    assert baseline(peaks, first_hour=HOUR - 100, hour=HOUR) == 10
    assert baseline(peaks | {HOUR - 7: 50}, first_hour=HOUR - 100, hour=HOUR) == 50
    assert baseline(peaks | {HOUR - 7: 50}, first_hour=HOUR - 100, hour=HOUR, passed_over=[HOUR - 7]) == 10


@pytest.mark.parametrize(("first_hour", "known"), [(HOUR - 24, True), (HOUR - 23, False)])
def test_baseline__less_than_a_day_of_past__is_unknown(first_hour: int, known: bool) -> None:
    peaks = {HOUR - back: 10 for back in range(1, 24)}

    assert (baseline(peaks, first_hour=first_hour, hour=HOUR) is not None) is known


def test_baseline__idle_or_only_long_ago__is_unknown() -> None:
    assert baseline({HOUR - 1: 5, HOUR - 2: 5, HOUR - 3: 0}, first_hour=HOUR - 100, hour=HOUR) is None
    assert baseline({HOUR - 169: 5, HOUR - 170: 5, HOUR - 171: 5}, first_hour=HOUR - 300, hour=HOUR) is None


def test_strictest__same_rule_from_two_plans__lower_limit_and_weightiest_action_first() -> None:
    high = rule(RunawayRule.CALLS_PER_MINUTE, "200", plan_id="pln_a")
    stop = rule(RunawayRule.CALLS_PER_MINUTE, "900", action=RunawayAction.SUSPEND)

    assert strictest([high, CALLS, stop]) == [stop, CALLS]
