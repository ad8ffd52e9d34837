"""How much was used: from roll-ups, plus the events that are in no roll-up yet, exact to the edges of the range.

One statement reads the watermark, the buckets and the events, so all of them belong to one snapshot and each event
counts once: below the watermark in its bucket (or, where the range cuts the bucket, by itself), from the watermark on
by itself. Usage counts at the time when it occurred, also where a quota counted it later.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import islice
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connection

from common.errors import Invalid
from common.ids import Prefix, encode_id
from metering.domain.enums import Aggregation, Period
from metering.domain.numbers import EXACT, ZERO
from metering.domain.periods import Window, windows_between
from metering.models import Meter
from metering.selectors.meters import declared_dimensions
from metering.selectors.value_queries import value_statement

MAX_ROWS: Final = 10_000
MAX_GROUPS: Final = 10

_QUARTER = timedelta(minutes=15)
_DAY = timedelta(days=1)
_ORIGIN = datetime(1970, 1, 1, tzinfo=UTC)

# A cursor that never moved says nothing about the buckets: after a restore they may be of another cluster.
_WATERMARK = """
SELECT watermark FROM metering_rollupcursor
WHERE name = 'rollup:' || (SELECT system_identifier FROM pg_control_system()) AND rolled_up_at IS NOT NULL
"""

_STATEMENT = """
WITH cursor AS MATERIALIZED ({watermark}), source AS (
    SELECT bucket_start AS at, agent_id, license_id, customer_id, dimensions, total AS quantity
    FROM metering_usagerollup
    WHERE tenant_id = %(tenant)s AND meter_id = %(meter)s AND EXISTS (SELECT FROM cursor)
      AND ((size = 'day' AND bucket_start >= %(days_from)s AND bucket_start < %(days_to)s)
        OR (size = 'quarter' AND bucket_start >= %(quarters_from)s AND bucket_start < %(quarters_to)s
            AND NOT (bucket_start >= %(days_from)s AND bucket_start < %(days_to)s)))
      {narrowed}
    UNION ALL
    SELECT occurred_at, agent_id, license_id, customer_id, dimensions, quantity
    FROM metering_usageevent
    WHERE tenant_id = %(tenant)s AND meter_id = %(meter)s
      AND xid >= %(at_least)s AND xid >= coalesce((SELECT watermark FROM cursor), 0)
      AND occurred_at >= %(start)s AND occurred_at < %(end)s
      {narrowed}
    UNION ALL
    SELECT occurred_at, agent_id, license_id, customer_id, dimensions, quantity
    FROM metering_usageevent
    WHERE tenant_id = %(tenant)s AND meter_id = %(meter)s
      AND xid < (SELECT watermark FROM cursor)
      AND ((occurred_at >= %(start)s AND occurred_at < %(quarters_from)s)
        OR (occurred_at >= %(quarters_to)s AND occurred_at < %(end)s))
      {narrowed}
)
SELECT width_bucket(at, %(starts)s::timestamptz[]) - 1 AS bucket, {groups} sum(quantity)
FROM source GROUP BY {positions} ORDER BY {positions} LIMIT %(limit)s
"""


class UsageWindow(StrEnum):
    """How finely usage is told apart in time."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuery:
    """What is asked. `start` and `end` bound a half-open range of aware times.

    `agent_id` means that agent itself, with `descendants` all agents below it, too. `group_by` names `agent`,
    `license`, `customer` or dimensions of the meter. Buckets follow the clocks in `timezone`.
    """

    meter: Meter
    start: datetime
    end: datetime
    timezone: ZoneInfo
    license_id: UUID | None = None
    agent_id: UUID | None = None
    descendants: bool = False
    customer_id: UUID | None = None
    window: UsageWindow | None = None
    group_by: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one group used in [start, end), a bucket or its part in the range; ids in `group` are public ones."""

    start: datetime
    end: datetime
    group: dict[str, str | None]
    value: Decimal


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Rows by time, then group, without those in which nothing was recorded.

    `total` is their sum, or, on a meter that does not add up, the value of the whole range.
    """

    rows: list[UsageRow] = field(default_factory=list)
    total: Decimal = ZERO


_OWNERS: dict[str, tuple[str, Prefix]] = {
    "agent": ("agent_id", Prefix.AGENT),
    "license": ("license_id", Prefix.LICENSE),
    "customer": ("customer_id", Prefix.CUSTOMER),
}


def query_usage(query: UsageQuery) -> UsageReport:
    """Answer `query`; nothing is counted twice or missed, however far the roll-up has come.

    Raises Invalid: `from` not before `to` or naive, more than 10,000 buckets or rows (`too_many_rows`), and
    `group_by_unknown` for what is neither an owner nor a dimension of the meter.
    """
    _check(query)
    windows = _windows(query)
    if len(windows) > MAX_ROWS:
        raise _too_many()
    statement, parameters = _statement(query, windows)
    with connection.cursor() as cursor:
        # The watermark never goes down. As a number that is known beforehand it shows the planner how few events are
        # above it; the statement itself reads it once more, in the snapshot of the buckets.
        cursor.execute(_WATERMARK)
        cursor.execute(statement, {**parameters, "at_least": (cursor.fetchone() or (0,))[0]})
        found = cursor.fetchall()
    adds_up = Aggregation(query.meter.aggregation).adds_up
    whole = [each for each in found if each[0] is None]
    found = found if adds_up else [each for each in found if each[0] is not None]
    if len(found) > MAX_ROWS:
        raise _too_many()
    rows = [_row(query, windows, each) for each in found]
    if not adds_up:
        return UsageReport(rows, (whole[0][-1] if whole else None) or ZERO)
    total = ZERO
    for row in rows:
        total = EXACT.add(total, row.value)
    return UsageReport(rows, total)


