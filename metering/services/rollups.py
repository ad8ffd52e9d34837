"""Events rolled up into buckets of a quarter of an hour and of a UTC day, each event once.

The watermark is a transaction id: events below the oldest running transaction are all there, so none that commits
late is skipped. A run reads the events since the last one and adds them to their buckets in the transaction that
moves the watermark; killed anywhere, it has happened or it has not.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction

from common.clock import real_clock
from metering.selectors.buckets import buckets_of
from metering.services.cursors import (
    cursor_name,
    ensure_cursor,
    horizon,
    lock_cursor,
    move_cursor,
    read_by_index,
    read_cursor,
)
from metering.services.summaries import summarize_events

WORK = "rollup"
#: Roughly how many events one transaction adds; a backlog is worked off in steps of this size.
CHUNK = 250_000

_CHUNK_ENDS = """
SELECT max(xid) + 1
FROM (SELECT xid, div(sum(events) OVER (ORDER BY xid) - events, %(chunk)s) AS part
      FROM (SELECT xid, count(*) AS events FROM metering_usageevent
            WHERE xid >= %(start)s AND xid < %(end)s GROUP BY xid) AS of_transaction) AS parted
GROUP BY part ORDER BY 1
"""

# In the order of their ids, which begin with the time: each index is then written at a few places, not all over.
_INSERT = """
WITH {buckets}
INSERT INTO metering_usagerollup (id, tenant_id, size, bucket_start, meter_id, customer_id, license_id, agent_id,
                                  dimensions, total, events)
SELECT id, tenant_id, size, bucket_start, meter_id, customer_id, license_id, agent_id, dimensions::jsonb, total, events
FROM buckets ORDER BY id
ON CONFLICT (id) DO UPDATE SET total = metering_usagerollup.total + excluded.total,
                               events = metering_usagerollup.events + excluded.events
"""
_ADD = _INSERT.format(buckets=buckets_of("xid >= %(start)s AND xid < %(end)s"))
_ADD_ALL = _INSERT.format(buckets=buckets_of("true"))

_LAG = """
SELECT min(event.recorded_at - coalesce(tenant.clock_offset, '0'))
FROM metering_usageevent AS event JOIN tenants_tenant AS tenant ON tenant.id = event.tenant_id
WHERE event.xid >= %s
"""


@dataclass(frozen=True, slots=True)
class RollUp:
    """What a run did: everything below `watermark` is in the buckets; `busy` if another worker was at it."""

    watermark: int
    chunks: int = 0
    busy: bool = False


def roll_up_usage(*, now: datetime | None = None, chunk: int = CHUNK) -> RollUp:
    """Add the events since the last run to their buckets. Cost follows new events, not history."""
    now = now or real_clock().now()
    name = cursor_name(WORK)
    ensure_cursor(name)
    with transaction.atomic():
        position = lock_cursor(name)
        if position is None:
            return RollUp(0, busy=True)
        end = horizon()
        if (position.generation > 1 and position.moved_at is None) or position.watermark > end:
            _start_anew(name, now)
            return RollUp(end, chunks=1)
        start = position.watermark
        ends = [*_chunk_ends(start, end, chunk), end]
    chunks = 0
    for chunk_end in ends:
        with transaction.atomic():
            position = lock_cursor(name)
            if position is None:
                return RollUp(0, chunks, busy=True)
            if position.watermark < chunk_end:
                _add(position.watermark, chunk_end)
                chunks += 1
            move_cursor(name, chunk_end, now)
    summarize_events(start, end)
    return RollUp(end, chunks)


def rollup_lag(now: datetime | None = None) -> timedelta:
    """How long the oldest event that is in no bucket yet has been waiting; 0 if all are.

    Grows while workers are away, or while a long transaction of anybody holds the watermark back.
    """
    now = now or real_clock().now()
    position = read_cursor(cursor_name(WORK))
    with transaction.atomic(), connection.cursor() as cursor:
        read_by_index()
        cursor.execute(_LAG, [position.watermark if position else 0])
        oldest: datetime | None = cursor.fetchone()[0]
    return max(now - oldest, timedelta(0)) if oldest else timedelta(0)


def _chunk_ends(start: int, end: int, chunk: int) -> list[int]:
    read_by_index()
    with connection.cursor() as cursor:
        cursor.execute(_CHUNK_ENDS, {"start": start, "end": end, "chunk": chunk})
        return [number for (number,) in cursor.fetchall()]


def _add(start: int, end: int) -> None:
    read_by_index()
    with connection.cursor() as cursor:
        cursor.execute(_ADD, {"start": start, "end": end})


def _start_anew(name: str, now: datetime) -> None:
    """Begin a generation: add all events up once more, and move them below every id to come.

    Restored events carry ids of another cluster, and would be met again when this one's ids get there. While the
    table is locked nobody has written without committing, and whoever waits to write has an id from `start` on.
    """
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE metering_usageevent IN SHARE ROW EXCLUSIVE MODE")
        start = horizon()
        cursor.execute("DELETE FROM metering_usagerollup")
        cursor.execute(_ADD_ALL)
        cursor.execute("UPDATE metering_usageevent SET xid = 0 WHERE xid >= %s", [start])
        cursor.execute(
            "DELETE FROM metering_rollupcursor WHERE starts_with(name, %s) AND name <> %s", [f"{WORK}:", name]
        )
        cursor.execute(
            "UPDATE metering_rollupcursor SET watermark = %s, rolled_up_at = %s WHERE name = %s", [start, now, name]
        )
