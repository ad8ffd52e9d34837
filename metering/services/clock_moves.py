"""A test workspace's clock, moved forward: what would have happened in the meantime happens, in order.

The clock goes from stop to stop, and at each the workers do what is due there. So one long step ends as many short
ones do: each period is closed with its own overage, each notice is given at its time. Killed anywhere, the clock
stands at a stop that was reached; moving it again goes on from there.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings

from common.clock import real_clock
from licenses.services.ended_agents import LAST_WORDS, archive_ended_agents
from licenses.services.expiring_notices import tell_expiring_licenses
from licenses.services.expiry import expire_licenses
from licenses.services.lapsing import lapse_activations
from metering.selectors.clock_stops import next_stop
from metering.services.closing import close_periods
from metering.services.expiring_holds import expire_holds
from metering.services.overage import accrue_overage_of
from metering.services.partitions import MONTHS_AHEAD, ensure_partitions
from metering.services.rollups import roll_up_usage
from metering.services.statements import issue_due_statements
from tenants.domain.actors import Actor
from tenants.models import Tenant
from tenants.selectors.workspaces import clock_offset_of
from tenants.services.workspaces import begin_clock_move, step_clock

#: Stops that a call makes by itself; what lies beyond is a worker's.
STOPS_IN_CALL: Final = 100
_MONTH: Final = timedelta(days=31)


@dataclass(slots=True)
class Happened:
    """How often what has happened while the clock was moved."""

    stops: int = 0
    periods_closed: int = 0
    overages_finalized: int = 0
    statements_issued: int = 0
    holds_expired: int = 0
    activations_lapsed: int = 0
    expiries_announced: int = 0
    licenses_expired: int = 0
    agents_archived: int = 0

    def __iadd__(self, other: "Happened") -> "Happened":
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))
        return self

    def as_dict(self) -> Mapping[str, int]:
        """By name, for answers and jobs."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Moved:
    """What a move did, what the clock shows, and whether it has got where it was to go."""

    happened: Happened
    at: datetime
    arrived: bool


def move_clock_to(*, tenant: Tenant, actor: Actor, to: datetime, stops: int = STOPS_IN_CALL, reason: str = "") -> Moved:
    """Move a test workspace's clock to `to`, at most `stops` stops far; audited.

    Raises Forbidden `not_a_test_workspace`, Invalid, RevocationPending (the clock may have gone part of the way).
    """
    begin_clock_move(tenant_id=tenant.id, actor=actor, to=to, reason=reason)
    return go_on_to(tenant_id=tenant.id, to=to, stops=stops)


def go_on_to(
    *,
    tenant_id: UUID,
    to: datetime,
    stops: int | None = None,
    on_stop: Callable[[Happened], None] | None = None,
) -> Moved:
    """Go on with a move that was noted; nothing happens if the clock is there already. Safe side by side."""
    happened = Happened()
    at = real_clock().now() + clock_offset_of(tenant_id)
    while at < to and (stops is None or happened.stops < stops):
        stop = next_stop(tenant_id, after=at, last_words=LAST_WORDS)
        at = _stop_at(tenant_id, to if stop is None else min(stop, to), happened)
        if on_stop is not None:
            on_stop(happened)
    if at >= to:
        roll_up_usage()
        accrue_overage_of(tenant_id)
    return Moved(happened, at, arrived=at >= to)


def _stop_at(tenant_id: UUID, stop: datetime, happened: Happened) -> datetime:
    """Let the clock show `stop` (or what it shows by now, if that is later), and do what is due; when that was."""
    window = settings.PERMETER_ACCEPTANCE_WINDOW
    ensure_partitions(stop - window, window // _MONTH + 2 + MONTHS_AHEAD)
    now = real_clock().now()
    at = step_clock(tenant_id=tenant_id, to=stop, now=now)
    happened += Happened(
        stops=1,
        holds_expired=expire_holds(now=now, tenant_id=tenant_id),
        activations_lapsed=lapse_activations(now, tenant_id=tenant_id),
        expiries_announced=tell_expiring_licenses(now, tenant_id=tenant_id),
        licenses_expired=expire_licenses(now, tenant_id=tenant_id),
        agents_archived=archive_ended_agents(now, tenant_id=tenant_id),
    )
    tenant = Tenant.objects.get(pk=tenant_id)
    closed = close_periods(now=now, tenant=tenant)
    happened += Happened(
        periods_closed=closed.balances,
        overages_finalized=closed.finalized,
        statements_issued=issue_due_statements(tenant),
    )
    return at
