from datetime import UTC, datetime

import pytest
from django.db import connection

from metering.services.partitions import ensure_partition_for
from metering.services.rollups import roll_up_usage
from metering.services.summaries import summarize_events
from tests.metering.ledger_rows import Workspace, current_xid

pytestmark = pytest.mark.django_db(transaction=True)

AT = datetime(2026, 11, 3, 9, tzinfo=UTC)
MANY = 2000

_EVENTS = """
INSERT INTO metering_usageevent (id, tenant_id, customer_id, license_id, meter_id, client_id, quantity, occurred_at,
                                 recorded_at, kind)
SELECT gen_random_uuid(), %(tenant)s, %(customer)s, %(license)s, %(meter)s, number, 1, %(at)s, %(at)s, 'usage'
FROM generate_series(1, %(many)s) AS number
"""
_PAGES_READ = "EXPLAIN (ANALYZE, FORMAT JSON) SELECT count(*) FROM metering_usageevent WHERE xid >= %s"


def write_many(workspace: Workspace) -> None:
    """Some dozens of pages at once, of which no vacuum knows yet."""
    ensure_partition_for(AT)
    with connection.cursor() as cursor:
        cursor.execute(
            _EVENTS,
            {
                "tenant": workspace.tenant.id,
                "customer": workspace.customer.id,
                "license": workspace.license.id,
                "meter": workspace.meter.id,
                "at": AT,
                "many": MANY,
            },
        )


def rows_looked_at(since: int) -> int:
    """How many events the index cannot rule out for a transaction id."""
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        cursor.execute(_PAGES_READ, [since])
        [plan] = cursor.fetchone()[0]
        cursor.execute("RESET enable_seqscan")

    def count(node: dict[str, object]) -> int:
        below = node.get("Plans", [])
        assert isinstance(below, list)
        own = node.get("Rows Removed by Index Recheck", 0)
        assert isinstance(own, int)
        return own + sum(map(count, below))

    return count(plan["Plan"])


def test_roll_up_usage__many_events_at_once__not_looked_at_again_when_the_tail_is_read() -> None:
    write_many(Workspace.make())
    later = current_xid() + 1
    assert rows_looked_at(later) > 1000

    roll_up_usage()

    assert rows_looked_at(later) == 0


def test_summarize_events__done_already_or_nothing_written__none_made() -> None:
    workspace = Workspace.make()
    assert summarize_events(0, current_xid() + 1) == 0
    write_many(workspace)
    end = current_xid() + 1

    assert summarize_events(0, end) > 1
    assert summarize_events(0, end) == 0
