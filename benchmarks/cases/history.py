"""What must not grow with history: the hot path, roll-ups, charts, and what indexes and vacuum cost for an event."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from benchmarks import pace
from benchmarks.cases.ingest import record, timed
from benchmarks.cases.ledger import analyze
from benchmarks.cases.rollup import HOUR, measure, roll_up_everything
from benchmarks.curves import Curve
from benchmarks.filling import MONTH
from benchmarks.hot_path import HotPath
from benchmarks.report import line
from benchmarks.stack import BenchStack
from benchmarks.world import METER, THREE_LEVELS, Shop, make_shop
from licensing_site.memory import spare_the_collector

#: Events in the tables when all is measured.
STEPS = (0, 10_000, 100_000) if pace.QUICK else (0, 100_000, 1_000_000, *([10_000_000] if pace.LARGE else []))
NEW = pace.pick(100_000, 10_000)
AGENTS = 100
PORTION = 1_000_000
#: Days that are those of UTC, and days that end at other instants.
_ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata")
_AXIS = "events"
_SIZES = """
SELECT sum(pg_indexes_size(relid)), sum(pg_table_size(relid))
FROM (SELECT relid FROM pg_partition_tree('metering_usageevent') WHERE isleaf
      UNION ALL SELECT relid FROM pg_partition_tree('metering_eventid') WHERE isleaf) AS parts
"""


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """Everything at each size, from an empty database on."""
    stack.django()
    spare_the_collector()
    past = make_shop(agents=AGENTS, licenses=AGENTS)
    hot = HotPath(stack, _AXIS)
    single = make_shop(levels=THREE_LEVELS)
    ingest = Curve("ingest_rate", "events/s, batches of 1,000 over three levels", _AXIS)
    rolled = Curve("rollup_seconds", f"s for {NEW:,} new events", _AXIS)
    written = 0
    for events in STEPS:
        while written < events:
            portion = min(PORTION, events - written)
            yield from _fill(stack, past, portion)
            written += portion
        yield from _sizes(events)
        analyze()
        yield from hot.points(events)
        yield ingest.point(events, median(record(single) for _ in range(3)))
        yield rolled.point(events, _rollup_seconds(stack, past))
        yield from _chart(past, events)


def _fill(stack: BenchStack, past: Shop, portion: int) -> Iterator[dict[str, Any]]:
    """Write them and roll them up; a full portion is measured beside a bare GROUP BY."""
    with stack.no_tasks():
        roll_up_everything()
        ours, theirs = measure(past, portion, MONTH)
    if portion == PORTION:
        yield line(
            f"rollup_of_{portion}_new_events",
            ours,
            "s",
            "a bare INSERT ... SELECT ... GROUP BY of the same rows into a table without indexes",
            theirs,
        )


def _rollup_seconds(stack: BenchStack, past: Shop) -> float:
    with stack.no_tasks():
        roll_up_everything()
        return median(measure(past, NEW, HOUR)[0] for _ in range(3))


def _sizes(events: int) -> Iterator[dict[str, Any]]:
    """Bytes of indexes and tables for an event, and a vacuum of what is there."""
    from django.db import connection

    if not events:
        return
    with connection.cursor() as cursor:
        took = timed(lambda: cursor.execute("VACUUM metering_usageevent, metering_eventid"))
        cursor.execute(_SIZES)
        indexes, tables = cursor.fetchone()
        cursor.execute("SELECT count(*) FROM metering_usageevent")
        [rows] = cursor.fetchone()
    for name, size in (("index", indexes), ("table", tables)):
        yield _SIZE_CURVES[name].point(events, float(size) / rows)
    yield _VACUUM.point(events, took / rows * 1e6)


_SIZE_CURVES = {
    name: Curve(f"{name}_bytes_an_event", "bytes for an event, its id in the register included", _AXIS)
    for name in ("index", "table")
}
_VACUUM = Curve("vacuum_seconds", "s for a million events, those that are all visible already included", _AXIS)


def _chart(shop: Shop, events: int) -> Iterator[dict[str, Any]]:
    from licenses.models import Agent
    from metering.models import Meter
    from metering.selectors.usage import UsageQuery, UsageWindow, query_usage

    agent = Agent.objects.get(id=shop.agents[0])
    meter = Meter.objects.get(tenant_id=shop.tenant_id, code=METER)
    now = datetime.now(UTC)

    def chart(zone: str) -> None:
        query_usage(
            UsageQuery(
                meter=meter,
                start=now - MONTH,
                end=now,
                timezone=ZoneInfo(zone),
                license_id=agent.license_id,
                window=UsageWindow.DAY,
            )
        )

    def look_up() -> None:
        Agent.objects.get(id=agent.id)

    for zone in _ZONES:
        asked, looked = _milliseconds(partial(chart, zone)), _milliseconds(look_up)
        yield line(
            f"usage_chart_vs_key_look_up_at_{events}_in_{zone}",
            asked,
            "ms for a license's month by day",
            "a row by its key",
            looked,
        )


def _milliseconds(work: Callable[[], object], times: int = 50) -> float:
    work()
    return median([timed(work) for _ in range(times)]) * 1000