def _check(query: UsageQuery) -> None:
    for name, time in (("from", query.start), ("to", query.end)):
        if time.utcoffset() is None or not 1970 <= time.year <= 9000:
            raise Invalid.field(name, "time_invalid", "A time needs its offset from UTC, and a year from 1970 to 9000.")
    if query.start >= query.end:
        raise Invalid.field("from", "range_empty", "The range begins before it ends.")
    known = {*_OWNERS, *declared_dimensions(query.meter)}
    for name in query.group_by:
        if name not in known:
            detail = f"Usage of this meter is grouped by {', '.join(sorted(known))}."
            raise Invalid.field("group_by", "group_by_unknown", detail)
    if len(query.group_by) > MAX_GROUPS or len(set(query.group_by)) < len(query.group_by):
        raise Invalid.field("group_by", "group_by_invalid", f"At most {MAX_GROUPS} names, each once.")


def _windows(query: UsageQuery) -> list[Window]:
    start, end = query.start.astimezone(UTC), query.end.astimezone(UTC)
    if query.window is None:
        return [Window(start, end)]
    found = windows_between(Period(query.window), start=start, end=end, timezone=query.timezone)
    # No further than what is refused: a range of thousands of years has millions of hours.
    laid_out = islice(found, MAX_ROWS + 1)
    return [Window(max(start, window.start), min(end, window.end or end)) for window in laid_out]


def _statement(query: UsageQuery, windows: Sequence[Window]) -> tuple[str, dict[str, Any]]:
    start, end = windows[0].start, query.end.astimezone(UTC)
    # Inside a single quarter both are the end: then events alone answer.
    quarters_from = min(_up(start, _QUARTER), end)
    quarters_to = max(_down(end, _QUARTER), quarters_from)
    days_from = days_to = quarters_from
    if _days_fit(windows):
        days_from = _up(quarters_from, _DAY)
        days_to = max(_down(quarters_to, _DAY), days_from)
    parameters: dict[str, Any] = {
        "tenant": query.meter.tenant_id,
        "meter": query.meter.id,
        "start": start,
        "end": end,
        "quarters_from": quarters_from,
        "quarters_to": quarters_to,
        "days_from": days_from,
        "days_to": days_to,
        "starts": [window.start for window in windows],
        "limit": MAX_ROWS + 2,
    }
    narrowed: list[str] = []
    if query.license_id is not None:
        narrowed.append("license_id = %(license)s")
        parameters["license"] = query.license_id
    if query.customer_id is not None:
        narrowed.append("customer_id = %(customer)s")
        parameters["customer"] = query.customer_id
    if query.agent_id is not None:
        below = "IN (SELECT id FROM licenses_agent WHERE tenant_id = %(tenant)s AND path @> ARRAY[%(agent)s]::uuid[])"
        narrowed.append(f"agent_id {below if query.descendants else '= %(agent)s'}")
        parameters["agent"] = query.agent_id
    groups = []
    for position, name in enumerate(query.group_by):
        if name in _OWNERS:
            groups.append(_OWNERS[name][0])
        else:
            groups.append(f"dimensions ->> %(dimension_{position})s")
            parameters[f"dimension_{position}"] = name
    aggregation = Aggregation(query.meter.aggregation)
    if not aggregation.adds_up:
        parameters["value_from"] = query.meter.value_from
    statement = (_STATEMENT if aggregation.adds_up else value_statement(aggregation)).format(
        watermark=_WATERMARK,
        narrowed="".join(f" AND {condition}" for condition in narrowed),
        groups="".join(f"{group}, " for group in groups),
        positions=", ".join(str(position) for position in range(1, len(groups) + 2)),
    )
    return statement, parameters


def _days_fit(windows: Sequence[Window]) -> bool:
    """Whether no bucket begins inside a UTC day, so that whole days can be taken at once."""
    return all(window.start == _down(window.start, _DAY) for window in windows[1:])


def _row(query: UsageQuery, windows: Sequence[Window], found: Sequence[Any]) -> UsageRow:
    bucket, *values, value = found
    window = windows[bucket]
    group: dict[str, str | None] = {}
    for name, each in zip(query.group_by, values, strict=True):
        group[name] = encode_id(_OWNERS[name][1], each) if name in _OWNERS and each is not None else each
    return UsageRow(window.start, window.end or query.end, group, value)


def _down(at: datetime, step: timedelta) -> datetime:
    return at - (at - _ORIGIN) % step


def _up(at: datetime, step: timedelta) -> datetime:
    return at + (_ORIGIN - at) % step


def _too_many() -> Invalid:
    detail = f"This would be more than {MAX_ROWS} rows: ask for a shorter range, wider buckets or fewer groups."
    return Invalid(detail, code="too_many_rows", errors=[{"field": "from", "code": "too_many_rows", "detail": detail}])
