"""What lists of meters, quotas, overages and holds are made of, with all that is shown of each row."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Prefetch

from licenses.models import Plan
from metering.models import Hold, Meter, OverageRecord, Price, Quota, RateCardEntry, RunawayPolicy
from tenants.models import TenantQuerySet


def meters_of(tenant_id: UUID) -> TenantQuerySet[Meter]:
    """All meters, archived ones too, with the rate cards of those that have one."""
    rate_card = RateCardEntry.objects.for_tenant(tenant_id).select_related("source").order_by("created_at", "id")
    return Meter.objects.for_tenant(tenant_id).prefetch_related(Prefetch("rate_card", rate_card))


def quotas_of(tenant_id: UUID) -> TenantQuerySet[Quota]:
    """All quotas with their meters and, where a plan has them, plans."""
    return Quota.objects.for_tenant(tenant_id).select_related("meter", "plan")


def with_terms(plans: TenantQuerySet[Plan], tenant_id: UUID) -> TenantQuerySet[Plan]:
    """Plans with their quotas and prices that are in force, as `quotas` and `prices`, and their `runaway_policies`."""
    quotas = Quota.objects.for_tenant(tenant_id).filter(archived_at__isnull=True)
    prices = Price.objects.for_tenant(tenant_id).filter(archived_at__isnull=True)
    with_quotas: Prefetch[Any] = Prefetch("quotas", quotas.select_related("meter").order_by("created_at", "id"))
    with_prices: Prefetch[Any] = Prefetch("prices", prices.select_related("meter").order_by("created_at", "id"))
    with_rules: Prefetch[Any] = Prefetch("runaway_policies", RunawayPolicy.objects.for_tenant(tenant_id))
    return plans.prefetch_related(with_quotas, with_prices, with_rules)


def overages_of(tenant_id: UUID) -> TenantQuerySet[OverageRecord]:
    """All overage records with their meters."""
    return OverageRecord.objects.for_tenant(tenant_id).select_related("meter")


def holds_of(tenant_id: UUID) -> TenantQuerySet[Hold]:
    """All holds."""
    return Hold.objects.for_tenant(tenant_id)
