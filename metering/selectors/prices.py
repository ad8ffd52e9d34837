"""Reads of prices, and which of them is in force when."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from licenses.models import Plan
from metering.domain.enums import PriceModel
from metering.domain.rating import PriceTerms, Tier
from metering.models import Price
from tenants.models import Tenant, TenantQuerySet

_EVER = datetime.min.replace(tzinfo=UTC)


def list_prices(tenant: Tenant | UUID, *, archived: bool = False) -> TenantQuerySet[Price]:
    """A tenant's prices with their meters, without the archived ones unless asked for."""
    prices = Price.objects.for_tenant(tenant).select_related("meter")
    return prices if archived else prices.filter(archived_at__isnull=True)


def prices_of_plan(plan: Plan) -> TenantQuerySet[Price]:
    """A plan's prices that were not archived, in the order in which they were made."""
    return list_prices(plan.tenant_id).filter(plan=plan).order_by("created_at", "id")


def price_in_force(prices: Iterable[Price], *, meter_id: UUID, wanted: Mapping[str, str], at: datetime) -> Price | None:
    """Which of a plan's prices, archived ones among them, holds for a period that starts at `at`.

    `wanted` is the filter of the quota that is billed.

    Of the prices that are not archived, the one that began last at or before `at`; one without a start is in force from
    ever. Where there is none, the one that was archived after `at`, since a price that is taken away in the middle of a
    period still holds for it. None: nothing is charged.
    """
    mine = [
        price
        for price in prices
        if price.meter_id == meter_id and price.filter == dict(wanted) and (price.starts_at or _EVER) <= at
    ]
    live = [price for price in mine if price.archived_at is None]
    if live:
        return max(live, key=lambda price: (price.starts_at or _EVER, price.created_at))
    gone = [price for price in mine if price.archived_at is not None and price.archived_at > at]
    return max(gone, key=lambda price: (price.starts_at or _EVER, price.archived_at or _EVER), default=None)


def price_terms(price: Price) -> PriceTerms:
    """What `metering.domain.rating.rate` needs. Tiers are stored as texts."""
    return PriceTerms(
        model=PriceModel(price.model),
        currency=price.currency,
        unit_price=price.unit_price,
        package_size=price.package_size,
        package_price=price.package_price,
        tiers=tuple(
            Tier(
                up_to=None if tier["up_to"] is None else Decimal(tier["up_to"]),
                unit_price=Decimal(tier["unit_price"]),
                flat_fee=Decimal(tier["flat_fee"]),
            )
            for tier in price.tiers
        ),
        included_units=price.included_units,
        minimum=price.minimum,
        maximum=price.maximum,
    )
