"""How the database goes about the reads whose tables grow for ever: by index, and only in the months concerned.

Plans are looked at, not times. There are two workspaces with events in two months, and the planner knows it.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from common.pagination import paginate
from metering.models import UsageEvent
from metering.selectors.events import events_of, of_agent, of_client_id, of_hold, worked_out_from
from metering.selectors.overages import list_overages
from metering.selectors.statements import customers_to_bill, has_open_periods, material_for
from metering.selectors.usage import UsageQuery, UsageWindow, query_usage
from metering.services.partitions import ensure_partitions
from metering.services.rollups import roll_up_usage
from tests.metering.ledger_rows import DECEMBER, NOVEMBER, OCTOBER, Workspace

pytestmark = pytest.mark.django_db(transaction=True)

#: Of each workspace.
EVENTS = 6000
#: What a page of a list may look at to be sure of 51 rows.
A_PAGE = 120

_EVENTS = """
INSERT INTO metering_usageevent (id, tenant_id, customer_id, license_id, agent_id, agent_path, meter_id, client_id,
                                 quantity, occurred_at, recorded_at, kind)
SELECT gen_random_uuid(), %(tenant)s, %(customer)s, %(license)s, %(agent)s, ARRAY[%(agent)s]::uuid[], %(meter)s,
       'event-' || number, 1, at, at, 'usage'
FROM generate_series(1, %(events)s) AS number
CROSS JOIN LATERAL (SELECT %(start)s + number * %(step)s AS at) AS moment
"""
_IDS = """
INSERT INTO metering_eventid (tenant_id, digest, fingerprint, kind, occurred_at, occurred_given, event_ids)
SELECT tenant_id, id, id, 'usage', occurred_at, true, ARRAY[id] FROM metering_usageevent
"""


class Node(NamedTuple):
    """A step of a plan that reads a table: how, which, and how many rows it gave and threw away."""

    kind: str
    table: str
    rows: float


@pytest.fixture
def workspace() -> Workspace:
    """The one that is asked about."""
    ensure_partitions(OCTOBER, 3)
    workspaces = [Workspace.make("acme"), Workspace.make("other")]
    with connection.cursor() as cursor:
        for each in workspaces:
            cursor.execute(
                _EVENTS,
                {
                    "tenant": each.tenant.id,
                    "customer": each.customer.id,
                    "license": each.license.id,
                    "agent": each.agent.id,
                    "meter": each.meter.id,
                    "events": EVENTS,
                    "start": OCTOBER,
                    "step": (DECEMBER - OCTOBER) / (EVENTS + 1),
                },
            )
        cursor.execute(_IDS)
    roll_up_usage()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return workspaces[0]


def reads(work: Callable[[], object]) -> list[Node]:
    """What all statements of `work` read of the tables that grow."""
    with CaptureQueriesContext(connection) as captured:
        work()
    found: list[Node] = []
    for query in captured.captured_queries:
        if query["sql"].lstrip().upper().startswith(("SELECT", "WITH")):
            with connection.cursor() as cursor:
                cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + query["sql"].replace("%", "%%"), [])
                found += _nodes(cursor.fetchone()[0][0]["Plan"])
    return found


def _nodes(node: dict[str, Any]) -> Iterator[Node]:
    if str(node.get("Relation Name", "")).startswith(
        ("metering_usageevent", "metering_eventid", "metering_usagerollup")
    ):
        thrown = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        loops = node["Actual Loops"]
        if loops:
            yield Node(node["Node Type"], node["Relation Name"], loops * (node["Actual Rows"] + thrown))
    for below in node.get("Plans", []):
        yield from _nodes(below)


def page(events: QuerySet[UsageEvent]) -> list[UsageEvent]:
    return paginate(events, limit=50, cursor=None, time_field="occurred_at").items


def assert_by_index(nodes: list[Node], *, most: int, month: str | None = None) -> None:
    """No table is read through, no more rows are looked at, and of events only this month's."""
    assert nodes
    assert [node for node in nodes if node.kind == "Seq Scan" and node.rows] == []
    assert sum(node.rows for node in nodes) <= most, nodes
    if month is not None:
        months = {node.table for node in nodes if node.table.startswith("metering_usageevent")}
        assert months <= {f"metering_usageevent_{month}"}, nodes


