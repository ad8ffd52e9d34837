from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command
from django.db.models import F
from django.db.models.functions import Now

from common.ids import new_id
from metering.domain.enums import Period, QuotaMode, Scope
from metering.domain.quota_keys import event_digest
from metering.models import Balance, EventId, HoldLine, LateEntry, OverageRecord, Quota, TopUp, UsageEvent, UsageRollup
from metering.services.closing import close_periods
from metering.services.overage import accrue_overage
from metering.services.rollups import roll_up_usage
from metering.services.verification import Difference, verify_ledger
from tests.metering.ledger_rows import DECEMBER, NOVEMBER, OCTOBER, Workspace

pytestmark = pytest.mark.django_db(transaction=True)


def found() -> list[Difference]:
    return list(verify_ledger().differences)


def kinds() -> list[str]:
    return [difference.kind for difference in found()]


def busy_workspace(slug: str = "acme") -> Workspace:
    """Every level, filters, a lifetime, holds, a finished month with a bill, and a month under way with an overage."""
    workspace = Workspace.make(slug)
    workspace.price("0.25")
    monthly = workspace.quota("10")
    large = workspace.quota("5", mode=QuotaMode.HARD, only={"model": "large"})
    others = [
        workspace.quota("1000", scope=Scope.AGENT, mode=QuotaMode.HARD, on=workspace.agent),
        workspace.quota("1000", scope=Scope.AGENT, mode=QuotaMode.HARD, on=workspace.worker, period=Period.LIFETIME),
        workspace.quota("1000", scope=Scope.CUSTOMER),
        workspace.quota("1000", scope=Scope.TENANT, plan=workspace.plan, period=Period.LIFETIME),
    ]
    month_of = {month: workspace.balance(monthly, month=month) for month in (OCTOBER, NOVEMBER)}
    large_of = {month: workspace.balance(large, month=month) for month in (OCTOBER, NOVEMBER)}
    lasting = [workspace.balance(quota) for quota in others if quota.period == Period.LIFETIME]
    rest = {
        month: [workspace.balance(quota, month=month) for quota in others if quota.period == Period.MONTH]
        for month in (OCTOBER, NOVEMBER)
    }
    for month in (OCTOBER, NOVEMBER):
        for hours in (0, 5, 29):
            counted = [month_of[month], *rest[month], *lasting]
            workspace.use(
                "4.5", *counted, large_of[month], at=month + timedelta(hours=hours), dimensions={"model": "large"}
            )
            workspace.use("0.000000000001", *counted, at=month + timedelta(hours=hours), dimensions={"model": "small"})
    workspace.hold("3", month_of[NOVEMBER], *rest[NOVEMBER], expires_at=DECEMBER)
    close_periods(now=NOVEMBER + timedelta(hours=2))
    roll_up_usage()
    Balance.objects.update(updated_at=Now() - timedelta(hours=1))
    accrue_overage(everything=True)
    return workspace


def test_verify_ledger__sound__no_difference_and_counts() -> None:
    busy_workspace()

    proof = verify_ledger()

    assert proof.differences == ()
    assert proof.summary == (
        "no difference: 12 events (0 not rolled up yet), 12 event ids, 10 balances, 3 hold lines, 20 roll-ups, "
        "2 overage records"
    )


def test_verify_ledger__events_not_rolled_up_yet__are_a_tail() -> None:
    workspace = busy_workspace()
    balance = Balance.objects.get(scope=Scope.LICENSE, period_start=NOVEMBER, filter={})
    workspace.use("1", balance, agent=workspace.agent, dimensions={"model": "tiny"})
    Balance.objects.exclude(pk=balance.pk).exclude(scope=Scope.LICENSE).exclude(period_start=OCTOBER).exclude(
        subject_id=workspace.worker.id
    ).update(used=F("used") + 1)

    proof = verify_ledger()

    assert proof.differences == ()
    assert proof.counts.waiting == 1


