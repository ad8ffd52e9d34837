import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licenses.domain.gcra import SECOND, policy, step

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "vectors" / "gcra.json").read_text())["gcra"][
    "trace"
]


def test_step__published_trace__every_number_is_exact() -> None:
    rule = policy(10, 60, 5)
    tat: int | None = None
    seen = []
    for line in VECTORS:
        now = line["now"] * SECOND
        verdict = step([rule], [tat], now=now)
        [tat], [check] = verdict.tats, verdict.checks
        assert tat is not None
        seen.append(
            {
                "now": line["now"],
                "allowed": verdict.allowed,
                "tat": tat / SECOND,
                "remaining": rule.remaining(check.ahead),
                "retry_after": check.retry_after / SECOND,
                "reset_after": check.ahead / SECOND,
            }
        )

    assert seen == VECTORS


def test_step__several_limits__one_refusal_moves_none() -> None:
    wide, narrow = policy(100, 60), policy(1, 60)
    first = step([wide, narrow], [None, None], now=0)

    second = step([wide, narrow], first.tats, now=SECOND)

    assert (first.allowed, second.allowed) == (True, False)
    assert second.tats == first.tats
    assert [check.retry_after for check in second.checks] == [0, 59 * SECOND]


@pytest.mark.parametrize(("cost", "left"), [(0, 5), (1, 4), (3, 2), (5, 0), (9, 0)])
def test_step__weighted_cost__takes_that_much_and_at_most_the_burst(cost: int, left: int) -> None:
    rule = policy(10, 60, 5)

    verdict = step([rule], [None], now=0, cost=cost)

    assert verdict.allowed
    assert rule.remaining(verdict.checks[0].ahead) == left


def test_step__cost_above_what_is_left__waits_for_all_of_it() -> None:
    rule = policy(10, 60, 5)

    verdict = step([rule], [12 * SECOND], now=0, cost=5)

    assert (verdict.allowed, verdict.checks[0].retry_after) == (False, 12 * SECOND)


def test_step__clock_set_back_or_burst_lowered__heals_within_the_tolerance() -> None:
    rule = policy(10, 60, 5)

    verdict = step([rule], [10_000 * SECOND], now=0)

    assert (verdict.allowed, verdict.checks[0].retry_after) == (False, 6 * SECOND)


def test_next_after__partly_used__is_when_one_more_passes() -> None:
    rule = policy(10, 60, 5)

    assert [rule.next_after(ahead * SECOND) // SECOND for ahead in (0, 1, 6, 7, 30)] == [0, 1, 6, 1, 6]


@pytest.mark.parametrize("numbers", [(0, 60, 1), (1, 0, 1), (1, 60, 0), (-1, 60, 1)])
def test_policy__below_one__is_a_value_error(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        policy(*numbers)


@pytest.mark.parametrize("numbers", [(10**18, 1, 10**18), (1, 10**12, 10**9), (7, 60, None)])
def test_policy__extreme_numbers__stay_exact_for_doubles(numbers: tuple[int, int, int | None]) -> None:
    rule = policy(*numbers)

    assert rule.interval >= 1
    assert rule.burst >= 1
    assert rule.burst * rule.interval == rule.tolerance <= 2**52


limits = st.tuples(st.integers(1, 50), st.integers(1, 120), st.integers(1, 60))


@given(limit=limits, calls=st.lists(st.tuples(st.integers(0, 20 * SECOND), st.integers(1, 4)), max_size=60))
def test_step__any_calls__no_window_ever_lets_more_through_than_burst_and_rate(
    limit: tuple[int, int, int], calls: list[tuple[int, int]]
) -> None:
    rule = policy(*limit)
    now, tat, passed = 0, None, [(0, 0)]
    for wait, cost in calls:
        now += wait
        verdict = step([rule], [tat], now=now, cost=cost)
        [tat] = verdict.tats
        if verdict.allowed:
            passed.append((now, min(cost, rule.burst)))
    for start in range(len(passed)):
        total = 0
        for at, cost in passed[start:]:
            total += cost
            assert (total - rule.burst) * rule.interval <= at - passed[start][0]


@given(limit=limits, tat=st.integers(0, 200 * SECOND), now=st.integers(0, 200 * SECOND), cost=st.integers(1, 9))
def test_step__refused__passes_exactly_when_it_was_told_and_not_before(
    limit: tuple[int, int, int], tat: int, now: int, cost: int
) -> None:
    rule = policy(*limit)
    tat = min(tat, now + rule.tolerance)
    verdict = step([rule], [tat], now=now, cost=cost)
    if verdict.allowed:
        return

    later = now + verdict.checks[0].retry_after

    assert step([rule], [tat], now=later, cost=cost).allowed
    assert not step([rule], [tat], now=later - 1, cost=cost).allowed
    assert 0 < rule.next_after(verdict.checks[0].ahead) <= max(verdict.checks[0].retry_after, rule.interval)


def test_policy__same_numbers__is_made_once() -> None:
    assert all(one is other for one, other in pairwise(policy(600, 60) for _ in range(3)))
