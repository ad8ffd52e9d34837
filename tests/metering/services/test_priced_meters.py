"""Overage of meters that do not add up, of cost meters and by dimension, from the event to the final bill."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from metering.domain.enums import PriceModel
from metering.models import Meter, OverageRecord, Price, Quota
from metering.services.closing import close_periods
from metering.services.overage import accrue_overage
from metering.services.verification import verify_ledger
from tests.metering.ledger_world import NOW, World, make_world
from tests.metering.meter_world import Meters, card
from tests.metering.services.test_voiding import set_clock, void

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)
TIERS = [
    {"up_to": "3", "unit_price": "1", "flat_fee": "0"},
    {"up_to": None, "unit_price": "0.5", "flat_fee": "2"},
]


def price(world: World, meter: Meter, **terms: Any) -> Price:
    return Price.objects.create(tenant=world.tenant, plan=world.plan, meter=meter, currency="USD", **terms)


def valued(aggregation: str) -> tuple[World, Quota]:
    """A soft plan quota of 4 on a meter that does not add up, and graduated tiers."""
    world = make_world()
    world.meter.aggregation = aggregation
    if aggregation == "unique":
        world.meter.value_from, world.meter.dimensions = "user", ["user"]
    world.meter.save()
    quota = world.quota("4", on="plan", mode="soft")
    price(world, world.meter, model=PriceModel.GRADUATED, tiers=TIERS)
    return world, quota


def post(world: World, aggregation: str) -> None:
    """Comes to 9 as the largest, 6 as the latest, and 8 different ones."""
    quantities = ["2", "9", "6"] if aggregation != "unique" else ["1"] * 9
    for number, quantity in enumerate(quantities):
        dimensions = {"user": f"u{min(number, 7)}"} if aggregation == "unique" else {}
        at = NOW + timedelta(minutes=number)
        world.post(world.request(quantity, id=f"e{number}", dimensions=dimensions, at=at))


def bills(world: World) -> list[tuple[str, Decimal, Decimal, Decimal]]:
    records = OverageRecord.objects.for_tenant(world.tenant).order_by("id")
    return [(each.status, each.used, each.quantity, each.amount) for each in records]


#: What they come to: used, over, amount (3 at 1, then a fee of 2 and 0.5 each), and the same once `e1` is taken back.
CASES = [
    ("max", "9", "5", "6.00", "6", "2", "2.00"),
    ("latest", "6", "2", "2.00", "6", "2", "2.00"),
    ("unique", "8", "4", "5.50", "7", "3", "3.00"),
]


@pytest.mark.parametrize(("aggregation", "used", "over", "amount", "less", "over_then", "amount_then"), CASES)
def test_overage__of_a_meter_that_does_not_add_up__is_rated_on_what_it_shows(
    aggregation: str, used: str, over: str, amount: str, less: str, over_then: str, amount_then: str
) -> None:
    world, _ = valued(aggregation)
    post(world, aggregation)
    set_clock(world, NOW + timedelta(hours=1))

    accrue_overage(everything=True)
    assert bills(world) == [("open", Decimal(used), Decimal(over), Decimal(amount))]
    void(world, "e1")
    accrue_overage(everything=True)

    assert bills(world) == [("open", Decimal(less), Decimal(over_then), Decimal(amount_then))]
    assert verify_ledger().differences == ()


@pytest.mark.parametrize(("aggregation", "used", "over", "amount", "less", "over_then", "amount_then"), CASES)
def test_overage__final_and_then_corrected__is_a_credit_of_the_difference(
    aggregation: str, used: str, over: str, amount: str, less: str, over_then: str, amount_then: str
) -> None:
    world, _ = valued(aggregation)
    post(world, aggregation)
    tomorrow = NOW + DAY
    set_clock(world, tomorrow)
    close_periods(before=tomorrow)
    final = ("finalized", Decimal(used), Decimal(over), Decimal(amount))
    assert bills(world) == [final]

    void(world, "e1")

    given = Decimal(amount_then) - Decimal(amount)
    expected = [final]
    if given:
        expected.append(("credit", Decimal(less), Decimal(over_then) - Decimal(over), given))
    assert bills(world) == expected
    assert verify_ledger().differences == ()


def test_overage__of_a_cost_meter__is_exact_and_follows_its_sources() -> None:
    meters = Meters()
    world = meters.world
    world.meter.dimensions = ["model"]
    world.meter.save()
    spend = meters.make("spend", unit="USD", rate_card=card(("tokens", "0.0003"), ("tokens", "0.07", {"model": "l"})))
    Quota.objects.create(
        tenant=world.tenant,
        meter=spend,
        plan=world.plan,
        scope="license",
        key=spend.id,
        limit=Decimal("1.5"),
        mode="soft",
        period="day",
    )
    price(world, spend, model=PriceModel.PER_UNIT, unit_price=Decimal("1.2"))
    meters.post(("tokens", "33", {"model": "l"}), id="a")
    meters.post(("tokens", "1001", {"model": "s"}), id="b")
    set_clock(world, NOW)

    accrue_overage(everything=True)
    assert bills(world) == [("open", Decimal("2.6103"), Decimal("1.1103"), Decimal("1.33"))]
    set_clock(world, NOW + DAY)
    close_periods(before=NOW + DAY)
    void(world, "b")

    assert bills(world) == [
        ("finalized", Decimal("2.6103"), Decimal("1.1103"), Decimal("1.33")),
        ("credit", Decimal("2.31"), Decimal("-0.3003"), Decimal("-0.36")),
    ]
    assert verify_ledger().differences == ()


def test_overage__priced_by_dimension__each_filter_has_its_own_bill_at_its_own_price() -> None:
    world = make_world()
    world.meter.dimensions = ["model"]
    world.meter.save()
    large = {"model": "large"}
    world.quota("10", on="plan", mode="soft")
    world.quota("2", on="plan", mode="soft", filter=large)
    price(world, world.meter, model=PriceModel.PER_UNIT, unit_price=Decimal("0.1"))
    price(world, world.meter, model=PriceModel.PER_UNIT, unit_price=Decimal(3), filter=large)
    for quantity, model in (("8", "small"), ("5", "large"), ("0.5", "tiny")):
        world.post(world.request(quantity, dimensions={"model": model}))

    accrue_overage(everything=True)

    found = OverageRecord.objects.for_tenant(world.tenant).values_list("quota__filter", "quantity", "amount")
    assert sorted(found, key=str) == sorted(
        [({}, Decimal("3.5"), Decimal("0.35")), (large, Decimal(3), Decimal("9.00"))], key=str
    )


@pytest.mark.parametrize(("offset", "amount"), [(-1, "20.00"), (0, "20.00"), (1, "10.00")])
def test_overage__price_that_starts_about_the_periods_start__counts_from_its_very_instant(
    offset: int, amount: str
) -> None:
    world = make_world()
    world.quota("0", on="plan", mode="soft")
    start = NOW.replace(hour=0) + timedelta(microseconds=offset)
    price(world, world.meter, model=PriceModel.PER_UNIT, unit_price=Decimal(1))
    price(world, world.meter, model=PriceModel.PER_UNIT, unit_price=Decimal(2), starts_at=start)
    world.post(world.request("10"))

    accrue_overage(everything=True)

    assert [each[3] for each in bills(world)] == [Decimal(amount)]
