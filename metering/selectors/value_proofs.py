"""Balances of max, unique and latest meters held against their events: the statements of the proof for what does not
add up.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from django.db import connection

from metering.domain.enums import Scope
from metering.selectors.usage_values import LIVE

_EVER: Final = datetime(1900, 1, 1, tzinfo=UTC)

_VALUE: Final = (
    "CASE WHEN meter.value_from = '' THEN trim_scale(event.quantity)::text"
    " ELSE coalesce(event.dimensions ->> meter.value_from, '') END"
)

# A balance whose quota no longer applies counts nothing until it does again, and is made up for then.
_STATEMENT: Final = """
WITH asked AS (
    SELECT balance.*, meter.aggregation, meter.value_from
    FROM metering_balance AS balance
    JOIN metering_meter AS meter ON meter.id = balance.meter_id AND meter.aggregation IN ('max', 'unique', 'latest')
    WHERE balance.scope = %(scope)s AND balance.detached_at IS NULL AND balance.period_start >= %(kept_since)s
      AND (%(tenants)s::uuid[] IS NULL OR balance.tenant_id = ANY(%(tenants)s))
), counted AS (
    SELECT meter.id, event.id AS event_id, event.occurred_at, event.quantity, {value} AS value
    FROM asked AS meter
    JOIN metering_usageevent AS event ON event.tenant_id = meter.tenant_id AND event.meter_id = meter.meter_id
      AND {subject}
      AND event.occurred_at >= meter.period_start
      AND event.occurred_at < coalesce(meter.period_end, 'infinity') AND event.dimensions @> meter.filter
    WHERE {live} AND NOT EXISTS (
        SELECT FROM metering_lateentry AS late
        WHERE late.tenant_id = meter.tenant_id AND late.own_balance_id = meter.id AND late.event_id = event.id)
    UNION ALL
    SELECT meter.id, event.id, event.occurred_at, event.quantity, {value}
    FROM asked AS meter
    JOIN metering_lateentry AS late ON late.tenant_id = meter.tenant_id AND late.balance_id = meter.id
    JOIN metering_usageevent AS event ON event.id = late.event_id AND event.occurred_at = late.occurred_at
      AND event.tenant_id = meter.tenant_id
    WHERE {live}
), found AS (
    SELECT id, max(quantity) AS highest, count(DISTINCT value) AS distinct_values,
           (array_agg(quantity ORDER BY occurred_at DESC, event_id DESC))[1] AS latest
    FROM counted GROUP BY id
), compared AS (
    SELECT asked.id, asked.tenant_id, asked.subject_id, asked.period_start, asked.used,
           coalesce(CASE asked.aggregation WHEN 'max' THEN highest WHEN 'unique' THEN distinct_values ELSE latest END,
                    0) AS sought
    FROM asked LEFT JOIN found ON found.id = asked.id
)
SELECT id, tenant_id, subject_id, period_start, used, sought FROM compared
WHERE used <> sought ORDER BY id LIMIT %(limit)s
"""

_SUBJECTS: Final = {
    Scope.AGENT: "event.license_id = meter.license_id AND meter.subject_id = ANY(event.agent_path)",
    Scope.LICENSE: "event.license_id = meter.subject_id",
    Scope.CUSTOMER: "event.customer_id = meter.subject_id",
    Scope.TENANT: "true",
}


class UnequalValue(NamedTuple):
    """A balance that says something else than its events."""

    id: UUID
    tenant_id: UUID
    subject_id: UUID
    period_start: datetime
    used: Decimal
    sought: Decimal


def unequal_values(
    tenants: Sequence[UUID] | None = None, *, kept_since: datetime | None = None, limit: int = 1000
) -> Iterator[UnequalValue]:
    """The balances of meters that do not add up whose value is not what their events come to.

    Of all workspaces or of some; those are left out whose period began before `kept_since`, as their events are gone.
    """
    parameters = {
        "tenants": None if tenants is None else list(tenants),
        "kept_since": kept_since or _EVER,
        "limit": limit,
    }
    for scope, subject in _SUBJECTS.items():
        with connection.cursor() as cursor:
            cursor.execute(
                _STATEMENT.format(subject=subject, live=LIVE, value=_VALUE), {**parameters, "scope": scope.value}
            )
            yield from (UnequalValue._make(row) for row in cursor.fetchall())
