"""Usage reports: exact at every edge, in any timezone, and the same however far the roll-up has come."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from threading import Event, Thread
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, connections

from common.errors import Invalid
from metering.models import RollupCursor, UsageRollup
from metering.selectors import usage
from metering.selectors.usage import UsageQuery, UsageReport, UsageWindow, query_usage
from metering.services.rollups import roll_up_usage
from tests.metering.ledger_rows import Workspace

pytestmark = pytest.mark.django_db(transaction=True)

DAY = datetime(2026, 11, 3, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
STAGES = ["nothing rolled up", "half rolled up", "all rolled up"]


def at(hour: int, minute: int = 0, second: int = 0, microsecond: int = 0) -> datetime:
    return DAY + timedelta(hours=hour, minutes=minute, seconds=second, microseconds=microsecond)


def ask(workspace: Workspace, start: datetime, end: datetime, **query: Any) -> UsageReport:
    query.setdefault("timezone", ZoneInfo("UTC"))
    return query_usage(UsageQuery(meter=workspace.meter, start=start, end=end, **query))


def values(report: UsageReport) -> list[tuple[datetime, str]]:
    return [(row.start, str(row.value.normalize())) for row in report.rows]


def use_all(workspace: Workspace, stage: str, events: list[tuple[str, datetime]]) -> None:
    """Record the events, with the roll-up at none, half or all of them."""
    for position, (quantity, when) in enumerate(events):
        workspace.use(quantity, at=when)
        if stage == "half rolled up" and position == len(events) // 2:
            roll_up_usage()
    if stage == "all rolled up":
        roll_up_usage()


RANGES = [
    (at(0), at(24), "127"),
    (at(9), at(10), "30"),
    (at(9, 0, 0, 1), at(10), "28"),
    (at(8, 59, 59), at(9), "1"),
    (at(9, 15), at(9, 30), "8"),
    (at(9, 15, 1), at(9, 30), "0"),
    (at(9, 14, 59), at(9, 15), "4"),
    (at(9, 14, 59), at(9, 15, 0, 1), "12"),
    (at(9, 16), at(9, 17), "0"),
    (at(9, 10), at(23, 45), "92"),
    (at(9, 10), at(23, 45, 0, 1), "124"),
    (at(-48), at(48), "127"),
]


@pytest.mark.parametrize("stage", STAGES)
def test_query_usage__range_that_cuts_anywhere__counts_what_lies_in_it(stage: str) -> None:
    workspace = Workspace.make()
    events = [
        ("1", at(8, 59, 59)),
        ("2", at(9)),
        ("4", at(9, 14, 59)),
        ("8", at(9, 15)),
        ("16", at(9, 59, 59, 999_999)),
        ("64", at(10)),
        ("32", at(23, 45)),
    ]
    use_all(workspace, stage, events)

    for start, end, total in RANGES:
        report = ask(workspace, start, end)
        assert (start, end, report.total) == (start, end, Decimal(total))
        assert [(row.start, row.end, row.group) for row in report.rows] == ([(start, end, {})] if total != "0" else [])


@pytest.mark.parametrize("stage", STAGES)
def test_query_usage__by_hour__half_open_buckets_clipped_to_the_range(stage: str) -> None:
    workspace = Workspace.make()
    use_all(
        workspace, stage, [("1", at(9, 20)), ("2", at(9, 59, 59)), ("4", at(10)), ("8", at(12, 29)), ("16", at(12, 31))]
    )

    report = ask(workspace, at(9, 30), at(12, 30), window=UsageWindow.HOUR)

    assert [(row.start, row.end, row.value) for row in report.rows] == [
        (at(9, 30), at(10), 2),
        (at(10), at(11), 4),
        (at(12), at(12, 30), 8),
    ]
    assert report.total == Decimal(14)


@pytest.mark.parametrize("stage", STAGES)
def test_query_usage__days_in_a_timezone__begin_at_local_midnight(stage: str) -> None:
    workspace = Workspace.make()
    use_all(workspace, stage, [("1", at(-1, -1)), ("2", at(-1)), ("4", at(22, 59)), ("8", at(23))])

    report = ask(workspace, at(-24), at(48), window=UsageWindow.DAY, timezone=BERLIN)

    assert values(report) == [(at(-24), "1"), (at(-1), "6"), (at(23), "8")]
    in_utc = ask(workspace, at(-24), at(48), window=UsageWindow.DAY)
    assert values(in_utc) == [(at(-24), "3"), (at(0), "12")]


def test_query_usage__zones_off_the_full_hour__add_up() -> None:
    workspace = Workspace.make()
    use_all(workspace, "half rolled up", [("1", at(0) + timedelta(minutes=15 * number)) for number in range(96)])

    for zone in map(ZoneInfo, ["Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Chatham"]):
        report = ask(workspace, at(0), at(24), window=UsageWindow.DAY, timezone=zone)
        assert report.total == Decimal(96)
        cut = report.rows[1].start
        assert cut.astimezone(zone).strftime("%H:%M") == "00:00"
        assert report.rows[0].value == Decimal((cut - at(0)) // timedelta(minutes=15))


@pytest.mark.parametrize("stage", STAGES)
def test_query_usage__day_on_which_clocks_change__has_25_or_23_hours(stage: str) -> None:
    workspace = Workspace.make()
    autumn, spring = datetime(2026, 10, 25, tzinfo=UTC), datetime(2027, 3, 28, tzinfo=UTC)
    events = [("1", autumn + timedelta(minutes=30 * number - 120)) for number in range(50)]
    use_all(workspace, stage, [*events, *(("1", spring + timedelta(hours=number - 1)) for number in range(23))])

    days = ask(
        workspace, autumn - timedelta(days=1), autumn + timedelta(days=1), window=UsageWindow.DAY, timezone=BERLIN
    )
    assert values(days) == [(autumn - timedelta(hours=2), "5E+1")]
    assert days.rows[0].end - days.rows[0].start == timedelta(hours=25)
    hours = ask(workspace, autumn, autumn + timedelta(hours=2), window=UsageWindow.HOUR, timezone=BERLIN)
    assert [row.start.astimezone(BERLIN).strftime("%H%z") for row in hours.rows] == ["02+0200", "02+0100"]
    [short] = ask(
        workspace, spring - timedelta(hours=1), spring + timedelta(hours=22), window=UsageWindow.DAY, timezone=BERLIN
    ).rows
    assert (short.end - short.start, short.value) == (timedelta(hours=23), Decimal(23))


def test_query_usage__weeks_and_months__begin_on_monday_and_the_first() -> None:
    workspace = Workspace.make()
    use_all(
        workspace,
        "all rolled up",
        [
            ("1", datetime(2026, 10, 31, 23, 59, tzinfo=UTC)),
            ("2", datetime(2026, 11, 1, tzinfo=UTC)),
            ("4", datetime(2026, 11, 2, tzinfo=UTC)),
        ],
    )
    start, end = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)

    months = ask(workspace, start, end, window=UsageWindow.MONTH)
    weeks = ask(workspace, start, end, window=UsageWindow.WEEK)

    assert values(months) == [(start, "1"), (datetime(2026, 11, 1, tzinfo=UTC), "6")]
    assert values(weeks) == [(datetime(2026, 10, 26, tzinfo=UTC), "3"), (datetime(2026, 11, 2, tzinfo=UTC), "4")]


@pytest.mark.parametrize("stage", STAGES)
def test_query_usage__grouped__by_owner_and_dimension(stage: str) -> None:
    workspace = Workspace.make()
    workspace.use("1", at=at(9), agent=workspace.agent, dimensions={"model": "large"})
    workspace.use("2", at=at(9, 1), agent=workspace.worker, dimensions={"model": "large"})
    if stage == "half rolled up":
        roll_up_usage()
    workspace.use("4", at=at(9, 2), agent=workspace.worker, dimensions={"model": "small"})
    workspace.use("8", at=at(9, 3), agent=workspace.worker)
    if stage == "all rolled up":
        roll_up_usage()

    by_model = ask(workspace, at(0), at(24), group_by=["model"])
    assert {row.group["model"]: row.value for row in by_model.rows} == {"large": 3, "small": 4, None: 8}
    both = ask(workspace, at(0), at(24), group_by=["agent", "model"], window=UsageWindow.DAY)
    assert {(row.group["agent"], row.group["model"]): row.value for row in both.rows} == {
        (workspace.agent.public_id, "large"): 1,
        (workspace.worker.public_id, "large"): 2,
        (workspace.worker.public_id, "small"): 4,
        (workspace.worker.public_id, None): 8,
    }
    owners = ask(workspace, at(0), at(24), group_by=["license", "customer"])
    assert [row.group for row in owners.rows] == [
        {"license": workspace.license.public_id, "customer": workspace.customer.public_id}
    ]
    assert (by_model.total, both.total, owners.total) == (15, 15, 15)


@pytest.mark.parametrize("stage", STAGES)
def test_query_usage__of_an_agent__is_its_own_unless_descendants_are_asked_for(stage: str) -> None:
    workspace = Workspace.make()
    workspace.use("1", at=at(9, 1), agent=workspace.agent)
    if stage == "half rolled up":
        roll_up_usage()
    workspace.use("2", at=at(9, 2), agent=workspace.worker)
    if stage == "all rolled up":
        roll_up_usage()

    def total(**query: Any) -> Decimal:
        return ask(workspace, at(0), at(24), **query).total

    assert total(agent_id=workspace.agent.id) == Decimal(1)
    assert total(agent_id=workspace.worker.id) == Decimal(2)
    assert total(agent_id=workspace.agent.id, descendants=True) == Decimal(3)
    assert total(agent_id=workspace.worker.id, descendants=True) == Decimal(2)
    assert total(license_id=workspace.license.id, customer_id=workspace.customer.id) == Decimal(3)
    assert total(license_id=workspace.customer.id) == Decimal(0)


def test_query_usage__another_tenant__is_not_in_it() -> None:
    mine, foreign = Workspace.make(), Workspace.make("other-vendor")
    foreign.use("5", at=at(9))
    roll_up_usage()
    foreign.use("6", at=at(9))
    assert ask(mine, at(0), at(24)).total == Decimal(0)
    assert ask(mine, at(0), at(24), license_id=foreign.license.id).rows == []


def test_query_usage__reversal__takes_away_what_it_reverses() -> None:
    workspace = Workspace.make()
    workspace.use("5.5", at=at(9))
    roll_up_usage()
    workspace.use("-5.5", at=at(9))
    [row] = ask(workspace, at(0), at(24)).rows
    assert row.value == Decimal(0)


def test_query_usage__after_a_restore__buckets_of_another_cluster_are_not_looked_at() -> None:
    workspace = Workspace.make()
    workspace.use("5", at=at(9))
    roll_up_usage()
    RollupCursor.objects.update(name="rollup:of-another-cluster")
    assert UsageRollup.objects.exists()

    assert ask(workspace, at(0), at(24)).total == Decimal(5)


def test_query_usage__whole_days_in_the_middle__come_from_the_buckets_of_days() -> None:
    workspace = Workspace.make()
    for number in range(5):
        workspace.use("1", at=at(24 * number, 7))
    roll_up_usage()
    UsageRollup.objects.filter(size="day", bucket_start=at(48)).update(total=Decimal(100))

    assert ask(workspace, at(12), at(96)).total == Decimal(102)
    assert values(ask(workspace, at(0), at(96), window=UsageWindow.DAY))[2] == (at(48), "1E+2")
    # Berlin's days are those of UTC but for their ends; hours are told apart by quarters alone.
    assert ask(workspace, at(0), at(96), window=UsageWindow.DAY, timezone=BERLIN).total == Decimal(103)
    assert ask(workspace, at(0), at(96), window=UsageWindow.HOUR).total == Decimal(4)


ODD_QUESTIONS: list[tuple[dict[str, Any], str, str]] = [
    ({"end": at(0)}, "from", "range_empty"),
    ({"start": DAY.replace(tzinfo=None)}, "from", "time_invalid"),
    ({"end": datetime(9999, 1, 1, tzinfo=UTC)}, "to", "time_invalid"),
    ({"group_by": ["color"]}, "group_by", "group_by_unknown"),
    ({"group_by": ["model", "model"]}, "group_by", "group_by_invalid"),
    ({"end": at(10_000, 1), "window": UsageWindow.HOUR}, "from", "too_many_rows"),
    ({"end": datetime(8999, 1, 1, tzinfo=UTC), "window": UsageWindow.DAY}, "from", "too_many_rows"),
]


def test_query_usage__odd_question__is_refused() -> None:
    workspace = Workspace.make()
    for query, field, code in ODD_QUESTIONS:
        with pytest.raises(Invalid) as refusal:
            ask(workspace, **{"start": at(0), "end": at(1), **query})
        assert [(error["field"], error["code"]) for error in refusal.value.errors] == [(field, code)]


def test_query_usage__too_many_groups__is_refused_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace.make()
    for number in range(3):
        workspace.use("1", at=at(number), dimensions={"model": f"m{number}"})
    monkeypatch.setattr(usage, "MAX_ROWS", 3)
    assert len(ask(workspace, at(0), at(3), group_by=["model"]).rows) == 3
    monkeypatch.setattr(usage, "MAX_ROWS", 2)
    with pytest.raises(Invalid) as refusal:
        ask(workspace, at(0), at(3), group_by=["model"])
    assert refusal.value.code == "too_many_rows"


def test_query_usage__any_window__needs_two_reads(django_assert_num_queries: Any) -> None:
    workspace = Workspace.make()
    workspace.use("1", at=at(9))
    for window in (None, *UsageWindow):
        with django_assert_num_queries(2, connection=connection):
            report = ask(workspace, at(0), at(24), window=window)
        assert report.total == Decimal(1)
        assert all(first.end <= then.start for first, then in pairwise(report.rows))


def test_query_usage__any_range_and_any_progress_of_the_roll_up__equals_the_sum_of_the_events() -> None:
    workspace = Workspace.make()
    chance = Random(20261103)
    events: list[tuple[datetime, int]] = []
    ranges = [sorted(DAY + timedelta(seconds=chance.randrange(3 * 86_400)) for _ in range(2)) for _ in range(40)]
    ranges += [[at(hour), at(hour + length)] for hour in range(0, 30, 7) for length in (1, 24, 25, 48)]
    for step in range(4):
        for _ in range(25):
            events.append((DAY + timedelta(seconds=chance.randrange(3 * 86_400)), chance.randrange(1, 1000)))
            workspace.use(str(events[-1][1]), at=events[-1][0])
        for start, end in ranges:
            if start < end:
                expected = sum(quantity for when, quantity in events if start <= when < end)
                window = chance.choice([None, *UsageWindow])
                report = ask(workspace, start, end, window=window, timezone=chance.choice([BERLIN, ZoneInfo("UTC")]))
                assert (step, start, end, window, report.total) == (step, start, end, window, Decimal(expected))
        roll_up_usage()


def test_query_usage__while_the_roll_up_is_under_way__never_counts_twice_or_misses() -> None:
    workspace = Workspace.make()
    stop = Event()

    def roll_up_again_and_again() -> None:
        while not stop.is_set():
            roll_up_usage(chunk=1)
        connections.close_all()

    roller = Thread(target=roll_up_again_and_again)
    roller.start()
    try:
        for number in range(1, 41):
            workspace.use("1", at=at(9, number % 60))
            assert ask(workspace, at(0), at(24)).total == Decimal(number)
            assert ask(workspace, at(0), at(23, 59), window=UsageWindow.HOUR).total == Decimal(number)
    finally:
        stop.set()
        roller.join()


@pytest.mark.parametrize("stage", STAGES)
def test_query_usage__filter_and_top__told_apart_as_asked(stage: str) -> None:
    workspace = Workspace.make()
    for position, (quantity, model) in enumerate([("1", "a"), ("8", "b"), ("4", "c"), ("2", "d"), ("16", None)]):
        dimensions = {} if model is None else {"model": model}
        workspace.use(quantity, at=at(9, position), dimensions=dimensions)
        workspace.use("100", at=at(33, position), dimensions={"model": "a"})
        if stage == "half rolled up" and position == 2:
            roll_up_usage()
    if stage == "all rolled up":
        roll_up_usage()

    only = ask(workspace, at(0), at(48), filter={"model": "b"})
    assert (only.total, values(only)) == (Decimal(8), [(at(0), "8")])

    by_day = ask(workspace, at(0), at(48), group_by=["model"], top=2, window=UsageWindow.DAY)
    assert [(row.start, row.group["model"], row.value) for row in by_day.rows] == [
        (at(0), "__other__", 14),
        (at(0), "a", 1),
        (at(0), None, 16),
        (at(24), "a", 500),
    ]
    assert by_day.total == Decimal(531)


def test_query_usage__top_or_filter_that_cannot_be__are_refused() -> None:
    workspace = Workspace.make()

    for query, field, code in [
        ({"top": 3}, "top", "group_by_required"),
        ({"top": 0, "group_by": ["agent"]}, "top", "out_of_range"),
        ({"top": 1001, "group_by": ["agent"]}, "top", "out_of_range"),
        ({"filter": {"colour": "red"}}, "filter.colour", "dimension_unknown"),
    ]:
        with pytest.raises(Invalid) as refused:
            ask(workspace, at(0), at(1), **query)
        assert [(error["field"], error["code"]) for error in refused.value.errors] == [(field, code)]


@pytest.mark.parametrize(
    ("aggregation", "by_hour", "total"),
    [("max", ["5", "9"], "9"), ("latest", ["2", "9"], "9"), ("unique", ["2", "2"], "3")],
)
def test_query_usage__meter_that_does_not_add_up__is_asked_of_its_events(
    aggregation: str, by_hour: list[str], total: str
) -> None:
    workspace = Workspace.make()
    workspace.meter.aggregation = aggregation
    workspace.meter.save()
    for quantity, when in [("5", at(9, 1)), ("2", at(9, 2)), ("5", at(10)), ("9", at(10, 3))]:
        workspace.use(quantity, at=when)
    roll_up_usage()

    report = ask(workspace, at(9), at(11), window=UsageWindow.HOUR)

    assert [text for _, text in values(report)] == by_hour
    assert report.total == Decimal(total)
