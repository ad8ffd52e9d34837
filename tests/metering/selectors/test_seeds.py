"""What a balance begins with: the same from roll-ups as from events, wherever its period's edges lie."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from threading import Thread

import pytest
from django.db import connection, connections
from django.db.models import Sum

from common.ids import new_id
from metering.domain.enums import Scope
from metering.domain.periods import LIFETIME, Window
from metering.models import LateEntry, UsageEvent
from metering.selectors import seeds
from metering.services.rollups import roll_up_usage
from tests.metering.ledger_rows import Workspace

pytestmark = pytest.mark.django_db(transaction=True)

START = datetime(2026, 11, 1, tzinfo=UTC)
STAGES = ["nothing rolled up", "half rolled up", "all rolled up"]


def seed(
    workspace: Workspace, window: Window, scope: Scope = Scope.LICENSE, filter: dict[str, str] | None = None
) -> Decimal:
    subject = {
        Scope.AGENT: workspace.agent.id,
        Scope.LICENSE: workspace.license.id,
        Scope.CUSTOMER: workspace.customer.id,
        Scope.TENANT: workspace.tenant.id,
    }[scope]
    return seeds.counted(
        balance_id=new_id(),
        tenant_id=workspace.tenant.id,
        meter_id=workspace.meter.id,
        scope=scope,
        subject_id=subject,
        license_id=workspace.license.id,
        filter=filter or {},
        window=window,
    )


def naive(workspace: Workspace, window: Window, scope: Scope, filter: dict[str, str]) -> Decimal:
    events = UsageEvent.objects.for_tenant(workspace.tenant).filter(
        meter=workspace.meter, occurred_at__gte=window.start, dimensions__contains=filter
    )
    if window.end is not None:
        events = events.filter(occurred_at__lt=window.end)
    if scope is Scope.AGENT:
        events = events.filter(agent_path__contains=[workspace.agent.id])
    return events.aggregate(total=Sum("quantity"))["total"] or Decimal(0)


@pytest.mark.parametrize("stage", STAGES)
def test_counted__windows_with_any_edges__equals_the_sum_of_events(stage: str) -> None:
    workspace = Workspace.make()
    random = Random(7)
    for place in range(60):
        at = START + timedelta(seconds=random.randrange(6 * 86_400))
        agent = random.choice([workspace.agent, workspace.worker])
        workspace.use(str(place + 1), at=at, agent=agent, dimensions={"model": random.choice(["small", "large"])})
        if stage == "half rolled up" and place == 30:
            roll_up_usage()
    if stage == "all rolled up":
        roll_up_usage()
    windows = [LIFETIME, Window(START, START + timedelta(days=6)), Window(START + timedelta(minutes=7), None)]
    for _ in range(40):
        start = START + timedelta(seconds=random.randrange(5 * 86_400))
        windows.append(Window(start, start + timedelta(seconds=random.choice([1, 600, 5000, 90_000, 300_000]))))

    for window in windows:
        for scope in Scope:
            for filter in ({}, {"model": "large"}):
                assert seed(workspace, window, scope, filter) == naive(workspace, window, scope, filter)


@pytest.mark.parametrize("stage", STAGES)
def test_counted__events_that_count_elsewhere__are_moved(stage: str) -> None:
    workspace = Workspace.make()
    quota = workspace.quota()
    own, taken = workspace.balance(quota), workspace.balance(quota, month=datetime(2026, 12, 1, tzinfo=UTC))
    workspace.use("5")
    late = workspace.use("7")
    LateEntry.objects.create(
        tenant=workspace.tenant,
        event_id=late.id,
        occurred_at=late.occurred_at,
        balance=taken,
        own_balance_id=own.id,
        quantity=7,
    )
    if stage != "nothing rolled up":
        roll_up_usage()

    def of(balance: object) -> Decimal:
        return seeds.counted(
            balance_id=balance.id,  # type: ignore[attr-defined]
            tenant_id=workspace.tenant.id,
            meter_id=workspace.meter.id,
            scope=Scope.LICENSE,
            subject_id=workspace.license.id,
            license_id=workspace.license.id,
            filter={},
            window=Window(balance.period_start, balance.period_end),  # type: ignore[attr-defined]
        )

    assert (of(own), of(taken)) == (Decimal(5), Decimal(7))


def test_counted__another_workspace_or_meter__is_not_seen() -> None:
    workspace, other = Workspace.make(), Workspace.make("other")
    other.use("9")
    roll_up_usage()
    other.use("9")

    assert [seed(workspace, LIFETIME, scope) for scope in Scope] == [Decimal(0)] * 4


def test_counted__events_that_are_not_kept_any_more__still_count_in_their_buckets() -> None:
    workspace = Workspace.make()
    workspace.use("5")
    roll_up_usage()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM metering_usageevent")
    workspace.use("3", at=START + timedelta(days=10))

    assert seed(workspace, LIFETIME) == Decimal(8)


def test_counted__while_the_roll_up_is_running__never_twice_and_never_missed() -> None:
    workspace = Workspace.make()
    done = False
    begun = committed = 0
    wrong: list[tuple[int, Decimal, int]] = []

    def read() -> None:
        while not done:
            least = committed
            found = seed(workspace, LIFETIME)
            if not least <= found <= begun:
                wrong.append((least, found, begun))
        connections.close_all()

    reader = Thread(target=read)
    reader.start()
    try:
        for place in range(40):
            begun += 1
            workspace.use("1", at=START + timedelta(hours=place))
            committed += 1
            if place % 4 == 3:
                roll_up_usage(chunk=2)
    finally:
        done = True
        reader.join()

    assert wrong == []
    assert seed(workspace, LIFETIME) == Decimal(40)
