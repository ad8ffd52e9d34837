"""The roll-up of new events beside a bare GROUP BY of the same rows."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from benchmarks import pace
from benchmarks.filling import fill_events
from benchmarks.report import Rounds, line
from benchmarks.stack import BenchStack
from benchmarks.world import METER, Shop, make_shop
from licensing_site.memory import spare_the_collector

NEW = pace.pick(100_000, 20_000)
AGENTS = 100
HOUR = timedelta(hours=1)
_GROUP_BY = """
INSERT INTO bench_group_by
SELECT date_bin('15 minutes', occurred_at, 'epoch'::timestamptz), tenant_id, meter_id, customer_id, license_id,
    agent_id, dimensions, sum(quantity), count(*)
FROM metering_usageevent WHERE xid >= %s GROUP BY 1, 2, 3, 4, 5, 6, 7
"""
_TABLE = """
CREATE TEMP TABLE bench_group_by AS
SELECT occurred_at AS bucket, tenant_id, meter_id, customer_id, license_id, agent_id, dimensions, quantity,
    0::bigint AS events
FROM metering_usageevent LIMIT 0
"""


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """Rounds of an hour's events of a hundred agents."""
    stack.django()
    spare_the_collector()
    shop = make_shop(agents=AGENTS, licenses=AGENTS)
    rolled, grouped = Rounds(), Rounds()
    with stack.no_tasks():
        roll_up_everything()
        for number in range(pace.pick(4, 3)):
            ours, theirs = measure(shop, NEW, HOUR)
            # The first round makes the hour's buckets, which the others add to.
            if number:
                rolled.append(ours)
                grouped.append(theirs)
    yield line(
        "rollup_vs_group_by",
        rolled,
        f"s for {NEW:,} new events",
        "a bare INSERT ... SELECT ... GROUP BY of the same rows into a table without indexes",
        grouped,
    )


def measure(shop: Shop, events: int, span: timedelta) -> tuple[float, float]:
    """Seconds to roll up so many new events, and to group them; within `no_tasks`, with nothing left to roll up."""
    from django.db import connection

    from metering.models import Meter

    meter = Meter.objects.get(tenant_id=shop.tenant_id, code=METER)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        [first] = cursor.fetchone()
        fill_events(shop, meter.id, events, span)
        cursor.execute("ANALYZE metering_usageevent")
        cursor.execute("DROP TABLE IF EXISTS bench_group_by")
        cursor.execute(_TABLE)
        begun = time.perf_counter()
        cursor.execute(_GROUP_BY, [first])
        grouped = time.perf_counter() - begun
    begun = time.perf_counter()
    roll_up_everything()
    return time.perf_counter() - begun, grouped


def roll_up_everything() -> None:
    """Whatever is new. Raises `RuntimeError` where another run is at it."""
    from metering.services.rollups import roll_up_usage

    if roll_up_usage().busy:
        raise RuntimeError("somebody else rolls up at the same time")
