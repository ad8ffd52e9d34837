"""The overage of open periods, kept current after each roll-up.

A run looks at the licences that have new events, by a cursor of its own, and at those whose terms changed. Records
are derived from balances and can be derived again at any time: running twice, or beside another run, changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction

from common.clock import real_clock
from metering.domain.enums import OverageStatus
from metering.selectors.billing import excess_of_licenses
from metering.services.cursors import (
    Position,
    cursor_name,
    ensure_cursor,
    horizon,
    move_cursor,
    read_by_index,
    read_cursor,
)
from metering.services.late_counts import count_late_events
from metering.services.overage_records import (
    lock_accrual,
    rate_excesses,
    withdraw_records,
    write_records,
)
from tenants.services.each_workspace import EachWorkspace

WORK = "overage"
#: The cursor that says when all open periods were last looked at.
WHOLE = "overage_all"
#: Licences in one transaction.
CHUNK = 500
#: A change of terms is committed later than it is stamped; none takes longer than this.
_CHANGES_WITHIN = timedelta(minutes=2)

# Events without an upper bound: what a running transaction holds back from roll-ups is seen here as soon as it is
# committed, and seen again until the horizon has passed it. Every change of terms bumps an epoch.
_TOUCHED = """
SELECT tenant_id, license_id FROM metering_usageevent WHERE xid >= %(watermark)s
UNION
SELECT tenant_id, subject_id FROM tenants_epoch WHERE changed_at >= %(since)s AND kind = 'license'
UNION
SELECT tenant_id, subject_id FROM metering_balance
WHERE scope = 'license' AND plan_id IS NOT NULL AND closed_at IS NULL
  AND tenant_id IN (SELECT tenant_id FROM tenants_epoch WHERE changed_at >= %(since)s AND kind = 'tenant')
"""

_EVERY = """
SELECT tenant_id, subject_id FROM metering_balance AS balance
WHERE scope = 'license' AND plan_id IS NOT NULL AND closed_at IS NULL AND EXISTS (
    SELECT FROM metering_price AS price
    WHERE price.tenant_id = balance.tenant_id AND price.plan_id = balance.plan_id
      AND price.meter_id = balance.meter_id)
UNION
SELECT tenant_id, license_id FROM metering_overagerecord WHERE status = 'open'
"""

License = tuple[UUID, UUID]
"""Ids of a tenant and its licence."""


def accrue_overage(*, everything: bool = False, now: datetime | None = None) -> int:
    """Bring the open overage records up to date; how many changed.

    `everything` looks at all open periods, whether or not anything has happened in them. Raises WorkspacesFailedError
    once all other workspaces are up to date.
    """
    now = now or real_clock().now()
    name = cursor_name(WORK)
    ensure_cursor(name)
    position = read_cursor(name)
    end = horizon()
    everything = everything or position is None or position.moved_at is None or position.watermark > end
    if everything or position is None or position.moved_at is None:
        licenses = _every()
    else:
        licenses = _touched(position, position.moved_at)
    changed = 0
    each = EachWorkspace("accrue_overage")
    for first in range(0, len(licenses), CHUNK):
        changed += _accrue_each(licenses[first : first + CHUNK], each)
    # A workspace that failed is looked at again with all others, every ten minutes.
    move_cursor(name, end, now)
    if everything:
        whole = cursor_name(WHOLE)
        ensure_cursor(whole)
        move_cursor(whole, end, now)
    each.tell()
    return changed


def accrue_overage_of(tenant_id: UUID) -> int:
    """Bring all open overage records of one workspace up to date, without moving any cursor; how many changed."""
    licenses = [pair for pair in _every() if pair[0] == tenant_id]
    return sum(_accrue(licenses[first : first + CHUNK]) for first in range(0, len(licenses), CHUNK))


def _accrue_each(licenses: Sequence[License], each: EachWorkspace) -> int:
    return each.together(
        lambda: _accrue(licenses),
        one=lambda tenant_id: _accrue([pair for pair in licenses if pair[0] == tenant_id]),
        concerned=lambda: sorted({tenant_id for tenant_id, _ in licenses}),
    )


def _accrue(licenses: Sequence[License]) -> int:
    count_late_events(licenses)
    with transaction.atomic():
        lock_accrual()
        excesses = excess_of_licenses(licenses)
        over = [each.balance_id for each in excesses]
        withdrawn = withdraw_records(licenses, kept=over)
        return withdrawn + len(write_records(rate_excesses(excesses), status=OverageStatus.OPEN))


def _touched(position: Position, moved_at: datetime) -> list[License]:
    with transaction.atomic(), connection.cursor() as cursor:
        read_by_index()
        cursor.execute(_TOUCHED, {"watermark": position.watermark, "since": moved_at - _CHANGES_WITHIN})
        return sorted(cursor.fetchall())


def _every() -> list[License]:
    with connection.cursor() as cursor:
        cursor.execute(_EVERY)
        return sorted(cursor.fetchall())
