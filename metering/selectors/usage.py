"""How much was used: from roll-ups, plus the events that are in no roll-up yet, exact to the edges of the range.

Usage counts at the time when it occurred, also where a quota counted it later. Meters that do not add up are asked of
the events themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from itertools import islice
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connection
from psycopg.types.json import Jsonb

from common.errors import Invalid
from common.ids import Prefix, encode_id
from metering.domain.enums import Aggregation, Period
from metering.domain.numbers import ZERO, sum_exact
from metering.domain.periods import Window, windows_between
from metering.models import Meter
from metering.selectors.meters import declared_dimensions
from metering.selectors.rolled_up import source_of, stretch
from metering.selectors.usage_values import LIVE, VALUE

MAX_ROWS: Final = 10_000
MAX_GROUPS: Final = 10
MAX_TOP: Final = 1000

OTHERS: Final = "__other__"
"""The group of all that are not among the `top` ones."""

_STATEMENT: Final = """
WITH {source}, keyed AS (
    SELECT width_bucket(at, %(starts)s::timestamptz[]) - 1 AS bucket, {key} AS key, events, {kept} FROM source
){top}
SELECT bucket, {shown} AS shown, {value} AS value
FROM keyed GROUP BY 1, 2 HAVING sum(events) > 0 ORDER BY 1, 2 LIMIT %(limit)s
"""

_TOP: Final = ", topmost AS (SELECT key FROM keyed GROUP BY key ORDER BY {value} DESC, key LIMIT %(top)s)"
_SHOWN: Final = "CASE WHEN key IN (SELECT key FROM topmost) THEN key ELSE %(others)s::text[] END"

# What does not add up has no meaning in roll-ups: the events themselves are asked, those that were not taken back.
_EVENTS: Final = """
source AS (
    SELECT occurred_at AS at, agent_id, license_id, customer_id, dimensions, quantity, 1 AS events, id,
           {value} AS value
    FROM metering_usageevent AS event
    WHERE tenant_id = %(tenant)s AND meter_id = %(meter)s AND occurred_at >= %(start)s AND occurred_at < %(end)s
      AND {live} {narrowed}
)
"""

#: By aggregation: which columns are kept, and what they come to.
_VALUES: Final[Mapping[Aggregation, tuple[str, str]]] = {
    Aggregation.SUM: ("quantity", "sum(quantity)"),
    Aggregation.COUNT: ("quantity", "sum(quantity)"),
    Aggregation.MAX: ("quantity", "max(quantity)"),
    Aggregation.UNIQUE: ("value", "count(DISTINCT value)::numeric"),
    Aggregation.LATEST: ("quantity, at, id", "(array_agg(quantity ORDER BY at DESC, id DESC))[1]"),
}


class UsageWindow(StrEnum):
    """How finely usage is told apart in time."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuery:
    """What is asked. `start` and `end` bound a half-open range of aware times.

    `agent_id` means that agent itself, with `descendants` all agents below it, too. `filter` asks for values of
    dimensions. `group_by` names `agent`, `license`, `customer` or dimensions of the meter; with `top` only so many
    groups are told apart, those with the most in the whole range, and the others are one: `OTHERS`. Buckets follow
    the clocks in `timezone`.
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
    filter: Mapping[str, str] = field(default_factory=dict)
    top: int | None = None

    @property
    def aggregation(self) -> Aggregation:
        """How the meter's events come to one number."""
        return Aggregation(self.meter.aggregation)


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
    found = _fetch(query, windows, query.group_by, query.top)
    if len(found) > MAX_ROWS:
        raise _too_many()
    return UsageReport([_row(query, windows, each) for each in found], _total(query, windows, found))


def _fetch(
    query: UsageQuery, windows: Sequence[Window], group_by: Sequence[str], top: int | None
) -> list[tuple[int, list[str | None], Decimal]]:
    statement, parameters = _statement(query, windows, group_by, top)
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        found: list[tuple[int, list[str | None], Decimal]] = cursor.fetchall()
    return found


