"""The ledger's statements go by index from the first call on, however small its tables were then."""

from __future__ import annotations

import pytest
from django.db import connection

from metering.services.ledger_sql import COPY_FROM
from tests.metering.ledger_world import make_world

pytestmark = pytest.mark.django_db(transaction=True)

TABLES = ("metering_balance", "metering_eventid")


def scans() -> dict[str, tuple[int, int]]:
    """Of each table, how often all of it was read, and how often an index."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(
            "SELECT relname, seq_scan, idx_scan FROM pg_stat_user_tables WHERE relname = ANY(%s)", [list(TABLES)]
        )
        return {name: (whole, by_index) for name, whole, by_index in cursor.fetchall()}


@pytest.mark.parametrize("size", [1, COPY_FROM])
def test_post__tables_that_were_never_analyzed__read_by_index_only(size: int) -> None:
    world = make_world()
    world.quota("1000000")
    world.post(world.request())
    caller = world.caller()
    before = scans()

    for _ in range(8):
        world.post(*(world.request(caller=caller) for _ in range(size)))

    after = scans()
    assert {name: after[name][0] - before[name][0] for name in TABLES} == dict.fromkeys(TABLES, 0)
    assert all(after[name][1] - before[name][1] >= 8 for name in TABLES)
