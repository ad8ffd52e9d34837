"""How far a worker has read the events, by transaction id.

A cursor is good for the database cluster whose ids it counts: its name carries the cluster's identifier. After a
logical restore into another cluster, where ids start anew, there is no cursor yet, and a new generation begins.
"""

from datetime import datetime
from typing import NamedTuple

from django.db import connection

_CLUSTER = "SELECT system_identifier FROM pg_control_system()"

_ENSURE = """
INSERT INTO metering_rollupcursor (name, generation, watermark)
SELECT %(name)s, coalesce(max(generation), 0) + 1, 0 FROM metering_rollupcursor
WHERE starts_with(name, %(prefix)s)
HAVING NOT coalesce(bool_or(name = %(name)s), false)
ON CONFLICT DO NOTHING
"""

_LOCK = "SELECT generation, watermark, rolled_up_at FROM metering_rollupcursor WHERE name = %s FOR UPDATE SKIP LOCKED"
_READ = "SELECT generation, watermark, rolled_up_at FROM metering_rollupcursor WHERE name = %s"

_MOVE = """
UPDATE metering_rollupcursor SET watermark = greatest(watermark, %s), rolled_up_at = greatest(rolled_up_at, %s)
WHERE name = %s
"""

# The planner has no statistics on a young partition; without them it would read all of it for a few new events.
_BY_INDEX = "SET LOCAL enable_seqscan = off; SET LOCAL work_mem = '64MB'"

_HORIZON = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"


class Position(NamedTuple):
    """All events below `watermark` are done; `moved_at` is when that was last so, None before the first time."""

    generation: int
    watermark: int
    moved_at: datetime | None


def cursor_name(work: str) -> str:
    """The name of this work's cursor in this cluster."""
    with connection.cursor() as cursor:
        cursor.execute(_CLUSTER)
        return f"{work}:{cursor.fetchone()[0]}"


def ensure_cursor(name: str) -> None:
    """Make the cursor if this cluster has none yet, as the next generation."""
    with connection.cursor() as cursor:
        cursor.execute(_ENSURE, {"name": name, "prefix": name.partition(":")[0] + ":"})


def lock_cursor(name: str) -> Position | None:
    """The cursor, locked until the transaction ends; None if another worker has it."""
    return _position(_LOCK, name)


def lock_cursor_waiting(name: str) -> Position | None:
    """The cursor, locked until the transaction ends, once whoever has it lets go; None if there is none yet."""
    return _position(_LOCK.replace(" SKIP LOCKED", ""), name)


def read_cursor(name: str) -> Position | None:
    """The cursor as it is; None if this cluster has none yet."""
    return _position(_READ, name)


def move_cursor(name: str, watermark: int, at: datetime) -> None:
    """Everything below `watermark` is done as of `at`. Never moves back."""
    with connection.cursor() as cursor:
        cursor.execute(_MOVE, [watermark, at, name])


def horizon() -> int:
    """The oldest transaction id that is still running: all below are decided, and visible to whoever asks next."""
    with connection.cursor() as cursor:
        cursor.execute(_HORIZON)
        number: int = cursor.fetchone()[0]
    return number


def read_by_index() -> None:
    """Let the rest of the transaction find events by the index on their transaction ids."""
    with connection.cursor() as cursor:
        cursor.execute(_BY_INDEX)


def _position(statement: str, name: str) -> Position | None:
    with connection.cursor() as cursor:
        cursor.execute(statement, [name])
        row = cursor.fetchone()
    return Position(*row) if row else None
