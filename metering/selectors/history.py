"""Since when events are kept, and what of the past may go."""

from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from metering.models import DroppedMonth

_PREFIX = "metering_usageevent_"

_PARTITIONS = """
SELECT child.relname FROM pg_inherits
JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = 'metering_usageevent'::regclass ORDER BY child.relname
"""

# A period that runs on is not waited for: its balance goes on with what it has. One that ended has to be closed.
_OPEN = """
SELECT id FROM metering_balance
WHERE closed_at IS NULL AND period_end > %(starts)s AND period_start < %(ends)s AND period_end <= %(now)s
ORDER BY id LIMIT 5
"""

_WAITING = "SELECT EXISTS (SELECT FROM {month} WHERE xid >= %s)"


class Month(NamedTuple):
    """A monthly partition of the events, [starts_at, ends_at) in UTC."""

    name: str
    starts_at: datetime
    ends_at: datetime


def months_of_events() -> list[Month]:
    """The partitions that there are, the oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(_PARTITIONS)
        return [month_named(name) for (name,) in cursor.fetchall()]


def month_named(name: str) -> Month:
    """The month of a partition's name. Raises ValueError for a name of something else."""
    year, _, month = name.removeprefix(_PREFIX).partition("_")
    if not name.startswith(_PREFIX) or not (len(year) == 4 and len(month) == 2):
        raise ValueError(f"{name} is no month of events.")
    starts = datetime(int(year), int(month), 1, tzinfo=UTC)
    ends = datetime(starts.year + starts.month // 12, starts.month % 12 + 1, 1, tzinfo=UTC)
    return Month(name, starts, ends)


def kept_since() -> datetime | None:
    """Events before this instant are not kept any more, nor are their ids; None if nothing was dropped yet."""
    return DroppedMonth.objects.order_by("-ends_at").values_list("ends_at", flat=True).first()


def unclosed_balances(month: Month, *, now: datetime) -> list[UUID]:
    """A few balances of periods that saw this month, have ended, and are not closed yet. `now` is real time."""
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, {"starts": month.starts_at, "ends": month.ends_at, "now": now})
        return [id for (id,) in cursor.fetchall()]


def is_rolled_up(month: Month, watermark: int) -> bool:
    """Whether all events of this month are below the roll-up's watermark."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING.format(month=month.name), [watermark])
        waiting: bool = cursor.fetchone()[0]
    return not waiting
