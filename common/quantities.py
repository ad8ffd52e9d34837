"""Quantities and money: exact decimals, never floats. At most 12 decimals and 10^18 in size."""

import re
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Final, TypedDict

MAX_DECIMALS: Final = 12
MAX_QUANTITY: Final = Decimal(10) ** 18


class QuantityFieldOptions(TypedDict):
    """How a DecimalField holds quantities."""

    max_digits: int
    decimal_places: int


# Room for sums far above any single quantity: 26 digits before the point.
QUANTITY_FIELD: Final[QuantityFieldOptions] = {"max_digits": 38, "decimal_places": MAX_DECIMALS}

_MAX_LENGTH: Final = 64
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?")
_ZERO: Final = Decimal(0)
_STEP: Final = Decimal(1).scaleb(-MAX_DECIMALS)
_EXACT: Final = Context(prec=38, traps=[Inexact, InvalidOperation])


class QuantityError(ValueError):
    """A quantity that is not one; `code` is quantity_invalid, quantity_out_of_range or quantity_too_precise."""

    def __init__(self, code: str, detail: str) -> None:
        """`detail` is a sentence for the caller."""
        super().__init__(detail)
        self.code = code
        self.detail = detail


def parse_quantity(value: str | float | Decimal) -> Decimal:
    """An exact decimal without trailing zeros from what JSON or a form brought.

    Equal numbers give equal results in every notation ("5", 5, 5.0, "5e0"). Any sign passes. Raises QuantityError.
    """
    number = _read(value)
    if not number.is_finite():
        raise QuantityError("quantity_invalid", "A quantity is a finite number.")
    if not number:
        return _ZERO
    # Not abs(): it rounds to the 28 digits of the ambient context.
    if number.adjusted() > MAX_QUANTITY.adjusted() or number.copy_abs() > MAX_QUANTITY:
        raise QuantityError("quantity_out_of_range", "A quantity is at most 10^18.")
    try:
        return _plain(number.quantize(_STEP, context=_EXACT))
    except (Inexact, InvalidOperation):
        raise QuantityError("quantity_too_precise", f"A quantity has at most {MAX_DECIMALS} decimals.") from None


def format_quantity(value: Decimal) -> str:
    """Plain notation without trailing zeros or exponent; zero is "0"."""
    if not value:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _read(value: str | float | Decimal) -> Decimal:
    if isinstance(value, Decimal):
        return value
    # bool is an int to Python, but `true` is no amount to anybody.
    if isinstance(value, str) and len(value) <= _MAX_LENGTH and _NUMBER.fullmatch(value):
        return Decimal(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > MAX_QUANTITY:
            raise QuantityError("quantity_out_of_range", "A quantity is at most 10^18.")
        return Decimal(value)
    if isinstance(value, float):
        # repr is the shortest text that reads back as the same float: what the client wrote.
        return Decimal(repr(value))
    raise QuantityError("quantity_invalid", "A quantity is a decimal number.")


def _plain(number: Decimal) -> Decimal:
    whole = number.to_integral_value()
    return whole if whole == number else number.normalize(_EXACT)
