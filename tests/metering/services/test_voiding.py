"""Voids: counted back where the original counted, once, and onto bills that are final."""

from datetime import datetime, timedelta
from decimal import Decimal
from threading import Barrier, Thread

import pytest
from django.db import connections

from common.errors import Conflict, NotFound
from common.ids import new_id
from licenses.models import License, LicensePlan
from metering.domain.enums import EventKind, OverageStatus, PriceModel
from metering.domain.requests import Request, Verdict
from metering.models import Balance, DroppedMonth, LateEntry, OverageRecord, Price, Quota, UsageEvent
from metering.services.adjusting import adjust_usage
from metering.services.closing import close_periods
from metering.services.overage import accrue_overage
from metering.services.rollups import roll_up_usage
from metering.services.top_ups import create_top_up
from metering.services.verification import verify_ledger
from metering.services.voiding import Voided, void_usage
from tenants.models import AuditEntry, Customer, OutboxEvent, Tenant
from tests.factories import ACTOR
from tests.metering.ledger_world import NOW, World, make_world

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)


def set_clock(world: World, at: datetime) -> None:
    """The workspace's time, as far as a test can tell: real time runs on by moments."""
    from common.clock import real_clock

    Tenant.objects.filter(pk=world.tenant.pk).update(clock_offset=at - real_clock().now(), mode="test")
    world.tenant.refresh_from_db()


def void(world: World, request: Request | str, **more: object) -> Voided:
    id = request if isinstance(request, str) else request.id
    return void_usage(tenant=world.tenant, actor=ACTOR, id=id, **more)  # type: ignore[arg-type]


def priced(world: World, limit: str = "0", unit_price: str = "0.5", period: str = "day") -> Quota:
    quota = world.quota(limit, on="plan", mode="soft", period=period)
    Price.objects.create(
        tenant=world.tenant,
        plan=world.plan,
        meter=world.meter,
        currency="USD",
        model=PriceModel.PER_UNIT,
        unit_price=Decimal(unit_price),
    )
    return quota


def amounts(world: World) -> list[tuple[str, Decimal, Decimal]]:
    records = OverageRecord.objects.for_tenant(world.tenant).order_by("id")
    return [(each.status, each.quantity, each.amount) for each in records]


def test_void_usage__open_period__frees_every_level_and_stays_in_the_reports_as_a_pair() -> None:
    world = make_world(agents=2)
    child, parent = world.agents
    quotas = [
        world.quota("100", on="agent", agent=child),
        world.quota("100", on="agent", agent=parent, period="month"),
        world.quota("100"),
        world.quota("100", on="customer", period="lifetime"),
        world.quota("100", on="tenant", period="year"),
    ]
    world.post(world.request("30", dimensions={"model": "large"}), kept := world.request("7"))
    mistake = UsageEvent.objects.exclude(client_id=kept.id).get()
    set_clock(world, NOW)

    voided = void(world, mistake.public_id, reason="test run")

    assert [world.used(quota) for quota in quotas] == [Decimal(7)] * 5
    [pair] = voided.reversed
    assert (pair.event.id, pair.quantity, pair.void.kind) == (mistake.id, Decimal(30), "void")
    same = ("customer_id", "license_id", "agent_id", "agent_path", "meter_id", "dimensions", "occurred_at")
    assert [getattr(pair.void, name) for name in same] == [getattr(mistake, name) for name in same]
    assert (pair.void.quantity, pair.void.corrects) == (Decimal(-30), mistake.id)
    entry = AuditEntry.objects.get(action="usage.voided")
    assert (entry.target_id, entry.reason, entry.changes) == (mistake.public_id, "test run", {"quantity": ["30", "0"]})
    assert OutboxEvent.objects.get(type="usage.voided").data["event"] == mistake.public_id
    roll_up_usage()
    assert verify_ledger(tenant=world.tenant).differences == ()


def test_void_usage__twice_and_by_either_id__is_the_same_once() -> None:
    world = make_world()
    quota = world.quota("100")
    world.post(request := world.request("30"))
    set_clock(world, NOW)

    first, again = void(world, request), void(world, request.lines[0].event_id.hex and request.id)
    by_event = void(world, first.event.public_id)

    assert first == again == by_event
    assert world.used(quota) == Decimal(0)
    assert UsageEvent.objects.filter(kind=EventKind.VOID).count() == 1
    assert AuditEntry.objects.filter(action="usage.voided").count() == 1


def test_void_usage__original_retried__is_a_duplicate_and_counts_nothing() -> None:
    world = make_world()
    quota = world.quota("100")
    world.post(world.request("30", id="call-1"))
    set_clock(world, NOW)
    void(world, "call-1")

    [retried] = world.post(world.request("30", id="call-1")).requests

    assert retried.verdict is Verdict.REPLAYED
    assert world.used(quota) == Decimal(0)


