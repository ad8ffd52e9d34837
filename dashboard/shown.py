"""How numbers, money and times are written for people."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from metering.domain.money import minor_units, round_money

MINUS: Final = "\N{MINUS SIGN}"
_SCALES: Final = ((Decimal(10) ** 12, "T"), (Decimal(10) ** 9, "G"), (Decimal(10) ** 6, "M"))
_SYMBOLS: Final = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}
_MUCH_MORE: Final = 10
_NO_COMPARISON: Final = 1000
_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_UNITS: Final = ((_DAY * 365, "year"), (_DAY * 30, "month"), (_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute"))


def quantity(value: Decimal) -> str:
    """A quantity in full, thousands apart: `1,204,332` or `0.25`; at most six decimals are shown."""
    rounded = value.quantize(Decimal("0.000001"), rounding=ROUND_HALF_UP) if value.as_tuple().exponent != 0 else value
    text = f"{rounded:,f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return _signed(text)


def compact(value: Decimal) -> str:
    """A quantity to be read at a glance: `1.2 M`, `12,400`, `0.25`."""
    size = abs(value)
    for scale, letter in _SCALES:
        if size >= scale:
            short = (value / scale).quantize(Decimal("0.01") if size < scale * 10 else Decimal("0.1"))
            return f"{_signed(_trimmed(short))} {letter}"
    return quantity(value.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP) if value % 1 else value)


def money(amount: Decimal, currency: str) -> str:
    """An amount with its currency: `$1,204.50`, `CHF 12.00`."""
    rounded = round_money(amount, currency)
    text = f"{abs(rounded):,.{minor_units(currency)}f}"
    symbol = _SYMBOLS.get(currency)
    sign = MINUS if rounded < 0 else ""
    return f"{sign}{symbol}{text}" if symbol else f"{sign}{currency} {text}"


def change(now: Decimal, before: Decimal, *, than: str) -> str:
    """A change in words and sign: `+12 %, more than yesterday by this time`.

    Above ten times the number says nothing more; beside next to nothing the comparison itself says nothing.
    """
    if before == 0:
        return f"None {than}" if now else f"None, as {than}"
    share = ((now - before) / before * 100).quantize(Decimal(1), rounding=ROUND_HALF_UP)
    if share == 0:
        return f"As much as {than}"
    if now > before * _NO_COMPARISON:
        return ""
    if now > before * _MUCH_MORE:
        return f"Much more than {than}"
    word = "more" if share > 0 else "less"
    sign = "+" if share > 0 else MINUS
    return f"{sign}{abs(share)} %, {word} than {than}"


def units(unit: str, value: Decimal) -> str:
    """The unit as it stands behind a number: words take their plural, symbols such as `MB` or `ms` stay."""
    if value == 1 or not unit.islower() or len(unit) <= len("ms") or unit.endswith("s"):
        return unit
    consonant_before_y = unit.endswith("y") and unit[-2] not in "aeiou"
    return f"{unit[:-1]}ies" if consonant_before_y else f"{unit}s"


def relative(at: datetime, now: datetime) -> str:
    """How long ago, or how soon: `4 minutes ago`, `in 3 days`."""
    apart = abs(now - at)
    if apart < timedelta(seconds=45):
        return "just now" if at <= now else "in a moment"
    count, name = next(((int(apart / unit), name) for unit, name in _UNITS if apart >= unit), (1, "minute"))
    text = f"{count} {name}{'' if count == 1 else 's'}"
    return f"{text} ago" if at <= now else f"in {text}"


def exact(at: datetime, zone: tzinfo) -> str:
    """A moment in full, with its timezone: `23 November 2026 14:05:09 UTC`."""
    local = at.astimezone(zone)
    return f"{local.day} {local:%B %Y %H:%M:%S} {local.tzname()}"


def day(at: datetime, zone: tzinfo) -> str:
    """A date: `23 Nov 2026`."""
    local = at.astimezone(zone)
    return f"{local.day} {local:%b %Y}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 agent`, `12 agents`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def about(count: int) -> str:
    """A total that nobody needs to the last one: `about 12,400` from a thousand on."""
    if count < 1000:
        return f"{count:,}"
    step = 10 ** (len(str(count)) - 3)
    return f"about {count // step * step:,}"


def _trimmed(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _signed(text: str) -> str:
    return MINUS + text[1:] if text.startswith("-") else text
