"""What a meter is said to be, checked field by field: dimensions with their types, where its value comes from."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from common.errors import Invalid
from metering.domain.dimensions import DimensionError, check_declared
from metering.domain.enums import Aggregation, DimensionType
from metering.services.validation import list_field
from tenants.services import fields

MAX_VALUES: Final = 10_000
RESERVED_DIMENSIONS: Final = frozenset({"agent", "license", "customer"})
"""Usage can be grouped by these already."""

_DIMENSION = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_KNOWN = ("name", "type", "max_values")

Dimension = str | dict[str, Any]
"""As it is stored: its name, or `{"name", "type", "max_values"}` where more is said of it."""


def read_dimensions(value: object) -> list[Dimension]:
    """The dimensions that a body declares. Raises Invalid for the one that is wrong."""
    found: list[Dimension] = []
    for position, each in enumerate(list_field("dimensions", value, most=1000)):
        found.append(_dimension(each, f"dimensions.{position}"))
    names = [name_of(each) for each in found]
    try:
        check_declared(names)
    except DimensionError as error:
        position = max((i for i, name in enumerate(names) if name == error.dimension), default=-1)
        path = "dimensions" if position < 0 else f"dimensions.{position}"
        raise Invalid.field(path, error.code, error.detail) from error
    return found


def name_of(dimension: Dimension) -> str:
    """The name of a stored dimension."""
    return dimension if isinstance(dimension, str) else str(dimension["name"])


def read_value_from(value: object, aggregation: Aggregation, dimensions: Sequence[Dimension]) -> str:
    """The dimension that gives the value; blank: the quantity does. Raises Invalid."""
    if value is None or value == "":
        return ""
    if aggregation is Aggregation.COUNT:
        detail = "A count meter counts every event as one: there is no value to take."
        raise Invalid.field("value_from", "not_allowed", detail)
    declared = {name_of(each): each for each in dimensions}
    if not isinstance(value, str) or value not in declared:
        detail = f"The value is taken from a dimension of the meter: {', '.join(declared) or 'it has none'}."
        raise Invalid.field("value_from", "dimension_unknown", detail)
    found = declared[value]
    type = found.get("type") if isinstance(found, dict) else None
    limited = isinstance(found, dict) and found.get("max_values")
    if aggregation is not Aggregation.UNIQUE and (type not in (None, DimensionType.NUMBER) or limited):
        detail = f"A {aggregation} meter takes its value from a number without max_values."
        raise Invalid.field("value_from", "dimension_invalid", detail)
    return value


def join_dimensions(dimensions: Iterable[Dimension], names: Iterable[str]) -> list[Dimension]:
    """The dimensions, and behind them those of the names that are not among them."""
    joined = list(dimensions)
    known = {name_of(each) for each in joined}
    joined += [name for name in dict.fromkeys(names) if name not in known]
    return joined


def _dimension(value: object, path: str) -> Dimension:
    if not isinstance(value, Mapping):
        return _name(value, path)
    fields.only_keys(value, path, _KNOWN)
    name = _name(value.get("name"), f"{path}.name" if "name" in value else path)
    said: dict[str, Any] = {"name": name}
    if value.get("type") is not None:
        said["type"] = fields.member(value["type"], f"{path}.type", DimensionType).value
    if value.get("max_values") is not None:
        said["max_values"] = fields.integer(value["max_values"], f"{path}.max_values", least=1, most=MAX_VALUES)
    return said if len(said) > 1 else name


def _name(value: object, path: str) -> str:
    if not isinstance(value, str) or not _DIMENSION.fullmatch(value):
        detail = "A name starts with a lower-case letter; lower-case letters, digits and '_' follow, 64 at most."
        raise Invalid.field(path, "dimension_name_invalid", detail)
    if value in RESERVED_DIMENSIONS:
        detail = "Usage can be grouped by agent, license and customer without a dimension."
        raise Invalid.field(path, "dimension_reserved", detail)
    return value
