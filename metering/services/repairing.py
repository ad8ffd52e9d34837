"""What differs from the facts, rebuilt from them: balances, roll-ups and open overage of one workspace at a time.

Facts are events, late entries, burns of top-ups, hold lines, and what was announced. They are never touched, nor are
final records; where one of them is at fault nothing is made up. The workspace's ledger waits while its balances are
rebuilt.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction

from common.ids import Prefix, encode_id
from common.quantities import format_quantity
from metering.domain.enums import Aggregation, OverageStatus
from metering.models import OverageRecord
from metering.selectors.buckets import buckets_of
from metering.selectors.history import kept_since
from metering.selectors.kept_values import differing_values
from metering.selectors.proofs import Proofs
from metering.selectors.usage_proofs import BalanceProof, differing_balances
from metering.services.balance_values import seed_values
from metering.services.carried_repairs import add_missing_parts, repair_carried
from metering.services.cursors import cursor_name, lock_cursor_waiting
from metering.services.overage import accrue_overage_of
from metering.services.overage_records import lock_accrual
from metering.services.rollups import WORK
from metering.services.snapshots import read_whole
from metering.services.verification import Difference, Proof, verify_ledger
from tenants.domain.actors import Actor
from tenants.models import Tenant
from tenants.services.auditing import record_audit
from tenants.services.locks import lock_configuration

#: What can be rebuilt, by kind of difference; all else is a fact.
REPAIRABLE: Final = frozenset(
    {"balance", "held", "burned", "late_entry", "rollup", "overage", "top_up", "carried", "window"}
)
#: Changes that an audit entry names one by one.
_NAMED: Final = 200

_BILLED_AS = """
SELECT balance_id, used FROM metering_overagerecord
WHERE tenant_id = %s AND status = 'finalized' AND balance_id = ANY(%s::uuid[])
"""

_LOCK = "SELECT id FROM metering_balance WHERE id = ANY(%s::uuid[]) AND tenant_id = %s ORDER BY id FOR UPDATE"

_SET_USED = "UPDATE metering_balance SET used = %s, updated_at = clock_timestamp() WHERE id = %s AND tenant_id = %s"

_SET_HELD = """
UPDATE metering_balance AS balance SET updated_at = clock_timestamp(), held = coalesce((
    SELECT sum(line.reserved) FROM metering_holdline AS line
    WHERE line.tenant_id = balance.tenant_id AND line.balance_id = balance.id AND line.open), 0)
WHERE balance.id = ANY(%s::uuid[]) AND balance.tenant_id = %s RETURNING id, held
"""

_SET_BURNED = """
UPDATE metering_balance AS balance SET updated_at = clock_timestamp(), burned = coalesce((
    SELECT sum(burn.quantity) FROM metering_topupburn AS burn
    WHERE burn.tenant_id = balance.tenant_id AND burn.balance_id = balance.id), 0)
WHERE balance.id = ANY(%s::uuid[]) AND balance.tenant_id = %s
"""

_SET_TOP_UPS = """
UPDATE metering_topup AS top_up SET used = burnt.quantity, updated_at = clock_timestamp()
FROM (SELECT asked.id, coalesce(sum(burn.quantity), 0) AS quantity
      FROM unnest(%s::uuid[]) AS asked (id)
      LEFT JOIN metering_topupburn AS burn ON burn.tenant_id = %s AND burn.top_up_id = asked.id
      GROUP BY asked.id) AS burnt
WHERE top_up.id = burnt.id AND burnt.quantity <= top_up.amount
"""

_SET_LATE = """
UPDATE metering_lateentry AS late SET quantity = event.quantity, updated_at = clock_timestamp()
FROM metering_usageevent AS event
WHERE late.tenant_id = %(tenant)s AND event.tenant_id = late.tenant_id AND event.id = late.event_id
  AND event.occurred_at = late.occurred_at AND late.quantity <> event.quantity
