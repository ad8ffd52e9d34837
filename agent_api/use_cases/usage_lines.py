"""Quantities and dimensions as they were sent, checked against the meter that they are for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from msgspec import UNSET

from agent_api.use_cases.known_callers import KnownCaller
from agent_api.wire.requests import UsageLine
from common.errors import FieldError, Invalid
from metering.domain.enums import Aggregation
from metering.domain.numbers import ONE
from metering.domain.terms import MeterTerms
from metering.services.reported_usage import LineFault, find_meter, given_quantity, read_dimensions, read_quantity


@dataclass(frozen=True, slots=True)
class AskedLine:
    """A checked quantity of one meter."""

    meter: MeterTerms
    quantity: Decimal
    dimensions: Mapping[str, str]


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
    dimensions = read_dimensions(line.dimensions, meter)
    quantity = read_quantity(line.quantity, meter, dimensions)
    if meter.aggregation is Aggregation.COUNT and line.quantity is not UNSET:
        given = given_quantity(bytes(line.quantity))
        if settling and given is not None and not given.value:
            return None
        if given is not None and given.value != ONE:
            detail = "This meter counts events: leave the quantity out, and send a line for each."
            raise LineFault("quantity", "quantity_invalid", detail)
    return AskedLine(meter, quantity.value, dimensions)
