"""Ended periods are closed once: their balances take no more events, and their overage becomes final.

A chunk of balances is closed in one transaction with its bills and its notices, under the ledger's locks in the
ledger's order. Killed anywhere, a chunk is closed or it is not, and whoever comes next goes on with the rest.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from common.clock import real_clock
from metering.domain.enums import OverageStatus, Scope
from metering.selectors.billing import excess_of_balances
from metering.services.late_counts import count_late_events
from metering.services.overage_notices import tell_finalized
from metering.services.overage_records import (
    lock_closing,
    rate_excesses,
    withdraw_records,
    write_records,
)
from metering.services.rolling import remove_left_windows
from tenants.models import Tenant
from tenants.services.each_workspace import EachWorkspace
from tenants.services.locks import lock_configuration, lock_number

#: Balances in one transaction.
CHUNK = 500

# Workspaces whose clock was moved are looked for apart, so that one far ahead does not make all open periods be read.
_ENDED = """
SELECT tenant_id, min(period_end) FROM metering_balance
WHERE closed_at IS NULL AND period_end <= %(cutoff)s GROUP BY tenant_id
UNION
SELECT tenant_id, min(period_end) FROM metering_balance
WHERE closed_at IS NULL AND period_end <= %(most)s AND tenant_id = ANY(%(moved)s::uuid[])
GROUP BY tenant_id
ORDER BY 1
"""

_DUE = """
SELECT id FROM metering_balance
WHERE tenant_id = %s AND closed_at IS NULL AND period_end <= %s AND NOT id = ANY(%s::uuid[])
ORDER BY period_end LIMIT %s
"""

_LET_GO = """
SELECT tenant_id, subject_id FROM metering_balance
WHERE id = ANY(%s::uuid[]) AND closed_at IS NULL AND scope = 'license' AND detached_at >= period_end
"""

_LOCK = """
SELECT id, subject_id, scope, plan_id FROM metering_balance
WHERE id = ANY(%s::uuid[]) AND closed_at IS NULL ORDER BY id FOR UPDATE
"""

_CLOSE = "UPDATE metering_balance SET closed_at = %s, updated_at = clock_timestamp() WHERE id = ANY(%s::uuid[])"


@dataclass(slots=True)
class Closed:
    """What a run did. `refused` are balances that stay open, as what they owe could not be rated."""

    balances: int = 0
    finalized: int = 0
    refused: list[UUID] = field(default_factory=list)


def close_periods(
    *,
    now: datetime | None = None,
    before: datetime | None = None,
    tenant: Tenant | None = None,
    on_progress: Callable[[Closed], None] | None = None,
) -> Closed:
    """Close what ended longer ago than the grace for late events, by each workspace's own clock.

    With `before`, close what ended by then, without waiting for the grace. `now` is real time. `on_progress` is called
    after each chunk, outside its transaction. Twice, or twice at once, is the same as once. Without `tenant` it raises
    WorkspacesFailedError once all others are closed.
    """
    now = now or real_clock().now()
    closed = Closed()
    each = EachWorkspace("close_periods")
    for tenant_id, offset in _tenants_with_ended_periods(now, before, tenant).items():
        # Whoever closes one workspace's periods is told what stands against it.
        with nullcontext() if tenant is not None else each.of(tenant_id):
            _close_tenant(tenant_id, now + offset, before, closed, on_progress)
    each.tell()
    return closed


def _close_tenant(
    tenant_id: UUID,
    at: datetime,
    before: datetime | None,
    closed: Closed,
    on_progress: Callable[[Closed], None] | None,
) -> None:
    cutoff = at - settings.PERMETER_CLOSE_GRACE if before is None else min(before, at)
    while due := _due(tenant_id, cutoff, closed.refused):
        _close(tenant_id, due, at=at, closed=closed)
        if on_progress is not None:
            on_progress(closed)
    remove_left_windows(tenant_id, at=at)


def _tenants_with_ended_periods(
    now: datetime, before: datetime | None, tenant: Tenant | None
) -> Mapping[UUID, timedelta]:
    moved = Tenant.objects.filter(clock_offset__isnull=False)
    offsets = {id: offset or timedelta(0) for id, offset in moved.values_list("id", "clock_offset")}
    if tenant is not None:
        return {tenant.id: offsets.get(tenant.id, timedelta(0))}
    cutoff = now - settings.PERMETER_CLOSE_GRACE if before is None else min(before, now)
    most = cutoff + max(offsets.values(), default=timedelta(0))
    with connection.cursor() as cursor:
        cursor.execute(_ENDED, {"cutoff": cutoff, "most": most, "moved": list(offsets)})
        found = [tenant_id for tenant_id, _ in cursor.fetchall()]
    return {tenant_id: offsets.get(tenant_id, timedelta(0)) for tenant_id in found}


def _due(tenant_id: UUID, cutoff: datetime, refused: list[UUID]) -> list[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(_DUE, [tenant_id, cutoff, refused, CHUNK])
        return [id for (id,) in cursor.fetchall()]


def _close(tenant_id: UUID, due: list[UUID], *, at: datetime, closed: Closed) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LET_GO, [due])
        if late := cursor.fetchall():
            # Whoever reports for them does not know their balances, so no lock on these would keep an event away.
            lock_configuration(tenant_id)
        else:
            cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [lock_number(tenant_id)])
        cursor.execute(_LOCK, [due])
        locked = cursor.fetchall()
        count_late_events(late)
        lock_closing()
        ids = [id for id, *_ in locked]
        licenses = {
            (tenant_id, subject_id) for _, subject_id, scope, plan_id in locked if plan_id and scope == Scope.LICENSE
        }
        excesses = excess_of_balances(ids, licenses)
        rated = rate_excesses(excesses)
        billed = {each.excess.balance_id for each in rated}
        refused = [each.balance_id for each in excesses if each.balance_id not in billed]
        ids = [id for id in ids if id not in refused]
        withdraw_records(licenses, kept=billed, balances=ids)
        written = write_records(rated, status=OverageStatus.FINALIZED, finalized_at=at)
        tell_finalized(rated, written)
        cursor.execute(_CLOSE, [at, ids])
    closed.balances += len(ids)
    closed.finalized += len(written)
    closed.refused += refused
