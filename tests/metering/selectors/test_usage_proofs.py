"""What balances are held against, beside a plain sum over the events in Python."""

from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from uuid import UUID

import pytest

from common.ids import new_id
from metering.domain.enums import Period, Scope
from metering.models import Balance, LateEntry, UsageEvent
from metering.selectors.usage_proofs import differing_balances
from tests.metering.ledger_rows import NOVEMBER, Workspace

pytestmark = pytest.mark.django_db(transaction=True)

MICROSECOND = timedelta(microseconds=1)
QUARTER = timedelta(minutes=15)
#: Begin and end, from the beginning of a quarter of an hour.
WINDOWS = [
    (timedelta(0), QUARTER),
    (timedelta(0), timedelta(hours=1)),
    (timedelta(hours=3), timedelta(days=2)),
    (MICROSECOND, QUARTER),
    (MICROSECOND, QUARTER + MICROSECOND),
    (timedelta(0), QUARTER - MICROSECOND),
    (timedelta(minutes=1), timedelta(minutes=2)),
    (timedelta(minutes=14), timedelta(minutes=16)),
    (timedelta(minutes=7, microseconds=3), timedelta(days=1, minutes=7, microseconds=3)),
    (-timedelta(hours=30), timedelta(hours=30, minutes=5)),
    (timedelta(minutes=5), None),
    (-timedelta(days=20_000), None),
    (timedelta(days=5), timedelta(days=6)),
]


def balance_of(
    workspace: Workspace,
    scope: Scope,
    subject_id: UUID,
    start: datetime,
    end: datetime | None,
    only: dict[str, str] | None = None,
) -> Balance:
    """A balance of a quota that nobody knows, with a number that is certainly wrong."""
    return Balance.objects.create(
        id=new_id(),
        tenant=workspace.tenant,
        quota_key=new_id(),
        scope=scope,
        subject_id=subject_id,
        meter=workspace.meter,
        filter=only or {},
        period=Period.DAY,
        period_start=start,
        period_end=end,
        used=Decimal(-1),
    )


def counts(balance: Balance, event: UsageEvent) -> bool:
    """Whether an event belongs to a balance, by the rule."""
    subjects = {
        Scope.AGENT: event.agent_path,
        Scope.LICENSE: [event.license_id],
        Scope.CUSTOMER: [event.customer_id],
        Scope.TENANT: [event.tenant_id],
    }
    return (
        balance.subject_id in subjects[Scope(balance.scope)]
        and balance.period_start <= event.occurred_at
        and (balance.period_end is None or event.occurred_at < balance.period_end)
        and balance.filter.items() <= event.dimensions.items()
    )


def sought() -> dict[UUID, Decimal]:
    found = list(differing_balances(None))
    assert all(each.least == each.most for each in found)
    return {each.id: each.least for each in found}


@pytest.mark.parametrize("seed", [1, 2])
def test_differing_balances__periods_of_all_kinds__come_to_the_sum_of_their_events(seed: int) -> None:
    random = Random(seed)
    workspace = Workspace.make(f"w{seed}")
    base = NOVEMBER + timedelta(days=9, hours=6)
    times = [
        base + random.choice([-1, 0, 1, 96, 97]) * QUARTER + random.choice([-1, 0, 1]) * MICROSECOND for _ in range(40)
    ]
    times += [base + timedelta(seconds=random.randrange(-80_000, 200_000)) for _ in range(40)]
    events = [
        workspace.use(
            random.choice(["1", "-2.5", "0.000000000001"]),
            at=at,
            agent=random.choice([workspace.agent, workspace.worker]),
            dimensions=random.choice([{}, {"model": "large"}, {"model": "small"}]),
        )
        for at in times
    ]
    subjects = [
        (Scope.AGENT, workspace.agent.id),
        (Scope.AGENT, workspace.worker.id),
        (Scope.LICENSE, workspace.license.id),
        (Scope.CUSTOMER, workspace.customer.id),
        (Scope.TENANT, workspace.tenant.id),
        # A subject of another kind is none.
        (Scope.CUSTOMER, workspace.license.id),
    ]
    balances = [
        balance_of(workspace, scope, subject, base + first, None if last is None else base + last, only)
        for first, last in WINDOWS
        for (scope, subject), only in zip(subjects, [None, None, None, {"model": "large"}, None, None], strict=True)
    ]

    assert sought() == {
        balance.id: sum((event.quantity for event in events if counts(balance, event)), Decimal(0))
        for balance in balances
    }


@pytest.mark.parametrize("minutes", [0, 5])
def test_differing_balances__event_counted_elsewhere__is_left_out_once_and_only_where_it_belongs(minutes: int) -> None:
    workspace = Workspace.make()
    start = NOVEMBER + timedelta(days=3, minutes=minutes)
    days = [start + timedelta(days=day) for day in range(4)]
    own, other, late = (
        balance_of(workspace, Scope.LICENSE, workspace.license.id, *days[day : day + 2]) for day in range(3)
    )
    workspace.use("1", at=start)
    event = workspace.use("2", at=start + timedelta(minutes=1))
    for balance, counted_as in ((late, "2"), (other, "7")):
        LateEntry.objects.create(
            tenant=workspace.tenant,
            event_id=event.id,
            occurred_at=event.occurred_at,
            balance=balance,
            own_balance_id=own.id,
            quantity=Decimal(counted_as),
        )
    # It says that it is missing in a balance in which it never was.
    stranger = workspace.use("4", at=start + timedelta(days=9))
    LateEntry.objects.create(
        tenant=workspace.tenant,
        event_id=stranger.id,
        occurred_at=stranger.occurred_at,
        balance=late,
        own_balance_id=own.id,
        quantity=Decimal(4),
    )

    assert sought() == {own.id: Decimal(1), other.id: Decimal(7), late.id: Decimal(6)}


def test_differing_balances__no_event_at_all__a_balance_for_ever_comes_to_its_base() -> None:
    workspace = Workspace.make()
    balance = balance_of(workspace, Scope.LICENSE, workspace.license.id, NOVEMBER, None)
    let_go = balance_of(workspace, Scope.CUSTOMER, workspace.customer.id, NOVEMBER, None)
    Balance.objects.filter(pk=balance.pk).update(base=3)
    Balance.objects.filter(pk=let_go.pk).update(detached_at=NOVEMBER)

    assert sought() == {balance.id: Decimal(3), let_go.id: Decimal(0)}
