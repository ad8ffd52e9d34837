"""Top-ups burn by priority, expiry and age, exactly, however a run is cut: laws, and the worked cases."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.domain import allowances
from metering.domain.allowances import Beside, TopUpState, in_order, rest
from metering.domain.balance_states import BalanceState
from metering.domain.enums import Period, QuotaMode, Scope
from metering.domain.numbers import ZERO, sum_exact
from metering.domain.terms import QuotaTerms
from tests.vectors import metering_vectors

START = datetime(2026, 11, 1, tzinfo=UTC)


def terms(limit: Decimal = ZERO, mode: QuotaMode = QuotaMode.SOFT) -> QuotaTerms:
    return QuotaTerms(
        id=uuid.uuid4(),
        key=uuid.uuid4(),
        scope=Scope.LICENSE,
        subject_id=uuid.uuid4(),
        meter_id=uuid.uuid4(),
        meter_code="tokens",
        mode=mode,
        limit=limit,
        period=Period.MONTH,
    )


def balance(top_ups: Sequence[TopUpState], used: Decimal = ZERO) -> BalanceState:
    state = BalanceState(uuid.uuid4(), used, ZERO, False, set())
    state.beside = Beside(top_ups=in_order(top_ups))
    return state


def count(state: BalanceState, quota: QuotaTerms, quantity: Decimal, at: datetime) -> None:
    state.used += quantity
    allowances.use(state, quota, quantity, at)


def top_up(left: str, *, order: int = 0, **fields: Any) -> TopUpState:
    made_at = fields.pop("made_at", START + timedelta(seconds=order))
    return TopUpState(
        uuid.UUID(int=order + 1), Decimal(left), fields.pop("starts_at", START), made_at=made_at, **fields
    )


def test_use__own_allowance_left__goes_first() -> None:
    extra = top_up("100")
    quota, state = terms(Decimal(10)), balance([extra])

    count(state, quota, Decimal(8), START)
    count(state, quota, Decimal(5), START)

    assert (extra.left, state.burned, extra.burnt) == (97, 3, {state.id: 3})


def test_use__several_top_ups__burn_by_priority_then_expiry_then_age() -> None:
    soon, late = START + timedelta(days=1), START + timedelta(days=2)
    last = top_up("1", order=0, priority=1, expires_at=soon)
    fourth = top_up("1", order=1)
    second = top_up("1", order=4, expires_at=late)
    third = top_up("1", order=5, expires_at=late)
    first = top_up("1", order=6, expires_at=soon)
    quota, state = terms(), balance([last, fourth, third, second, first])
    gone = []
    for _ in range(5):
        count(state, quota, Decimal(1), START)
        gone.append([each.left for each in (first, second, third, fourth, last)].count(ZERO))
        assert [each.left for each in (first, second, third, fourth, last)[: gone[-1]]] == [ZERO] * gone[-1]

    assert gone == [1, 2, 3, 4, 5]


def test_use__at_the_edges__covers_from_its_start_and_not_at_its_expiry() -> None:
    extra = top_up("10", starts_at=START + timedelta(hours=1), expires_at=START + timedelta(hours=2))
    quota, state = terms(), balance([extra])
    micro = timedelta(microseconds=1)

    for at in (START + timedelta(hours=1) - micro, START + timedelta(hours=2)):
        count(state, quota, Decimal(1), at)
    assert extra.left == 10
    for at in (START + timedelta(hours=1), START + timedelta(hours=2) - micro):
        count(state, quota, Decimal(1), at)
    assert (extra.left, state.used, state.burned) == (8, 4, 2)


def test_use__already_over__covers_what_is_new_and_not_what_was() -> None:
    extra = top_up("100")
    quota, state = terms(Decimal(10)), balance([extra], used=Decimal(50))

    count(state, quota, Decimal(5), START)

    assert (extra.left, state.burned) == (95, 5)


def test_use__voided_amount__leaves_room_in_the_period_and_the_top_up_as_it_is() -> None:
    extra = top_up("10")
    quota, state = terms(Decimal(10)), balance([extra])
    count(state, quota, Decimal(15), START)

    count(state, quota, Decimal(-4), START)
    count(state, quota, Decimal(4), START)

    assert (extra.left, state.burned) == (5, 5)


quantities = st.lists(st.decimals(min_value=0, max_value=100, places=3), min_size=1, max_size=8)
sizes = st.lists(
    st.tuples(st.decimals(min_value="0.001", max_value=60, places=3), st.integers(0, 3), st.integers(0, 2)), max_size=5
)


@given(quantities, sizes, st.decimals(min_value=0, max_value=50, places=3), st.sampled_from([1, 2, 3, 7]))
def test_use__a_run_cut_in_pieces__is_the_run(
    used: list[Decimal], extras: list[tuple[Decimal, int, int]], limit: Decimal, pieces: int
) -> None:
    def run(cut: int) -> tuple[list[Decimal], Decimal, Decimal]:
        top_ups = [
            top_up(str(amount), order=place, priority=priority, expires_at=START + timedelta(days=days + 1))
            for place, (amount, priority, days) in enumerate(extras)
        ]
        quota, state = terms(limit), balance(top_ups)
        for hour, quantity in enumerate(used):
            at = START + timedelta(hours=9 * hour)
            part = (quantity / cut).quantize(Decimal("0.001"))
            for _ in range(cut - 1):
                count(state, quota, part, at)
            count(state, quota, quantity - part * (cut - 1), at)
        return [each.left for each in top_ups], state.burned, state.used

    whole, cut = run(1), run(pieces)

    assert whole == cut
    left, burned, total = whole
    assert burned == sum_exact(amount for amount, *_ in extras) - sum_exact(left)
    assert burned <= max(ZERO, total - limit)
    assert all(ZERO <= each <= amount for each, (amount, *_) in zip(left, extras, strict=True))


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def grants(vector: dict[str, Any]) -> dict[str, list[TopUpState]]:
    """A vector's grants as top-ups; one that recurs is one top-up for each recurrence."""
    found: dict[str, list[TopUpState]] = {}
    until = moment(vector["input"]["until"])
    for place, grant in enumerate(vector["input"]["grants"]):
        end = min(moment(grant["expires_at"]), moment(grant.get("voided_at", grant["expires_at"])))
        edges = [moment(grant["effective_at"])]
        if "recur_days" in grant:
            at = moment(grant["recur_anchor"])
            while at < min(end, until):
                edges += [at] if at > edges[0] else []
                at += timedelta(days=grant["recur_days"])
        found[grant["id"]] = [
            TopUpState(
                uuid.UUID(int=place * 100 + step),
                Decimal(vector["input"].get("start", {}).get(grant["id"], grant["amount"])),
                start,
                expires_at=stop,
                priority=grant["priority"],
                made_at=START + timedelta(seconds=place),
            )
            for step, (start, stop) in enumerate(zip(edges, [*edges[1:], end], strict=True))
        ]
    return found


