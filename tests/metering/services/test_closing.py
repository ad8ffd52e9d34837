from datetime import timedelta
from decimal import Decimal
from threading import Thread

import pytest
from django.db import connections

from metering.domain.enums import OverageStatus, Period, QuotaMode, Scope
from metering.models import Balance, OverageRecord, Price
from metering.services.closing import close_periods
from metering.services.overage import accrue_overage
from tenants.domain.enums import TenantMode
from tenants.models import OutboxEvent
from tests.metering.ledger_rows import DECEMBER, NOVEMBER, OCTOBER, Workspace

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)


def closed_at(balance: Balance) -> object:
    return Balance.objects.get(pk=balance.pk).closed_at


def test_close_periods__grace_for_late_events__closes_at_its_end_and_not_before() -> None:
    workspace = Workspace.make()
    balance = workspace.balance(workspace.quota())

    assert close_periods(now=DECEMBER + HOUR - timedelta(microseconds=1)).balances == 0
    assert closed_at(balance) is None

    assert close_periods(now=DECEMBER + HOUR).balances == 1
    assert closed_at(balance) == DECEMBER + HOUR
    assert not OverageRecord.objects.exists()
    assert not OutboxEvent.objects.exists()


def test_close_periods__usage_above_the_limit__final_record_and_one_notice() -> None:
    workspace = Workspace.make()
    balance = workspace.balance(workspace.quota("100"))
    workspace.price("0.005")
    workspace.use("101", balance)
    accrue_overage(now=DECEMBER - HOUR)
    opened = OverageRecord.objects.get()
    workspace.use("2", balance)

    closed = close_periods(now=DECEMBER + HOUR)

    record = OverageRecord.objects.get()
    assert (closed.balances, closed.finalized) == (1, 1)
    assert (record.id, record.status, record.finalized_at) == (opened.id, "finalized", DECEMBER + HOUR)
    assert (record.used, record.quantity, record.amount) == (Decimal(103), Decimal(3), Decimal("0.02"))
    event = OutboxEvent.objects.get()
    assert (event.type, event.subject) == ("overage.finalized", record.public_id)
    assert event.data == {
        "overage": record.public_id,
        "quota": record.quota.public_id,
        "meter": "tokens",
        "license": workspace.license.public_id,
        "customer": workspace.customer.public_id,
        "period_start": "2026-11-01T00:00:00+00:00",
        "period_end": "2026-12-01T00:00:00+00:00",
        "quantity": "3",
        "amount": "0.02",
        "currency": "USD",
    }


def test_close_periods__never_accrued__record_is_made_final_at_once() -> None:
    workspace = Workspace.make()
    balance = workspace.balance(workspace.quota("0"))
    workspace.price("0.5")
    workspace.use("3", balance)

    close_periods(now=DECEMBER + HOUR)

    assert OverageRecord.objects.get().amount == Decimal("1.50")


def test_close_periods__again_and_after_more_changes__final_record_never_changes() -> None:
    workspace = Workspace.make()
    balance = workspace.balance(workspace.quota("0"))
    workspace.price("0.5")
    workspace.use("3", balance)
    close_periods(now=DECEMBER + HOUR)
    before = OverageRecord.objects.values().get()
    Price.objects.update(unit_price=9)
    workspace.use("3", balance)

    assert close_periods(now=DECEMBER + 2 * HOUR).balances == 0
    assert accrue_overage(now=DECEMBER + 2 * HOUR, everything=True) == 0
    assert OverageRecord.objects.values().get() == before
    assert OutboxEvent.objects.count() == 1


def test_close_periods__open_record_but_nothing_over_any_more__record_is_withdrawn() -> None:
    workspace = Workspace.make()
    balance = workspace.balance(workspace.quota("10"))
    workspace.price("1")
    workspace.use("12", balance)
    accrue_overage(now=DECEMBER - HOUR)
    workspace.use("-12", balance)

    assert close_periods(now=DECEMBER + HOUR).finalized == 0
    assert not OverageRecord.objects.exists()


