"""Balances are made before they are needed, in a short transaction of their own, and begin with what was before.

A quota that is new, or applies again after a pause, counts what its period has already seen. That is safe without
a lock: whoever made the quota apply held the configuration lock, so every event in flight that did not know it had
been committed, and every later event needs this balance to exist first.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from psycopg.types.json import Jsonb

from metering.domain.enums import Aggregation
from metering.models import Balance, BalanceValue
from metering.selectors.history import kept_since
from metering.selectors.usage_values import counted_value, standing_of
from metering.services.array_literals import moments, numbers, uuids
from metering.services.balance_values import seed_values
from metering.services.carrying import Carried, carried_into
from metering.services.specs import BalanceSpec

__all__ = ["BalanceSpec", "counted", "ensure_balances", "seeded"]

_INSERT = """
INSERT INTO metering_balance (id, tenant_id, quota_key, scope, subject_id, meter_id, plan_id, customer_id,
    license_id, filter, period, period_start, period_end, used, latest_at, held, carried, brought, thresholds_fired,
    created_at, updated_at)
SELECT id, %s, quota_key, scope, subject_id, meter_id, plan_id, customer_id, license_id, filter, period, period_start,
    period_end, used, latest_at, 0, carried, brought, '{}', clock_timestamp(), clock_timestamp()
FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[],
            %s::jsonb[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::numeric[], %s::timestamptz[],
            %s::numeric[], %s::numeric[])
    AS made (id, quota_key, scope, subject_id, meter_id, plan_id, customer_id, license_id,
             filter, period, period_start, period_end, used, latest_at, carried, brought)
ORDER BY id
ON CONFLICT DO NOTHING
RETURNING id
"""

# Apart from the insert, which would lock what is there already, whether or not it was let go: whoever makes a period's
# balance holds the one before, and two would wait for each other.
_ATTACH_AGAIN = """
UPDATE metering_balance AS balance SET used = made.used, detached_at = NULL, updated_at = clock_timestamp()
FROM (SELECT id FROM metering_balance WHERE id = ANY(%s::uuid[]) AND detached_at IS NOT NULL ORDER BY id FOR UPDATE)
    AS let_go
JOIN unnest(%s::uuid[], %s::numeric[]) AS made (id, used) ON made.id = let_go.id
WHERE balance.id = let_go.id
"""


class Start(NamedTuple):
    """What a balance begins with; `latest_at` on latest meters only."""

    value: Decimal
    latest_at: datetime | None = None


def ensure_balances(specs: Mapping[UUID, BalanceSpec], *, known: Mapping[UUID, Decimal] | None = None) -> None:
    """Make the balances of these ids that do not exist yet; those that do stay as they are.

    But for sub-buckets of a rolling window that were let go: they count again. `known` is what the events of some come
    to, where that was worked out before.
    """
    known = known or {}
    by_tenant: dict[UUID, list[tuple[UUID, BalanceSpec]]] = {}
    for id, spec in sorted(specs.items()):
        by_tenant.setdefault(spec.caller.tenant_id, []).append((id, spec))
    with transaction.atomic(), connection.cursor() as cursor:
        # One order for everybody, of workspaces too: who makes the same ones at the same time waits.
        for tenant_id, made in sorted(by_tenant.items()):
            starts = [Start(known[id]) if id in known else _standing(id, spec) for id, spec in made]
            used = {id: start.value for (id, _), start in zip(made, starts, strict=True)}
            carried = carried_into(dict(made), used)
            given = [carried.get(id, Carried()) for id, _ in made]
            rows = [spec for _, spec in made]
            cursor.execute(
                _INSERT,
                [
                    tenant_id,
                    uuids(id for id, _ in made),
                    *_columns(rows),
                    numbers(start.value for start in starts),
                    moments(start.latest_at for start in starts),
                    numbers(each.carried for each in given),
                    [each.brought for each in given],
                ],
            )
            mine = {id for (id,) in cursor.fetchall()}
            kept = {id: used[id] for id, spec in made if id not in mine and spec.quota.rolling_seconds is not None}
            if kept:
                cursor.execute(_ATTACH_AGAIN, [uuids(kept), uuids(kept), numbers(kept.values())])
            for id, spec in made:
                if id in mine and spec.quota.aggregation is Aggregation.UNIQUE:
                    seed_values(spec.scope_of(id))


def seeded(id: UUID, spec: BalanceSpec) -> Start:
    """What the events of a balance's period come to, for one that takes up what it has missed.

    Those that belong here less those counted elsewhere, and what it had of months that are not kept any more. The
    values of a unique meter are written.
    """
    if spec.quota.aggregation.adds_up:
        return _standing(id, spec)
    since = kept_since()
    gone = since if since is not None and spec.window.start < since else None
    if spec.quota.aggregation is Aggregation.UNIQUE:
        seed_values(spec.scope_of(id), keep=gone is not None)
        return Start(Decimal(BalanceValue.objects.filter(balance_id=id, events__gt=0).count()))
    start = _standing(id, spec)
    if gone is None:
        return start
    base = Balance.objects.for_tenant(spec.caller.tenant_id).values_list("base", flat=True).get(id=id)
    if spec.quota.aggregation is Aggregation.MAX:
        return Start(max(base, start.value))
    return start if start.latest_at and start.latest_at >= gone else Start(base, gone)


def _standing(id: UUID, spec: BalanceSpec) -> Start:
    if spec.quota.aggregation.adds_up:
        return Start(counted(id, spec))
    standing = standing_of(spec.scope_of(id))
    return Start(standing.value, standing.at if spec.quota.aggregation is Aggregation.LATEST else None)


def counted(id: UUID, spec: BalanceSpec) -> Decimal:
    """What the events of this balance's period come to: those that belong here less those counted elsewhere."""
    return counted_value(
        spec.quota,
        id,
        tenant_id=spec.caller.tenant_id,
        license_id=spec.caller.license_id,
        window=spec.window,
    )


def _columns(rows: Sequence[BalanceSpec]) -> list[Any]:
    return [
        uuids(row.quota.key for row in rows),
        [str(row.quota.scope) for row in rows],
        uuids(row.quota.subject_id for row in rows),
        uuids(row.quota.meter_id for row in rows),
        uuids(row.quota.plan_id for row in rows),
        uuids(row.customer_id for row in rows),
        uuids(row.license_id for row in rows),
        [Jsonb(dict(row.quota.filter)) for row in rows],
        [str(row.quota.period) for row in rows],
        moments(row.window.start for row in rows),
        moments(row.window.end for row in rows),
    ]