BURN_DOWN = [each for each in metering_vectors("grant_burn_down") if "resets" not in each["input"]]
RESETS = {each["id"]: each for each in metering_vectors("grant_burn_down") if "resets" in each["input"]}


@pytest.mark.parametrize("vector", BURN_DOWN, ids=lambda vector: vector["id"])
def test_use__worked_case__burns_as_its_source_says(vector: dict[str, Any]) -> None:
    found = grants(vector)
    quota, state = terms(), balance([top_up for top_ups in found.values() for top_up in top_ups])

    for event in vector["input"]["usage"]:
        count(state, quota, Decimal(event["v"]), moment(event["t"]))

    until = moment(vector["input"]["until"])
    left = {name: rest(top_ups, until) for name, top_ups in found.items()}
    assert left == {name: Decimal(text) for name, text in vector["expected"]["balances"].items()}
    assert state.used - state.burned == Decimal(vector["expected"]["overage"])


def test_use__worked_cases_of_resets__the_rules_win_and_no_debt_is_carried_on() -> None:
    # The source rolls what is left of a grant over at a reset, and takes the overage of the period before from it.
    # Here periods never net against each other: overage is billed in its own period, and a top-up does not recur.
    assert set(RESETS) == {"grant-reset-preserve", "grant-reset-2100"}
    vector = RESETS["grant-reset-preserve"]
    [[extra]] = grants(vector).values()
    quota, first = terms(), balance([extra])
    for event in vector["input"]["usage"]:
        count(first, quota, Decimal(event["v"]), moment(event["t"]))
    following = balance([extra])

    assert (first.used - first.burned, extra.left) == (10, 0)
    assert (following.used, following.burned) == (0, 0)
