"""Checks that meters, quotas and prices share, beside those in `tenants.services.fields`.

`path` is the field's dotted path in the caller's body (`quotas.0.limit`); every refusal is an `Invalid` (422) that
names it.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from common.errors import Invalid
from common.quantities import QuantityError, parse_quantity
from metering.domain.dimensions import DimensionError, check_dimensions


def refuse(path: str, code: str, detail: str) -> Invalid:
    """A refusal whose document has the same stable code as its field: for what callers may want to act on."""
    return Invalid(detail, code=code, errors=[{"field": path, "code": code, "detail": detail}])


def at(prefix: str, field: str) -> str:
    """The path of `field` inside `prefix`."""
    return f"{prefix}.{field}" if prefix else field


def quantity_field(path: str, value: object) -> Decimal:
    """An exact decimal of 0 or more: text or number, at most 12 decimals and 10^18."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise Invalid.field(path, "quantity_invalid", "A quantity is a decimal number.")
    try:
        quantity = parse_quantity(value)
    except QuantityError as error:
        raise Invalid.field(path, error.code, error.detail) from None
    if quantity < 0:
        raise Invalid.field(path, "quantity_negative", "This must not be negative.")
    return quantity


def filter_field(path: str, value: object, declared: Sequence[str]) -> dict[str, str]:
    """A filter over a meter's declared dimensions, as events' dimensions are compared: texts, sorted by name."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Invalid.field(path, "invalid", "A filter maps dimensions to values.")
    try:
        return check_dimensions(declared, value)
    except DimensionError as error:
        raise Invalid.field(at(path, error.dimension), error.code, error.detail) from None


def list_field(path: str, value: object, *, most: int) -> list[Any]:
    """A list of at most so many things."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise Invalid.field(path, "invalid", "This is a list.")
    if len(value) > most:
        raise Invalid.field(path, "too_many", f"At most {most} entries.")
    return list(value)
