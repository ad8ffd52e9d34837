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
_INSTANT: Final = timedelta(microseconds=1)
_ORIGIN: Final = datetime(1970, 1, 1, tzinfo=UTC)

# A cursor that never moved says nothing about the buckets: after a restore they may be of another cluster.
_WATERMARK: Final = """
SELECT watermark FROM metering_rollupcursor
WHERE name = 'rollup:' || (SELECT system_identifier FROM pg_control_system()) AND rolled_up_at IS NOT NULL
"""

#: `source` has the columns `at`, agent, licence and customer, `dimensions`, `quantity` and `events`; `{narrowed}` is a
#: condition on buckets, `{narrowed_events}` the same of events. A day that a bucket of the answer begins in counts as a
#: whole on one side of that instant; its quarters of the other side are taken off there and added here
#: (looked up stretch by stretch: OFFSET 0 keeps them from being read all at once).
_SOURCE: Final = """
cursor AS MATERIALIZED ({watermark}), source AS (
    SELECT bucket_start + %(day_at)s::interval AS at, agent_id, license_id, customer_id, dimensions,
           total AS quantity, events
    FROM metering_usagerollup
    WHERE tenant_id = %(tenant)s AND meter_id = %(meter)s AND EXISTS (SELECT FROM cursor)
      AND size = 'day' AND bucket_start >= %(days_from)s AND bucket_start < %(days_to)s {narrowed}
    UNION ALL
    SELECT place.at, agent_id, license_id, customer_id, dimensions, place.quantity, place.events
    FROM unnest(%(moved_from)s::timestamptz[], %(moved_to)s::timestamptz[], %(moved_off)s::timestamptz[])
        AS moved (first, last, off)
    CROSS JOIN LATERAL (
        SELECT * FROM metering_usagerollup
        WHERE tenant_id = %(tenant)s AND meter_id = %(meter)s AND EXISTS (SELECT FROM cursor)
          AND size = 'quarter' AND bucket_start >= moved.first AND bucket_start < moved.last {narrowed} OFFSET 0
    ) AS quarter
    CROSS JOIN LATERAL (VALUES (bucket_start, total, events), (moved.off, -total, -events))
        AS place (at, quantity, events)
    UNION ALL
    SELECT bucket_start, agent_id, license_id, customer_id, dimensions, total, events
    FROM metering_usagerollup
    WHERE tenant_id = %(tenant)s AND meter_id = %(meter)s AND EXISTS (SELECT FROM cursor)
      AND size = 'quarter' AND bucket_start >= %(quarters_from)s AND bucket_start < %(days_from)s {narrowed}
    UNION ALL
    SELECT bucket_start, agent_id, license_id, customer_id, dimensions, total, events
    FROM metering_usagerollup
    WHERE tenant_id = %(tenant)s AND meter_id = %(meter)s AND EXISTS (SELECT FROM cursor)
      AND size = 'quarter' AND bucket_start >= %(days_to)s AND bucket_start < %(quarters_to)s {narrowed}
    UNION ALL
    SELECT occurred_at, agent_id, license_id, customer_id, dimensions, quantity, 1
    FROM metering_usageevent AS event
    WHERE tenant_id = %(tenant)s AND meter_id = %(meter)s
      AND xid >= %(at_least)s AND xid >= coalesce((SELECT watermark FROM cursor), 0)
      AND occurred_at >= %(start)s AND occurred_at < %(end)s {narrowed_events}
    UNION ALL
    SELECT occurred_at, agent_id, license_id, customer_id, dimensions, quantity, 1
    FROM metering_usageevent AS event
    WHERE tenant_id = %(tenant)s AND meter_id = %(meter)s AND xid < (SELECT watermark FROM cursor)
      AND occurred_at >= %(start)s AND occurred_at < %(quarters_from)s {narrowed_events}
    UNION ALL
    SELECT occurred_at, agent_id, license_id, customer_id, dimensions, quantity, 1
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
    *, tenant_id: UUID, meter_id: UUID, start: datetime, end: datetime | None, cuts: Sequence[datetime] = ()
) -> dict[str, Any]:
    """What `source` has to be given for [start, end), without an end for ever. Reads the watermark.

    `cuts`, in order, are the instants at which buckets of the answer begin: what lies on two sides of one has different
    `at`. Where they are close to one another all is taken by quarters.
    """
    at_least = _at_least()
    start = max(start.astimezone(UTC), datetime.min.replace(tzinfo=UTC) + _DAY)
    if end is None:
        quarters_from = _up(start, _QUARTER)
        days_from = _up(quarters_from, _DAY)
        edges: dict[str, Any] = {"end": "infinity", "quarters_to": "infinity", "days_to": "infinity"}
        last = None
    else:
        end = end.astimezone(UTC)
        # Inside a single quarter both are the end: then events alone answer.
        quarters_from = min(_up(start, _QUARTER), end)
        quarters_to = max(_down(end, _QUARTER), quarters_from)
        days_from = min(_up(quarters_from, _DAY), quarters_to)
        last = max(_down(quarters_to, _DAY), days_from)
        edges = {"end": end, "quarters_to": quarters_to, "days_to": last}
    inside = [cut for cut in cuts if not begins_day(cut) and days_from <= cut and (last is None or cut < last)]
    moved = _moved(inside)
    if moved is None:
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
        **(moved or _moved([]) or {}),
    }


def _moved(cuts: Sequence[datetime]) -> dict[str, Any] | None:
    """Which quarters of whole days count on the other side of the cuts in them than their day does.

    None if some day is cut twice, or where no quarter begins: then whole days say nothing.
    """
    days = [_down(cut, _DAY) for cut in cuts]
    if len(set(days)) < len(days) or any(cut != _down(cut, _QUARTER) for cut in cuts):
        return None
    # Days count where most of them is, so that few quarters move: at their beginning, or else at their very end.
    before = sum((cut - day for cut, day in zip(cuts, days, strict=True)), timedelta(0))
    at_end = 2 * before < len(cuts) * _DAY
    day_at = _DAY - _INSTANT if at_end else timedelta(0)
    return {
        "day_at": day_at,
        "moved_from": days if at_end else list(cuts),
        "moved_to": list(cuts) if at_end else [day + _DAY for day in days],
        "moved_off": [day + day_at for day in days],
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
