"""Monthly partitions of the events' table, made ahead of the clocks.

A partition is made as a table of its own and then attached: that takes a lock on the events' table which lets
reads and writes go on. Months are those of UTC.
"""

from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import connection, transaction

from common.clock import real_clock
from tenants.models import Tenant

MONTHS_AHEAD = 3
_EVENTS = "metering_usageevent"
#: Pairs of numbers name advisory locks apart from the tenants' single ones.
_LOCK = (0x6D657465, 1)

_EXISTING = """
SELECT child.relname FROM pg_inherits
JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = %s::regclass
"""

# Events are only ever inserted. Frozen and summarised early, a month that is over needs no more vacuuming.
_CREATE = """
CREATE TABLE {name} (LIKE {events} INCLUDING ALL) WITH (
    autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_analyze_scale_factor = 0.05
)
"""
_ATTACH = "ALTER TABLE {events} ATTACH PARTITION {name} FOR VALUES FROM ('{start}') TO ('{end}')"


def partition_name(month: datetime) -> str:
    """`metering_usageevent_2026_11` for any instant in November 2026 of UTC."""
    return f"{_EVENTS}_{_month_start(month):%Y_%m}"


def ensure_partition_for(at: datetime) -> None:
    """Make sure that an event of this instant has a partition; one look where it is there already."""
    ensure_partitions(at, 1)


def ensure_partitions(first: datetime, months: int) -> list[str]:
    """Make the partitions of `months` months from that of `first` on; the names of those that were missing.

    Safe in parallel: makers wait for one another, and the second finds everything done.
    """
    wanted = [_month_start(first)]
    while len(wanted) < months:
        wanted.append(_next_month(wanted[-1]))
    return _make(wanted[:months])


def maintain_partitions(*, now: datetime | None = None) -> list[str]:
    """Make all partitions that events may need: from the acceptance window up to three months ahead.

    Ahead of real time, and of the clock of each test workspace that was moved. Returns the names of new ones.
    """
    now = now or real_clock().now()
    offsets = Tenant.objects.filter(clock_offset__isnull=False).values_list("clock_offset", flat=True).distinct()
    months: set[datetime] = set()
    for offset in {timedelta(0), *(offset for offset in offsets if offset)}:
        month = _month_start(now + offset - settings.PERMETER_ACCEPTANCE_WINDOW)
        present = _month_start(now + offset)
        while month <= present:
            months.add(month)
            month = _next_month(month)
        for _ in range(MONTHS_AHEAD):
            months.add(month)
            month = _next_month(month)
    return _make(sorted(months))


def lock_partitions() -> None:
    """Keep others from making or dropping partitions until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", _LOCK)


def _make(months: list[datetime]) -> list[str]:
    wanted = {partition_name(month): month for month in months}
    if wanted.keys() <= _existing():
        return []
    with transaction.atomic(), connection.cursor() as cursor:
        lock_partitions()
        missing = sorted(wanted.keys() - _existing())
        for name in missing:
            month = wanted[name]
            cursor.execute(_CREATE.format(name=name, events=_EVENTS))
            cursor.execute(
                _ATTACH.format(name=name, events=_EVENTS, start=month.isoformat(), end=_next_month(month).isoformat())
            )
    return missing


def _existing() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(_EXISTING, [_EVENTS])
        return {name for (name,) in cursor.fetchall()}


def _month_start(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _next_month(month: datetime) -> datetime:
    return _month_start(month + timedelta(days=31))
