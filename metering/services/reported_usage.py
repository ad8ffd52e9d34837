"""Usage as somebody reports it, checked against the meter that it is for: one set of rules for every way in.

Quantities and dimensions come as they were written, so that no number passes through a float; what comes again and
again is read once.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from common.clock import rfc3339
from common.quantities import QuantityError, parse_quantity
from common.text import TextError, check_text
from metering.domain.dimensions import DimensionError, DimensionValue, check_dimensions
from metering.domain.enums import Aggregation
from metering.domain.numbers import ONE, plain
from metering.domain.terms import MeterTerms

MAX_ID: Final = 255

_NULL: Final = b"null"
_QUOTE: Final = b'"'
_read_text = msgspec.json.Decoder(str).decode
_read_values = msgspec.json.Decoder(dict[str, str | int | float | bool]).decode


class LineFault(ValueError):
    """What is wrong with an event or a line; `field` is its own field, `code` stable."""

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


def read_quantity(raw: msgspec.Raw | UnsetType, meter: MeterTerms, dimensions: Mapping[str, str]) -> Quantity:
    """What counts of an event: its quantity, or what its dimension says where the meter takes its value from one.

    On a count meter it is 1 whatever is said, and so it is on a unique one that tells values of a dimension apart.
    Raises LineFault.
    """
    given = None if raw is UNSET else given_quantity(bytes(raw))
    if meter.aggregation is Aggregation.COUNT:
        return _ONE
    if meter.rules is not None and meter.rules.value_from:
        return _value_of(meter, meter.rules.value_from, dimensions)
    if given is None:
        raise LineFault("quantity", "quantity_required", "This meter needs a quantity.")
    return given


def _value_of(meter: MeterTerms, name: str, dimensions: Mapping[str, str]) -> Quantity:
    text = dimensions.get(name)
    if text is None:
        detail = f"This meter takes its value from the dimension {name}: send it."
        raise LineFault(f"dimensions.{name}", "dimension_required", detail)
    if meter.aggregation is Aggregation.UNIQUE:
        return _ONE
    try:
        quantity = parse_quantity(text)
    except QuantityError as error:
        detail = f"The value is taken from this dimension. {error.detail}"
        raise LineFault(f"dimensions.{name}", "dimension_invalid", detail) from None
    if quantity < 0:
        raise LineFault(f"dimensions.{name}", "dimension_invalid", "The value is taken from it: it is not negative.")
    return Quantity(quantity, plain(quantity))


@lru_cache(maxsize=8192)
def given_quantity(raw: bytes) -> Quantity | None:
    """A quantity as it was written in JSON, None for `null`; the same few come again and again. Raises LineFault."""
    found = signed_quantity(raw)
    if found is not None and found.value < 0:
        raise LineFault("quantity", "quantity_negative", "A quantity is not negative.")
    return found


def signed_quantity(raw: bytes) -> Quantity | None:
    """The same for what changes another event, which may be below 0. Raises LineFault."""
    if raw == _NULL:
        return None
    try:
        quantity = parse_quantity(_read_text(raw) if raw.startswith(_QUOTE) else raw.decode())
    except QuantityError as error:
        raise LineFault("quantity", error.code, error.detail) from None
    return Quantity(quantity, plain(quantity))


def read_dimensions(raw: msgspec.Raw | UnsetType, meter: MeterTerms) -> dict[str, str]:
    """The dimensions as text, sorted by name. Raises LineFault."""
    if raw is UNSET:
        return {}
    data = bytes(raw)
    if data in {_NULL, b"{}"}:
        return {}
    try:
        values = _read_values(data)
    except msgspec.DecodeError:
        detail = "Dimensions are an object of texts, numbers and truth values."
        raise LineFault("dimensions", "dimension_invalid", detail) from None
    return checked_dimensions(values, meter)


def checked_dimensions(given: Mapping[str, DimensionValue], meter: MeterTerms) -> dict[str, str]:
    """The dimensions as text, sorted by name. Raises LineFault."""
    try:
        return check_dimensions(meter.dimensions, given, {} if meter.rules is None else meter.rules.types)
    except DimensionError as error:
        field = f"dimensions.{error.dimension}" if error.dimension else "dimensions"
        raise LineFault(field, error.code, error.detail) from None


def find_meter(meters: Mapping[str, MeterTerms], name: str) -> MeterTerms:
    """The meter of this name. Raises LineFault `unknown_meter`, and `meter_derived` for a cost meter."""
    meter = meters.get(name)
    if meter is None:
        raise LineFault("meter", "unknown_meter", "There is no such meter.")
    if meter.derived:
        detail = "A cost meter's amounts are derived from the meters of its rate card: report usage on those."
        raise LineFault("meter", "meter_derived", detail)
    return meter


def check_occurred_at(occurred_at: datetime, oldest: datetime, newest: datetime) -> datetime:
    """The time in UTC. Raises LineFault outside [oldest, newest]."""
    # Compared before it is converted: the year 1 at +14:00 has no UTC.
    if occurred_at < oldest:
        raise LineFault("occurred_at", "event_too_old", f"Events are accepted from {rfc3339(oldest)} on.")
    if occurred_at > newest:
        raise LineFault("occurred_at", "event_in_future", f"Events are accepted up to {rfc3339(newest)}.")
    return occurred_at if occurred_at.tzinfo is UTC else occurred_at.astimezone(UTC)


def check_event_id(id: str) -> None:
    """Raise LineFault for an id with control characters or halves of characters."""
    if id.isprintable():
        return
    try:
        check_text(id, max_length=MAX_ID)
    except TextError as error:
        raise LineFault("id", "event_invalid", error.detail) from None
