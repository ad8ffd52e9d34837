"""Voids and adjustments under quotas that carry over, have top-ups, roll, or count what does not add up."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from metering.domain.enums import EventKind
from metering.domain.requests import Request, Verdict
from metering.models import Balance, TopUp, UsageEvent
from metering.services.adjusting import adjust_usage
from metering.services.closing import close_periods
from metering.services.license_plans import update_license_with_terms
from metering.services.meters import update_meter
from metering.services.plan_terms import create_plan_with_terms
from metering.services.quotas import archive_quota
from metering.services.verification import verify_ledger
from tenants.models import OutboxEvent
from tests.factories import ACTOR
from tests.metering.ledger_world import NOW, World, make_world
from tests.metering.meter_world import card
from tests.metering.services.test_carry_over import carried, carrying, status
from tests.metering.services.test_cost_meters import make_priced
from tests.metering.services.test_top_ups import give
from tests.metering.services.test_voiding import set_clock, void

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)


def consume(world: World, quantity: str, at: object = NOW, id: str | None = None) -> Verdict | None:
    request = world.request(quantity, kind=EventKind.CONSUME, at=at, id=id)  # type: ignore[arg-type]
    world.post(request)
    return request.verdict


def adjust(world: World, corrects: str, quantity: str) -> Request:
    return adjust_usage(
        tenant=world.tenant, actor=ACTOR, id=f"{corrects}{quantity}", corrects=corrects, quantity=Decimal(quantity)
    )


def sound() -> bool:
    return [each.text for each in verify_ledger().differences] == []


@pytest.mark.parametrize("closed", [False, True])
def test_void__in_the_period_before__goes_on_to_what_is_carried_up_to_the_most(closed: bool) -> None:
    world = make_world()
    carrying(world, most="8", carry_over_since=NOW)
    consume(world, "5", NOW, "a")
    consume(world, "4", NOW, "b")
    tomorrow = NOW + DAY
    consume(world, "1", tomorrow)
    assert carried(tomorrow) == 1
    if closed:
        close_periods(now=tomorrow, before=tomorrow)
    set_clock(world, tomorrow)

    void(world, "b")
    assert (carried(tomorrow), status(world, tomorrow).remaining) == (5, 14)
    void(world, "a")

    assert (carried(tomorrow), status(world, tomorrow).remaining) == (8, 17)
    assert sound()


@pytest.mark.parametrize("moved", [True, False])
def test_void__under_a_plan_that_holds_no_more__goes_on_to_the_period_that_it_still_bills(moved: bool) -> None:
    world = make_world()
    quota = carrying(world, on="plan", mode="soft", carry_over_since=NOW)
    world.post(world.request("6", id="a", at=NOW))
    tomorrow = NOW + DAY
    world.post(world.request("20", at=tomorrow))
    assert carried(tomorrow) == 4
    set_clock(world, tomorrow)
    if moved:
        create_plan_with_terms(tenant=world.tenant, actor=ACTOR, code="team", name="Team", product="researcher")
        update_license_with_terms(tenant=world.tenant, license_id=world.license.id, actor=ACTOR, plan="team")
    else:
        archive_quota(tenant=world.tenant, quota_id=quota.id, actor=ACTOR)

    adjust(world, "a", "-1")
    assert carried(tomorrow) == 5
    void(world, "a")

    assert carried(tomorrow) == 10
    assert sound()


@pytest.mark.parametrize(
    ("aggregation", "quantities", "limit"), [("max", "579", "8"), ("latest", "579", "8"), ("unique", "579", "3")]
)
@pytest.mark.parametrize("mode", ["hard", "soft"])
def test_void__of_what_does_not_add_up__tells_once_that_an_exceeded_quota_recovered(
    aggregation: str, quantities: str, limit: str, mode: str
) -> None:
    world = make_world()
    world.meter.aggregation = aggregation
    world.meter.save()
    limit = str(Decimal(limit) - (1 if aggregation == "unique" and mode == "soft" else 0))
    world.quota(limit, mode=mode)
    set_clock(world, NOW)
    for place, quantity in enumerate(quantities):
        world.post(world.request(quantity, id=quantity, at=NOW + timedelta(seconds=place)))
    assert OutboxEvent.objects.filter(type="quota.exceeded").count() == 1

    void(world, "9")
    [told] = OutboxEvent.objects.filter(type="quota.recovered")
    assert told.data["used"] == {"unique": "2"}.get(aggregation, "7")
    void(world, "7")
    assert OutboxEvent.objects.filter(type="quota.recovered").count() == 1

    world.post(*[world.request(each, id=f"{each} again", at=NOW + timedelta(seconds=9)) for each in quantities])
    assert OutboxEvent.objects.filter(type="quota.exceeded").count() == 2


def test_adjustment__in_the_period_before__goes_on_both_ways() -> None:
    world = make_world()
    carrying(world, carry_over_since=NOW)
    consume(world, "6", NOW, "a")
    tomorrow = NOW + DAY
    consume(world, "2", tomorrow)
    consume(world, "1", tomorrow + DAY)
    set_clock(world, tomorrow + DAY)
    assert (carried(tomorrow), carried(tomorrow + DAY)) == (4, 12)

    adjust(world, "a", "-2.5")
    assert (carried(tomorrow), carried(tomorrow + DAY)) == (Decimal("6.5"), Decimal("14.5"))
    adjust(world, "a", "20")

    assert (carried(tomorrow), carried(tomorrow + DAY)) == (0, 8)
    assert sound()
    void(world, "a")
    assert (carried(tomorrow), carried(tomorrow + DAY)) == (10, 18)
    assert sound()


def test_void__of_a_unique_meter_in_the_period_before__goes_on_too() -> None:
    world = make_world()
    world.meter.aggregation, world.meter.value_from = "unique", "user"
    world.meter.dimensions = ["user"]
    world.meter.save()
    carrying(world, carry_over_since=NOW)
    for id, user in (("a", "ann"), ("b", "bob"), ("c", "ann")):
        world.post(world.request("1", id=id, dimensions={"user": user}, at=NOW))
    tomorrow = NOW + DAY
    world.post(world.request("1", dimensions={"user": "ann"}, at=tomorrow))
    set_clock(world, tomorrow)
    assert carried(tomorrow) == 8

    void(world, "a")
    assert carried(tomorrow) == 8
    void(world, "b")
    assert (carried(tomorrow), status(world, tomorrow).remaining) == (9, 18)
    void(world, "c")

    assert (carried(tomorrow), status(world, tomorrow).remaining) == (10, 19)
    assert sound()


def test_void__of_what_a_top_up_covered__leaves_room_in_this_period_and_the_top_up_as_it_is() -> None:
    world = make_world()
    quota = world.quota("10")
    extra = give(world, quota, "5")
    assert consume(world, "12", NOW, "a") is Verdict.DONE
    set_clock(world, NOW)

    void(world, "a")
    balance = Balance.objects.get(quota_key=quota.key)
    assert (balance.used, balance.burned, TopUp.objects.get(id=extra.id).used) == (0, 2, 2)
    assert status(world, NOW).remaining == 15

    assert consume(world, "16") is Verdict.REFUSED
    assert consume(world, "12") is Verdict.DONE
    assert TopUp.objects.get(id=extra.id).used == 2
    assert consume(world, "3") is Verdict.DONE
    assert TopUp.objects.get(id=extra.id).used == 5
    assert sound()


def test_adjustment__upwards__is_covered_by_a_top_up() -> None:
    world = make_world()
    quota = world.quota("10")
    extra = give(world, quota, "5")
    consume(world, "9", NOW, "a")
    set_clock(world, NOW)

    adjust(world, "a", "3")

    balance = Balance.objects.get(quota_key=quota.key)
    assert (balance.used, balance.burned, TopUp.objects.get(id=extra.id).used) == (12, 2, 2)
    assert sound()


def test_void__in_a_rolling_window__frees_the_part_in_which_it_counted() -> None:
    world = make_world()
    world.quota("10", period="rolling", rolling_seconds=3600)
    consume(world, "4", NOW - timedelta(minutes=30), "a")
    consume(world, "6", NOW, "b")
    set_clock(world, NOW)
    assert consume(world, "1") is Verdict.REFUSED

    void(world, "a")
    assert sorted(Balance.objects.values_list("used", flat=True)) == [0, 6]
    assert consume(world, "5") is Verdict.REFUSED
    assert consume(world, "4") is Verdict.DONE
    adjust(world, "b", "-1.5")

    assert sorted(Balance.objects.values_list("used", flat=True)) == [0, Decimal("8.5")]
    assert consume(world, "1.5") is Verdict.DONE
    assert sound()


def recoveries() -> list[str]:
    return list(OutboxEvent.objects.filter(type="quota.recovered").values_list("data__used", flat=True))


@pytest.mark.parametrize("mode", ["hard", "soft"])
@pytest.mark.parametrize("way", ["void", "adjust"])
def test_correction__lifts_an_exceeded_quota__told_once(mode: str, way: str) -> None:
    world = make_world()
    world.quota("10", mode=mode)
    world.post(world.request("4", id="a"))
    world.post(world.request("8", id="b"))
    set_clock(world, NOW)
    assert OutboxEvent.objects.filter(type="quota.exceeded").count() == 1

    if way == "void":
        void(world, "a")
    else:
        adjust(world, "a", "-4")
    assert recoveries() == ["8"]
    void(world, "b")

    assert recoveries() == ["8"]
    assert sound()


def test_corrections__of_a_cost_meters_source__change_the_budget_to_the_last_digit() -> None:
    meters, spend, budget = make_priced()
    assert budget is not None
    world = meters.world
    meters.post(("input_tokens", "333", {"model": "large"}), id="a")
    meters.post(("output_tokens", "7", {"model": "large"}), id="b")
    assert meters.standing(budget) == (Decimal("3.68"), 0)
    # What was counted was counted at its rate, whatever a token costs by now.
    update_meter(tenant=world.tenant, actor=ACTOR, meter_id=spend.id, rate_card=card(("input_tokens", "9")))
    set_clock(world, NOW)

    adjust(world, "a", "-111")
    assert meters.standing(budget) == (Decimal("2.57"), 0)
    adjust(world, "a", "1")
    assert meters.standing(budget) == (Decimal("2.58"), 0)
    void(world, "a")
    assert meters.standing(budget) == (Decimal("0.35"), 0)
    void(world, "b")

    assert meters.standing(budget) == (0, 0)
    quantities = [each.quantity for each in UsageEvent.objects.filter(meter=spend).order_by("recorded_at", "id")]
    assert sorted(quantities) == sorted(map(Decimal, ("3.33", "0.35", "-1.11", "0.01", "-2.23", "-0.35")))
    assert sound()
