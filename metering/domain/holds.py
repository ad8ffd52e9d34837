"""What settling a hold comes to: which held line a settled one belongs to, what is given back, what a cap leaves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal

from common.quantities import MAX_DECIMALS
from metering.domain.numbers import EXACT, ROUNDING, ZERO, sum_exact
from metering.domain.terms import MeterTerms

_UP = ROUNDING.copy()
_UP.rounding = ROUND_CEILING
_STEP = Decimal(1).scaleb(-MAX_DECIMALS)


@dataclass(frozen=True, slots=True)
class HeldLine:
    """A usage line of a hold: what it reserved at first, and what has been settled of it so far."""

    meter_code: str
    quantity: Decimal
    settled: Decimal = ZERO
    dimensions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SettledLine:
    """What was really used of a meter; without dimensions it takes those of the held line."""

    meter: MeterTerms
    quantity: Decimal
    dimensions: Mapping[str, str] = field(default_factory=dict)


def match_lines(held: Sequence[HeldLine], asked: Sequence[SettledLine]) -> list[int | None]:
    """For each settled line its held one: same meter, and same dimensions unless it names none; None: never held.

    Of held lines that are alike, the first with room for it: on a count meter each event is a line of its own.
    """
    leaders = _leaders(held)
    left = [EXACT.subtract(line.quantity, line.settled) for line in held]
    places: list[int | None] = []
    for line in asked:
        first = next(
            (
                place
                for place, each in enumerate(held)
                if each.meter_code == line.meter.code and (not line.dimensions or line.dimensions == each.dimensions)
            ),
            None,
        )
        if first is None:
            places.append(None)
            continue
        alike = (place for place, leader in enumerate(leaders) if leader == first)
        place = next((place for place in alike if left[place] >= line.quantity), first)
        left[place] = EXACT.subtract(left[place], line.quantity)
        places.append(place)
    return places


def excess(held: Sequence[HeldLine], asked: Sequence[SettledLine], places: Sequence[int | None]) -> Decimal:
    """How much more than held is asked, over all lines; what was never held is all excess."""
    return EXACT.subtract(total(asked), sum_exact(cap(held, asked, places)))


def cap(held: Sequence[HeldLine], asked: Sequence[SettledLine], places: Sequence[int | None]) -> list[Decimal]:
    """The asked quantities, cut to what the held lines that are alike have left; 0 for what was never held."""
    leaders = _leaders(held)
    left = dict.fromkeys(leaders, ZERO)
    for leader, held_line in zip(leaders, held, strict=True):
        left[leader] = EXACT.add(left[leader], EXACT.subtract(held_line.quantity, held_line.settled))
    counted: list[Decimal] = []
    for line, place in zip(asked, places, strict=True):
        if place is None:
            counted.append(ZERO)
            continue
        leader = leaders[place]
        quantity = min(line.quantity, max(left[leader], ZERO))
        left[leader] = EXACT.subtract(left[leader], quantity)
        counted.append(quantity)
    return counted


def counted_of(place: int, asked: Sequence[SettledLine], places: Sequence[int | None]) -> Decimal:
    """How much a settlement counts of one held line."""
    return sum_exact(line.quantity for line, of_place in zip(asked, places, strict=True) if of_place == place)


def to_release(held: HeldLine, counted: Decimal, first: Decimal, reserved: Decimal) -> Decimal:
    """What a balance gets back where a part counts `counted` of a held line, at most what is reserved.

    `first` is what the line reserved there at first: its own quantity, or on a cost meter what that was estimated to
    cost. What stays reserved is its share of what is not settled yet, rounded up to 12 decimals: the same however the
    parts were cut, and all of it comes back with the last.
    """
    settled = EXACT.add(held.settled, counted)
    if settled >= held.quantity:
        return reserved
    left = EXACT.subtract(held.quantity, settled)
    stays = left if first == held.quantity else _share(first, left, held.quantity)
    return max(ZERO, EXACT.subtract(reserved, stays))


def total(asked: Sequence[SettledLine]) -> Decimal:
    """All quantities together."""
    return sum_exact(line.quantity for line in asked)


def _share(whole: Decimal, part: Decimal, parts: Decimal) -> Decimal:
    return _UP.divide(EXACT.multiply(whole, part), parts).quantize(_STEP, context=_UP)


def _leaders(held: Sequence[HeldLine]) -> list[int]:
    """For each held line the first one that is like it, of the same meter and dimensions."""
    kinds = [(line.meter_code, line.dimensions) for line in held]
    return [kinds.index(kind) for kind in kinds]
