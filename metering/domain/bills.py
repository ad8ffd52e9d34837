"""What a bill stands at once it was corrected: a final record, and the corrections that came after it."""

from dataclasses import dataclass
from decimal import Decimal

from metering.domain.numbers import EXACT, ZERO
from metering.domain.prices import PriceTerms
from metering.domain.rating import RatedAmount, difference, rate


class CurrencyChanged(ValueError):
    """A bill in one currency cannot be corrected in another."""

    code = "currency_changed"


@dataclass(frozen=True, slots=True)
class Bill:
    """Usage above an allowance at a price: a final record, or what its last correction says it should have been."""

    used: Decimal
    limit: Decimal
    terms: PriceTerms

    @property
    def quantity(self) -> Decimal:
        """What is over."""
        return max(EXACT.subtract(self.used, self.limit), ZERO)

    @property
    def rated(self) -> RatedAmount:
        """What that costs."""
        return rate(self.quantity, self.terms)


@dataclass(frozen=True, slots=True)
class Correction:
    """From one state of a bill to the next: signed lines, quantity and amount."""

    after: Bill
    quantity: Decimal
    rated: RatedAmount


def correct(before: Bill, after: Bill) -> Correction | None:
    """What has to be written so that bill and corrections add up to `after`, to the minor unit; None for nothing.

    Raises `CurrencyChanged`.
    """
    if before.terms.currency != after.terms.currency:
        raise CurrencyChanged(f"The bill is in {before.terms.currency}, the price in {after.terms.currency}.")
    quantity = EXACT.subtract(after.quantity, before.quantity)
    if not quantity and before.terms == after.terms:
        return None
    rated = difference(after.rated, before.rated)
    return Correction(after, quantity, rated) if quantity or rated.lines or rated.amount else None