def lose_event() -> None:
    UsageEvent.objects.filter(pk=UsageEvent.objects.order_by("id")[0].pk).delete()


def change_event() -> None:
    UsageEvent.objects.filter(pk=UsageEvent.objects.order_by("id")[0].pk).update(quantity=9)


def forget_id() -> None:
    EventId.objects.filter(digest=EventId.objects.order_by("occurred_at")[0].digest).delete()


def count_twice() -> None:
    event = UsageEvent.objects.order_by("id")[0]
    event.id = new_id()
    event.quantity = Decimal(0)
    event.save(force_insert=True)
    EventId.objects.create(
        tenant_id=event.tenant_id,
        digest=event_digest(event.license_id, b"again", event.client_id),
        fingerprint=new_id(),
        kind=event.kind,
        occurred_at=event.occurred_at,
        occurred_given=True,
        event_ids=[event.id],
    )


def rename_event() -> None:
    UsageEvent.objects.filter(pk=UsageEvent.objects.order_by("id")[0].pk).update(client_id="another")


TAMPERINGS: list[tuple[Callable[[], object], set[str]]] = [
    (lose_event, {"balance", "event", "rollup"}),
    (change_event, {"balance", "rollup"}),
    (forget_id, {"event_id"}),
    (rename_event, {"event_id"}),
    (count_twice, {"event_id", "rollup"}),
    (lambda: Balance.objects.filter(scope=Scope.TENANT).update(used=F("used") + 1), {"balance"}),
    (lambda: Balance.objects.filter(scope=Scope.AGENT).update(used=F("used") - Decimal("0.000000000001")), {"balance"}),
    (lambda: Balance.objects.filter(scope=Scope.LICENSE, period_start=OCTOBER).update(used=2), {"balance", "overage"}),
    (lambda: Balance.objects.filter(scope=Scope.CUSTOMER, closed_at=None).update(held=1), {"held"}),
    (lambda: HoldLine.objects.update(open=False), {"held"}),
    (lambda: UsageRollup.objects.filter(size="day").update(total=F("total") + 1), {"rollup"}),
    (lambda: UsageRollup.objects.filter(size="quarter").update(events=F("events") + 1), {"rollup"}),
    (lambda: UsageRollup.objects.filter(size="quarter").delete(), {"rollup"}),
    (lambda: OverageRecord.objects.filter(status="finalized").update(amount=1), {"overage"}),
    (lambda: OverageRecord.objects.filter(status="finalized").update(quantity=1), {"overage"}),
    (lambda: OverageRecord.objects.filter(status="finalized").update(lines=[]), {"overage"}),
    (lambda: OverageRecord.objects.filter(status="finalized").delete(), {"overage"}),
    (lambda: OverageRecord.objects.filter(status="open").delete(), {"overage"}),
    (
        lambda: OverageRecord.objects.filter(status="open").update(used=F("used") + 1, quantity=F("quantity") + 1),
        {"overage"},
    ),
    (lambda: Quota.objects.filter(scope=Scope.LICENSE).update(limit=12), {"overage"}),
    (lambda: Quota.objects.filter(scope=Scope.LICENSE).update(limit=1000), {"overage"}),
]


@pytest.mark.parametrize(("tamper", "expected"), TAMPERINGS)
def test_verify_ledger__something_changed_by_hand__found(tamper: Callable[[], object], expected: set[str]) -> None:
    busy_workspace()

    tamper()

    assert set(kinds()) == expected