def _total(query: UsageQuery, windows: Sequence[Window], found: Sequence[tuple[int, Any, Decimal]]) -> Decimal:
    """Parts of a sum add up, and the highest of parts is the highest; everything else is asked for as a whole."""
    values = [value for _, _, value in found]
    if query.aggregation.adds_up:
        return sum_exact(values)
    if query.aggregation is not Aggregation.MAX and len(values) > 1:
        whole = [Window(windows[0].start, query.end.astimezone(UTC))]
        values = [value for _, _, value in _fetch(query, whole, (), None)]
    return max(values, default=ZERO)


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
    for name in query.filter:
        if name not in declared_dimensions(query.meter):
            raise Invalid.field(f"filter.{name}", "dimension_unknown", "The meter has no such dimension.")
    if query.top is not None and not query.group_by:
        raise Invalid.field("top", "group_by_required", "The top ones of what? Say by what to group.")
    if query.top is not None and not 1 <= query.top <= MAX_TOP:
        raise Invalid.field("top", "out_of_range", f"The top 1 to {MAX_TOP}.")


def _windows(query: UsageQuery) -> list[Window]:
    start, end = query.start.astimezone(UTC), query.end.astimezone(UTC)
    if query.window is None:
        return [Window(start, end)]
    found = windows_between(Period(query.window), start=start, end=end, timezone=query.timezone)
    # No further than what is refused: a range of thousands of years has millions of hours.
    laid_out = islice(found, MAX_ROWS + 1)
    return [Window(max(start, window.start), min(end, window.end or end)) for window in laid_out]


def _statement(
    query: UsageQuery, windows: Sequence[Window], group_by: Sequence[str], top: int | None
) -> tuple[str, dict[str, Any]]:
    conditions, parameters = _narrowed(query)
    parameters |= stretch(
        tenant_id=query.meter.tenant_id,
        meter_id=query.meter.id,
        start=windows[0].start,
        end=query.end,
        cuts=[window.start for window in windows[1:]],
    )
    parameters |= {
        "starts": [window.start for window in windows],
        "limit": MAX_ROWS + 1,
        "top": top,
        "others": [OTHERS] * len(group_by),
        "value_from": query.meter.value_from,
    }
    if query.aggregation.adds_up:
        source = source_of(conditions)
    else:
        narrowed = "".join(f" AND {condition}" for condition in conditions)
        source = _EVENTS.format(value=VALUE, live=LIVE, narrowed=narrowed)
    keys = []
    for position, name in enumerate(group_by):
        if name in _OWNERS:
            keys.append(f"{_OWNERS[name][0]}::text")
        else:
            keys.append(f"dimensions ->> %(dimension_{position})s")
            parameters[f"dimension_{position}"] = name
    kept, value = _VALUES[query.aggregation]
    statement = _STATEMENT.format(
        source=source,
        key=f"ARRAY[{', '.join(keys)}]::text[]",
        kept=kept,
        top="" if top is None else _TOP.format(value=value),
        shown="key" if top is None else _SHOWN,
        value=value,
    )
    return statement, parameters


def _narrowed(query: UsageQuery) -> tuple[list[str], dict[str, Any]]:
    conditions: list[str] = []
    parameters: dict[str, Any] = {}
    if query.license_id is not None:
        conditions.append("license_id = %(license)s")
        parameters["license"] = query.license_id
    if query.customer_id is not None:
        conditions.append("customer_id = %(customer)s")
        parameters["customer"] = query.customer_id
    if query.agent_id is not None:
        below = "IN (SELECT id FROM licenses_agent WHERE tenant_id = %(tenant)s AND path @> ARRAY[%(agent)s]::uuid[])"
        conditions.append(f"agent_id {below if query.descendants else '= %(agent)s'}")
        parameters["agent"] = query.agent_id
    if query.filter:
        conditions.append("dimensions @> %(filter)s")
        parameters["filter"] = Jsonb(dict(query.filter))
    return conditions, parameters


def _row(query: UsageQuery, windows: Sequence[Window], found: tuple[int, list[str | None], Decimal]) -> UsageRow:
    bucket, key, value = found
    window = windows[bucket]
    group: dict[str, str | None] = {}
    for name, each in zip(query.group_by, key, strict=True):
        is_id = name in _OWNERS and each is not None and each != OTHERS
        group[name] = encode_id(_OWNERS[name][1], UUID(each)) if is_id else each
    return UsageRow(window.start, window.end or query.end, group, value)


def _too_many() -> Invalid:
    detail = f"This would be more than {MAX_ROWS} rows: ask for a shorter range, wider buckets or fewer groups."
    return Invalid(detail, code="too_many_rows", errors=[{"field": "from", "code": "too_many_rows", "detail": detail}])
