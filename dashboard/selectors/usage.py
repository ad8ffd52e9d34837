"""Usage as the overview tells it: by day, and so far against the time before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from dashboard.access import Workspace
from metering.domain.enums import Aggregation
from metering.domain.numbers import EXACT, ZERO
from metering.models import Meter
from metering.selectors.meters import list_meters
from metering.selectors.usage import UsageQuery, UsageWindow, query_usage

DAYS: Final = 30
BUSY_WITHIN: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class DayOfUsage:
    """A local day and what was used on it."""

    day: date
    value: Decimal
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class UsageSoFar:
    """What a stretch of time that is still running has seen, and what the one before had seen by the same point."""

    value: Decimal
    before: Decimal


@dataclass(frozen=True, slots=True)
class MeterUsage:
    """What the overview shows of one meter. `days` ends with today, which is open."""

    meter: Meter
    days: tuple[DayOfUsage, ...]
    today: UsageSoFar
    month: UsageSoFar

    @property
    def total(self) -> Decimal:
        """The sum of all days."""
        return _sum(each.value for each in self.days)


def shown_meters(workspace: Workspace) -> list[Meter]:
    """The meters that add up over time, oldest first: those that a chart by day makes sense of."""
    adding = [each for each in Aggregation if each.adds_up]
    return list(list_meters(workspace.tenant).filter(aggregation__in=adding).order_by("created_at", "id"))


def usage_of(workspace: Workspace, meter: Meter) -> MeterUsage:
    """The last 30 local days, today and this month, as of the workspace's now."""
    zone = ZoneInfo(workspace.tenant.timezone)
    now = workspace.now.astimezone(zone)
    today = now.date()
    first = today - timedelta(days=DAYS - 1)
    month = today.replace(day=1)
    last_month = (month - timedelta(days=1)).replace(day=1)
    by_day = _by_day(meter, zone, start=min(first, month), end=workspace.now)
    days = tuple(
        DayOfUsage(day, by_day.get(day, ZERO), is_open=day == today)
        for day in (first + timedelta(days=passed) for passed in range(DAYS))
    )
    so_far = now - _midnight(month, zone)
    return MeterUsage(
        meter=meter,
        days=days,
        today=UsageSoFar(
            by_day.get(today, ZERO),
            _total(meter, zone, _midnight(today - timedelta(days=1), zone), now - timedelta(days=1)),
        ),
        month=UsageSoFar(
            _sum(value for day, value in by_day.items() if day >= month),
            _total(
                meter,
                zone,
                _midnight(last_month, zone),
                min(_midnight(last_month, zone) + so_far, _midnight(month, zone)),
            ),
        ),
    )


def busiest_agents(workspace: Workspace, meter: Meter, *, limit: int) -> dict[str, Decimal]:
    """Who used most in the last 24 hours: the agents' public ids with what they used, the busiest first."""
    report = query_usage(
        UsageQuery(
            meter=meter,
            start=workspace.now - BUSY_WITHIN,
            end=workspace.now,
            timezone=ZoneInfo(workspace.tenant.timezone),
            group_by=["agent"],
        )
    )
    used = {each.group["agent"]: each.value for each in report.rows}
    busiest = sorted(((value, agent) for agent, value in used.items() if agent is not None), reverse=True)
    return {agent: value for value, agent in busiest[:limit]}


def _by_day(meter: Meter, zone: ZoneInfo, *, start: date, end: datetime) -> dict[date, Decimal]:
    report = query_usage(
        UsageQuery(meter=meter, start=_midnight(start, zone), end=end, timezone=zone, window=UsageWindow.DAY)
    )
    return {each.start.astimezone(zone).date(): each.value for each in report.rows}


def _total(meter: Meter, zone: ZoneInfo, start: datetime, end: datetime) -> Decimal:
    if start >= end:
        return ZERO
    return query_usage(UsageQuery(meter=meter, start=start, end=end, timezone=zone)).total


def _sum(values: Iterable[Decimal]) -> Decimal:
    total = ZERO
    for value in values:
        total = EXACT.add(total, value)
    return total


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)
