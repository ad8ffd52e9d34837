"""Periods: which window of time an instant belongs to.

Windows are half-open, [start, end), in UTC, and the windows of one alignment tile time: no gap, no overlap, none empty.
Nothing resets a period; it follows from the instant that is asked about.

Days, weeks, months and years are local ones, so a day on which the clocks change has 23 or 25 hours, and a day that the
date line skipped does not exist. Months and years step from the anchor, never from a clamped start (31 Jan, 28 Feb,
31 Mar). Calendar hours follow the wall clock's full hours but are elapsed time: the repeated hour of autumn is two
windows, and a change of the clocks that is not a full hour cuts the hour it falls into, so none is ever longer.
"""

from calendar import monthrange
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache, partial
from typing import NamedTuple, Required, TypedDict, Unpack
from zoneinfo import ZoneInfo

from metering.domain.enums import Anchor, Period

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ROLLING_BUCKETS = 60

_SECOND = timedelta(seconds=1)
_MICROSECOND = timedelta(microseconds=1)
_HOUR = timedelta(hours=1)
_EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
_LATEST = datetime(9900, 1, 1, tzinfo=UTC)
_DAYS = {Period.DAY: 1, Period.WEEK: 7}
_MONTHS = {Period.MONTH: 1, Period.YEAR: 12}
_CACHED_STARTS = 8192


