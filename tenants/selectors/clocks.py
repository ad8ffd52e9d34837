"""Which time it is in a workspace, and which time it was."""

from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime, timedelta

from common.clock import Clock, tenant_clock
from tenants.models import AuditEntry, Tenant


def clock_of(tenant: Tenant) -> Clock:
    """The workspace's clock: real time, or ahead of it in a test workspace whose clock was moved."""
    return tenant_clock(tenant.clock_offset or timedelta(0))


def workspace_time_of(tenant: Tenant) -> Callable[[datetime], datetime]:
    """What the workspace's clock showed at a real instant, such as the one at which a row was made.

    Moves of the clock are in the audit trail. Where none is, as in all live workspaces, it showed real time.
    """
    if not tenant.clock_offset:
        return lambda at: at
    moves: list[datetime] = []
    offsets = [timedelta(0)]
    entries = AuditEntry.objects.filter(tenant_id=tenant.id, action="tenant.clock_moved").order_by("at", "id")
    for at, changes in entries.values_list("at", "changes"):
        offset = _offset_after(at, changes)
        if offset is not None:
            moves.append(at)
            # One that stopped half-way was never further than the clock is now; it never goes back.
            offsets.append(max(offsets[-1], min(offset, tenant.clock_offset)))
    return lambda at: at + offsets[bisect_right(moves, at)]


def _offset_after(at: datetime, changes: dict[str, list[object]]) -> timedelta | None:
    match changes:
        case {"now": [_, str(to)]}:
            return datetime.fromisoformat(to) - at
        case {"clock_offset": [_, int() | float() as seconds]}:
            return timedelta(seconds=seconds)
    return None