RETURNING late.event_id
"""

# As they are written by roll-ups; those that no event is in any more go, and all that are right stay as they are.
_REBUILD_ROLLUPS = """
WITH {buckets}, gone AS (
    DELETE FROM metering_usagerollup AS kept
    WHERE kept.tenant_id = %(tenant)s AND kept.bucket_start >= %(kept_since)s
      AND NOT EXISTS (SELECT FROM buckets WHERE buckets.id = kept.id)
    RETURNING kept.id
), written AS (
    INSERT INTO metering_usagerollup AS kept (id, tenant_id, size, bucket_start, meter_id, customer_id, license_id,
                                              agent_id, dimensions, total, events)
    SELECT id, tenant_id, size, bucket_start, meter_id, customer_id, license_id, agent_id, dimensions::jsonb, total,
           events
    FROM buckets
    ON CONFLICT (id) DO UPDATE SET total = excluded.total, events = excluded.events
    WHERE kept.total <> excluded.total OR kept.events <> excluded.events
    RETURNING kept.id
)
SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM written)
"""


@dataclass(slots=True)
class Repair:
    """What was found, what was mended of it, and the proof that was made afterwards."""

    before: Proof
    after: Proof
    mended: int = 0
    refused: list[Difference] = field(default_factory=list)


def repair_ledger(*, actor: Actor, tenant: Tenant | None = None, jobs: int = 1, reason: str = "") -> Repair:
    """Rebuild what differs and can be rebuilt, audited by workspace, and prove again.

    What is left in `after` cannot be repaired: a fact is missing or was changed, or a final bill would have to
    change. Must not run inside another transaction.
    """
    before = verify_ledger(tenant=tenant, jobs=jobs)
    by_tenant: dict[UUID, list[Difference]] = {}
    for difference in before.differences:
        by_tenant.setdefault(difference.tenant_id, []).append(difference)
    for tenant_id, differences in sorted(by_tenant.items()):
        kinds = {difference.kind for difference in differences}
        if kinds & REPAIRABLE:
            _repair(Tenant.objects.get(pk=tenant_id), kinds, actor, reason)
    after = verify_ledger(tenant=tenant, jobs=jobs) if before.differences else before
    mended = len({each.text for each in before.differences} - {each.text for each in after.differences})
    return Repair(before, after, mended, list(after.differences))


def _repair(tenant: Tenant, kinds: set[str], actor: Actor, reason: str) -> None:
    changes: dict[str, list[Any]] = {}
    with transaction.atomic(durable=True):
        lock_configuration(tenant.id)
        proofs = Proofs([tenant.id], kept_since=kept_since())
        # In this order: late entries count in balances, what is carried over and overage follow from balances.
        _late_entries(tenant.id, changes)
        add_missing_parts(tenant, changes)
        with read_whole():
            _used(tenant.id, changes)
        _values(tenant.id, changes)
        _held(proofs, tenant.id, changes)
        _burned(proofs, tenant.id, changes)
        repair_carried(tenant, changes)
        if changes:
            _audit(tenant, actor, changes, reason)
    if "rollup" in kinds:
        _rollups(tenant, actor, reason)
    if "overage" in kinds or changes:
        _open_overage(tenant, actor, reason)


def _late_entries(tenant_id: UUID, changes: dict[str, list[Any]]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_SET_LATE, {"tenant": tenant_id})
        for (event_id,) in cursor.fetchall():
            changes[f"{encode_id(Prefix.EVENT, event_id)}.late"] = [None, "as its event"]


def _used(tenant_id: UUID, changes: dict[str, list[Any]]) -> None:
    settled: set[UUID] = set()
    while found := [each for each in differing_balances([tenant_id]) if each.id not in settled]:
        settled |= {each.id for each in found}
        with connection.cursor() as cursor:
            cursor.execute(_LOCK, [[each.id for each in found], tenant_id])
            cursor.execute(_BILLED_AS, [tenant_id, [each.id for each in found]])
            billed = dict(cursor.fetchall())
            for each in found:
                right = _right(each)
                if billed.get(each.id, right) != right:
                    continue  # The bill is final: whoever reads the proof decides, not this.
                cursor.execute(_SET_USED, [right, each.id, tenant_id])
                changes[f"{encode_id(Prefix.BALANCE, each.id)}.used"] = [_text(each.used), _text(right)]


def _values(tenant_id: UUID, changes: dict[str, list[Any]]) -> None:
    """Balances of meters that do not add up; what a unique meter's balance has seen in months that are gone stays."""
    since = kept_since()
    for each in list(differing_values([tenant_id], kept_since=since)):
        scope = each.scope
        with connection.cursor() as cursor:
            cursor.execute(_LOCK, [[each.id], tenant_id])
            if scope.aggregation is Aggregation.UNIQUE and not (since and scope.window.start < since):
                seed_values(scope)
            cursor.execute(_SET_USED, [each.sought, each.id, tenant_id])
        changes[f"{encode_id(Prefix.BALANCE, each.id)}.used"] = [_text(each.used), _text(each.sought)]


