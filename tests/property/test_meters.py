"""Laws of meters: values in any order of arrival, derived money that adds up, shares of holds that come back whole."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from metering.domain import counting
from metering.domain.aggregation import Observation, aggregate
from metering.domain.balance_states import BalanceState
from metering.domain.enums import Aggregation
from metering.domain.holds import HeldLine, to_release
from metering.domain.numbers import EXACT, ZERO, sum_exact
from metering.domain.rate_cards import Rate, amount, derived_event_id, find_rate, overlapping
from metering.domain.requests import Line
from metering.domain.terms import MeterRules, MeterTerms

AT = datetime(2026, 11, 23, 9, tzinfo=UTC)
VALUED = [Aggregation.MAX, Aggregation.UNIQUE, Aggregation.LATEST]
quantities = st.decimals(0, 10**6, places=3)
events = st.lists(st.tuples(st.integers(0, 5), quantities, st.sampled_from("abcd")), max_size=12)


def line_of(aggregation: Aggregation, number: int, event: tuple[int, Decimal, str]) -> Line:
    minutes, quantity, user = event
    rules = MeterRules(value_from="user" if aggregation is Aggregation.UNIQUE else "")
    meter = MeterTerms(UUID(int=1), "thing", aggregation, ("user",), rules=rules)
    return Line(meter, quantity, {"user": user}, AT + timedelta(minutes=minutes), UUID(int=1000 + number))


def empty() -> BalanceState:
    return BalanceState(UUID(int=7), ZERO, ZERO, False, set())


@given(st.sampled_from(VALUED), events, st.randoms())
def test_count__in_any_order_of_arrival__is_what_the_plain_model_says(aggregation, found, random):
    lines = [line_of(aggregation, number, event) for number, event in enumerate(found)]
    shuffled = random.sample(lines, len(lines))
    balance = empty()
    for line in shuffled:
        counting.count(balance, line)
    model = [
        Observation(each.occurred_at, each.quantity, each.dimensions["user"], str(each.event_id)) for each in lines
    ]
    assert balance.used == aggregate(aggregation, model)


@given(st.sampled_from(VALUED), events, events)
def test_asked__is_by_how_much_counting_changes_the_balance(aggregation, before, lines):
    balance = empty()
    for number, event in enumerate(before):
        counting.count(balance, line_of(aggregation, number, event))
    asked = [line_of(aggregation, 100 + number, event) for number, event in enumerate(lines)]
    if not asked:
        return
    wanted, used = counting.asked(balance, asked), balance.used
    for line in asked:
        counting.count(balance, line)
    assert EXACT.add(used, wanted) == balance.used


@given(events)
def test_unique__taken_back_one_by_one__ends_with_nothing(found):
    balance = empty()
    lines = [line_of(Aggregation.UNIQUE, number, event) for number, event in enumerate(found)]
    for line in lines:
        counting.count(balance, line)
    for number, line in enumerate(lines):
        line.corrects = UUID(int=2000 + number)
        counting.count(balance, line)
    assert balance.used == 0


edges = st.none() | st.integers(0, 6).map(lambda hours: AT + timedelta(hours=hours))
rates = st.builds(
    Rate,
    unit_price=st.decimals(0, 100, places=6),
    dimensions=st.dictionaries(st.sampled_from(["model", "provider"]), st.sampled_from("xy"), max_size=2),
    starts_at=edges,
    ends_at=edges,
)
dimensions = st.fixed_dictionaries({"model": st.sampled_from("xyz"), "provider": st.sampled_from("xy")})


@given(st.lists(rates, max_size=6), dimensions, st.integers(0, 12), st.randoms())
def test_find_rate__whatever_the_order_of_the_rows__is_the_most_specific_in_force(card, event, half_hours, random):
    at = AT + timedelta(minutes=30 * half_hours)
    found = find_rate(card, event, at)
    in_force = [
        rate
        for rate in card
        if (rate.starts_at is None or at >= rate.starts_at)
        and (rate.ends_at is None or at < rate.ends_at)
        and rate.dimensions.items() <= event.items()
    ]
    if not in_force:
        assert found is None
        return
    most = max(len(rate.dimensions) for rate in in_force)
    of_them = [rate for rate in in_force if len(rate.dimensions) == most]
    newest = max((rate.starts_at or datetime.min.replace(tzinfo=UTC)) for rate in of_them)
    assert found in [rate for rate in of_them if (rate.starts_at or datetime.min.replace(tzinfo=UTC)) == newest]
    if overlapping(card) is None:
        assert find_rate(random.sample(card, len(card)), event, at) == found


@given(st.lists(st.integers(0, 10**9), max_size=20), st.decimals(0, 1, places=12))
def test_amounts__of_whole_units__add_up_exactly(counts, unit_price):
    total = sum_exact(amount(Decimal(count), unit_price) for count in counts)
    assert total == amount(Decimal(sum(counts)), unit_price) == EXACT.multiply(Decimal(sum(counts)), unit_price)


@given(quantities, st.decimals(0, 10**6, places=12))
def test_amount__of_any_quantity__is_within_half_a_step_of_the_exact_one(quantity, unit_price):
    exact, rounded = EXACT.multiply(quantity, unit_price), amount(quantity, unit_price)
    assert abs(EXACT.subtract(exact, rounded)) <= Decimal("5E-13")
    assert rounded == rounded.quantize(Decimal("1E-12"), context=EXACT)


@given(st.uuids(), st.uuids(), st.uuids())
def test_derived_event_id__is_stable_and_its_own(source, one, other):
    first = derived_event_id(source, one)
    assert first == derived_event_id(source, one)
    assert (first.version, first.bytes[:6]) == (7, source.bytes[:6])
    assert (first == derived_event_id(source, other)) is (one == other)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.decimals("0.000001", 5, places=6), st.randoms())
def test_to_release__however_the_parts_are_cut__leaves_the_share_and_ends_with_nothing(parts, unit_price, random):
    held = Decimal(sum(parts))
    first = amount(held, unit_price)

    def settle(pieces: list[int]) -> list[Decimal]:
        settled, reserved, left = ZERO, first, []
        for piece in pieces:
            line = HeldLine("tokens", held, settled)
            back = to_release(line, Decimal(piece), first, reserved)
            assert ZERO <= back <= reserved
            reserved, settled = EXACT.subtract(reserved, back), EXACT.add(settled, Decimal(piece))
            left.append(reserved)
        return left

    cut = settle(parts)
    assert cut[-1] == 0
    whole = [parts[0] + sum(parts[1:])]
    assert settle(whole)[-1] == 0
    shuffled = random.sample(parts, len(parts))
    assert settle(shuffled)[-1] == 0
    halfway = sum(parts[: len(parts) // 2])
    if 0 < halfway < held:
        assert (
            settle([halfway])[-1] == cut[len(parts) // 2 - 1] >= EXACT.multiply(first, 1 - Decimal(halfway) / held) - 1
        )
