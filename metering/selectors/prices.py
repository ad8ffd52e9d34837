"""Reads of prices; which of them is in force for a period is in `metering.selectors.billing`."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import BooleanField, ExpressionWrapper, F, Q
from django.db.models.functions import Coalesce

from licenses.models import Plan
from metering.domain.enums import PriceModel
from metering.domain.rating import PriceTerms, Tier
from metering.models import Price
from tenants.models import Tenant, TenantQuerySet


def list_prices(tenant: Tenant | UUID, *, archived: bool = False) -> TenantQuerySet[Price]:
    """A tenant's prices with their meters, without the archived ones unless asked for."""
    prices = Price.objects.for_tenant(tenant).select_related("meter")
    return prices if archived else prices.filter(archived_at__isnull=True)


def prices_of_plan(plan: Plan) -> TenantQuerySet[Price]:
    """A plan's prices that were not archived, in the order in which they were made."""
    return list_prices(plan.tenant_id).filter(plan=plan).order_by("created_at", "id")


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


def price_in_force(
    tenant_id: UUID, plan_id: UUID, meter_id: UUID, filter: Mapping[str, str], *, period_start: datetime
) -> Price | None:
    """The price of a plan for a period that begins then, as accrual takes it; one that was archived only if need be."""
    at_start = Q(starts_at__isnull=True) | Q(starts_at__lte=period_start)
    not_ended = Q(archived_at__isnull=True) | Q(archived_at__gt=period_start)
    prices = Price.objects.for_tenant(tenant_id).filter(
        at_start, not_ended, plan_id=plan_id, meter_id=meter_id, filter=dict(filter)
    )
    return prices.order_by(
        ExpressionWrapper(Q(archived_at__isnull=False), BooleanField()),
        F("starts_at").desc(nulls_last=True),
        Coalesce("archived_at", "created_at").desc(),
        "-id",
    ).first()