def _right(found: BalanceProof) -> Decimal:
    """The nearest that its events may come to."""
    return found.least if found.used < found.least else found.most


def _held(proofs: Proofs, tenant_id: UUID, changes: dict[str, list[Any]]) -> None:
    # More may differ than one look tells.
    while found := {each.id: each for each in proofs.held()}:
        with connection.cursor() as cursor:
            cursor.execute(_LOCK, [list(found), tenant_id])
            cursor.execute(_SET_HELD, [list(found), tenant_id])
            for id, held in cursor.fetchall():
                changes[f"{encode_id(Prefix.BALANCE, id)}.held"] = [_text(found[id].held), _text(held)]


def _burned(proofs: Proofs, tenant_id: UUID, changes: dict[str, list[Any]]) -> None:
    balances = {id: (burned, right) for _, id, burned, right in proofs.burned()}
    top_ups = {id: (used, right) for _, id, used, right in proofs.top_ups()}
    with connection.cursor() as cursor:
        if balances:
            cursor.execute(_LOCK, [list(balances), tenant_id])
            cursor.execute(_SET_BURNED, [list(balances), tenant_id])
        if top_ups:
            cursor.execute(_SET_TOP_UPS, [list(top_ups), tenant_id])
    for prefix, name, rows in ((Prefix.BALANCE, "burned", balances), (Prefix.TOP_UP, "used", top_ups)):
        for id, (before, right) in rows.items():
            changes[f"{encode_id(prefix, id)}.{name}"] = [_text(before), _text(right)]


def _rollups(tenant: Tenant, actor: Actor, reason: str) -> None:
    """All buckets of the events below the watermark, which does not move meanwhile."""
    with transaction.atomic(durable=True):
        position = lock_cursor_waiting(cursor_name(WORK))
        if position is None or position.moved_at is None:
            return
        statement = _REBUILD_ROLLUPS.format(buckets=buckets_of("xid < %(watermark)s AND tenant_id = %(tenant)s"))
        proofs = Proofs([tenant.id], kept_since=kept_since())
        with read_whole(), connection.cursor() as cursor:
            cursor.execute(
                statement,
                {"watermark": position.watermark, "tenant": tenant.id, "kept_since": proofs.kept_since},
            )
            changed = cursor.fetchone()[0]
        if changed:
            _audit(tenant, actor, {"rollups": [None, f"{changed} rebuilt"]}, reason)


def _open_overage(tenant: Tenant, actor: Actor, reason: str) -> None:
    """Open records are derived anew; each is made to differ first, so that all of it is written."""
    records = OverageRecord.objects.for_tenant(tenant).filter(status=OverageStatus.OPEN)
    with transaction.atomic(durable=True):
        lock_accrual()
        before = _shown(records)
        records.update(used=-1)
        accrue_overage_of(tenant.id)
        after = _shown(records)
        changed = {id: [before.get(id), after.get(id)] for id in before | after if before.get(id) != after.get(id)}
        if changed:
            _audit(tenant, actor, changed, reason)


def _shown(records: Iterable[OverageRecord]) -> dict[str, str]:
    return {
        each.public_id: f"{_text(each.used)} used of {_text(each.limit)}, {_text(each.quantity)} over, "
        f"{_text(each.amount)} {each.currency}: {json.dumps(each.lines)}"
        for each in OverageRecord.objects.filter(pk__in=[record.pk for record in records])
    }


def _audit(tenant: Tenant, actor: Actor, changes: dict[str, list[Any]], reason: str) -> None:
    for part in _parts(sorted(changes.items())):
        record_audit(
            tenant_id=tenant.id,
            actor=actor,
            action="ledger.repaired",
            target=tenant,
            changes=dict(part),
            reason=reason,
        )


def _parts(changes: Sequence[tuple[str, list[Any]]]) -> Iterator[Sequence[tuple[str, list[Any]]]]:
    for first in range(0, len(changes), _NAMED):
        yield changes[first : first + _NAMED]


def _text(value: Decimal) -> str:
    return format_quantity(value)
