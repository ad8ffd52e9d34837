"""What must not grow with history: the roll-up of new events, and a month's chart of usage beside a look-up by key."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from benchmarks.report import line
from benchmarks.stack import BenchStack
from benchmarks.world import METER, Shop, make_shop
from licensing_site.memory import spare_the_collector

#: Events in the tables when it is measured first, and at the end.
SMALL, LARGE = 1_000_000, 10_000_000
NEW = 100_000
AGENTS = 100
_DAYS = 28
#: Days that are those of UTC, and days that end at other instants.
_ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata")

_HISTORY = """
INSERT INTO metering_usageevent (id, tenant_id, customer_id, license_id, agent_id, agent_path, meter_id, client_id,
    quantity, dimensions, occurred_at, recorded_at, kind)
SELECT gen_random_uuid(), %(tenant)s, agent.customer_id, agent.license_id, agent.id, ARRAY[agent.id], %(meter)s,
    'h' || number, number %% 1000, '{"model": "large"}',
    %(until)s - (number::numeric * %(seconds)s / %(events)s) * interval '1 second', %(until)s, 'usage'
FROM generate_series(1, %(events)s) AS number
JOIN (SELECT row_number() OVER (ORDER BY agent.id) AS place, agent.id, agent.license_id, license.customer_id
      FROM licenses_agent AS agent JOIN licenses_license AS license ON license.id = agent.license_id
      WHERE agent.tenant_id = %(tenant)s) AS agent ON agent.place = number %% %(agents)s + 1
"""


def run(stack: BenchStack, small: int = SMALL, large: int = LARGE, new: int = NEW) -> Iterator[dict[str, Any]]:
    """With a million events, and then with ten million."""
    stack.django()
    spare_the_collector()
    shop = make_shop(agents=AGENTS, licenses=AGENTS)
    meter_id = _meter_id(shop)
    written = 0
    rolled: list[float] = []
    for events in (small, large):
        while written < events:
            portion = min(1_000_000, events - written)
            _write(shop, meter_id, portion)
            bare = _group_by(shop) if not written else 0.0
            took = _timed(_roll_up)
            if not written:
                yield line(
                    f"rollup_of_{portion}_new_events",
                    took,
                    "s",
                    "a bare INSERT ... SELECT ... GROUP BY of the same rows",
                    bare,
                )
            written += portion
        _analyze()
        rolled.append(median([_roll_up_of(shop, meter_id, new) for _ in range(3)]))
        yield from _chart(shop, events)
    yield line("rollup_with_10_times_the_history", rolled[1], f"s for {new:,} new events", "with a tenth", rolled[0])


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
                start=now - timedelta(days=_DAYS),
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
    return median([_timed(work) for _ in range(times)]) * 1000


def _write(shop: Shop, meter_id: Any, events: int) -> None:
    from django.db import connection

    from metering.services.partitions import ensure_partitions

    until = datetime.now(UTC) - timedelta(minutes=1)
    ensure_partitions(until - timedelta(days=_DAYS + 31), 3)
    with connection.cursor() as cursor:
        cursor.execute(
            _HISTORY,
            {
                "tenant": shop.tenant_id,
                "meter": meter_id,
                "until": until,
                "seconds": _DAYS * 86_400,
                "events": events,
                "agents": AGENTS,
            },
        )


def _group_by(shop: Shop) -> float:
    """Into a table without any index, once."""
    from django.db import connection

    with connection.cursor() as cursor:
        begun = time.perf_counter()
        cursor.execute(
            "CREATE TABLE bench_group_by AS SELECT date_bin('15 minutes', occurred_at, 'epoch'::timestamptz),"
            " tenant_id, meter_id, customer_id, license_id, agent_id, dimensions, sum(quantity), count(*)"
            " FROM metering_usageevent WHERE tenant_id = %s GROUP BY 1, 2, 3, 4, 5, 6, 7",
            [shop.tenant_id],
        )
        return time.perf_counter() - begun


def _roll_up_of(shop: Shop, meter_id: Any, events: int) -> float:
    _roll_up()
    _write(shop, meter_id, events)
    return _timed(_roll_up)


def _roll_up() -> None:
    from metering.services.rollups import roll_up_usage

    roll_up_usage()


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _meter_id(shop: Shop) -> Any:
    from metering.models import Meter

    return Meter.objects.get(tenant_id=shop.tenant_id, code=METER).id


def _analyze() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
