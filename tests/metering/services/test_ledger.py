"""The ledger on a real PostgreSQL: what is counted, where, and what is left alone."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Thread

import pytest
from django.db import connection

from common.epochs import EpochKey
from licenses.models import License, LicensePlan, Plan
from licenses.selectors.access import load_license
from metering.domain.enums import EventKind
from metering.domain.quota_keys import quota_key
from metering.domain.requests import Verdict
from metering.models import Balance, EventId, LateEntry, Quota, UsageEvent
from metering.selectors.terms import load_caller
from metering.services import ledger
from metering.services.closing import close_periods
from metering.services.ledger import StaleCallers
from metering.services.quotas import archive_quota
from tenants.domain.actors import worker
from tenants.models import OutboxEvent
from tenants.services.epochs import bump_epochs
from tests.metering.ledger_world import NOW, make_world

pytestmark = pytest.mark.django_db(transaction=True)


def test_usage__three_levels__counts_on_each():
    world = make_world(agents=2)
    child, parent = world.agents
    quotas = [
        world.quota("100", on="agent", agent=child),
        world.quota("100", on="agent", agent=parent),
        world.quota("100"),
        world.quota("100", on="customer"),
        world.quota("100", on="tenant"),
    ]
    world.post(world.request("7.5", caller=world.caller(child)))
    world.post(world.request("2", caller=world.caller(parent)))
    own = {str(balance.subject_id): balance.used for balance in Balance.objects.filter(scope="agent")}
    assert own == {str(child.id): Decimal("7.5"), str(parent.id): Decimal("9.5")}
    assert [world.used(quota) for quota in quotas[2:]] == [Decimal("9.5")] * 3
    assert UsageEvent.objects.count() == EventId.objects.count() == 2


def test_usage__same_id_again__is_a_replay_and_counts_once():
    world = make_world()
    quota = world.quota("100")
    first = world.request("5", id="call-1", occurred_at=NOW)
    world.post(first)
    again = world.request("5.0", id="call-1", occurred_at=NOW)
    world.post(again)
    assert first.verdict is Verdict.DONE
    assert again.verdict is Verdict.REPLAYED
    assert again.known is not None
    assert again.known.event_ids == first.event_ids
    assert world.used(quota) == 5


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"quantity": "6"}, Verdict.CONFLICT),
        ({"dimensions": {"model": "large"}}, Verdict.CONFLICT),
        ({"occurred_at": NOW - timedelta(seconds=1)}, Verdict.CONFLICT),
        ({"kind": EventKind.CONSUME}, Verdict.CONFLICT),
        ({"at": NOW + timedelta(hours=1)}, Verdict.REPLAYED),
        ({"occurred_at": NOW}, Verdict.REPLAYED),
    ],
)
def test_usage__same_id_other_payload__conflicts_and_counts_nothing(change, verdict):
    world = make_world()
    quota = world.quota("100", mode="soft")
    world.post(world.request("5", id="call-1"))
    again = world.request(**({"quantity": "5", "id": "call-1"} | change))
    world.post(again)
    assert again.verdict is verdict
    assert world.used(quota) == 5
    assert UsageEvent.objects.count() == 1


def test_usage__same_id_twice_in_a_batch__first_counts_second_is_a_replay():
    world = make_world()
    quota = world.quota("100", mode="soft")
    caller = world.caller()
    requests = [world.request("5", id="x", caller=caller), world.request("5", id="x", caller=caller)]
    world.post(*requests)
    assert [request.verdict for request in requests] == [Verdict.DONE, Verdict.REPLAYED]
    assert world.used(quota) == 5


def test_usage__no_quota_at_all__event_and_id_are_kept():
    world = make_world()
    request = world.request("3", id="free")
    world.post(request)
    world.post(world.request("3", id="free"))
    assert UsageEvent.objects.get().quantity == 3
    assert EventId.objects.get().event_ids == list(request.event_ids)
    assert not Balance.objects.exists()


def test_usage__above_a_hard_quota__is_counted_as_a_fact_and_told():
    world = make_world()
    quota = world.quota("10", thresholds=[80, 100])
    request = world.request("25")
    world.post(request)
    assert request.verdict is Verdict.DONE
    assert world.used(quota) == 25
    told = list(OutboxEvent.objects.order_by("id").values_list("type", "data__threshold", "data__used"))
    assert told == [
        ("quota.threshold_reached", 80, "25"),
        ("quota.threshold_reached", 100, "25"),
        ("quota.exceeded", None, "25"),
    ]
    world.post(world.request("25"))
    assert OutboxEvent.objects.count() == 3


def test_consume__hard_quota__grants_up_to_the_limit_and_refuses_past_it():
    world = make_world()
    quota = world.quota("10")
    caller = world.caller()
    requests = [world.request(quantity, caller=caller, kind=EventKind.CONSUME) for quantity in ("6", "5", "4", "1")]
    world.post(*requests)
    verdicts = [request.verdict for request in requests]
    assert verdicts == [Verdict.DONE, Verdict.REFUSED, Verdict.DONE, Verdict.REFUSED]
    refusal = requests[1].refusals[0]
    assert (refusal.standing.used, refusal.asked, refusal.quota.limit) == (6, 5, 10)
    assert refusal.standing.resets_at == datetime(2026, 11, 24, tzinfo=UTC)
    assert world.used(quota) == 10
    assert EventId.objects.count() == 2


def test_consume__replayed_when_exhausted__is_not_refused():
    world = make_world()
    world.quota("10")
    world.post(world.request("10", id="step-1", kind=EventKind.CONSUME))
    again = world.request("10", id="step-1", kind=EventKind.CONSUME)
    world.post(again)
    assert again.verdict is Verdict.REPLAYED


def test_consume__refused_at_one_level__changes_no_level():
    world = make_world()
    tight, wide = world.quota("3", on="agent"), world.quota("100")
    request = world.request("4", kind=EventKind.CONSUME)
    world.post(request)
    assert request.verdict is Verdict.REFUSED
    assert [refusal.quota.id for refusal in request.refusals] == [tight.id]
    assert (world.used(tight), world.used(wide)) == (0, 0)


def test_consume__soft_quota_with_ceiling__refuses_above_the_ceiling_only():
    world = make_world()
    world.quota("10", mode="soft", ceiling=Decimal(15))
    caller = world.caller()
    requests = [world.request("5", caller=caller, kind=EventKind.CONSUME) for _ in range(4)]
    world.post(*requests)
    assert [request.verdict for request in requests] == [Verdict.DONE] * 3 + [Verdict.REFUSED]


def test_quota__with_a_filter__counts_matching_events_only():
    world = make_world()
    large = world.quota("100", filter={"model": "large"})
    everything = world.quota("100", period="month")
    caller = world.caller()
    world.post(
        world.request("1", caller=caller, dimensions={"model": "large"}),
        world.request("2", caller=caller, dimensions={"model": "small"}),
        world.request("4", caller=caller),
    )
    assert (world.used(large), world.used(everything)) == (1, 7)


def test_quota__made_in_mid_period__counts_what_the_period_has_seen():
    world = make_world()
    world.post(world.request("4"), world.request("8", occurred_at=NOW - timedelta(days=1)))
    quota = world.quota("100")
    world.post(world.request("1"))
    assert world.used(quota) == 5


def test_quota__back_after_a_pause__takes_up_what_it_missed():
    world = make_world()
    quota = world.quota("100")
    world.post(world.request("1"))
    quota.archived_at = NOW
    quota.save()
    Balance.objects.update(detached_at=NOW)
    world.post(world.request("2"))
    assert world.used(quota) == 1
    quota.archived_at = None
    quota.save()
    world.post(world.request("4"))
    assert world.used(quota) == 7
    assert Balance.objects.get().detached_at is None


def test_late_event__own_period_closed__counts_in_the_open_one_with_an_entry():
    world = make_world()
    quota = world.quota("100", mode="soft")
    yesterday = NOW - timedelta(days=1)
    world.post(world.request("10", at=yesterday))
    Balance.objects.update(closed_at=NOW)
    late = world.request("3", occurred_at=yesterday)
    world.post(late)
    used = dict(Balance.objects.filter(quota_key=quota.key).values_list("period_start", "used"))
    assert used == {
        datetime(2026, 11, 22, tzinfo=UTC): Decimal(10),
        datetime(2026, 11, 23, tzinfo=UTC): Decimal(3),
    }
    entry = LateEntry.objects.get()
    assert (entry.event_id, entry.quantity) == (late.lines[0].event_id, Decimal(3))
    assert OutboxEvent.objects.filter(type="usage.late").count() == 1


def test_ledger__epoch_bumped_since_the_snapshot__refuses_the_stale_caller():
    world = make_world()
    world.quota("100")
    caller = world.caller()
    bump_epochs(world.tenant.id, EpochKey("license", world.license.id))
    with pytest.raises(StaleCallers) as stale:
        world.post(world.request("1", caller=caller))
    assert stale.value.callers == (caller,)
    assert not UsageEvent.objects.exists()
    world.post(world.request("1"))
    assert UsageEvent.objects.count() == 1


def test_ledger__month_without_a_partition__is_made_on_the_way():
    world = make_world()
    at = datetime(2031, 5, 6, tzinfo=UTC)
    world.post(world.request("1", at=at))
    assert UsageEvent.objects.get().occurred_at == at


def test_ledger__quantities_of_31_digits__lose_none():
    world = make_world()
    quota = world.quota("1", mode="soft", period="lifetime")
    caller = world.caller()
    world.post(*(world.request("999999999999999999.000000000001", caller=caller) for _ in range(3)))
    assert world.used(quota) == Decimal("2999999999999999997.000000000003")


def test_ledger__batch_of_1000_over_four_levels__is_exact():
    world = make_world()
    quotas = [world.quota("1", on=on, mode="soft") for on in ("agent", "license", "customer", "tenant")]
    caller = world.caller()
    requests = [
        world.request(str(number), id=f"e{number} \t\\ \n", caller=caller, dimensions={"model": "a\tb\\"})
        for number in range(1, 1001)
    ]
    world.post(*requests)
    assert {world.used(quota) for quota in quotas} == {Decimal(500500)}
    assert UsageEvent.objects.filter(dimensions={"model": "a\tb\\"}).count() == 1000
    assert UsageEvent.objects.get(id=requests[6].lines[0].event_id).client_id == "e7 \t\\ \n"


def test_customer_quota__brought_by_two_plans__counts_all_usage_of_the_customer_once_each():
    world = make_world()
    first = world.quota("100", mode="soft")
    Quota.objects.filter(id=first.id).update(
        scope="customer", license=None, plan=world.plan, key=quota_key_for(world, world.plan)
    )
    other_plan = Plan.objects.create(tenant=world.tenant, product=world.plan.product, code="max", name="Max")
    other = License.objects.create(tenant=world.tenant, customer=world.license.customer, starts_at=NOW)
    LicensePlan.objects.create(tenant=world.tenant, license=other, plan=other_plan, role="base")
    second = world.quota("50", mode="soft")
    Quota.objects.filter(id=second.id).update(
        scope="customer", license=None, plan=other_plan, key=quota_key_for(world, other_plan)
    )
    access = load_license(world.tenant.id, other.id)
    assert access is not None
    world.post(world.request("7"), world.request("5", caller=load_caller(access)))
    balances = Balance.objects.values_list("subject_id", "used")
    assert list(balances) == [(world.license.customer_id, 12), (world.license.customer_id, 12)]


def quota_key_for(world, plan):
    return quota_key(
        tenant_id=world.tenant.id,
        plan_id=plan.id,
        scope="customer",
        meter_id=world.meter.id,
        filter={},
        period="day",
    )


@pytest.mark.parametrize("kind", [EventKind.USAGE, EventKind.CONSUME])
def test_post__overtaken_by_the_closing_of_its_period__comes_again_and_counts_in_the_next(kind):
    world = make_world()
    world.quota("10")
    world.post(world.request("4"))
    midnight = datetime(2026, 11, 24, tzinfo=UTC)
    close_periods(now=midnight, before=midnight)

    with pytest.raises(StaleCallers):
        world.post(world.request("3", kind=kind, at=midnight - timedelta(milliseconds=1)))
    world.post(world.request("3", kind=kind, at=midnight))

    assert list(Balance.objects.order_by("period_start").values_list("used", flat=True)) == [4, 3]
    assert not LateEntry.objects.exists()


def test_post__quota_taken_away_before_its_balance_is_made__leaves_no_balance_behind(monkeypatch):
    world = make_world()
    quota = world.quota("10")

    def archive() -> None:
        archive_quota(tenant=world.tenant, quota_id=quota.id, actor=worker("test"))
        connection.close()

    keep_configuration = ledger._Work._keep_configuration

    def too_late(work: ledger._Work) -> None:
        thread = Thread(target=archive)
        thread.start()
        thread.join()
        keep_configuration(work)

    monkeypatch.setattr(ledger._Work, "_keep_configuration", too_late)
    with pytest.raises(StaleCallers):
        world.post(world.request("4"))
    assert not Balance.objects.exists()


def test_usage__on_a_soft_quota_of_zero__is_pay_per_use_and_tells_of_no_threshold():
    world = make_world()
    quota = world.quota("0", mode="soft", thresholds=[80, 100])
    world.post(world.request("25"), world.request("5", kind=EventKind.CONSUME))
    assert world.used(quota) == 30
    assert not OutboxEvent.objects.exists()
