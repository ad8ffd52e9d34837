"""A clock that is moved in one long step leaves behind what it leaves behind in many short ones."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from common.clock import real_clock
from licenses.models import Agent, License, Plan
from metering.domain.enums import Period
from metering.domain.periods import period_window
from metering.models import Balance, Hold, OverageRecord
from metering.services.clock_moves import go_on_to, move_clock_to
from metering.services.verification import verify_ledger
from tenants.domain.enums import TenantMode
from tenants.models import OutboxEvent, Tenant
from tenants.selectors.clocks import clock_of
from tests.factories import ACTOR
from tests.metering.ledger_rows import Workspace

pytestmark = pytest.mark.django_db(transaction=True)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def month_after(at: datetime) -> datetime:
    return (at.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + 32 * DAY).replace(day=1)


def rehearsal(slug: str, first: datetime) -> Workspace:
    """In a month, a week and three days of it usage above the limit; holds, a licence and an agent that end in it."""
    workspace = Workspace.make(slug, mode=TenantMode.TEST)
    move_clock_to(tenant=workspace.tenant, actor=ACTOR, to=first)
    Plan.objects.filter(pk=workspace.plan.pk).update(expiry_notices=[30, 7, 1])
    License.objects.filter(pk=workspace.license.pk).update(expires_at=first + 40 * DAY)
    Agent.objects.filter(pk=workspace.worker.pk).update(spawned=True, expires_at=first + 9 * DAY)
    workspace.price("0.5")
    used = timedelta(hours=1)
    for period, days in ((Period.MONTH, 1), (Period.WEEK, 1), (Period.DAY, 3)):
        quota = workspace.quota("1", period=period)
        for day in range(days):
            at = first + day * DAY + used
            window = period_window(period, at=at, timezone=ZoneInfo("UTC"))
            balance = workspace.balance(quota, month=window.start)
            Balance.objects.filter(pk=balance.pk).update(period_end=window.end, used=day + 3, base=day + 3)
            if period is Period.MONTH:
                workspace.hold("2", balance, expires_at=first + 5 * DAY)
                workspace.hold("1", balance, expires_at=first + 2 * DAY + HOUR)
    return workspace


def left_behind(workspace: Workspace) -> list[Any]:
    """Everything that happened, in its order, without the ids of this workspace."""
    names = ("type", "data__days", "data__quantity", "data__amount", "data__period_start", "data__expired_at")
    return [
        list(OutboxEvent.objects.for_tenant(workspace.tenant).order_by("id").values_list(*names)),
        list(
            OverageRecord.objects.for_tenant(workspace.tenant)
            .order_by("finalized_at", "period_start", "period_end")
            .values_list("period_start", "period_end", "status", "used", "amount", "finalized_at")
        ),
        list(
            Balance.objects.for_tenant(workspace.tenant)
            .order_by("period", "period_start")
            .values_list("period", "period_start", "used", "held", "closed_at")
        ),
        list(
            Hold.objects.for_tenant(workspace.tenant)
            .order_by("expires_at")
            .values_list("status", "expires_at", "closed_at")
        ),
        list(Agent.objects.for_tenant(workspace.tenant).order_by("name").values_list("name", "archived_at")),
        License.objects.filter(pk=workspace.license.pk).values_list("expiring_noted_days", flat=True).get(),
    ]


@pytest.mark.parametrize("seed", range(4))
def test_move__random_steps_or_one__leave_the_same_behind(seed: int) -> None:
    first = month_after(real_clock().now())
    end = first + 45 * DAY
    chance = random.Random(seed)
    walked, jumped = rehearsal("walked", first), rehearsal("jumped", first)

    at = clock_of(Tenant.objects.get(pk=walked.tenant.pk)).now()
    while at < end:
        at = min(end, at + chance.choice((HOUR, 5 * HOUR, DAY, 3 * DAY, 11 * DAY)) * chance.uniform(0.1, 1))
        move_clock_to(tenant=walked.tenant, actor=ACTOR, to=at, stops=1000)
    assert move_clock_to(tenant=jumped.tenant, actor=ACTOR, to=end, stops=1000).arrived

    assert left_behind(walked) == left_behind(jumped)
    told = [type for type, *_ in left_behind(jumped)[0]]
    assert told.count("overage.finalized") >= 1
    assert told.count("hold.expired") == 2
    assert told.count("license.expiring") == 3
    assert told.count("license.expired") == 1
    assert verify_ledger().differences == ()


def test_move__broken_off_at_any_stop__goes_on_from_there() -> None:
    first = month_after(real_clock().now())
    end = first + 45 * DAY
    broken, whole = rehearsal("broken", first), rehearsal("whole", first)

    moved = move_clock_to(tenant=broken.tenant, actor=ACTOR, to=end, stops=1)
    stops = 1
    while not moved.arrived:
        moved = go_on_to(tenant_id=broken.tenant.id, to=end, stops=1)
        stops += 1
    at_once = move_clock_to(tenant=whole.tenant, actor=ACTOR, to=end, stops=1000)

    assert stops == at_once.happened.stops > 8
    assert left_behind(broken) == left_behind(whole)
    assert go_on_to(tenant_id=whole.tenant.id, to=end).happened.stops == 0
