"""Licences and agents: lists with what their pages show loaded, and what a licence carries."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from licenses.domain.enums import DisplayedStatus, LicenseKind, LicenseStatus, PlanRole
from licenses.domain.facts import LicenseFacts
from licenses.domain.license_times import displayed_status
from licenses.models import Agent, AgentKey, License, Plan
from tenants.models import Tenant, TenantQuerySet


@dataclass(frozen=True, slots=True)
class CarriedPlans:
    """A licence's base plan, and its add-ons in the order in which they were added."""

    base: Plan
    add_ons: tuple[Plan, ...]


def licenses(tenant: Tenant, *, archived: bool = False) -> TenantQuerySet[License]:
    """The workspace's licences with customer, plans and own grants loaded; archived ones only if asked for."""
    found = (
        License.objects.for_tenant(tenant)
        .select_related("customer")
        .prefetch_related("carried_plans__plan__product", "grants__feature")
    )
    return found if archived else found.filter(archived_at__isnull=True)


def agents(tenant: Tenant, *, archived: bool = False) -> TenantQuerySet[Agent]:
    """The workspace's agents with licence and customer loaded; archived ones only if asked for."""
    found = Agent.objects.for_tenant(tenant).select_related("license__customer")
    return found if archived else found.filter(archived_at__isnull=True)


def agent_keys(tenant: Tenant, agent: Agent) -> TenantQuerySet[AgentKey]:
    """Every key of an agent, dead ones included."""
    return AgentKey.objects.for_tenant(tenant).filter(agent=agent)


def carried_plans(license: License) -> CarriedPlans:  # noqa: A002  (the field's word)
    """The plans of a licence; no query where `licenses()` loaded it."""
    carried = sorted(license.carried_plans.all(), key=lambda each: (each.created_at, each.id))
    [base] = [each.plan for each in carried if each.role == PlanRole.BASE]
    return CarriedPlans(base, tuple(each.plan for each in carried if each.role == PlanRole.ADD_ON))


def license_facts(license: License) -> LicenseFacts:  # noqa: A002
    """State and term of a licence, with its base plan's grace."""
    return LicenseFacts(
        id=license.id,
        status=LicenseStatus(license.status),
        starts_at=license.starts_at,
        expires_at=license.expires_at,
        grace=timedelta(days=carried_plans(license).base.grace_days),
        kind=LicenseKind(license.kind),
    )


def shown_status(license: License, at: datetime) -> DisplayedStatus:  # noqa: A002
    """What a person is shown of the licence at `at`, on the workspace's clock."""
    return displayed_status(license_facts(license), at)