def test_events__of_a_whole_workspace_without_bounds__only_the_newest_are_read(workspace: Workspace) -> None:
    nodes = reads(lambda: page(events_of(workspace.tenant.id)))

    assert_by_index(nodes, most=A_PAGE)
    assert {node.table for node in nodes if node.rows} == {"metering_usageevent_2026_11"}


def test_events__further_pages__begin_where_the_last_one_ended(workspace: Workspace) -> None:
    events = events_of(workspace.tenant.id)
    first = paginate(events, limit=50, cursor=None, time_field="occurred_at")

    nodes = reads(lambda: paginate(events, limit=50, cursor=first.next_cursor, time_field="occurred_at"))

    assert_by_index(nodes, most=A_PAGE)


def test_events__of_some_days__only_their_month_is_looked_at(workspace: Workspace) -> None:
    days = events_of(workspace.tenant.id).filter(
        occurred_at__gte=OCTOBER + timedelta(days=3), occurred_at__lt=OCTOBER + timedelta(days=5)
    )

    assert_by_index(reads(lambda: page(days)), most=A_PAGE, month="2026_10")


def test_events__of_a_licence_or_an_agent__read_from_their_end(workspace: Workspace) -> None:
    events = events_of(workspace.tenant.id)
    for narrowed in (
        lambda: page(events.filter(license_id=workspace.license.id)),
        lambda: page(of_agent(events, workspace.agent.id, descendants=True)),
    ):
        assert_by_index(reads(narrowed), most=A_PAGE)


def test_events__by_whatever_id__are_looked_up(workspace: Workspace) -> None:
    events = events_of(workspace.tenant.id)
    used = workspace.use("1", client_id="mine", at=NOVEMBER + timedelta(days=9, microseconds=1))
    hold = workspace.hold("1", expires_at=DECEMBER)
    UsageEvent.objects.filter(id=used.id).update(hold_id=hold.id)
    derived = workspace.use("1", at=used.occurred_at)
    UsageEvent.objects.filter(id=derived.id).update(derived_from=used.id, corrects=used.id)

    def named(license_id: UUID | None) -> list[UUID]:
        found = of_client_id(events, "mine", tenant_id=workspace.tenant.id, license_id=license_id)
        return [event.id for event in page(found)]

    assert named(None) == named(workspace.license.id) == [used.id]
    assert [event.id for event in page(worked_out_from(events, used.id))] == [derived.id]
    for work in (
        lambda: named(None),
        lambda: page(events.filter(id=used.id)),
        lambda: page(events.filter(corrects=used.id)),
        lambda: page(worked_out_from(events, used.id)),
    ):
        assert_by_index(reads(work), most=20)
    assert [event.id for event in page(of_hold(events, hold.id))] == [used.id]
    assert [
        node for node in reads(lambda: page(of_hold(events, hold.id))) if node.kind == "Seq Scan" and node.rows
    ] == []


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_usage__a_month_by_day__reads_buckets_by_index_and_no_other_month(workspace: Workspace, zone: str) -> None:
    def chart() -> None:
        query_usage(
            UsageQuery(
                meter=workspace.meter,
                start=datetime(2026, 11, 2, tzinfo=UTC),
                end=datetime(2026, 11, 30, tzinfo=UTC),
                timezone=ZoneInfo(zone),
                license_id=workspace.license.id,
                window=UsageWindow.DAY,
            )
        )

    # 28 days; with ends of days at other instants than UTC's, four quarters of each and those of two cut days.
    assert_by_index(reads(chart), most=40 if zone == "UTC" else 400, month="2026_11")


def test_overages_and_statements__read_no_events(workspace: Workspace) -> None:
    def asked() -> None:
        list(list_overages(workspace.tenant)[:51])
        material_for(workspace.tenant, workspace.customer.id, NOVEMBER, DECEMBER)
        has_open_periods(workspace.tenant, workspace.customer.id, DECEMBER)
        customers_to_bill(workspace.tenant.id, DECEMBER)

    assert reads(asked) == []