class PeriodError(ValueError):
    """Terms or an instant for which there is no window: naive or absurd times, a missing anchor or length."""

    code = "period_invalid"


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open stretch of time in UTC; `end` is None for one that never ends."""

    start: datetime
    end: datetime | None

    def contains(self, at: datetime) -> bool:
        """Whether `at` lies in the window: its start does, its end does not."""
        return self.start <= at and (self.end is None or at < self.end)

    def has_ended(self, at: datetime) -> bool:
        """Whether the window is over at `at`; at its very end it is."""
        return self.end is not None and self.end <= at


LIFETIME = Window(EPOCH, None)


class Alignment(TypedDict, total=False):
    """What windows are aligned to; see `period_window`."""

    timezone: Required[ZoneInfo]
    anchor: Anchor
    anchored_at: datetime | None
    every: int
    rolling_seconds: int | None


class RollingBuckets(NamedTuple):
    """Where an event counts (`bucket_start`), and from where buckets count against the limit (`window_start`)."""

    bucket_start: datetime
    window_start: datetime


def period_window(
    period: Period,
    *,
    at: datetime,
    timezone: ZoneInfo,
    anchor: Anchor = Anchor.CALENDAR,
    anchored_at: datetime | None = None,
    every: int = 1,
    rolling_seconds: int | None = None,
) -> Window:
    """The window of `period` that holds the aware instant `at`.

    Calendar windows begin at local midnight in `timezone`: of the day, of Monday, of the first of the month or January.
    Anchored ones begin at the wall-clock time of `anchored_at` there (anchored hours are elapsed hours), reach to both
    sides of it, and may be `every` n periods long. Lifetime is always the one window from 1970 on. For rolling the
    window is the sub-bucket in which an event is counted; `rolling_buckets` says which of them count together.
    Raises `PeriodError` for naive times, years outside 1900 to 9899, and terms that do not fit together.
    """
    at = _checked(at)
    if period is Period.LIFETIME:
        return LIFETIME
    if period is Period.ROLLING:
        return _rolling_bucket(_bucket_count(rolling_seconds, at), rolling_seconds or 0)
    if anchor is Anchor.CALENDAR:
        if every != 1:
            raise PeriodError("Periods of several units need an anchor.")
        if period is Period.HOUR:
            return _calendar_hour(at, timezone)
        return _window_around(
            at,
            guess=_calendar_index(period, at.astimezone(timezone).date()),
            start_of=partial(_calendar_start, period, timezone),
        )
    if anchored_at is None:
        raise PeriodError("Anchored periods need the instant they are anchored at.")
    if every < 1:
        raise PeriodError("A period has at least one unit.")
    anchored_at = _checked(anchored_at)
    return _window_around(
        at,
        guess=_anchored_index(period, at, anchored_at, timezone) // every,
        start_of=partial(_anchored_start, period, timezone, anchored_at, every),
    )


def next_window(window: Window, period: Period, **alignment: Unpack[Alignment]) -> Window | None:
    """The window that begins where `window` ends; None after a lifetime."""
    return None if window.end is None else period_window(period, at=window.end, **alignment)


def windows_between(
    period: Period, *, start: datetime, end: datetime, **alignment: Unpack[Alignment]
) -> Iterator[Window]:
    """All windows that share an instant with [start, end), oldest first and unclipped; none of an empty stretch."""
    start, end = _checked(start), _checked(end)
    window = period_window(period, at=start, **alignment) if start < end else None
    while window is not None and window.start < end:
        yield window
        window = next_window(window, period, **alignment)


def rolling_buckets(seconds: int, at: datetime) -> RollingBuckets:
    """The sub-buckets of a rolling window of `seconds` at `at`.

    A sub-bucket is a 60th of the window, counted from 1970 in whole microseconds. The 60 whole ones behind the one that
    is filling count, so usage stays in the window up to a 60th longer than `seconds`, never shorter: it errs towards
    refusal.
    """
    index = _bucket_count(seconds, at)
    start = _bucket_start(index, seconds)
    return RollingBuckets(bucket_start=start, window_start=start - timedelta(seconds=seconds))


def leaves_window(seconds: int, at: datetime) -> datetime:
    """When what was counted at `at` no longer counts in a rolling window of `seconds`."""
    return _bucket_start(_bucket_count(seconds, at) + 1, seconds) + timedelta(seconds=seconds)


def add_months(start: date, months: int) -> date:
    """`start` moved by whole months, clamped to the last day of a shorter one; of a datetime the time of day stays."""
    index = start.year * 12 + start.month - 1 + months
    year, month = index // 12, index % 12 + 1
    return start.replace(year=year, month=month, day=min(start.day, monthrange(year, month)[1]))


def _checked(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise PeriodError("Times must have a time zone.")
    at = at if at.tzinfo is UTC else at.astimezone(UTC)
    if not _EARLIEST <= at < _LATEST:
        raise PeriodError("The time lies outside the years 1900 to 9899.")
    return at


def _window_around(at: datetime, *, guess: int, start_of: Callable[[int], datetime]) -> Window:
    # Local dates give the guess, instants decide: where clocks go back across midnight, or a date was skipped, the two
    # differ by one, and empty windows are stepped over.
    start, end = start_of(guess), start_of(guess + 1)
    while at < start:
        guess, start, end = guess - 1, start_of(guess - 1), start
    while end <= at:
        guess, start, end = guess + 1, end, start_of(guess + 2)
    return Window(start, end)


def _calendar_index(period: Period, day: date) -> int:
    match period:
        case Period.DAY:
            return day.toordinal()
        case Period.WEEK:
            return (day.toordinal() - 1) // 7  # ordinal 1, 1 January 1, was a Monday
        case Period.MONTH:
            return day.year * 12 + day.month - 1
        case _:
            return day.year


@lru_cache(maxsize=_CACHED_STARTS)
def _calendar_start(period: Period, timezone: ZoneInfo, index: int) -> datetime:
    match period:
        case Period.DAY:
            first = date.fromordinal(index)
        case Period.WEEK:
            first = date.fromordinal(index * 7 + 1)
        case Period.MONTH:
            first = date(index // 12, index % 12 + 1, 1)
        case _:
            first = date(index, 1, 1)
    return _first_instant(datetime(first.year, first.month, first.day), timezone)  # noqa: DTZ001 (a wall-clock time)


def _anchored_index(period: Period, at: datetime, anchored_at: datetime, timezone: ZoneInfo) -> int:
    if period is Period.HOUR:
        return (at - anchored_at) // _HOUR
    day, first = at.astimezone(timezone).date(), anchored_at.astimezone(timezone).date()
    if period in _DAYS:
        return (day - first).days // _DAYS[period]
    return ((day.year - first.year) * 12 + day.month - first.month) // _MONTHS[period]


@lru_cache(maxsize=_CACHED_STARTS)
def _anchored_start(period: Period, timezone: ZoneInfo, anchored_at: datetime, every: int, index: int) -> datetime:
    steps = index * every
    if period is Period.HOUR:
        return anchored_at + steps * _HOUR
    if steps == 0:
        return anchored_at  # exactly, also in the second pass of a repeated hour
    wall = anchored_at.astimezone(timezone).replace(tzinfo=None, fold=0)
    if period in _DAYS:
        return _first_instant(wall + timedelta(days=steps * _DAYS[period]), timezone)
    day = add_months(wall.date(), steps * _MONTHS[period])
    return _first_instant(datetime.combine(day, wall.time()), timezone)


def _first_instant(wall: datetime, timezone: ZoneInfo) -> datetime:
    """The first instant at which the clocks in `timezone` have reached the naive time `wall`.

    In a repeated hour that is the first pass, in a skipped one the instant of the change (PEP 495 gives both sides).
    """
    first = wall.replace(tzinfo=timezone, fold=0).astimezone(UTC)
    if first.astimezone(timezone).replace(tzinfo=None, fold=0) == wall:
        return first
    return _offset_change(wall.replace(tzinfo=timezone, fold=1).astimezone(UTC), first, timezone)


def _calendar_hour(at: datetime, timezone: ZoneInfo) -> Window:
    offset = _offset(at, timezone)
    start = EPOCH + (at - EPOCH + offset) // _HOUR * _HOUR - offset
    end = start + _HOUR
    if _offset(start, timezone) != offset:
        start = _offset_change(start, at, timezone)
    last = end - _MICROSECOND
    if _offset(last, timezone) != offset:
        end = _offset_change(at, last, timezone)
    return Window(start, end)


def _offset(at: datetime, timezone: ZoneInfo) -> timedelta:
    return at.astimezone(timezone).utcoffset() or timedelta()


def _offset_change(before: datetime, after: datetime, timezone: ZoneInfo) -> datetime:
    """When, in (before, after], the offset that holds at `after` began. Zones change at whole seconds."""
    target = _offset(after, timezone)
    low, high = (before - EPOCH) // _SECOND, (after - EPOCH) // _SECOND
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(EPOCH + middle * _SECOND, timezone) == target:
            high = middle
        else:
            low = middle
    return EPOCH + high * _SECOND


def _bucket_count(seconds: int | None, at: datetime) -> int:
    if seconds is None or seconds < 1:
        raise PeriodError("A rolling window has a length of at least one second.")
    microseconds = (_checked(at) - EPOCH) // _MICROSECOND
    return microseconds * ROLLING_BUCKETS // (seconds * 1_000_000)


def _bucket_start(index: int, seconds: int) -> datetime:
    # Rounded up: the first microsecond that divides down to this index.
    return EPOCH - (-index * seconds * 1_000_000 // ROLLING_BUCKETS) * _MICROSECOND


def _rolling_bucket(index: int, seconds: int) -> Window:
    return Window(_bucket_start(index, seconds), _bucket_start(index + 1, seconds))
