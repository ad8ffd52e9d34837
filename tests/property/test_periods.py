"""Laws of periods, over all kinds of zones, anchors and instants since 1970."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import example, given
from hypothesis import strategies as st

from metering.domain.enums import Anchor, Period
from metering.domain.periods import (
    Alignment,
    Window,
    add_months,
    next_window,
    period_window,
    rolling_buckets,
    windows_between,
)

ZONES = [
    "UTC", "Europe/Berlin", "Europe/London", "Europe/Lisbon", "America/New_York", "America/St_Johns",
    "America/Sao_Paulo", "America/Havana", "America/Santiago", "America/Asuncion", "Africa/Cairo", "Africa/Casablanca",
    "Asia/Kathmandu", "Asia/Kolkata", "Asia/Tehran", "Asia/Beirut", "Asia/Pyongyang", "Australia/Lord_Howe",
    "Pacific/Apia", "Pacific/Kwajalein", "Pacific/Kiritimati", "Pacific/Chatham", "Antarctica/Troll", "America/Caracas",
]  # fmt: skip
ALIGNED = [period for period in Period if period not in (Period.LIFETIME, Period.ROLLING)]

zones = st.sampled_from(ZONES).map(ZoneInfo)
instants = st.datetimes(datetime(1975, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
# Most of the trouble sits within a day of a change of the clocks.
changes = st.sampled_from(
    ["2011-12-30T10:00:00", "2026-03-29T01:00:00", "2026-10-25T01:00:00", "2026-04-04T15:00:00", "2026-10-03T15:30:00",
     "2010-11-07T02:31:00", "1993-08-21T12:00:00", "2023-04-27T22:00:00", "2018-11-04T03:00:00", "2024-03-31T23:59:59"]
).map(lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC))  # fmt: skip
near_changes = st.builds(lambda at, off: at + off, changes, st.timedeltas(timedelta(days=-2), timedelta(days=2)))
times = instants | near_changes
calendars = st.builds(lambda zone: Alignment(timezone=zone), zones)
anchored = st.builds(
    lambda zone, at, every: Alignment(timezone=zone, anchor=Anchor.LICENSE, anchored_at=at, every=every),
    zones,
    times,
    st.integers(1, 5),
)
alignments = calendars | anchored
periods = st.sampled_from(ALIGNED)

LONGEST = {
    Period.HOUR: timedelta(hours=1),
    Period.DAY: timedelta(days=2),
    Period.WEEK: timedelta(days=8),
    Period.MONTH: timedelta(days=32),
    Period.YEAR: timedelta(days=367),
}


def end_of(window: Window) -> datetime:
    assert window.end is not None
    return window.end


@given(period=periods, at=times, alignment=alignments)
def test_window__any_instant__holds_it(period: Period, at: datetime, alignment: Alignment) -> None:
    window = period_window(period, at=at, **alignment)
    assert window.start <= at < end_of(window)
    assert window.contains(at)
    assert window.start.tzinfo is UTC
    assert end_of(window) - window.start <= LONGEST[period] * alignment.get("every", 1)


@given(period=periods, at=times, alignment=alignments, part=st.floats(0, 1, exclude_max=True))
def test_window__any_instant_in_it__has_the_same(
    period: Period, at: datetime, alignment: Alignment, part: float
) -> None:
    window = period_window(period, at=at, **alignment)
    within = window.start + (end_of(window) - window.start) * part
    last = end_of(window) - timedelta(microseconds=1)
    assert {period_window(period, at=each, **alignment) for each in (window.start, min(within, last), last)} == {window}


@given(period=periods, at=times, alignment=alignments)
def test_windows__one_after_the_other__meet_without_gap_or_overlap(
    period: Period, at: datetime, alignment: Alignment
) -> None:
    window = period_window(period, at=at, **alignment)
    following = next_window(window, period, **alignment)
    assert following is not None
    assert following.start == window.end
    before = period_window(period, at=window.start - timedelta(microseconds=1), **alignment)
    assert before.end == window.start


@given(
    period=periods,
    start=times,
    length=st.timedeltas(timedelta(microseconds=1), timedelta(days=5)),
    alignment=alignments,
)
@example(
    period=Period.DAY,
    start=datetime(2011, 12, 28, tzinfo=UTC),
    length=timedelta(days=5),
    alignment=Alignment(timezone=ZoneInfo("Pacific/Apia")),
)
def test_windows_between__any_stretch__cover_it_and_no_more(
    period: Period, start: datetime, length: timedelta, alignment: Alignment
) -> None:
    end = start + length
    windows = list(windows_between(period, start=start, end=end, **alignment))
    assert windows[0].contains(start)
    assert windows[-1].contains(end - timedelta(microseconds=1))
    assert all(one.end == two.start for one, two in pairwise(windows))
    assert all(window.start < end_of(window) for window in windows)


@given(zone=zones, at=times)
def test_calendar_windows__of_one_instant__lie_in_each_other(zone: ZoneInfo, at: datetime) -> None:
    day, month, year = (
        period_window(period, at=at, timezone=zone) for period in (Period.DAY, Period.MONTH, Period.YEAR)
    )
    week = period_window(Period.WEEK, at=at, timezone=zone)
    assert year.start <= month.start <= day.start
    assert end_of(day) <= end_of(month) <= end_of(year)
    assert week.start <= day.start
    assert end_of(day) <= end_of(week)


@given(zone=zones, at=times, period=st.sampled_from([Period.MONTH, Period.WEEK, Period.YEAR]))
def test_calendar_window__days_of_it__are_its_whole(zone: ZoneInfo, at: datetime, period: Period) -> None:
    window = period_window(period, at=at, timezone=zone)
    days = list(windows_between(Period.DAY, start=window.start, end=end_of(window), timezone=zone))
    assert days[0].start == window.start
    assert days[-1].end == window.end
    assert sum((end_of(day) - day.start for day in days), timedelta()) == end_of(window) - window.start


@given(zone=zones, anchored_at=times, months=st.integers(-60, 60))
def test_anchored_month__any_number_of_steps__is_counted_from_the_anchor(
    zone: ZoneInfo, anchored_at: datetime, months: int
) -> None:
    wall = anchored_at.astimezone(zone)
    # A day and a bit later is in that window, whatever clocks and date line did at its start.
    day = add_months(wall.date(), months)
    probe = datetime.combine(day, wall.time(), zone).astimezone(UTC) + timedelta(hours=26)
    window = period_window(Period.MONTH, at=probe, timezone=zone, anchor=Anchor.LICENSE, anchored_at=anchored_at)
    assert abs(window.start - (probe - timedelta(hours=26))) <= timedelta(hours=24)


@given(seconds=st.integers(1, 90 * 86400), at=times, age=st.floats(0, 1))
def test_rolling__anything_within_the_window__still_counts(seconds: int, at: datetime, age: float) -> None:
    buckets = rolling_buckets(seconds, at)
    event = at - timedelta(seconds=seconds) * age
    counted_in = period_window(Period.ROLLING, at=event, timezone=ZoneInfo("UTC"), rolling_seconds=seconds)
    assert buckets.window_start <= counted_in.start <= event < end_of(counted_in)
    assert buckets.bucket_start <= at
    # Never more than one bucket late in letting go.
    assert at - buckets.window_start < timedelta(seconds=seconds) * 61 / 60 + timedelta(microseconds=2)


@given(seconds=st.integers(1, 90 * 86400), at=times)
def test_rolling__buckets__tile_time_60_to_the_window(seconds: int, at: datetime) -> None:
    alignment = Alignment(timezone=ZoneInfo("UTC"), rolling_seconds=seconds)
    bucket = period_window(Period.ROLLING, at=at, **alignment)
    assert bucket.start == rolling_buckets(seconds, at).bucket_start
    starts = [bucket.start]
    for _ in range(60):
        following = next_window(bucket, Period.ROLLING, **alignment)
        assert following is not None
        assert following.start == bucket.end
        bucket = following
        starts.append(bucket.start)
    assert starts[60] - starts[0] == timedelta(seconds=seconds)
