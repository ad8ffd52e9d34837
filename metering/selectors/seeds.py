"""What a balance begins with: the events that its period has already seen."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection
from psycopg.types.json import Jsonb

from metering.domain.enums import Scope
from metering.domain.periods import Window

_COUNTED = """
SELECT coalesce((
    SELECT sum(event.quantity) FROM metering_usageevent AS event
    WHERE event.tenant_id = %(tenant)s AND event.meter_id = %(meter)s
      AND event.occurred_at >= %(start)s AND event.occurred_at < coalesce(%(end)s::timestamptz, 'infinity')
      AND event.dimensions @> %(filter)s AND {subject}
      AND NOT EXISTS (SELECT FROM metering_lateentry AS late
                      WHERE late.tenant_id = %(tenant)s AND late.own_balance_id = %(id)s AND late.event_id = event.id)
), 0) + coalesce((
    SELECT sum(late.quantity) FROM metering_lateentry AS late
    WHERE late.tenant_id = %(tenant)s AND late.balance_id = %(id)s
), 0) + coalesce((
    SELECT balance.base FROM metering_balance AS balance WHERE balance.tenant_id = %(tenant)s AND balance.id = %(id)s
), 0)
"""

_SUBJECT = {
    Scope.AGENT: "event.license_id = %(license)s AND event.agent_path @> ARRAY[%(subject)s]::uuid[]",
    Scope.LICENSE: "event.license_id = %(subject)s",
    Scope.CUSTOMER: "event.customer_id = %(subject)s",
    Scope.TENANT: "true",
}


def counted(
    *,
    balance_id: UUID,
    tenant_id: UUID,
    meter_id: UUID,
    scope: Scope,
    subject_id: UUID,
    license_id: UUID,
    filter: Mapping[str, str],
    window: Window,
) -> Decimal:
    """What the events of a balance's period come to: those that belong here less those counted elsewhere.

    `license_id` is looked at for the scope of agents only.
    """
    parameters: dict[str, Any] = {
        "id": balance_id,
        "tenant": tenant_id,
        "meter": meter_id,
        "start": window.start,
        "end": window.end,
        "filter": Jsonb(dict(filter)),
        "subject": subject_id,
        "license": license_id,
    }
    with connection.cursor() as cursor:
        cursor.execute(_COUNTED.format(subject=_SUBJECT[scope]), parameters)
        total: Decimal = cursor.fetchone()[0]
    return total


_TIMES = """
SELECT min(event.occurred_at) FROM metering_usageevent AS event
WHERE event.tenant_id = %(tenant)s AND event.meter_id = %(meter)s
  AND event.occurred_at >= %(start)s AND event.occurred_at < %(end)s
  AND event.dimensions @> %(filter)s AND {subject}
GROUP BY div(extract(epoch FROM event.occurred_at) * 60, %(seconds)s)
"""


def times_of_events(
    *,
    tenant_id: UUID,
    meter_id: UUID,
    scope: Scope,
    subject_id: UUID,
    license_id: UUID,
    filter: Mapping[str, str],
    start: datetime,
    end: datetime,
    seconds: int,
) -> list[datetime]:
    """When the first event occurred in each sub-bucket of a rolling window of `seconds` that lies in [start, end)."""
    parameters: dict[str, Any] = {
        "tenant": tenant_id,
        "meter": meter_id,
        "start": start,
        "end": end,
        "filter": Jsonb(dict(filter)),
        "subject": subject_id,
        "license": license_id,
        "seconds": seconds,
    }
    with connection.cursor() as cursor:
        cursor.execute(_TIMES.format(subject=_SUBJECT[scope]), parameters)
        return [at for (at,) in cursor.fetchall()]
