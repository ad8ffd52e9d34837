"""Days of any timezone, put together from UTC's: the same as adding up the events themselves."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from zoneinfo import ZoneInfo

import pytest

from metering.models import UsageEvent, UsageRollup
from metering.selectors.usage import UsageQuery, UsageWindow, query_usage
from metering.services.rollups import roll_up_usage
from tests.metering.ledger_rows import Workspace

pytestmark = pytest.mark.django_db(transaction=True)

#: Clocks change in London and Berlin on 25 October, in New York on 1 November.
SINCE = datetime(2026, 10, 23, 3, 20, tzinfo=UTC)
UNTIL = datetime(2026, 11, 4, 17, 5, tzinfo=UTC)
ZONES = [
    *("UTC", "Europe/London", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tokyo"),
    *("Pacific/Auckland", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Australia/Lord_Howe", "America/St_Johns"),
]


@pytest.fixture
def workspace() -> Workspace:
    """Events of two agents over twelve days, most of them at the edges of hours; some take others back."""
    random = Random(3)
    workspace = Workspace.make()
    hours = int((UNTIL - SINCE) / timedelta(hours=1))
    for _ in range(160):
        at = SINCE.replace(minute=0) + timedelta(hours=random.randrange(-2, hours + 2))
        at += random.choice([timedelta(0), -timedelta(microseconds=1), timedelta(minutes=random.randrange(60))])
        workspace.use(
            random.choice(["1", "2.5", "-1"]), at=at, agent=random.choice([workspace.agent, workspace.worker])
        )
    # All of this local day comes to nothing, and is in the answer all the same.
    workspace.use("7", at=datetime(2026, 10, 28, 12, tzinfo=UTC))
    workspace.use("-7", at=datetime(2026, 10, 28, 13, tzinfo=UTC))
    return workspace


@pytest.mark.parametrize("rolled_up", [False, True])
def test_query_usage__zones_of_all_offsets__days_weeks_and_months_are_those_of_the_events(
    workspace: Workspace, rolled_up: bool
) -> None:
    if rolled_up:
        roll_up_usage()
    events = events_of(workspace)
    for name in ZONES:
        for window in (UsageWindow.DAY, UsageWindow.WEEK, UsageWindow.MONTH):
            report = query_usage(
                UsageQuery(
                    meter=workspace.meter,
                    start=SINCE,
                    end=UNTIL,
                    timezone=ZoneInfo(name),
                    window=window,
                    group_by=["agent"],
                )
            )
            rows = {(row.start, row.group["agent"]): (row.end, row.value) for row in report.rows}
            for (start, agent), (end, value) in rows.items():
                mine = [quantity for at, whose, quantity in events if start <= at < end and whose == agent]
                assert value == sum(mine, Decimal(0)), (name, window, start)
                assert mine, (name, window, start)
            told = sum(
                start <= at < end and whose == agent
                for at, whose, _ in events
                for (start, agent), (end, _) in rows.items()
            )
            assert told == sum(SINCE <= at < UNTIL for at, _, _ in events)


def events_of(workspace: Workspace) -> list[tuple[datetime, str, Decimal]]:
    found = UsageEvent.objects.filter(tenant=workspace.tenant).select_related("agent")
    return [(event.occurred_at, event.agent.public_id, event.quantity) for event in found if event.agent]


@pytest.mark.parametrize(("zone", "quarters"), [("Europe/Berlin", 4), ("America/New_York", 20), ("Asia/Tokyo", 36)])
def test_query_usage__days_of_another_zone__only_their_ends_are_read_by_quarters(zone: str, quarters: int) -> None:
    workspace = Workspace.make()
    start = datetime(2026, 11, 5, tzinfo=UTC)
    for quarter in range(4 * 24 * 4):
        workspace.use("1", at=start + quarter * timedelta(minutes=15))
    roll_up_usage()
    # What is not read may say anything.
    UsageRollup.objects.filter(size="quarter").update(total=Decimal(1000))
    midnight = datetime(2026, 11, 6, tzinfo=ZoneInfo(zone))

    report = query_usage(
        UsageQuery(
            meter=workspace.meter,
            start=start,
            end=start + timedelta(days=4),
            timezone=ZoneInfo(zone),
            window=UsageWindow.DAY,
        )
    )

    of_day = {row.start: row.value for row in report.rows}
    assert of_day[(midnight + timedelta(days=1)).astimezone(UTC)] == 96
    assert sum(of_day.values()) == 4 * 96
    first = of_day[start]
    assert first in {96 - 1000 * quarters, 1000 * quarters}
