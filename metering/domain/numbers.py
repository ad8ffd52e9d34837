"""Exact decimal arithmetic: a context that never rounds unnoticed, and numbers as text."""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow

ZERO = Decimal(0)
ONE = Decimal(1)

_DIGITS = 100
"""Enough for a product of two 38-digit numbers and the sum of many such."""

EXACT = Context(prec=_DIGITS, rounding=ROUND_HALF_UP, traps=[InvalidOperation, DivisionByZero, Overflow, Inexact])
"""Raises `decimal.Inexact` instead of losing a digit, where the default context would round at 28 of them."""

ROUNDING = Context(prec=_DIGITS, rounding=ROUND_HALF_UP, traps=[InvalidOperation, DivisionByZero, Overflow])
"""For the one place where rounding is meant. `ROUND_HALF_UP` of the decimal module is half away from zero."""


def plain(number: Decimal) -> str:
    """A finite number as text: plain notation, no trailing zeros, `0` for every zero."""
    if not number:
        return "0"
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def sum_exact(numbers: Iterable[Decimal]) -> Decimal:
    """The sum of numbers of any length; `sum()` would round at 28 digits."""
    total = ZERO
    for number in numbers:
        total = EXACT.add(total, number)
    return total
