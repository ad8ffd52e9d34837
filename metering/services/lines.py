"""Where the lines of a batch count, and what follows from them: filters, values of dimensions, derived amounts.

A plain sum or count meter has no rules, and its lines only need their targets.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from metering.domain.dimensions import matches
from metering.domain.enums import EventFlag, EventKind
from metering.domain.numbers import ZERO
from metering.domain.rate_cards import amount, derived_event_id, find_rate
from metering.domain.requests import Line, Request, Unrated
from metering.domain.terms import Caller, MeterRules, MeterTerms
from metering.services.dimension_values import limited
from metering.services.targets import Targets


class CountedLine(NamedTuple):
    """What a line would count on one meter; `dimensions` are those under which it does."""

    meter: MeterTerms
    quantity: Decimal
    dimensions: Mapping[str, str]
    at: datetime


def place_lines(requests: Sequence[Request], targets: Targets) -> bool:
    """Say for each line where it counts, and add what is derived from it.

    Whether values have to be read for them: of meters that do not add up. May register values of dimensions, in a
    transaction of its own.
    """
    valued = False
    for request in requests:
        ruled = False
        for line in request.lines:
            if line.meter.rules is None:
                line.targets = targets.of(request.caller, line.meter, line.dimensions, line.occurred_at, request.at)
            else:
                ruled = True
        if ruled:
            valued = _place_by_rules(request, targets) or valued
    return valued


def reprice(request: Request) -> None:
    """Bring derived amounts up to quantities that have changed since the lines were placed."""
    quantities = {line.event_id: line.quantity for line in request.lines}
    for line in request.derived:
        if line.derived_from is not None and line.unit_price is not None:
            line.quantity = amount(quantities[line.derived_from], line.unit_price)


def lines_counted(
    caller: Caller, meter: MeterTerms, quantity: Decimal, dimensions: Mapping[str, str], at: datetime
) -> tuple[list[CountedLine], list[Unrated]]:
    """What asking for a quantity would count, on its own meter and on cost meters, without writing anything.

    And the cost meters without a rate for it that limit the caller.
    """
    rules = meter.rules
    if rules is None:
        return [CountedLine(meter, quantity, dimensions, at)], []
    if not matches(rules.filter, dimensions):
        return [], []
    counted = limited(meter, dimensions, register=False) if rules.max_values else dimensions
    found = [CountedLine(meter, quantity, counted, at)]
    unrated = []
    for cost in rules.costs:
        rate = find_rate(cost.rates, dimensions, at)
        if rate is not None:
            found.append(CountedLine(cost.meter, amount(quantity, rate.unit_price), counted, at))
            continue
        quotas = caller.quotas_of.get(cost.meter.id, ())
        quota = next((quota for quota in quotas if matches(quota.filter, counted)), None)
        if quota is not None:
            unrated.append(Unrated(meter.code, cost.meter.code, quota, dimensions))
    return found, unrated


def _place_by_rules(request: Request, targets: Targets) -> bool:
    valued = False
    derived: list[Line] = []
    unrated: list[Unrated] = []
    for line in request.lines:
        rules = line.meter.rules
        # What takes an event back names what counted, and was worked out when that was recorded.
        if rules is not None and line.corrects is None:
            _shape(request, line, rules)
        if EventFlag.NOT_COUNTED in line.flags:
            line.targets = ()
            continue
        line.targets = targets.of(request.caller, line.meter, line.dimensions, line.occurred_at, request.at)
        if rules is None:
            continue
        valued = valued or (bool(line.targets) and not line.meter.aggregation.adds_up)
        if rules.costs and line.corrects is None:
            _derive(request, line, rules, targets, derived, unrated)
    request.derived, request.unrated = derived, tuple(unrated)
    return valued


def _shape(request: Request, line: Line, rules: MeterRules) -> None:
    """Let a line count as its meter's rules say: not at all, or under other values of its dimensions."""
    sent = line.dimensions if line.sent is None else line.sent
    flags = [flag for flag in line.flags if flag not in _OF_RULES]
    if rules.filter and not matches(rules.filter, sent):
        flags.append(EventFlag.NOT_COUNTED)
        # A hold has no event, and keeps what was asked of it.
        line.quantity = line.quantity if request.kind is EventKind.HOLD else ZERO
    if rules.max_values and sent:
        counted = limited(line.meter, sent)
        if counted is not sent:
            line.sent, line.dimensions = sent, counted
            flags.append(EventFlag.DIMENSION_OVERFLOW)
    line.flags = tuple(flags)


_OF_RULES = frozenset({EventFlag.NOT_COUNTED, EventFlag.DIMENSION_OVERFLOW, EventFlag.RATE_MISSING})


def _derive(
    request: Request,
    line: Line,
    rules: MeterRules,
    targets: Targets,
    derived: list[Line],
    unrated: list[Unrated],
) -> None:
    sent = line.dimensions if line.sent is None else line.sent
    missing = False
    for cost in rules.costs:
        rate = find_rate(cost.rates, sent, line.occurred_at)
        where = targets.of(request.caller, cost.meter, line.dimensions, line.occurred_at, request.at)
        if rate is None:
            missing = True
            if where:
                unrated.append(Unrated(line.meter.code, cost.meter.code, where[0].quota, sent))
            continue
        derived.append(
            Line(
                meter=cost.meter,
                quantity=amount(line.quantity, rate.unit_price),
                dimensions=line.dimensions,
                occurred_at=line.occurred_at,
                event_id=derived_event_id(line.event_id, cost.meter.id),
                targets=where,
                derived_from=line.event_id,
                unit_price=rate.unit_price,
            )
        )
    if missing:
        line.flags = (*line.flags, EventFlag.RATE_MISSING)