def test_void_usage__in_parallel__counts_once() -> None:
    world = make_world()
    quota = world.quota("100")
    world.post(world.request("30", id="call-1"), world.request("5"))
    set_clock(world, NOW)
    barrier, answers = Barrier(6), []

    def run() -> None:
        try:
            barrier.wait()
            answers.append([pair.void.id for pair in void(world, "call-1").reversed])
        finally:
            connections.close_all()

    threads = [Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == 6
    assert len({tuple(answer) for answer in answers}) == 1
    assert world.used(quota) == Decimal(5)


def test_void_usage__consume_of_several_lines__all_by_the_callers_id_one_by_its_own() -> None:
    world = make_world()
    quota = world.quota("1000")
    for id in ("step-1", "step-2"):
        one = world.request("30", id=id, kind=EventKind.CONSUME)
        other = world.request("12", kind=EventKind.CONSUME, dimensions={"model": "large"})
        one.lines = [*one.lines, *other.lines]
        world.post(one)
    set_clock(world, NOW)

    assert len(void(world, "step-1").reversed) == 2
    assert world.used(quota) == Decimal(42)
    large = UsageEvent.objects.get(client_id="step-2", quantity=12)
    void(world, large.public_id)
    assert world.used(quota) == Decimal(30)
    void(world, "step-2")
    assert world.used(quota) == Decimal(0)


def test_void_usage__id_of_two_licenses__asks_for_which() -> None:
    world = make_world()
    world.quota("100")
    other = License.objects.create(tenant=world.tenant, customer=world.license.customer, starts_at=NOW - DAY)
    LicensePlan.objects.create(tenant=world.tenant, license=other, plan=world.plan, role="base")
    mine = world.license
    world.post(world.request("1", id="call-1"))
    world.license, world.agents = other, []
    world.post(world.request("2", id="call-1"))
    set_clock(world, NOW)

    with pytest.raises(Conflict) as refused:
        void(world, "call-1")
    assert refused.value.code == "id_ambiguous"
    assert not UsageEvent.objects.filter(kind=EventKind.VOID).exists()

    [pair] = void(world, "call-1", license_id=mine.id).reversed
    assert (pair.event.license_id, pair.quantity) == (mine.id, Decimal(1))


def test_void_usage__void_unknown_or_anothers__is_refused() -> None:
    world, stranger = make_world(), make_world()
    stranger.post(foreign := stranger.request("3"))
    world.post(request := world.request("3"))
    set_clock(world, NOW)
    [pair] = void(world, request).reversed

    with pytest.raises(Conflict) as refused:
        void(world, pair.void.public_id)
    assert refused.value.code == "event_is_correction"
    for id in (foreign.id, UsageEvent.objects.get(client_id=foreign.id).public_id, "nothing", "evt_" + "0" * 26):
        with pytest.raises(NotFound):
            void(world, id)
    assert UsageEvent.objects.filter(kind=EventKind.VOID).count() == 1


def test_void_usage__late_event__taken_back_where_it_counted() -> None:
    world = make_world()
    quota = world.quota("100")
    world.post(world.request("10", at=NOW - DAY))
    close_periods(before=NOW.replace(hour=0), now=NOW)
    world.post(late := world.request("5", at=NOW, occurred_at=NOW - DAY))
    set_clock(world, NOW + DAY)

    void(world, late)

    assert sorted(Balance.objects.filter(quota_key=quota.key).values_list("used", flat=True)) == [0, 10]
    assert sorted(LateEntry.objects.values_list("quantity", flat=True)) == [-5, 5]
    assert not OutboxEvent.objects.filter(type="usage.late", data__events__contains=[late.id]).exists()
    assert verify_ledger(tenant=world.tenant).differences == ()


def test_void_usage__bill_is_final__credits_of_exactly_the_difference() -> None:
    world = make_world()
    priced(world, "10", "0.005")
    requests = [world.request("7"), world.request("3"), world.request("6")]
    world.post(*requests)
    close_periods(before=NOW + DAY, now=NOW + DAY)
    final = OverageRecord.objects.values().get()
    set_clock(world, NOW + DAY)

    void(world, requests[1], reason="refund")
    void(world, requests[2])
    void(world, requests[0])

    # 16 used of 10: 6 over at 0.005 is 0.03; 3 over 0.015, which is 0.02; then nothing.
    assert amounts(world) == [
        ("finalized", Decimal(6), Decimal("0.03")),
        ("credit", Decimal(-3), Decimal("-0.01")),
        ("credit", Decimal(-3), Decimal("-0.02")),
    ]
    assert OverageRecord.objects.values().get(id=final["id"]) == final
    credit = OverageRecord.objects.filter(status=OverageStatus.CREDIT).order_by("id").first()
    assert credit is not None
    assert (credit.corrects_id, credit.used, credit.status_reason) == (final["id"], Decimal(13), "refund")
    assert credit.lines == [{"description": "Units", "quantity": "-3", "unit_price": "0.005", "amount": "-0.015"}]
    assert OutboxEvent.objects.filter(type="overage.credited").count() == 2
    assert verify_ledger(tenant=world.tenant).differences == ()


def test_adjust_usage__bill_is_final__is_billed_and_takes_nothing_from_top_ups() -> None:
    world = make_world()
    quota = priced(world, "10", "1")
    world.post(request := world.request("12"))
    close_periods(before=NOW + DAY, now=NOW + DAY)
    set_clock(world, NOW + DAY)
    on = {"license": world.license.id}
    top_up = create_top_up(tenant=world.tenant, actor=ACTOR, quota=quota, amount="100", on=on, starts_at=NOW)

    adjust_usage(tenant=world.tenant, actor=ACTOR, id="more", corrects=request.id, quantity=Decimal(3))

    assert amounts(world) == [("finalized", Decimal(2), Decimal(2)), ("credit", Decimal(3), Decimal(3))]
    top_up.refresh_from_db()
    assert top_up.used == 0
    assert verify_ledger(tenant=world.tenant).differences == ()


def test_void_usage__closed_but_nothing_was_over__only_the_usage_is_put_right() -> None:
    world = make_world()
    quota = priced(world, "10")
    world.post(request := world.request("7"))
    close_periods(before=NOW + DAY, now=NOW + DAY)
    set_clock(world, NOW + DAY)

    void(world, request)

    assert world.used(quota) == Decimal(0)
    assert not OverageRecord.objects.exists()


def test_void_usage__open_overage__follows() -> None:
    world = make_world()
    priced(world, "10")
    world.post(world.request("11"), more := world.request("5"))
    roll_up_usage()
    accrue_overage()
    assert amounts(world) == [("open", Decimal(6), Decimal("3.00"))]
    set_clock(world, NOW)

    void(world, more)
    roll_up_usage()
    accrue_overage()

    assert amounts(world) == [("open", Decimal(1), Decimal("0.50"))]


def test_void_usage__license_has_changed_hands__former_customer_gets_it_back() -> None:
    world = make_world()
    quota = world.quota("100", on="customer")
    world.post(request := world.request("30"))
    former = world.license.customer
    successor = Customer.objects.create(tenant=world.tenant, external_id="successor")
    License.objects.filter(pk=world.license.pk).update(customer=successor)
    set_clock(world, NOW)

    [pair] = void(world, request).reversed

    assert pair.void.customer_id == former.id
    assert world.used(quota) == Decimal(0)


def test_void_usage__quota_made_after_the_void__counts_neither() -> None:
    world = make_world()
    world.post(request := world.request("30"))
    set_clock(world, NOW)
    void(world, request)

    quota = world.quota("100")
    world.post(world.request("1"))

    assert world.used(quota) == Decimal(1)


@pytest.mark.parametrize(("aggregation", "left"), [("max", 9), ("latest", 4)])
def test_void_usage__meter_that_does_not_add_up__is_counted_anew(aggregation: str, left: int) -> None:
    world = make_world()
    quota = world.quota("100")
    events = [
        UsageEvent(
            id=new_id(),
            tenant=world.tenant,
            customer=world.license.customer,
            license=world.license,
            agent=world.agents[0],
            agent_path=world.agents[0].path,
            meter=world.meter,
            client_id=f"call-{number}",
            quantity=number,
            occurred_at=NOW + timedelta(minutes=minute),
            recorded_at=NOW,
            kind="usage",
            xid=0,
        )
        for minute, number in enumerate([9, 12, 4, 30])
    ]
    UsageEvent.objects.bulk_create(events)
    world.post(world.request("0"))
    world.meter.aggregation = aggregation
    world.meter.save()
    set_clock(world, NOW + timedelta(hours=1))

    void(world, events[3].public_id)
    void(world, events[1].public_id)

    assert world.used(quota) == left


@pytest.mark.parametrize(
    ("aggregation", "after_one", "after_both"), [("max", 9, 9), ("latest", 5, 9), ("unique", 2, 1)]
)
def test_void_usage__earlier_months_are_gone__keeps_what_they_had_come_to(
    aggregation: str, after_one: int, after_both: int
) -> None:
    world = make_world()
    world.meter.__class__.objects.filter(id=world.meter.id).update(aggregation=aggregation)
    quota = world.quota("100", period="year")
    began = NOW.replace(day=1, hour=0)
    world.post(world.request("9", occurred_at=began - DAY, at=began - DAY))
    kept = [world.request("5"), world.request("7", at=NOW + timedelta(minutes=1))]
    world.post(kept[0])
    world.post(kept[1])
    # October went, as drop_old_events has it: the base is what it had come to, values of a unique meter stay.
    UsageEvent.objects.filter(occurred_at__lt=began).delete()
    DroppedMonth.objects.create(
        name="october", starts_at=began - 31 * DAY, ends_at=began, events=1, dropped_at=NOW, ids_forgotten_at=NOW
    )
    Balance.objects.filter(quota_key=quota.key).update(base=0 if aggregation == "unique" else 9)
    set_clock(world, NOW + timedelta(hours=1))

    void(world, kept[1])
    assert world.used(quota) == after_one
    void(world, kept[0])
    assert world.used(quota) == after_both
    DroppedMonth.objects.all().delete()