def test_close_periods__explicit_time__closes_without_the_grace_but_nothing_later() -> None:
    workspace = Workspace.make()
    quota = workspace.quota()
    ended = workspace.balance(quota, month=OCTOBER)
    running = workspace.balance(quota, month=NOVEMBER)
    lifetime = workspace.balance(workspace.quota(period=Period.LIFETIME))

    assert close_periods(now=NOVEMBER, before=NOVEMBER, tenant=workspace.tenant).balances == 1
    # Not even asked for may a period end before its time.
    assert close_periods(now=DECEMBER - HOUR, before=DECEMBER).balances == 0

    assert closed_at(ended) == NOVEMBER
    assert (closed_at(running), closed_at(lifetime)) == (None, None)


def test_close_periods__one_tenant_asked_for__others_stay_open() -> None:
    mine, other = Workspace.make("mine"), Workspace.make("other")
    mine.balance(mine.quota())
    theirs = other.balance(other.quota())

    assert close_periods(now=DECEMBER + HOUR, tenant=mine.tenant).balances == 1
    assert closed_at(theirs) is None


def test_close_periods__test_workspace_ahead__by_its_own_clock() -> None:
    ahead = Workspace.make("ahead", mode=TenantMode.TEST, clock_offset=timedelta(days=31))
    live = Workspace.make("live")
    theirs = ahead.balance(ahead.quota(), month=NOVEMBER)
    mine = live.balance(live.quota(), month=NOVEMBER)
    now = NOVEMBER + HOUR

    assert close_periods(now=now).balances == 1
    assert closed_at(theirs) == now + timedelta(days=31)
    assert closed_at(mine) is None


def test_close_periods__all_levels__each_closed_and_only_the_billed_one_costs() -> None:
    workspace = Workspace.make()
    workspace.price("1")
    balances = [
        workspace.balance(workspace.quota("1")),
        workspace.balance(workspace.quota("1", scope=Scope.CUSTOMER)),
        workspace.balance(workspace.quota("1", scope=Scope.AGENT, mode=QuotaMode.HARD)),
    ]
    workspace.use("5", *balances)

    closed = close_periods(now=DECEMBER + HOUR)

    assert (closed.balances, closed.finalized) == (3, 1)
    assert OverageRecord.objects.get().balance_id == balances[0].id


def test_close_periods__price_that_cannot_be_applied__that_balance_stays_open_and_others_close() -> None:
    broken, sound = Workspace.make("broken"), Workspace.make("sound")
    for workspace in (broken, sound):
        workspace.price("1")
        workspace.use("5", workspace.balance(workspace.quota("0")))
    Price.objects.filter(tenant=broken.tenant).update(unit_price=None)

    closed = close_periods(now=DECEMBER + HOUR)

    assert (closed.balances, closed.finalized, len(closed.refused)) == (1, 1, 1)
    assert Balance.objects.get(closed_at__isnull=True).tenant == broken.tenant

    Price.objects.update(unit_price=2)
    assert close_periods(now=DECEMBER + HOUR).finalized == 1
    assert sorted(OverageRecord.objects.values_list("amount", flat=True)) == [Decimal(5), Decimal(10)]


def test_close_periods__four_at_once__each_period_billed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metering.services.closing.CHUNK", 3)
    for number in range(20):
        workspace = Workspace.make(f"vendor-{number}")
        workspace.price("1")
        workspace.use("2", workspace.balance(workspace.quota("0")))
        workspace.balance(workspace.quota(scope=Scope.TENANT, plan=workspace.add_on()))
    counts: list[int] = []

    def close() -> None:
        counts.append(close_periods(now=DECEMBER + HOUR).balances)
        accrue_overage(now=DECEMBER + HOUR, everything=True)
        connections.close_all()

    threads = [Thread(target=close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(counts) == 40
    assert OverageRecord.objects.filter(status=OverageStatus.FINALIZED, amount=2).count() == 20
    assert OverageRecord.objects.count() == 20
    assert OutboxEvent.objects.filter(type="overage.finalized").count() == 20
    assert not Balance.objects.filter(closed_at__isnull=True).exists()
