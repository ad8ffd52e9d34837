"""Stored grants as the facts that decisions are made from."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from licenses.domain.enums import FeatureKind, GrantSource
from licenses.domain.facts import FeatureValue, GrantFacts
from licenses.models import License, LicenseGrant, PlanGrant
from tenants.models import Tenant


def grants_of(license: License, base_plan_id: UUID, add_on_plan_ids: Sequence[UUID]) -> tuple[GrantFacts, ...]:
    """All grants of a licence: those of its plans, then its own, in the order in which they were made."""
    by_plan = grants_of_plans(license.tenant_id, [base_plan_id, *add_on_plan_ids])
    of_plans = sorted(
        (
            as_grant_of(grant, GrantSource.PLAN if plan_id == base_plan_id else GrantSource.ADD_ON)
            for plan_id, grants in by_plan.items()
            for grant in grants
        ),
        key=lambda grant: grant.id or UUID(int=0),
    )
    own = own_grants(license.tenant_id).filter(license=license)
    return (*of_plans, *(own_grant_facts(each) for each in own))


def grants_of_plans(tenant: Tenant | UUID, plan_ids: Collection[UUID]) -> dict[UUID, list[GrantFacts]]:
    """What each of these plans grants, as of a base plan, in the order in which it was granted."""
    found: dict[UUID, list[GrantFacts]] = {plan_id: [] for plan_id in plan_ids}
    grants = PlanGrant.objects.for_tenant(tenant).filter(plan_id__in=plan_ids)
    for grant in grants.select_related("feature", "plan").order_by("id"):
        found[grant.plan_id].append(
            GrantFacts(
                feature=grant.feature.code,
                kind=FeatureKind(grant.feature.kind),
                value=_value(grant.value),
                source=GrantSource.PLAN,
                id=grant.id,
                plan=grant.plan.code,
                choices=tuple(grant.feature.choices),
            )
        )
    return found


def as_grant_of(grant: GrantFacts, source: GrantSource) -> GrantFacts:
    """A plan's grant as it counts for a licence: of its base plan, or of an add-on."""
    if grant.source == source:
        return grant
    return GrantFacts(
        grant.feature,
        grant.kind,
        grant.value,
        source,
        grant.starts_at,
        grant.expires_at,
        grant.id,
        grant.plan,
        grant.choices,
    )


def own_grants(tenant: Tenant | UUID) -> QuerySet[LicenseGrant]:
    """Licences' own grants with their features, in the order in which they were made."""
    return LicenseGrant.objects.for_tenant(tenant).select_related("feature").order_by("id")


def own_grant_facts(own: LicenseGrant) -> GrantFacts:
    """A licence's own grant."""
    return GrantFacts(
        feature=own.feature.code,
        kind=FeatureKind(own.feature.kind),
        value=_value(own.value),
        source=GrantSource.LICENSE,
        starts_at=own.starts_at,
        expires_at=own.expires_at,
        id=own.id,
        choices=tuple(own.feature.choices),
    )


def _value(stored: Any) -> FeatureValue:
    value: FeatureValue = frozenset(stored) if isinstance(stored, list) else stored
    return value
