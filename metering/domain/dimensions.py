"""Dimensions of events and filters over them: checked, normalised to text, compared."""

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from metering.domain.enums import DimensionType
from metering.domain.numbers import plain

MAX_DIMENSIONS = 20
MAX_VALUE_LENGTH = 200
OTHER_VALUE = "__other__"
"""Where values count once a dimension has too many of them."""

DimensionValue = str | int | float | bool | Decimal

_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,64}(?:\.[0-9]{0,64})?|\.[0-9]{1,64})(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", re.ASCII)
_NOT_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class DimensionError(ValueError):
    """A dimension that cannot be taken; `dimension` names it.

    `code` is `dimension_unknown`, `dimension_invalid`, `dimension_too_long` or `dimensions_too_many` for values, and
    `dimension_name_invalid` or `dimension_repeated` for a meter's declaration.
    """

    def __init__(self, dimension: str, code: str, detail: str) -> None:
        super().__init__(detail)
        self.dimension = dimension
        self.code = code
        self.detail = detail


def check_declared(names: Sequence[str]) -> tuple[str, ...]:
    """The dimensions of a new meter, in their order.

    Raises `DimensionError` for more than 20, for bad names and for repeated ones.
    """
    if len(names) > MAX_DIMENSIONS:
        raise DimensionError("", "dimensions_too_many", f"A meter has at most {MAX_DIMENSIONS} dimensions.")
    seen: set[str] = set()
    for name in names:
        if not _NAME.fullmatch(name):
            detail = "A name starts with a letter or underscore; letters, digits, '_', '.' and '-' follow, 64 at most."
            raise DimensionError(name, "dimension_name_invalid", detail)
        if name in seen:
            raise DimensionError(name, "dimension_repeated", "The dimension is named twice.")
        seen.add(name)
    return tuple(names)


def check_dimensions(
    declared: Sequence[str], given: Mapping[str, DimensionValue], types: Mapping[str, DimensionType] | None = None
) -> dict[str, str]:
    """The given values as text, sorted by name, so that equal dimensions are equal however they were sent.

    Numbers are compared by value (5, 5.0 and 5e0 are `5`), truth values are `true` and `false`, texts stay as they
    are: `"5.0"` may be a version. Serves events and filters alike. Raises `DimensionError` with `dimension_unknown`
    for a name the meter does not declare, `dimension_invalid` for a value that is no text, number or truth value,
    has control characters or is not of its dimension's type, `dimension_too_long` above 200 characters,
    `dimensions_too_many` above 20.
    """
    if not given:
        return {}
    if len(given) > MAX_DIMENSIONS:
        raise DimensionError("", "dimensions_too_many", f"At most {MAX_DIMENSIONS} dimensions can be given.")
    for name in given:
        if name not in declared:
            raise DimensionError(name, "dimension_unknown", "The meter has no such dimension.")
    if types:
        return {name: _typed(name, given[name], types.get(name)) for name in sorted(given)}
    return {name: _text(name, given[name]) for name in sorted(given)}


def matches(wanted: Mapping[str, str], dimensions: Mapping[str, str]) -> bool:
    """Whether an event with these (checked) dimensions has every value that the filter asks for."""
    return all(dimensions.get(name) == value for name, value in wanted.items())


def canonical_filter(wanted: Mapping[str, str]) -> str:
    """One text per filter, whatever the order of its names: compact JSON with sorted names, `{}` for none."""
    return json.dumps(dict(wanted), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _typed(name: str, value: DimensionValue, type: DimensionType | None) -> str:
    """As text, of the type that the meter declares. What formats without types write as text is read."""
    match type:
        case DimensionType.STRING if not isinstance(value, str):
            raise DimensionError(name, "dimension_invalid", "The meter says that this is a text.")
        case DimensionType.BOOLEAN if not isinstance(value, bool) and value not in ("true", "false"):
            raise DimensionError(name, "dimension_invalid", "The meter says that this is true or false.")
        case DimensionType.NUMBER:
            if isinstance(value, bool) or (isinstance(value, str) and not _NUMBER.fullmatch(value)):
                raise DimensionError(name, "dimension_invalid", "The meter says that this is a number.")
            return _text(name, Decimal(value) if isinstance(value, str) else value)
        case _:
            return _text(name, value)


def _text(name: str, value: DimensionValue) -> str:
    match value:
        case str():
            text = value
        case bool():
            text = "true" if value else "false"
        case int() | float() | Decimal():
            text = _number_text(name, value)
        case _:
            raise DimensionError(name, "dimension_invalid", "A value is a text, a number, true or false.")
    if len(text) > MAX_VALUE_LENGTH:
        raise _too_long(name)
    if _NOT_TEXT.search(text):
        raise DimensionError(name, "dimension_invalid", "A value has no control characters or lone surrogates.")
    return text


def _number_text(name: str, value: float | Decimal) -> str:
    # repr() is the shortest text that reads back as the same float: what the sender wrote.
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        raise DimensionError(name, "dimension_invalid", "A number must be finite.")
    # Looked at before it is written out: 1E+999999 would be a megabyte of zeros.
    if number and not -MAX_VALUE_LENGTH <= number.adjusted() <= MAX_VALUE_LENGTH:
        raise _too_long(name)
    return plain(number)


def _too_long(name: str) -> DimensionError:
    return DimensionError(name, "dimension_too_long", f"A value has at most {MAX_VALUE_LENGTH} characters.")
