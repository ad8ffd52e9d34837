"""Quantities and dimensions as they were sent, checked against the meter that they are for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from agent_api.use_cases.known_callers import KnownCaller
from agent_api.wire.requests import UsageLine
from common.errors import FieldError, Invalid
from common.quantities import QuantityError, parse_quantity
from metering.domain.dimensions import DimensionError, check_dimensions
from metering.domain.enums import Aggregation
from metering.domain.numbers import ONE, plain
from metering.domain.terms import MeterTerms

_NULL: Final = b"null"
_QUOTE: Final = b'"'
_read_text = msgspec.json.Decoder(str).decode
_read_values = msgspec.json.Decoder(dict[str, str | int | float | bool]).decode


class LineFault(ValueError):
    """What is wrong with a line; `field` is its own field, `code` stable."""

    def __init__(self, field: str, code: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field
        self.code = code
        self.detail = detail


class Quantity(NamedTuple):
    """A quantity, and the same in plain notation."""

    value: Decimal
    written: str


_ONE: Final = Quantity(ONE, "1")


@dataclass(frozen=True, slots=True)
class AskedLine:
    """A checked quantity of one meter."""

    meter: MeterTerms
    quantity: Decimal
    dimensions: Mapping[str, str]


def read_quantity(raw: msgspec.Raw | UnsetType, meter: MeterTerms) -> Quantity:
    """What counts of an event: its quantity, on a count meter 1 whatever it says. Raises LineFault."""
    given = None if raw is UNSET else _given(bytes(raw))
    if meter.aggregation is Aggregation.COUNT:
        return _ONE
    if given is None:
        raise LineFault("quantity", "quantity_required", "This meter needs a quantity.")
    return given


@lru_cache(maxsize=8192)
def _given(raw: bytes) -> Quantity | None:
    """A quantity as it was written; the same few come again and again. Raises LineFault."""
    if raw == _NULL:
        return None
    try:
        quantity = parse_quantity(_read_text(raw) if raw.startswith(_QUOTE) else raw.decode())
    except QuantityError as error:
        raise LineFault("quantity", error.code, error.detail) from None
    if quantity < 0:
        raise LineFault("quantity", "quantity_negative", "A quantity is not negative.")
    return Quantity(quantity, plain(quantity))


def read_dimensions(raw: msgspec.Raw | UnsetType, meter: MeterTerms) -> dict[str, str]:
    """The dimensions as text, sorted by name. Raises LineFault."""
    if raw is UNSET:
        return {}
    data = bytes(raw)
    if data in {_NULL, b"{}"}:
        return {}
    try:
        return check_dimensions(meter.dimensions, _read_values(data))
    except msgspec.DecodeError:
        detail = "Dimensions are an object of texts, numbers and truth values."
        raise LineFault("dimensions", "dimension_invalid", detail) from None
    except DimensionError as error:
        field = f"dimensions.{error.dimension}" if error.dimension else "dimensions"
        raise LineFault(field, error.code, error.detail) from None


def find_meter(meters: Mapping[str, MeterTerms], name: str) -> MeterTerms:
    """The meter of this name. Raises LineFault `unknown_meter`."""
    meter = meters.get(name)
    if meter is None:
        raise LineFault("meter", "unknown_meter", "There is no such meter.")
    return meter


def check_lines(
    known: KnownCaller, lines: Sequence[UsageLine], *, reserving: bool = False, settling: bool = False
) -> list[AskedLine] | Invalid:
    """The lines of a request that asks, or the faults of all of them.

    `reserving` refuses meters that do not add up. On a count meter a line is one event: another quantity is refused,
    as it would not be what is counted; in a settlement 0 means that there was none.
    """
    found: list[AskedLine] = []
    errors: list[FieldError] = []
    for place, line in enumerate(lines):
        try:
            checked = _check_line(known, line, reserving=reserving, settling=settling)
        except LineFault as fault:
            errors.append(FieldError(field=f"usage.{place}.{fault.field}", code=fault.code, detail=fault.detail))
        else:
            if checked is not None:
                found.append(checked)
    if errors:
        return Invalid(f"{errors[0]['field']}: {errors[0]['detail']}", errors=errors)
    return found


def _check_line(known: KnownCaller, line: UsageLine, *, reserving: bool, settling: bool) -> AskedLine | None:
    meter = find_meter(known.meters, line.meter)
    if reserving and not meter.aggregation.adds_up:
        raise LineFault("meter", "aggregation_unsupported", "Only what adds up can be held: sum and count meters.")
    quantity = read_quantity(line.quantity, meter)
    if meter.aggregation is Aggregation.COUNT and line.quantity is not UNSET:
        given = _given(bytes(line.quantity))
        if settling and given is not None and not given.value:
            return None
        if given is not None and given.value != ONE:
            detail = "This meter counts events: leave the quantity out, and send a line for each."
            raise LineFault("quantity", "quantity_invalid", detail)
    return AskedLine(meter, quantity.value, read_dimensions(line.dimensions, meter))
