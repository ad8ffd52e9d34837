"""Rating: from a quantity to exact lines of money and one rounded amount."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, localcontext

from metering.domain.enums import PriceModel
from metering.domain.money import round_money
from metering.domain.numbers import EXACT, ONE, ZERO, plain
from metering.domain.prices import PriceError, PriceTerms, Tier

__all__ = ["Line", "PriceError", "PriceTerms", "RatedAmount", "Tier", "billable_units", "difference", "rate"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a charge: `amount` is exactly `quantity` times `unit_price`, unrounded."""

    description: str
    quantity: Decimal
    unit_price: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class RatedAmount:
    """Lines that add up to `exact`, and the `amount` to charge, at the currency's minor unit."""

    lines: tuple[Line, ...]
    exact: Decimal
    amount: Decimal


def rate(quantity: Decimal, price: PriceTerms, *, already: Decimal = ZERO) -> RatedAmount:
    """What `quantity` units cost, rounded once, half away from zero.

    Where `already` units of the period were charged before, it is what the further ones add (see `difference`): they
    go on in the tiers, packages, included units, minimum and maximum where those left off, so parts of a period cost
    together what the whole does. Nothing over costs nothing, whatever the minimum and flat fees.
    Raises `ValueError` for a quantity that is negative or not finite.
    """
    for number in (quantity, already):
        if not number.is_finite() or number < 0:
            raise ValueError("Only a finite quantity of 0 or more can be rated.")
    with localcontext(EXACT):
        whole = _rate_whole(already + quantity, price)
        return difference(whole, _rate_whole(already, price)) if already else whole


def difference(after: RatedAmount, before: RatedAmount) -> RatedAmount:
    """What has to be charged, or credited where it is negative, to get from `before` to `after`.

    The amount is the difference of the rounded amounts, so a bill and its correction add up to the bill that would have
    been right.
    """
    with localcontext(EXACT):
        old = {(line.description, line.unit_price): line for line in before.lines}
        changed = []
        for line in after.lines:
            gone = old.pop((line.description, line.unit_price), None)
            quantity = line.quantity - gone.quantity if gone else line.quantity
            changed.append(_line(line.description, quantity, line.unit_price))
        changed += [_line(line.description, -line.quantity, line.unit_price) for line in old.values()]
        lines = tuple(line for line in changed if line.quantity)
        return RatedAmount(lines, after.exact - before.exact, after.amount - before.amount)


def billable_units(quantity: Decimal, included_units: Decimal) -> Decimal:
    """The units that are left to charge after the included ones."""
    with localcontext(EXACT):
        return max(ZERO, quantity - included_units)


def _rate_whole(quantity: Decimal, price: PriceTerms) -> RatedAmount:
    lines = tuple(_lines(billable_units(quantity, price.included_units), price))
    exact = sum((line.amount for line in lines), ZERO)
    return RatedAmount(lines, exact, round_money(exact, price.currency))


def _lines(units: Decimal, price: PriceTerms) -> Iterator[Line]:
    if not units:
        return
    total = ZERO
    for line in _model_lines(units, price):
        total += line.amount
        yield line
    if price.minimum is not None and total < price.minimum:
        yield _line("Up to the minimum", ONE, price.minimum - total)
    if price.maximum is not None and total > price.maximum:
        yield _line("Down to the maximum", ONE, price.maximum - total)


def _model_lines(units: Decimal, price: PriceTerms) -> Iterator[Line]:
    match price.model:
        case PriceModel.PER_UNIT:
            yield _line("Units", units, price.unit_price or ZERO)
        case PriceModel.PACKAGE:
            size = price.package_size or ONE
            packages = units // size + (ONE if units % size else ZERO)
            yield _line(f"Packages of {plain(size)}", packages, price.package_price or ZERO)
        case PriceModel.GRADUATED:
            yield from _graduated_lines(units, price.tiers)
        case PriceModel.VOLUME:
            below = ZERO
            for tier in price.tiers:
                if tier.up_to is None or units <= tier.up_to:
                    yield from _tier_lines(tier, below, units)
                    return
                below = tier.up_to


def _graduated_lines(units: Decimal, tiers: tuple[Tier, ...]) -> Iterator[Line]:
    below = ZERO
    for tier in tiers:
        if units <= below:
            return
        top = units if tier.up_to is None else min(units, tier.up_to)
        yield from _tier_lines(tier, below, top - below)
        below = top


def _tier_lines(tier: Tier, below: Decimal, units: Decimal) -> Iterator[Line]:
    span = f"over {plain(below)}" if tier.up_to is None else f"over {plain(below)}, up to {plain(tier.up_to)}"
    yield _line(f"Units {span}", units, tier.unit_price)
    if tier.flat_fee:
        yield _line(f"Flat fee {span}", ONE, tier.flat_fee)


def _line(description: str, quantity: Decimal, unit_price: Decimal) -> Line:
    return Line(description, quantity, unit_price, quantity * unit_price)
