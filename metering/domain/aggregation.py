"""What events come to under each aggregation of a meter."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from metering.domain.enums import Aggregation
from metering.domain.numbers import EXACT, ONE, ZERO


class AggregationUnsupported(ValueError):
    """The meter's aggregation does not add up, so nothing can be reserved or added on it."""

    code = "aggregation_unsupported"

    def __init__(self, aggregation: Aggregation) -> None:
        super().__init__(f"A {aggregation} meter does not add up; this needs a sum or count meter.")
        self.aggregation = aggregation


@dataclass(frozen=True, slots=True)
class Observation:
    """One live (not voided) event, as far as aggregations look at it.

    `value` is what a unique meter tells apart; `order` breaks a tie between equal instants (the event's id as text:
    UUIDv7 sorts by age), so that the same events give the same result in any order of arrival.
    """

    occurred_at: datetime
    quantity: Decimal = ONE
    value: str = ""
    order: str = ""


def require_adding_up(aggregation: Aggregation) -> None:
    """Raise `AggregationUnsupported` unless the aggregation can be held, added to and reversed."""
    if not aggregation.adds_up:
        raise AggregationUnsupported(aggregation)


def contribution(aggregation: Aggregation, quantity: Decimal = ONE) -> Decimal:
    """What one event adds to a balance: its quantity on a sum meter, 1 on a count meter whatever its quantity.

    A reversing event adds the negative of this. Raises `AggregationUnsupported` for max, unique and latest, which
    depend on the other events of the period.
    """
    require_adding_up(aggregation)
    return quantity if aggregation is Aggregation.SUM else ONE


def aggregate(aggregation: Aggregation, observations: Iterable[Observation]) -> Decimal:
    """The value of a period from all its live events, in any order; nothing observed is 0."""
    match aggregation:
        case Aggregation.SUM:
            total = ZERO
            for observation in observations:
                total = EXACT.add(total, observation.quantity)
            return total
        case Aggregation.COUNT:
            return Decimal(sum(1 for _ in observations))
        case Aggregation.MAX:
            return max((observation.quantity for observation in observations), default=ZERO)
        case Aggregation.UNIQUE:
            return Decimal(len({observation.value for observation in observations}))
        case Aggregation.LATEST:
            latest = max(observations, key=lambda each: (each.occurred_at, each.order), default=None)
            return ZERO if latest is None else latest.quantity
