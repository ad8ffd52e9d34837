from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Event, Thread
from typing import Any

import pytest
from django.db import connections, transaction

from metering.domain.enums import BucketSize
from metering.models import RollupCursor, UsageEvent, UsageRollup
from metering.services.cursors import cursor_name
from metering.services.rollups import roll_up_usage, rollup_lag
from tests.metering.ledger_rows import Workspace

pytestmark = pytest.mark.django_db(transaction=True)

DAY = datetime(2026, 11, 3, tzinfo=UTC)


def at(hour: int, minute: int, second: int = 0) -> datetime:
    return DAY + timedelta(hours=hour, minutes=minute, seconds=second)


def buckets(size: BucketSize = BucketSize.QUARTER) -> list[tuple[Any, ...]]:
    rows = UsageRollup.objects.filter(size=size).order_by("bucket_start", "dimensions", "agent_id")
    return [(row.bucket_start, row.dimensions, row.total, row.events) for row in rows]


def test_roll_up_usage__edges_of_a_quarter__half_open_buckets_and_their_day() -> None:
    workspace = Workspace.make()
    for quantity, when in (("1", at(9, 0)), ("2", at(9, 14, 59)), ("4", at(9, 15)), ("8", at(23, 59, 59))):
        workspace.use(quantity, at=when)

    roll_up_usage()

    assert buckets() == [
        (at(9, 0), {}, Decimal(3), 2),
        (at(9, 15), {}, Decimal(4), 1),
        (at(23, 45), {}, Decimal(8), 1),
    ]
    assert buckets(BucketSize.DAY) == [(DAY, {}, Decimal(15), 4)]


def test_roll_up_usage__what_reports_group_by__buckets_of_their_own() -> None:
    workspace = Workspace.make()
    workspace.use("1", at=at(9, 0), dimensions={"model": "large"})
    workspace.use("0.000000000001", at=at(9, 1), dimensions={"model": "large"})
    workspace.use("5", at=at(9, 2), dimensions={"model": "small"})
    workspace.use("7", at=at(9, 3), dimensions={"model": "small"}, agent=workspace.agent)

    roll_up_usage()

    assert sorted(buckets(), key=lambda row: row[2]) == [
        (at(9, 0), {"model": "large"}, Decimal("1.000000000001"), 2),
        (at(9, 0), {"model": "small"}, Decimal(5), 1),
        (at(9, 0), {"model": "small"}, Decimal(7), 1),
    ]


def test_roll_up_usage__run_again_and_after_more__each_event_once() -> None:
    workspace = Workspace.make()
    workspace.use("3", at=at(9, 0))
    roll_up_usage()
    roll_up_usage()
    workspace.use("4", at=at(9, 1))
    workspace.use("-3", at=at(9, 0))
    roll_up_usage()
    roll_up_usage()

    assert buckets() == [(at(9, 0), {}, Decimal(4), 3)]
    assert buckets(BucketSize.DAY) == [(DAY, {}, Decimal(4), 3)]


def test_roll_up_usage__transaction_that_commits_late__is_not_skipped() -> None:
    workspace = Workspace.make()
    written, go_on = Event(), Event()

    def write_slowly() -> None:
        with transaction.atomic():
            workspace.use("100", at=at(9, 0))
            written.set()
            go_on.wait()
        connections.close_all()

    slow = Thread(target=write_slowly)
    slow.start()
    written.wait()
    workspace.use("1", at=at(9, 0))  # a later id, committed earlier
    roll_up_usage()
    early = buckets()
    go_on.set()
    slow.join()
    roll_up_usage()

    assert early == []
    assert buckets() == [(at(9, 0), {}, Decimal(101), 2)]


def test_roll_up_usage__backlog__worked_off_in_chunks() -> None:
    workspace = Workspace.make()
    for number in range(10):
        workspace.use("1", at=at(9, number))

    done = roll_up_usage(chunk=3)

    assert done.chunks >= 4
    assert buckets() == [(at(9, 0), {}, Decimal(10), 10)]


def test_roll_up_usage__another_worker_at_it__leaves_without_waiting() -> None:
    workspace = Workspace.make()
    roll_up_usage()
    workspace.use("1", at=at(9, 0))
    outcome: list[bool] = []

    def other() -> None:
        outcome.append(roll_up_usage().busy)
        connections.close_all()

    with transaction.atomic():
        RollupCursor.objects.select_for_update().get(name=cursor_name("rollup"))
        thread = Thread(target=other)
        thread.start()
        thread.join(10)

    assert outcome == [True]
    assert buckets() == []


def test_roll_up_usage__restored_into_another_cluster__new_generation_with_the_same_numbers() -> None:
    workspace = Workspace.make()
    workspace.use("1", at=at(9, 0))
    roll_up_usage()
    workspace.use("2", at=at(9, 1))
    # What a restore brings: ids and a cursor of a cluster that was far ahead, then new events with small ids.
    UsageEvent.objects.update(xid=2**40)
    RollupCursor.objects.update(name="rollup:1", watermark=2**40 + 1)
    workspace.use("4", at=at(9, 2))
    roll_up_usage()
    workspace.use("8", at=at(9, 3))
    roll_up_usage()

    assert buckets() == [(at(9, 0), {}, Decimal(15), 4)]
    assert list(RollupCursor.objects.filter(name__startswith="rollup").values_list("name", "generation")) == [
        (cursor_name("rollup"), 2)
    ]


def test_roll_up_usage__recomputed_from_nothing__same_rows() -> None:
    workspace = Workspace.make()
    for number in range(5):
        workspace.use("1.5", at=at(number, 0), dimensions={"model": f"m{number % 2}"})
        roll_up_usage()
    before = sorted(UsageRollup.objects.values_list("id", "total", "events", "bucket_start"))
    UsageRollup.objects.all().delete()
    RollupCursor.objects.all().delete()

    roll_up_usage()

    assert sorted(UsageRollup.objects.values_list("id", "total", "events", "bucket_start")) == before
    assert len(before) == 5 + 2


def test_rollup_lag__event_waiting__age_of_the_oldest() -> None:
    workspace = Workspace.make()
    roll_up_usage()
    assert rollup_lag(at(10, 0)) == timedelta(0)

    workspace.use("1", at=at(9, 0))
    workspace.use("1", at=at(9, 30))
    assert rollup_lag(at(10, 0)) == timedelta(hours=1)

    roll_up_usage()
    assert rollup_lag(at(10, 0)) == timedelta(0)
