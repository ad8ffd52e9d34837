"""What a price that is only proposed would have come to, rated over real usage, beside what the present one gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import Q

from metering.domain.enums import Scope
from metering.domain.numbers import EXACT, ZERO
from metering.domain.prices import PriceTerms
from metering.domain.rating import RatedAmount, rate
from metering.models import Balance, Meter, Price
from metering.selectors.billing import Excess, standings_of_balances
from metering.selectors.prices import price_terms
from tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class SimulatedLine:
    """One licence's period: what was over, and what that costs by either price; `present` is None without one."""

    standing: Excess
    quantity: Decimal
    present: RatedAmount | None
    present_currency: str | None
    proposed: RatedAmount


@dataclass(frozen=True, slots=True)
class Simulation:
    """A page of periods, oldest balances first; `next_after` is the balance after which the next page begins."""

    lines: Sequence[SimulatedLine]
    next_after: UUID | None


def simulate_price(
    tenant: Tenant,
    *,
    plan_id: UUID,
    meter: Meter,
    filter: dict[str, str],
    terms: PriceTerms,
    start: datetime,
    end: datetime,
    licenses: Sequence[UUID] | None = None,
    after: UUID | None = None,
    limit: int,
) -> Simulation:
    """Rate at most `limit` periods of the plan's licences that began in [start, end). Nothing is written.

    Raises `ArithmeticError` where an amount cannot be worked out exactly.
    """
    balances = Balance.objects.for_tenant(tenant).filter(
        plan_id=plan_id,
        meter=meter,
        filter=filter,
        scope=Scope.LICENSE,
        period_start__gte=start,
        period_start__lt=end,
        used__gt=0,
    )
    if licenses is not None:
        balances = balances.filter(subject_id__in=licenses)
    if after is not None:
        balances = balances.filter(Q(id__gt=after))
    page = list(balances.order_by("id").values_list("id", "subject_id")[: limit + 1])
    shown = page[:limit]
    standings = standings_of_balances([id for id, _ in shown], {(tenant.id, license) for _, license in shown})
    prices = Price.objects.in_bulk({each.price_id for each in standings if each.price_id is not None})
    lines = [_line(each, prices.get(each.price_id) if each.price_id else None, terms) for each in standings]
    return Simulation(lines, shown[-1][0] if len(page) > limit else None)


def _line(standing: Excess, price: Price | None, terms: PriceTerms) -> SimulatedLine:
    quantity = max(EXACT.subtract(standing.used, standing.allowance), ZERO)
    return SimulatedLine(
        standing=standing,
        quantity=quantity,
        present=None if price is None else rate(quantity, price_terms(price)),
        present_currency=None if price is None else price.currency,
        proposed=rate(quantity, terms),
    )
