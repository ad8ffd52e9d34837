"""Test workspaces, moved in time by operators."""

from datetime import datetime, timedelta

from metering.services.clock_moves import STOPS_IN_CALL, Moved, move_clock_to
from tenants.admin.operations import Operation
from tenants.domain.actors import Actor
from tenants.domain.enums import TenantMode
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of

_EFFECT = (
    "Everything that is due on the way happens: periods close, holds and licenses end, events for webhooks are "
    f"written. After {STOPS_IN_CALL} such things it stops; run it again to go on. There is no way back."
)


def _moved_by(row: Tenant, by: timedelta, actor: Actor, reason: str) -> Moved:
    return move_clock_to(tenant=row, actor=actor, to=clock_of(row).now() + by, reason=reason)


def _to_next_month(row: Tenant, actor: Actor, reason: str) -> Moved:
    return move_clock_to(tenant=row, actor=actor, to=_next_month(clock_of(row).now()), reason=reason)


def _next_month(now: datetime) -> datetime:
    """The first instant of the next month of UTC."""
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)


def _is_test(row: Tenant) -> bool:
    return row.mode == TenantMode.TEST


CLOCK_OPERATIONS = (
    Operation(
        name="hour_on",
        label="Move the clock an hour on in",
        done="an hour later",
        icon="schedule",
        effect=_EFFECT,
        run=lambda row, actor, reason: _moved_by(row, timedelta(hours=1), actor, reason),
        fits=_is_test,
    ),
    Operation(
        name="day_on",
        label="Move the clock a day on in",
        done="a day later",
        icon="today",
        effect=_EFFECT,
        run=lambda row, actor, reason: _moved_by(row, timedelta(days=1), actor, reason),
        fits=_is_test,
    ),
    Operation(
        name="month_on",
        label="Move the clock to the next month in",
        done="in the next month",
        icon="calendar_month",
        effect=_EFFECT,
        run=_to_next_month,
        fits=_is_test,
    ),
)
