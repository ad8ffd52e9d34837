from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from metering.domain.enums import Anchor, Period
from metering.domain.periods import (
    EPOCH,
    LIFETIME,
    PeriodError,
    Window,
    next_window,
    period_window,
    rolling_buckets,
    windows_between,
)

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
KATHMANDU = ZoneInfo("Asia/Kathmandu")
APIA = ZoneInfo("Pacific/Apia")
ST_JOHNS = ZoneInfo("America/St_Johns")
UTC_ZONE = ZoneInfo("UTC")


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def window(start: str, end: str) -> Window:
    return Window(instant(start), instant(end))


CALENDAR = [
    # Berlin: the clocks go forward on 29 March 2026 and back on 25 October 2026.
    (BERLIN, Period.DAY, "2026-03-29T12:00:00+02:00", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
    (BERLIN, Period.DAY, "2026-10-25T12:00:00+01:00", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"),
    (BERLIN, Period.HOUR, "2026-03-29T01:30:00+01:00", "2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"),
    (BERLIN, Period.HOUR, "2026-10-25T02:30:00+02:00", "2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"),
    (BERLIN, Period.HOUR, "2026-10-25T02:30:00+01:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"),
    (BERLIN, Period.WEEK, "2026-03-29T23:59:59+02:00", "2026-03-23T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
    (BERLIN, Period.WEEK, "2026-01-01T00:00:00+01:00", "2025-12-29T00:00:00+01:00", "2026-01-05T00:00:00+01:00"),
    (BERLIN, Period.MONTH, "2026-03-31T23:59:59+02:00", "2026-03-01T00:00:00+01:00", "2026-04-01T00:00:00+02:00"),
    (BERLIN, Period.YEAR, "2026-07-01T00:00:00+02:00", "2026-01-01T00:00:00+01:00", "2027-01-01T00:00:00+01:00"),
    # In UTC these are still the day, month and year before.
    (BERLIN, Period.DAY, "2025-12-31T23:30:00+00:00", "2026-01-01T00:00:00+01:00", "2026-01-02T00:00:00+01:00"),
    (BERLIN, Period.YEAR, "2025-12-31T23:30:00+00:00", "2026-01-01T00:00:00+01:00", "2027-01-01T00:00:00+01:00"),
    # New York: forward on 8 March, back on 1 November 2026.
    (NEW_YORK, Period.DAY, "2026-03-08T12:00:00-04:00", "2026-03-08T00:00:00-05:00", "2026-03-09T00:00:00-04:00"),
    (NEW_YORK, Period.DAY, "2026-11-01T01:30:00-05:00", "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00"),
    (NEW_YORK, Period.HOUR, "2026-11-01T01:30:00-04:00", "2026-11-01T01:00:00-04:00", "2026-11-01T01:00:00-05:00"),
    (NEW_YORK, Period.HOUR, "2026-11-01T01:30:00-05:00", "2026-11-01T01:00:00-05:00", "2026-11-01T02:00:00-05:00"),
    # Lord Howe changes by half an hour: 5 April 2026 back at 02:00, 4 October 2026 forward at 02:00.
    (LORD_HOWE, Period.DAY, "2026-04-05T12:00:00+10:30", "2026-04-05T00:00:00+11:00", "2026-04-06T00:00:00+10:30"),
    (LORD_HOWE, Period.HOUR, "2026-04-05T01:45:00+11:00", "2026-04-05T01:00:00+11:00", "2026-04-05T01:30:00+10:30"),
    (LORD_HOWE, Period.HOUR, "2026-04-05T01:45:00+10:30", "2026-04-05T01:30:00+10:30", "2026-04-05T02:00:00+10:30"),
    (LORD_HOWE, Period.HOUR, "2026-04-05T02:10:00+10:30", "2026-04-05T02:00:00+10:30", "2026-04-05T03:00:00+10:30"),
    (LORD_HOWE, Period.HOUR, "2026-10-04T01:45:00+10:30", "2026-10-04T01:00:00+10:30", "2026-10-04T02:30:00+11:00"),
    (LORD_HOWE, Period.HOUR, "2026-10-04T02:45:00+11:00", "2026-10-04T02:30:00+11:00", "2026-10-04T03:00:00+11:00"),
    # Kathmandu is 5:45 ahead: its full hours are UTC's quarter past.
    (KATHMANDU, Period.HOUR, "2026-05-01T06:20:00+00:00", "2026-05-01T06:15:00+00:00", "2026-05-01T07:15:00+00:00"),
    (KATHMANDU, Period.HOUR, "2026-05-01T06:10:00+00:00", "2026-05-01T05:15:00+00:00", "2026-05-01T06:15:00+00:00"),
    (KATHMANDU, Period.DAY, "2026-05-01T18:14:59+00:00", "2026-04-30T18:15:00+00:00", "2026-05-01T18:15:00+00:00"),
    # Apia crossed the date line: 29 December 2011 was followed by the 31st.
    (APIA, Period.DAY, "2011-12-29T23:59:59-10:00", "2011-12-29T00:00:00-10:00", "2011-12-30T10:00:00+00:00"),
    (APIA, Period.DAY, "2011-12-31T00:00:00+14:00", "2011-12-30T10:00:00+00:00", "2012-01-01T00:00:00+14:00"),
    (APIA, Period.HOUR, "2011-12-31T00:10:00+14:00", "2011-12-31T00:00:00+14:00", "2011-12-31T01:00:00+14:00"),
    (APIA, Period.WEEK, "2011-12-31T12:00:00+14:00", "2011-12-26T00:00:00-10:00", "2012-01-02T00:00:00+14:00"),
    (APIA, Period.MONTH, "2011-12-31T12:00:00+14:00", "2011-12-01T00:00:00-10:00", "2012-01-01T00:00:00+14:00"),
    # Cairo began summer time at midnight on 28 April 2023: the day begins at 01:00.
    (
        ZoneInfo("Africa/Cairo"), Period.DAY,
        "2023-04-28T12:00:00+03:00", "2023-04-28T01:00:00+03:00", "2023-04-29T00:00:00+03:00",
    ),
    # St. John's went back at 00:01 of 7 November 2010 to 23:01: the 7th had already begun, and goes on.
    (ST_JOHNS, Period.DAY, "2010-11-06T23:30:00-03:30", "2010-11-07T00:00:00-02:30", "2010-11-08T00:00:00-03:30"),
    (ST_JOHNS, Period.DAY, "2010-11-06T23:30:00-02:30", "2010-11-06T00:00:00-02:30", "2010-11-07T00:00:00-02:30"),
]  # fmt: skip


@pytest.mark.parametrize(("zone", "period", "at", "start", "end"), CALENDAR)
def test_calendar_window__instant_in_a_zone__starts_and_ends_on_its_wall_clock(
    zone: ZoneInfo, period: Period, at: str, start: str, end: str
) -> None:
    assert period_window(period, at=instant(at), timezone=zone) == window(start, end)


@pytest.mark.parametrize(
    ("zone", "at", "hours"),
    [
        (BERLIN, "2026-03-29T12:00:00+02:00", 23),
        (BERLIN, "2026-10-25T12:00:00+01:00", 25),
        (NEW_YORK, "2026-03-08T12:00:00-04:00", 23),
        (NEW_YORK, "2026-11-01T12:00:00-05:00", 25),
        (LORD_HOWE, "2026-10-04T12:00:00+11:00", 23.5),
        (LORD_HOWE, "2026-04-05T12:00:00+10:30", 24.5),
        (KATHMANDU, "2026-04-05T12:00:00+05:45", 24),
    ],
)
def test_calendar_day__clocks_change__is_as_long_as_it_lasts(zone: ZoneInfo, at: str, hours: float) -> None:
    day = period_window(Period.DAY, at=instant(at), timezone=zone)
    assert day.end is not None
    assert day.end - day.start == timedelta(hours=hours)


def test_windows_between__berlin_autumn_day__has_25_elapsed_hours() -> None:
    day = period_window(Period.DAY, at=instant("2026-10-25T12:00:00+01:00"), timezone=BERLIN)
    assert day.end is not None
    hours = list(windows_between(Period.HOUR, start=day.start, end=day.end, timezone=BERLIN))
    assert len(hours) == 25
    assert {each.end - each.start for each in hours if each.end} == {timedelta(hours=1)}


def test_windows_between__apia_at_the_date_line__steps_over_the_day_that_never_was() -> None:
    days = windows_between(
        Period.DAY, start=instant("2011-12-29T12:00:00-10:00"), end=instant("2012-01-01T12:00:00+14:00"), timezone=APIA
    )
    assert [day.start.astimezone(APIA).date().isoformat() for day in days] == ["2011-12-29", "2011-12-31", "2012-01-01"]


def test_calendar_month__edge__belongs_to_the_new_period() -> None:
    edge = instant("2026-02-01T00:00:00+01:00")
    before = period_window(Period.MONTH, at=edge - timedelta(microseconds=1), timezone=BERLIN)
    after = period_window(Period.MONTH, at=edge, timezone=BERLIN)
    assert before.end == after.start == edge
    assert (before.contains(edge), after.contains(edge)) == (False, True)
    assert (before.has_ended(edge), after.has_ended(edge)) == (True, False)


def test_calendar_month__leap_february__has_29_days() -> None:
    at = instant("2028-02-29T12:00:00+00:00")
    assert period_window(Period.MONTH, at=at, timezone=UTC_ZONE) == window("2028-02-01T00:00Z", "2028-03-01T00:00Z")


def starts(period: Period, anchored_at: str, zone: ZoneInfo, *stretch: str, every: int = 1) -> list[str]:
    windows = windows_between(
        period,
        start=instant(stretch[0]),
        end=instant(stretch[1]),
        timezone=zone,
        anchor=Anchor.LICENSE,
        anchored_at=instant(anchored_at),
        every=every,
    )
    return [each.start.astimezone(zone).isoformat(timespec="minutes") for each in windows]


def test_anchored_month__the_31st__clamps_and_comes_back() -> None:
    assert starts(
        Period.MONTH, "2026-01-31T09:30:00+01:00", BERLIN, "2026-01-31T10:00:00Z", "2026-06-01T00:00:00Z"
    ) == [
        "2026-01-31T09:30+01:00",
        "2026-02-28T09:30+01:00",
        "2026-03-31T09:30+02:00",
        "2026-04-30T09:30+02:00",
        "2026-05-31T09:30+02:00",
    ]


def test_anchored_month__the_31st_backwards__clamps_too() -> None:
    assert starts(Period.MONTH, "2024-03-31T00:00Z", UTC_ZONE, "2024-01-31T00:00Z", "2024-03-31T00:00Z") == [
        "2024-01-31T00:00+00:00",
        "2024-02-29T00:00+00:00",
    ]


def test_anchored_year__29_february__is_the_28th_but_in_leap_years() -> None:
    assert starts(Period.YEAR, "2024-02-29T00:00Z", UTC_ZONE, "2024-02-29T00:00Z", "2028-03-01T00:00Z") == [
        "2024-02-29T00:00+00:00",
        "2025-02-28T00:00+00:00",
        "2026-02-28T00:00+00:00",
        "2027-02-28T00:00+00:00",
        "2028-02-29T00:00+00:00",
    ]


def test_anchored_day__time_that_spring_skips__begins_when_the_clocks_change() -> None:
    assert starts(Period.DAY, "2026-03-27T02:30:00+01:00", BERLIN, "2026-03-28T12:00Z", "2026-03-31T00:00Z") == [
        "2026-03-28T02:30+01:00",
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:30+02:00",
    ]


def test_anchored_day__time_that_autumn_repeats__begins_in_the_first_pass() -> None:
    assert starts(Period.DAY, "2026-10-24T02:30:00+02:00", BERLIN, "2026-10-24T12:00Z", "2026-10-27T00:00Z") == [
        "2026-10-24T02:30+02:00",
        "2026-10-25T02:30+02:00",
        "2026-10-26T02:30+01:00",
    ]


def test_anchored_day__anchored_in_the_second_pass__begins_exactly_there() -> None:
    anchored_at = instant("2026-10-25T02:30:00+01:00")
    terms = {"timezone": BERLIN, "anchor": Anchor.LICENSE, "anchored_at": anchored_at}
    first = period_window(Period.DAY, at=anchored_at, **terms)  # type: ignore[arg-type]
    assert first == window("2026-10-25T02:30:00+01:00", "2026-10-26T02:30:00+01:00")
    before = period_window(Period.DAY, at=anchored_at - timedelta(seconds=1), **terms)  # type: ignore[arg-type]
    assert before == window("2026-10-24T02:30:00+02:00", "2026-10-25T02:30:00+01:00")


def test_anchored_hour__clocks_change__is_an_elapsed_hour() -> None:
    assert starts(Period.HOUR, "2026-10-25T00:20:00+02:00", BERLIN, "2026-10-24T23:30Z", "2026-10-25T02:20Z") == [
        "2026-10-25T01:20+02:00",
        "2026-10-25T02:20+02:00",
        "2026-10-25T02:20+01:00",
    ]


def test_anchored_week__across_spring__keeps_its_wall_clock_time() -> None:
    assert starts(Period.WEEK, "2026-03-25T18:00:00+01:00", BERLIN, "2026-03-25T18:00Z", "2026-04-09T00:00Z") == [
        "2026-03-25T18:00+01:00",
        "2026-04-01T18:00+02:00",
        "2026-04-08T18:00+02:00",
    ]


def test_anchored_quarter__every_three_months__clamps_each_from_the_anchor() -> None:
    assert starts(Period.MONTH, "2025-11-30T00:00Z", UTC_ZONE, "2025-12-01T00:00Z", "2026-09-01T00:00Z", every=3) == [
        "2025-11-30T00:00+00:00",
        "2026-02-28T00:00+00:00",
        "2026-05-30T00:00+00:00",
        "2026-08-30T00:00+00:00",
    ]


def test_lifetime__any_instant_and_anchor__is_one_window_without_end() -> None:
    at = instant("2026-05-01T00:00Z")
    anchored = period_window(Period.LIFETIME, at=at, timezone=BERLIN, anchor=Anchor.LICENSE, anchored_at=at)
    assert anchored == period_window(Period.LIFETIME, at=at, timezone=UTC_ZONE) == LIFETIME == Window(EPOCH, None)
    assert next_window(LIFETIME, Period.LIFETIME, timezone=BERLIN) is None
    assert list(windows_between(Period.LIFETIME, start=at, end=at + timedelta(days=1), timezone=BERLIN)) == [LIFETIME]
    assert not LIFETIME.has_ended(at)


def test_next_window__month__is_the_one_that_begins_at_its_end() -> None:
    january = period_window(Period.MONTH, at=instant("2026-01-10T00:00Z"), timezone=UTC_ZONE)
    february = window("2026-02-01T00:00Z", "2026-03-01T00:00Z")
    assert next_window(january, Period.MONTH, timezone=UTC_ZONE) == february


@pytest.mark.parametrize("end", ["2026-01-01T00:00Z", "2025-01-01T00:00Z"])
def test_windows_between__empty_stretch__has_none(end: str) -> None:
    assert not list(windows_between(Period.DAY, start=instant("2026-01-01T00:00Z"), end=instant(end), timezone=BERLIN))


def test_rolling_buckets__an_hour__counts_the_60_whole_minutes_behind_the_current_one() -> None:
    buckets = rolling_buckets(3600, instant("2026-05-01T12:34:56Z"))
    assert buckets == (instant("2026-05-01T12:34:00Z"), instant("2026-05-01T11:34:00Z"))


def test_rolling_buckets__on_a_bucket_edge__begins_the_new_bucket() -> None:
    assert rolling_buckets(60, instant("2026-05-01T12:00:07Z")).bucket_start == instant("2026-05-01T12:00:07Z")


def test_rolling_window__of_an_event__is_the_bucket_that_counts_it() -> None:
    at = instant("2026-05-01T12:34:56Z")
    bucket = period_window(Period.ROLLING, at=at, timezone=KATHMANDU, rolling_seconds=3600)
    assert bucket == window("2026-05-01T12:34:00Z", "2026-05-01T12:35:00Z")


NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "terms",
    [
        {"period": Period.DAY, "at": NAIVE},
        {"period": Period.DAY, "at": datetime(1899, 12, 31, tzinfo=UTC)},
        {"period": Period.DAY, "at": datetime.max.replace(tzinfo=UTC)},
        {"period": Period.DAY, "at": NOW, "every": 2},
        {"period": Period.DAY, "at": NOW, "anchor": Anchor.LICENSE},
        {"period": Period.DAY, "at": NOW, "anchor": Anchor.LICENSE, "anchored_at": NAIVE},
        {"period": Period.DAY, "at": NOW, "anchor": Anchor.LICENSE, "anchored_at": NOW, "every": 0},
        {"period": Period.ROLLING, "at": NOW},
        {"period": Period.ROLLING, "at": NOW, "rolling_seconds": 0},
    ],
)
def test_period_window__terms_without_a_window__are_refused(terms: dict[str, object]) -> None:
    with pytest.raises(PeriodError) as caught:
        period_window(timezone=BERLIN, **terms)  # type: ignore[arg-type]
    assert caught.value.code == "period_invalid"
