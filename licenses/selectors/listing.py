"""What lists of the catalogue, licences, agents and keys are made of, with all that is shown of each row."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Prefetch

from licenses.models import Agent, AgentKey, Feature, License, LicenseGrant, LicensePlan, Plan, PlanGrant, Product
from tenants.models import TenantQuerySet


def products_of(tenant_id: UUID) -> TenantQuerySet[Product]:
    """All products, archived ones too."""
    return Product.objects.for_tenant(tenant_id)


def features_of(tenant_id: UUID) -> TenantQuerySet[Feature]:
    """All features with their products."""
    return Feature.objects.for_tenant(tenant_id).select_related("product")


def plans_of(tenant_id: UUID) -> TenantQuerySet[Plan]:
    """All plans with product and grants; their quotas and prices are metering's to add."""
    grants = PlanGrant.objects.for_tenant(tenant_id).select_related("feature").order_by("feature__code")
    with_grants: Prefetch[Any] = Prefetch("grants", grants)
    return Plan.objects.for_tenant(tenant_id).select_related("product").prefetch_related(with_grants)


def licenses_of(tenant_id: UUID) -> TenantQuerySet[License]:
    """All licences with the plans that they carry and their own grants."""
    carried = LicensePlan.objects.for_tenant(tenant_id).select_related("plan__product").order_by("created_at", "id")
    grants = LicenseGrant.objects.for_tenant(tenant_id).select_related("feature").order_by("id")
    with_plans: Prefetch[Any] = Prefetch("carried_plans", carried)
    with_grants: Prefetch[Any] = Prefetch("grants", grants)
    return License.objects.for_tenant(tenant_id).prefetch_related(with_plans, with_grants)


def agents_of(tenant_id: UUID) -> TenantQuerySet[Agent]:
    """All agents."""
    return Agent.objects.for_tenant(tenant_id)


def agent_keys_of(tenant_id: UUID, agent_id: UUID) -> TenantQuerySet[AgentKey]:
    """All keys of one agent, revoked ones too."""
    return AgentKey.objects.for_tenant(tenant_id).filter(agent_id=agent_id)
