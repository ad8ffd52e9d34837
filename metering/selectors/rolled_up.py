"""Usage of one meter in a stretch of time, wherever it is kept: buckets of whole days, of quarter hours, raw events.

One statement reads the watermark, the buckets and the events, so all of them belong to one snapshot and each event
counts once: below the watermark in its bucket (or, where the stretch cuts the bucket, by itself), from the watermark
on by itself. Events that are not kept any more still count in their buckets.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import connection

_QUARTER: Final = timedelta(minutes=15)
_DAY: Final = timedelta(days=1)
_ORIGIN: Final = datetime(1970, 1, 1, tzinfo=UTC)

# A cursor that never moved says nothing about the buckets: after a restore they may be of another cluster.
_WATERMARK: Final = """
SELECT watermark FROM metering_rollupcursor
WHERE name = 'rollup:' || (SELECT system_identifier FROM pg_control_system()) AND rolled_up_at IS NOT NULL
"""

#: `source` has the columns `at`, agent, licence and customer, `dimensions` and `quantity`; `{narrowed}` is a condition
#: on buckets, `{narrowed_events}` the same of events.
_SOURCE: Final = """
cursor AS MATERIALIZED ({watermark}), source AS (
    SELECT bucket_start AS at, agent_id, license_id, customer_id, dimensions, total AS quantity
    FROM metering_usagerollup
    WHERE tenant_id = %(tenant)s AND meter_id = %(meter)s AND EXISTS (SELECT FROM cursor)
      AND size = 'day' AND bucket_start >= %(days_from)s AND bucket_start < %(days_to)s {narrowed}
    UNION ALL
    SELECT bucket_start, agent_id, license_id, customer_id, dimensions, total
    FROM metering_usagerollup
    WHERE tenant_id = %(tenant)s AND meter_id = %(meter)s AND EXISTS (SELECT FROM cursor)
      AND size = 'quarter' AND bucket_start >= %(quarters_from)s AND bucket_start < %(days_from)s {narrowed}
    UNION ALL
    SELECT bucket_start, agent_id, license_id, customer_id, dimensions, total
    FROM metering_usagerollup
    WHERE tenant_id = %(tenant)s AND meter_id = %(meter)s AND EXISTS (SELECT FROM cursor)
      AND size = 'quarter' AND bucket_start >= %(days_to)s AND bucket_start < %(quarters_to)s {narrowed}
    UNION ALL
    SELECT occurred_at, agent_id, license_id, customer_id, dimensions, quantity
    FROM metering_usageevent AS event
    WHERE tenant_id = %(tenant)s AND meter_id = %(meter)s
      AND xid >= %(at_least)s AND xid >= coalesce((SELECT watermark FROM cursor), 0)
      AND occurred_at >= %(start)s AND occurred_at < %(end)s {narrowed_events}
    UNION ALL
    SELECT occurred_at, agent_id, license_id, customer_id, dimensions, quantity
    FROM metering_usageevent AS event
    WHERE tenant_id = %(tenant)s AND meter_id = %(meter)s AND xid < (SELECT watermark FROM cursor)
      AND occurred_at >= %(start)s AND occurred_at < %(quarters_from)s {narrowed_events}
    UNION ALL
    SELECT occurred_at, agent_id, license_id, customer_id, dimensions, quantity
    FROM metering_usageevent AS event
    WHERE tenant_id = %(tenant)s AND meter_id = %(meter)s AND xid < (SELECT watermark FROM cursor)
      AND occurred_at >= %(quarters_to)s AND occurred_at < %(end)s {narrowed_events}
)
"""


def source_of(conditions: Sequence[str] = (), event_conditions: Sequence[str] | None = None) -> str:
    """Common table expressions, the last of which is `source`, of what holds all `conditions`.

    `event_conditions` take their place for events, where those are told by other columns than buckets.
    """
    of_events = conditions if event_conditions is None else event_conditions
    return _SOURCE.format(
        watermark=_WATERMARK,
        narrowed="".join(f" AND {condition}" for condition in conditions),
        narrowed_events="".join(f" AND {condition}" for condition in of_events),
    )


def stretch(
    *, tenant_id: UUID, meter_id: UUID, start: datetime, end: datetime | None, days: bool = True
) -> dict[str, Any]:
    """What `source` has to be given for [start, end), without an end for ever. Reads the watermark.

    With `days` False whole days are taken by their quarters, too: for who tells them apart.
    """
    at_least = _at_least()
    start = max(start.astimezone(UTC), datetime.min.replace(tzinfo=UTC) + _DAY)
    if end is None:
        quarters_from = _up(start, _QUARTER)
        days_from = _up(quarters_from, _DAY)
        edges: dict[str, Any] = {"end": "infinity", "quarters_to": "infinity", "days_to": "infinity"}
    else:
        end = end.astimezone(UTC)
        # Inside a single quarter both are the end: then events alone answer.
        quarters_from = min(_up(start, _QUARTER), end)
        quarters_to = max(_down(end, _QUARTER), quarters_from)
        days_from = min(_up(quarters_from, _DAY), quarters_to)
        days_to = max(_down(quarters_to, _DAY), days_from)
        edges = {"end": end, "quarters_to": quarters_to, "days_to": days_to}
    if not days:
        days_from = quarters_from
        edges["days_to"] = quarters_from
    return {
        "tenant": tenant_id,
        "meter": meter_id,
        "start": start,
        "quarters_from": quarters_from,
        "days_from": days_from,
        "at_least": at_least,
        **edges,
    }


def begins_day(at: datetime) -> bool:
    """Whether this is midnight of UTC."""
    return at == _down(at, _DAY)


def _at_least() -> int:
    """The watermark never goes down. As a number that is known beforehand it shows the planner how few events are
    above it; the statement itself reads it once more, in the snapshot of the buckets.
    """
    with connection.cursor() as cursor:
        cursor.execute(_WATERMARK)
        number: int = (cursor.fetchone() or (0,))[0]
    return number


def _down(at: datetime, step: timedelta) -> datetime:
    return at - (at - _ORIGIN) % step


def _up(at: datetime, step: timedelta) -> datetime:
    return at + (_ORIGIN - at) % step
