"""Cost meters on a real PostgreSQL: amounts derived from events, budgets in money, holds and what settles them."""

from datetime import timedelta
from decimal import Decimal

import pytest

from metering.domain.enums import EventKind
from metering.domain.holds import SettledLine
from metering.domain.requests import Verdict
from metering.models import HoldLine, UsageEvent
from metering.services.holds import release
from metering.services.meters import update_meter
from tests.metering.hold_actions import settle
from tests.metering.ledger_world import NOW
from tests.metering.meter_world import ACTOR, Meters, card

pytestmark = pytest.mark.django_db(transaction=True)


def make_priced(limit: str | None = "10", **more):
    """Input and output tokens, a cost meter over both, and a budget."""
    meters = Meters(**more)
    for code in ("input_tokens", "output_tokens"):
        meters.make(code, dimensions=["model"])
    spend = meters.make(
        "spend",
        unit="USD",
        rate_card=card(
            ("input_tokens", "0.001"),
            ("input_tokens", "0.01", {"model": "large"}),
            ("output_tokens", "0.05", {"model": "large"}),
        ),
    )
    return meters, spend, None if limit is None else meters.limit(spend, limit)


def events_of(meter):
    return list(UsageEvent.objects.filter(meter=meter).order_by("id"))


def test_event_of_a_source__makes_an_amount__by_the_most_specific_row():
    meters, spend, budget = make_priced()
    meters.post(("input_tokens", "100", {"model": "large"}))
    meters.post(("input_tokens", "100", {"model": "small"}))
    meters.post(("output_tokens", "7", {"model": "large"}))

    derived = events_of(spend)
    assert [event.quantity for event in derived] == [Decimal(1), Decimal("0.1"), Decimal("0.35")]
    assert [event.dimensions for event in derived] == [{"model": "large"}, {"model": "small"}, {"model": "large"}]
    sources = {event.id for event in UsageEvent.objects.exclude(meter=spend)}
    assert {event.derived_from for event in derived} == sources
    assert meters.standing(budget) == (Decimal("1.45"), 0)


def test_same_id_again__counts_no_second_amount():
    meters, spend, budget = make_priced()
    meters.post(("input_tokens", "100"), id="call-1")
    again = meters.post(("input_tokens", "100"), id="call-1")

    assert again.verdict is Verdict.REPLAYED
    assert len(events_of(spend)) == 1
    assert meters.standing(budget) == (Decimal("0.1"), 0)


def test_consume__above_the_budget__is_refused_and_writes_nothing():
    meters, _spend, budget = make_priced("1")
    request = meters.post(("input_tokens", "101", {"model": "large"}), kind=EventKind.CONSUME)

    assert request.verdict is Verdict.REFUSED
    [refusal] = request.refusals
    assert (refusal.quota.meter_code, refusal.asked) == ("spend", Decimal("1.01"))
    assert not UsageEvent.objects.exists()
    assert meters.post(("input_tokens", "100", {"model": "large"}), kind=EventKind.CONSUME).verdict is Verdict.DONE
    assert meters.standing(budget) == (1, 0)


def test_consume__without_a_rate__is_refused_under_a_budget_only():
    meters, spend, _ = make_priced("10")
    request = meters.post(("output_tokens", "5", {"model": "small"}), kind=EventKind.CONSUME)
    assert request.verdict is Verdict.REFUSED
    [unrated] = request.unrated
    assert (unrated.meter_code, unrated.cost_meter_code) == ("output_tokens", "spend")
    assert not UsageEvent.objects.exists()

    free, spend, _ = make_priced(None)
    assert free.post(("output_tokens", "5", {"model": "small"}), kind=EventKind.CONSUME).verdict is Verdict.DONE
    assert events_of(spend) == []


def test_fact_without_a_rate__is_recorded_and_flagged():
    meters, _spend, budget = make_priced("10")
    meters.post(("output_tokens", "5", {"model": "small"}))

    [event] = UsageEvent.objects.all()
    assert (event.quantity, event.flags) == (5, ["rate_missing"])
    assert not meters.world.used(budget)


