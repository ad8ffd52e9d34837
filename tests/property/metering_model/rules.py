"""Rules of time and money, done the slow and obvious way. Nothing here knows the product's code."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from math import ceil
from typing import Any
from zoneinfo import ZoneInfo

HOUR = timedelta(hours=1)
NEVER = datetime.max.replace(tzinfo=UTC)
EVER = datetime.min.replace(tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Window:
    """[start, end), from ever or for ever where a lifetime is meant."""

    start: datetime
    end: datetime

    def __contains__(self, at: datetime) -> bool:
        return self.start <= at < self.end


def window_of(period: str | int, at: datetime, zone: ZoneInfo, anchored_at: datetime | None = None) -> Window:
    """The period that holds `at`: of the calendar by the clocks in `zone` (whose offsets are whole hours), or as
    `anchored_at` did; of a rolling window of so many seconds (a multiple of 60) its 60th part.
    """
    if isinstance(period, int):
        part = timedelta(seconds=period // 60)
        start = EPOCH + (at - EPOCH) // part * part
        return Window(start, start + part)
    if anchored_at is not None and period != "lifetime":
        return _anchored(period, at, zone, anchored_at)
    local = at.astimezone(zone)
    today = local.date()
    match period:
        case "lifetime":
            return Window(EVER, NEVER)
        case "hour":
            start = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
            return Window(start, start + HOUR)
        case "day":
            days = today, today + timedelta(days=1)
        case "week":
            monday = today - timedelta(days=today.weekday())
            days = monday, monday + timedelta(days=7)
        case "month":
            first = today.replace(day=1)
            days = first, (first + timedelta(days=31)).replace(day=1)
        case "year":
            days = today.replace(month=1, day=1), today.replace(year=today.year + 1, month=1, day=1)
        case _:
            raise ValueError(period)
    start, end = (datetime.combine(day, time(), zone).astimezone(UTC) for day in days)
    return Window(start, end)


def _anchored(period: str, at: datetime, zone: ZoneInfo, anchored_at: datetime) -> Window:
    """Step by step from the anchor: each window begins at its time of day, on its day of a month or the last one."""
    step = 0
    while _stepped(period, step + 1, zone, anchored_at) <= at:
        step += 1
    while _stepped(period, step, zone, anchored_at) > at:
        step -= 1
    return Window(_stepped(period, step, zone, anchored_at), _stepped(period, step + 1, zone, anchored_at))


def _stepped(period: str, steps: int, zone: ZoneInfo, anchored_at: datetime) -> datetime:
    if period == "hour":
        return anchored_at + steps * HOUR
    local = anchored_at.astimezone(zone)
    if period in ("day", "week"):
        day = local.date() + timedelta(days=steps * (1 if period == "day" else 7))
    else:
        months = local.year * 12 + local.month - 1 + steps * (1 if period == "month" else 12)
        year, month = months // 12, months % 12 + 1
        day = date(year, month, min(local.day, monthrange(year, month)[1]))
    return datetime.combine(day, local.time(), zone).astimezone(UTC)


def value_of(aggregation: str, seen: Sequence[tuple[datetime, Decimal]]) -> Decimal:
    """What a meter shows of these events (when, how much), the older ones first."""
    quantities = [quantity for _, quantity in seen]
    match aggregation:
        case "max":
            return max(quantities, default=Decimal(0))
        case "unique":
            return Decimal(len(set(quantities)))
        case "latest":
            # Of equal times the newer event: `max` takes the first that it meets.
            return max(reversed(seen), key=lambda each: each[0])[1] if seen else Decimal(0)
    return sum(quantities, Decimal(0))


def share(whole: Decimal, part: Decimal, parts: Decimal) -> Decimal:
    """`part` of `parts` of a whole, rounded up to 12 decimals."""
    if not parts:
        return Decimal(0)
    exact = Fraction(whole) * Fraction(part) / Fraction(parts)
    return Decimal(ceil(exact * 10**12)).scaleb(-12)


def round_half_up(exact: Fraction | int) -> Decimal:
    """To 12 decimals, half away from zero."""
    size = Fraction(abs(exact)) * 10**12
    units = Decimal(int(size + Fraction(1, 2))).scaleb(-12)
    return -units if exact < 0 else units


def charge(quantity: Decimal, price: Mapping[str, Any]) -> Decimal:
    """What `quantity` units over the allowance cost, in USD, by a price as a vendor sends it."""
    units = max(Decimal(0), quantity - Decimal(price.get("included_units", "0")))
    if not units:
        return Decimal("0.00")
    exact = {"per_unit": _each, "package": _packages, "graduated": _graduated, "volume": _volume}[price["model"]](
        units, price
    )
    if "minimum" in price:
        exact = max(exact, Decimal(price["minimum"]))
    if "maximum" in price:
        exact = min(exact, Decimal(price["maximum"]))
    return exact.quantize(Decimal("0.01"), ROUND_HALF_UP)


def _each(units: Decimal, price: Mapping[str, Any]) -> Decimal:
    return units * Decimal(price["unit_price"])


def _packages(units: Decimal, price: Mapping[str, Any]) -> Decimal:
    packages = 0
    while packages * Decimal(price["package_size"]) < units:
        packages += 1
    return packages * Decimal(price["package_price"])


def _graduated(units: Decimal, price: Mapping[str, Any]) -> Decimal:
    total, below = Decimal(0), Decimal(0)
    for tier in price["tiers"]:
        if units > below:
            top = units if tier["up_to"] is None else min(units, Decimal(tier["up_to"]))
            total += (top - below) * Decimal(tier["unit_price"]) + Decimal(tier["flat_fee"])
            below = top
    return total


def _volume(units: Decimal, price: Mapping[str, Any]) -> Decimal:
    for tier in price["tiers"]:
        if tier["up_to"] is None or units <= Decimal(tier["up_to"]):
            return units * Decimal(tier["unit_price"]) + Decimal(tier["flat_fee"])
    raise ValueError("the last tier is open")
