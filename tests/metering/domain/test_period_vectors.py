from datetime import UTC, date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from metering.domain.enums import Anchor, Period
from metering.domain.periods import add_months, period_window, windows_between
from tests.vectors import Vector, metering_vectors

UTC_ZONE = ZoneInfo("UTC")


def vectors(kind: str) -> pytest.MarkDecorator:
    found = metering_vectors(kind)
    return pytest.mark.parametrize("vector", found, ids=[vector["id"] for vector in found])


def midnight(text: str) -> datetime:
    return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)


@vectors("month_periods")
def test_anchored_months__worked_case__begin_on_these_days(vector: Vector) -> None:
    given = vector["input"]
    windows = windows_between(
        Period.MONTH,
        start=midnight(given["from"]),
        end=midnight(given["to"]),
        timezone=UTC_ZONE,
        anchor=Anchor.LICENSE,
        anchored_at=midnight(given["anchor"]),
    )
    assert [window.start.date().isoformat() for window in windows] == vector["expected"]["starts"]


@vectors("month_period_at")
def test_anchored_month__worked_case__holds_the_instant(vector: Vector) -> None:
    given, expected = vector["input"], vector["expected"]
    window = period_window(
        Period.MONTH,
        at=datetime.fromisoformat(given["at"]),
        timezone=UTC_ZONE,
        anchor=Anchor.LICENSE,
        anchored_at=datetime.fromisoformat(given["anchor"]),
    )
    assert window.end is not None
    assert (window.start.isoformat(), window.end.isoformat()) == (expected["from"], expected["to"])


@vectors("next_billing_local")
def test_anchored_month__worked_case__ends_at_this_wall_clock_time(vector: Vector) -> None:
    given = vector["input"]
    zone = ZoneInfo(given["tz"])
    window = period_window(
        Period.MONTH,
        at=datetime.fromisoformat(given["current"]).replace(tzinfo=zone),
        timezone=zone,
        anchor=Anchor.LICENSE,
        anchored_at=datetime.fromisoformat(given["anchor"]).replace(tzinfo=zone),
        every=given["months"],
    )
    assert window.end == datetime.fromisoformat(vector["expected"]["next_utc"])


@vectors("add_months")
def test_add_months__worked_case__clamps_to_the_month(vector: Vector) -> None:
    given = vector["input"]
    moved = add_months(datetime.fromisoformat(given["start"]), given["months"])
    assert moved == datetime.fromisoformat(vector["expected"]["end"])


@vectors("day_window_dst")
def test_calendar_day__worked_case__is_midnight_to_midnight(vector: Vector) -> None:
    given, expected = vector["input"], vector["expected"]
    at = datetime.fromisoformat(given["at"])
    window = period_window(Period.DAY, at=at, timezone=ZoneInfo(given["tz"]))
    assert window.end is not None
    assert (window.start.isoformat(), window.end.isoformat()) == (expected["start_utc"], expected["end_utc"])
    assert (window.end - window.start).total_seconds() == expected["hours"] * 3600


@vectors("quota_window_start")
def test_window_of_several_units__worked_case__begins_on_a_local_day(vector: Vector) -> None:
    given = vector["input"]
    window = period_window(
        Period(given["unit"]),
        at=datetime.fromisoformat(given["event"]),
        timezone=ZoneInfo(given["tz"]),
        anchor=Anchor.LICENSE,
        anchored_at=datetime.fromisoformat(given["cycle_start"]),
        every=given["n"],
    )
    assert window.start.isoformat() == vector["expected"]["window_start_utc"]


def test_windows_of_the_vectors__laid_end_to_end__meet() -> None:
    for vector in metering_vectors("month_periods"):
        given = vector["input"]
        windows = windows_between(
            Period.MONTH,
            start=midnight(given["from"]),
            end=midnight(given["to"]),
            timezone=UTC_ZONE,
            anchor=Anchor.LICENSE,
            anchored_at=midnight(given["anchor"]),
        )
        assert all(one.end == two.start for one, two in pairwise(windows))