def test_rate_card__dates__are_half_open_and_change_nothing_that_was_counted():
    meters = Meters()
    meters.make("tokens_in")
    row = {"meter": "tokens_in", "dimensions": {}}
    spend = meters.make(
        "spend",
        unit="USD",
        rate_card=[
            {**row, "unit_price": "1", "ends_at": NOW},
            {**row, "unit_price": "2", "starts_at": NOW, "ends_at": NOW + timedelta(hours=1)},
        ],
    )
    budget = meters.limit(spend, "1000")
    for occurred_at in (NOW - timedelta(microseconds=1), NOW, NOW + timedelta(hours=1)):
        meters.post(("tokens_in", "1"), occurred_at=occurred_at)
    assert [event.quantity for event in events_of(spend)] == [1, 2]
    assert UsageEvent.objects.get(occurred_at=NOW + timedelta(hours=1)).flags == ["rate_missing"]

    update_meter(tenant=meters.tenant, meter_id=spend.id, actor=ACTOR, rate_card=[{**row, "unit_price": "50"}])
    meters.post(("tokens_in", "1"))
    assert [event.quantity for event in events_of(spend)] == [1, 2, 50]
    assert meters.standing(budget) == (53, 0)


def test_hold__reserves_its_estimate__and_settles_the_truth():
    meters, _spend, budget = make_priced("10")
    held = meters.post(
        ("input_tokens", "100", {"model": "large"}), ("output_tokens", "100", {"model": "large"}), kind=EventKind.HOLD
    )
    assert held.verdict is Verdict.DONE
    assert meters.standing(budget) == (0, 6)
    assert meters.post(("output_tokens", "81", {"model": "large"}), kind=EventKind.CONSUME).verdict is Verdict.REFUSED

    caller = meters.caller()
    settle(
        caller=caller,
        hold_id=held.hold_id,
        asked=[
            SettledLine(caller.meters["input_tokens"], Decimal(100)),
            SettledLine(caller.meters["output_tokens"], Decimal(30)),
        ],
        id=None,
        final=True,
        at=NOW,
    )
    assert meters.standing(budget) == (Decimal("2.5"), 0)


def test_hold__settled_in_parts__gives_back_the_share_of_the_money():
    meters, _, budget = make_priced("10")
    held = meters.post(("output_tokens", "3", {"model": "large"}), kind=EventKind.HOLD)
    assert meters.standing(budget) == (0, Decimal("0.15"))
    caller = meters.caller()
    line = caller.meters["output_tokens"]
    for chunk in ("1", "2"):
        settle(
            caller=caller,
            hold_id=held.hold_id,
            asked=[SettledLine(line, Decimal(1))],
            id=chunk,
            final=False,
            at=NOW,
        )
    assert meters.standing(budget) == (Decimal("0.1"), Decimal("0.05"))
    release(caller=caller, hold_id=held.hold_id, at=NOW)
    assert meters.standing(budget) == (Decimal("0.1"), 0)
    assert not HoldLine.objects.filter(open=True).exists()


def test_settlement__after_the_price_changed__counts_at_the_new_rate():
    meters, spend, budget = make_priced("10")
    held = meters.post(("output_tokens", "100", {"model": "large"}), kind=EventKind.HOLD)
    assert meters.standing(budget) == (0, 5)
    update_meter(tenant=meters.tenant, meter_id=spend.id, actor=ACTOR, rate_card=card(("output_tokens", "0.01")))
    caller = meters.caller()
    settle(
        caller=caller,
        hold_id=held.hold_id,
        asked=[SettledLine(caller.meters["output_tokens"], Decimal(100))],
        id=None,
        final=True,
        at=NOW,
    )
    assert meters.standing(budget) == (1, 0)


def test_budget_by_dimension__counts_what_matches():
    meters, spend, _ = make_priced(None)
    large = meters.limit(spend, "1", filter={"model": "large"})
    meters.post(("input_tokens", "50", {"model": "large"}))
    meters.post(("input_tokens", "5000", {"model": "small"}))
    assert meters.standing(large) == (Decimal("0.5"), 0)


def test_batch_by_copy__derives_the_same():
    meters, spend, budget = make_priced("1000")
    from metering.services.ledger import post

    caller = meters.caller()
    requests = [meters.request(("input_tokens", str(n)), caller=caller) for n in range(60)]
    post(requests)
    assert sum(event.quantity for event in events_of(spend)) == Decimal("1.77")
    assert meters.standing(budget) == (Decimal("1.77"), 0)
    assert {event.derived_from for event in events_of(spend)} == {request.lines[0].event_id for request in requests}