def test_verify_ledger__late_event__counts_where_it_was_counted() -> None:
    workspace = busy_workspace()
    own = Balance.objects.get(scope=Scope.LICENSE, period_start=OCTOBER, filter={})
    opened = Balance.objects.get(scope=Scope.LICENSE, period_start=NOVEMBER, filter={})
    customer = Balance.objects.get(scope=Scope.CUSTOMER, period_start=OCTOBER)
    Balance.objects.filter(pk=customer.pk).update(closed_at=None)
    agents = Balance.objects.filter(scope=Scope.AGENT).exclude(period_start=NOVEMBER)
    tenant = Balance.objects.get(scope=Scope.TENANT)
    event = workspace.use("2", opened, customer, tenant, *agents, at=OCTOBER + timedelta(days=20))
    assert set(kinds()) == {"balance"}

    LateEntry.objects.create(
        tenant=workspace.tenant,
        event_id=event.id,
        occurred_at=event.occurred_at,
        balance=opened,
        own_balance_id=own.id,
        quantity=Decimal(2),
    )
    assert found() == []

    LateEntry.objects.update(quantity=3)
    assert set(kinds()) == {"balance", "late_entry"}
    LateEntry.objects.update(quantity=2, event_id=new_id())
    assert set(kinds()) == {"balance", "late_entry"}


def test_verify_ledger__balance_let_go__counts_what_was_recorded_before() -> None:
    workspace = Workspace.make()
    balance = workspace.balance(workspace.quota())
    workspace.use("2", balance, at=NOVEMBER + timedelta(hours=1))
    workspace.use("4", at=NOVEMBER + timedelta(hours=3))
    assert kinds() == ["balance"]

    Balance.objects.update(detached_at=NOVEMBER + timedelta(hours=2))
    assert found() == []

    Balance.objects.update(used=6)
    assert kinds() == ["balance"]

    # At the very moment of letting go an event may have counted or not.
    Balance.objects.update(detached_at=NOVEMBER + timedelta(hours=3))
    assert found() == []
    Balance.objects.update(used=2)
    assert found() == []


def test_verify_ledger__top_up_without_its_burns__found() -> None:
    workspace = Workspace.make()
    quota = workspace.quota()
    TopUp.objects.create(
        tenant=workspace.tenant,
        quota=quota,
        quota_key=quota.key,
        scope=quota.scope,
        subject_id=workspace.license.id,
        amount=5,
        used=1,
        starts_at=NOVEMBER,
    )

    assert kinds() == ["top_up"]


def test_verify_ledger__before_anything_was_rolled_up__no_difference() -> None:
    workspace = Workspace.make()
    workspace.use("1", workspace.balance(workspace.quota()))

    assert found() == []
    assert verify_ledger().counts.waiting == 1


def test_verify_ledger__usage_above_the_limit_a_moment_ago__accrual_may_be_on_its_way() -> None:
    workspace = Workspace.make()
    workspace.price()
    balance = workspace.balance(workspace.quota("0"))
    accrue_overage(now=datetime.now(UTC))
    workspace.use("1", balance)
    accrue_overage(now=datetime.now(UTC))
    workspace.use("1", balance)

    assert found() == []


def test_verify_ledger_command__difference__named_in_words_and_exit_status_1() -> None:
    busy_workspace("one")
    other = Workspace.make("two")
    balance = other.balance(other.quota(), "3")
    out = StringIO()

    with pytest.raises(SystemExit) as stopped:
        call_command("verify_ledger", stdout=out)

    assert stopped.value.code == 1
    assert out.getvalue().splitlines()[0] == (
        f"balance: {balance.public_id} of subject {other.license.id} from 2026-11-01T00:00:00+00:00 has used 3, "
        "its events come to 0."
    )
    assert out.getvalue().splitlines()[1].startswith("1 difference: 12 events ")


def test_verify_ledger_command__one_tenant__others_are_not_looked_at() -> None:
    busy_workspace("one")
    other = Workspace.make("two")
    other.balance(other.quota(), "3")
    out = StringIO()

    call_command("verify_ledger", "--tenant", "one", stdout=out)

    assert out.getvalue().startswith("no difference: 12 events (0 not rolled up yet), 12 event ids, 10 balances")
    with pytest.raises(SystemExit):
        call_command("verify_ledger", "--tenant", "two", stdout=StringIO())
