"""The roll-up of new events beside a bare GROUP BY of the same rows."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from benchmarks import pace
from benchmarks.cases.ingest import BATCH, events_now, send, timed
from benchmarks.report import Rounds, line
from benchmarks.stack import BenchStack
from benchmarks.world import make_shop
from licensing_site.memory import spare_the_collector


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """Ten thousand new events a round; the worker's own roll-ups go on beside, as they do in earnest."""
    from django.db import connection

    from metering.services.rollups import roll_up_usage

    stack.django()
    spare_the_collector()
    roll_up_usage()
    shop = make_shop()
    rolled, grouped = Rounds(), Rounds()
    for number in range(pace.ROUNDS + 1):
        since = datetime.now(UTC)
        for _ in range(10):
            send(shop, events_now(BATCH))
        ours = timed(roll_up_usage)
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS bench_rollup")
            begun = time.perf_counter()
            cursor.execute(
                "CREATE TEMP TABLE bench_rollup AS SELECT date_bin('15 minutes', occurred_at, '2000-01-01'), meter_id,"
                " customer_id, license_id, agent_id, dimensions, sum(quantity), count(*) FROM metering_usageevent"
                " WHERE tenant_id = %s AND recorded_at >= %s GROUP BY 1, 2, 3, 4, 5, 6",
                [shop.tenant_id, since],
            )
            theirs = time.perf_counter() - begun
        if number:
            rolled.append(ours)
            grouped.append(theirs)
    yield line(
        "rollup_vs_group_by",
        rolled,
        "s for 10,000 new events",
        "a bare INSERT ... SELECT ... GROUP BY of the same rows",
        grouped,
    )
