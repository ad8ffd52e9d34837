"""What a balance begins with: the events that its period has already seen."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import connection
from psycopg.types.json import Jsonb

from metering.domain.enums import Scope
from metering.domain.numbers import EXACT, ZERO
from metering.domain.periods import Window
from metering.selectors.rolled_up import source_of, stretch

# An event that is counted elsewhere is in its own period's sum as well, and is taken off again.
_COUNTED: Final = """
WITH {source}
SELECT coalesce((SELECT sum(quantity) FROM source), 0)
    - coalesce((SELECT sum(quantity) FROM metering_lateentry
                WHERE tenant_id = %(tenant)s AND own_balance_id = %(id)s AND balance_id <> %(id)s), 0)
    + coalesce((SELECT sum(quantity) FROM metering_lateentry
                WHERE tenant_id = %(tenant)s AND balance_id = %(id)s AND own_balance_id <> %(id)s), 0)
"""

_FILTER: Final = "dimensions @> %(filter)s"
#: Buckets know the agent itself; its place in the tree never changes.
_BELOW: Final = (
    "agent_id IN (SELECT id FROM licenses_agent WHERE tenant_id = %(tenant)s AND license_id = %(license)s"
    " AND path @> ARRAY[%(subject)s]::uuid[])"
)
_OF_BUCKETS: Final[Mapping[Scope, tuple[str, ...]]] = {
    Scope.AGENT: ("license_id = %(license)s", _BELOW),
    Scope.LICENSE: ("license_id = %(subject)s",),
    Scope.CUSTOMER: ("customer_id = %(subject)s",),
    Scope.TENANT: (),
}
_OF_EVENTS: Final[Mapping[Scope, tuple[str, ...]]] = {
    **_OF_BUCKETS,
    Scope.AGENT: ("license_id = %(license)s", "agent_path @> ARRAY[%(subject)s]::uuid[]"),
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

    From roll-ups as far as these have come and the period takes whole buckets, and from events for the rest: what it
    costs does not grow with how much was used, and events that are not kept any more are still in it. `license_id` is
    looked at for the scope of agents only.
    """
    conditions, of_events = list(_OF_BUCKETS[scope]), list(_OF_EVENTS[scope])
    if filter:
        conditions.append(_FILTER)
        of_events.append(_FILTER)
    parameters: dict[str, Any] = {
        **stretch(tenant_id=tenant_id, meter_id=meter_id, start=window.start, end=window.end),
        "id": balance_id,
        "filter": Jsonb(dict(filter)),
        "subject": subject_id,
        "license": license_id,
    }
    with connection.cursor() as cursor:
        cursor.execute(_COUNTED.format(source=source_of(conditions, of_events)), parameters)
        total: Decimal = cursor.fetchone()[0]
    return total


_BY_LICENSE: Final = """
WITH {source} SELECT license_id, sum(quantity) FROM source GROUP BY license_id
"""

_LATE: Final = """
SELECT id, sum(quantity) FROM (
    SELECT own_balance_id AS id, -quantity AS quantity FROM metering_lateentry
    WHERE tenant_id = %(tenant)s AND own_balance_id = ANY(%(balances)s::uuid[]) AND balance_id <> own_balance_id
    UNION ALL
    SELECT balance_id, quantity FROM metering_lateentry
    WHERE tenant_id = %(tenant)s AND balance_id = ANY(%(balances)s::uuid[]) AND balance_id <> own_balance_id
) AS moved GROUP BY id
"""


def counted_by_license(
    *,
    tenant_id: UUID,
    meter_id: UUID,
    filter: Mapping[str, str],
    window: Window,
    balances: Mapping[UUID, UUID],
) -> dict[UUID, Decimal]:
    """What `counted` says of the licences of `balances` (their balance of this window, by licence), all in one read.

    Licences without any usage in the window are left out.
    """
    conditions = ["license_id = ANY(%(licenses)s::uuid[])"]
    if filter:
        conditions.append(_FILTER)
    parameters: dict[str, Any] = {
        **stretch(tenant_id=tenant_id, meter_id=meter_id, start=window.start, end=window.end),
        "filter": Jsonb(dict(filter)),
        "licenses": list(balances),
        "balances": list(balances.values()),
    }
    with connection.cursor() as cursor:
        cursor.execute(_BY_LICENSE.format(source=source_of(conditions)), parameters)
        totals: dict[UUID, Decimal] = dict(cursor.fetchall())
        cursor.execute(_LATE, parameters)
        moved: dict[UUID, Decimal] = dict(cursor.fetchall())
    license_of = {balance_id: license_id for license_id, balance_id in balances.items()}
    for balance_id, quantity in moved.items():
        license_id = license_of[balance_id]
        totals[license_id] = EXACT.add(totals.get(license_id, ZERO), quantity)
    return totals


_TIMES = """
SELECT min(event.occurred_at) FROM metering_usageevent AS event
WHERE event.tenant_id = %(tenant)s AND event.meter_id = %(meter)s
  AND event.occurred_at >= %(start)s AND event.occurred_at < %(end)s
  AND dimensions @> %(filter)s {subject}
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
        cursor.execute(_TIMES.format(subject="".join(f" AND {each}" for each in _OF_EVENTS[scope])), parameters)
        return [at for (at,) in cursor.fetchall()]
