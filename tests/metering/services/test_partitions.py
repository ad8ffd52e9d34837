from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread

import pytest
from django.db import connection, connections

from metering.services.partitions import ensure_partition_for, ensure_partitions, maintain_partitions, partition_name
from tenants.domain.enums import TenantMode
from tenants.models import Tenant
from tests.metering.ledger_rows import Workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_partitions() -> None:
    with connection.cursor() as cursor:
        for name in partitions():
            cursor.execute(f"DROP TABLE {name}")


def partitions() -> dict[str, str]:
    """Bounds by name."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, pg_get_expr(relpartbound, pg_class.oid) FROM pg_inherits JOIN pg_class ON pg_class.oid ="
            " inhrelid WHERE inhparent = 'metering_usageevent'::regclass ORDER BY relname"
        )
        return dict(cursor.fetchall())


def test_ensure_partitions__across_a_year__months_of_utc_without_gap() -> None:
    made = ensure_partitions(datetime(2026, 11, 30, 23, 59, tzinfo=UTC), 3)

    assert made == ["metering_usageevent_2026_11", "metering_usageevent_2026_12", "metering_usageevent_2027_01"]
    assert partitions() == {
        "metering_usageevent_2026_11": "FOR VALUES FROM ('2026-11-01 00:00:00+00') TO ('2026-12-01 00:00:00+00')",
        "metering_usageevent_2026_12": "FOR VALUES FROM ('2026-12-01 00:00:00+00') TO ('2027-01-01 00:00:00+00')",
        "metering_usageevent_2027_01": "FOR VALUES FROM ('2027-01-01 00:00:00+00') TO ('2027-02-01 00:00:00+00')",
    }


def test_ensure_partitions__twice__second_makes_nothing() -> None:
    first = datetime(2026, 11, 1, tzinfo=UTC)

    assert len(ensure_partitions(first, 2)) == 2
    assert ensure_partitions(first, 2) == []


def test_ensure_partitions__new_month__carries_every_index_of_the_parent() -> None:
    ensure_partitions(datetime(2026, 11, 1, tzinfo=UTC), 1)

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT parent.relname FROM pg_index JOIN pg_class AS child ON child.oid = indexrelid"
            " JOIN pg_inherits ON inhrelid = child.oid JOIN pg_class AS parent ON parent.oid = inhparent"
            " WHERE indrelid = 'metering_usageevent_2026_11'::regclass AND indisvalid ORDER BY 1"
        )
        attached = [name for (name,) in cursor.fetchall()]
        cursor.execute("SELECT count(*) FROM pg_index WHERE indrelid = 'metering_usageevent_2026_11'::regclass")
        assert attached == [
            *("event_corrects", "event_occurred_at", "event_of_license", "event_of_tenant", "event_xid"),
            "metering_usageevent_pkey",
        ]
        assert cursor.fetchone() == (6,)


def test_ensure_partitions__writer_in_the_middle_of_a_transaction__neither_waits() -> None:
    workspace = Workspace.make()
    workspace.use("1", at=datetime(2026, 11, 2, tzinfo=UTC))
    writer = connection.copy()
    writer.set_autocommit(False)
    try:
        with writer.cursor() as cursor:
            cursor.execute("UPDATE metering_usageevent SET quantity = 2")  # holds the lock that inserts hold
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '2s'")
            assert ensure_partitions(datetime(2027, 3, 1, tzinfo=UTC), 1) == ["metering_usageevent_2027_03"]
            cursor.execute("RESET lock_timeout")
    finally:
        writer.rollback()
        writer.close()


def test_ensure_partition_for__many_at_once__one_partition_and_no_error() -> None:
    at = datetime(2031, 5, 17, tzinfo=UTC)
    barrier = Barrier(8)
    failures: list[Exception] = []

    def make() -> None:
        try:
            barrier.wait()
            ensure_partition_for(at)
        except Exception as error:  # noqa: BLE001 (any at all fails the test)
            failures.append(error)
        finally:
            connections.close_all()

    threads = [Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert list(partitions()) == ["metering_usageevent_2031_05"]


def test_maintain_partitions__clocks_of_test_workspaces__windows_around_each() -> None:
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    Tenant.objects.create(slug="live", name="live")
    Tenant.objects.create(slug="far", name="far", mode=TenantMode.TEST, clock_offset=timedelta(days=400))

    made = maintain_partitions(now=now)

    real = [f"metering_usageevent_{month}" for month in ("2026_10", "2026_11", "2026_12", "2027_01", "2027_02")]
    ahead = [f"metering_usageevent_{month}" for month in ("2027_11", "2027_12", "2028_01", "2028_02", "2028_03")]
    assert made == real + ahead
    assert maintain_partitions(now=now) == []


def test_partition_name__instant_in_another_zone__month_of_utc() -> None:
    east = datetime.fromisoformat("2026-12-01T01:00:00+02:00")

    assert partition_name(east) == "metering_usageevent_2026_11"
