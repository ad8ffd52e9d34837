"""Parts of rolling windows that are missing: events count in a window that has no sub-bucket for them."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from metering.domain.enums import Scope

#: Rows that the check reports at most.
_MOST = 1000

# What has left its window may be gone. The first sub-bucket of a window says from when on it counts.
_MISSING = """
WITH owners AS MATERIALIZED (
    SELECT balance.tenant_id, quota_key, subject_id, meter_id, filter, max(period_end - period_start) AS size,
           (array_agg(balance.id ORDER BY period_start))[1] AS sibling, greatest(min(period_start),
               clock_timestamp() + coalesce(tenant.clock_offset, interval '0')
               - 58 * max(period_end - period_start)) AS since
    FROM metering_balance AS balance JOIN tenants_tenant AS tenant ON tenant.id = balance.tenant_id
    WHERE period = 'rolling' AND scope = %(scope)s AND balance.{tenant}
    GROUP BY balance.tenant_id, quota_key, subject_id, meter_id, filter, tenant.clock_offset
    HAVING bool_and(detached_at IS NULL)
), events AS (
    SELECT event.tenant_id, event.meter_id, event.id, event.dimensions, event.occurred_at, {subject} AS subject_id
    FROM metering_usageevent AS event
    WHERE event.{tenant} AND event.occurred_at >= (SELECT min(since) FROM owners)
)
SELECT DISTINCT ON (owners.sibling) owners.tenant_id, owners.sibling, owners.quota_key, owners.subject_id,
       60 * extract(epoch FROM owners.size), events.occurred_at, events.id
FROM owners JOIN events USING (tenant_id, meter_id, subject_id)
WHERE events.occurred_at >= owners.since AND events.dimensions @> owners.filter
  AND NOT EXISTS (
      SELECT FROM metering_balance AS kept
      WHERE kept.tenant_id = owners.tenant_id AND kept.subject_id = owners.subject_id
        AND kept.quota_key = owners.quota_key AND kept.period_start <= events.occurred_at
        AND kept.period_end > events.occurred_at)
ORDER BY owners.sibling, events.occurred_at LIMIT %(most)s
"""

_SUBJECTS = {
    Scope.AGENT: "unnest(event.agent_path)",
    Scope.LICENSE: "event.license_id",
    Scope.CUSTOMER: "event.customer_id",
    Scope.TENANT: "event.tenant_id",
}


class MissingPart(NamedTuple):
    """The first missing sub-bucket of a window; `sibling` is another of the same window, `seconds` its length."""

    tenant_id: UUID
    sibling: UUID
    quota_key: UUID
    subject_id: UUID
    seconds: int
    occurred_at: datetime
    event_id: UUID


def missing_parts(tenants: Sequence[UUID] | None) -> Iterator[MissingPart]:
    """One for each rolling window that lacks any, of all workspaces or of some."""
    condition = "tenant_id IS NOT NULL" if tenants is None else "tenant_id = ANY(%(tenants)s::uuid[])"
    for scope in Scope:
        statement = _MISSING.replace("{tenant}", condition).replace("{subject}", _SUBJECTS[scope])
        with connection.cursor() as cursor:
            cursor.execute(statement, {"tenants": list(tenants or ()), "scope": scope, "most": _MOST})
            for row in cursor.fetchall():
                found = MissingPart._make(row)
                yield found._replace(seconds=round(found.seconds))
