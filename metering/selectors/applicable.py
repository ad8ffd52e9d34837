"""Every quota that applies to an agent, a licence or a customer, inherited ones included, with what is left of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Q

from common.errors import NotFound
from licenses.models import Agent, License
from licenses.selectors.access import AccessSnapshot, load_agent, load_license
from metering.domain.allowances import Standing
from metering.domain.enums import QuotaState, Scope
from metering.domain.periods import Window
from metering.domain.quota_state import quota_state, remaining
from metering.domain.terms import QuotaTerms
from metering.selectors.bound import bound, with_allowances
from metering.selectors.quotas import customer_groups, list_quotas
from metering.selectors.standings import Current, read_standings
from metering.selectors.terms import bound_quotas
from tenants.models import Customer, Tenant


@dataclass(frozen=True, slots=True)
class QuotaStanding:
    """A quota as it holds for one subject, and how it stands in the period that `at` lies in.

    `top_ups` is what top-ups add to the limit in this period: what they covered, and what is left of those in force;
    `carried_over` what was left of the period before.
    """

    terms: QuotaTerms
    window: Window
    standing: Standing

    @property
    def used(self) -> Decimal:
        return self.standing.used

    @property
    def held(self) -> Decimal:
        return self.standing.held

    @property
    def top_ups(self) -> Decimal:
        return self.standing.top_ups

    @property
    def carried_over(self) -> Decimal:
        return self.standing.carried

    @property
    def remaining(self) -> Decimal:
        """What is left of limit, top-ups and what was carried over, never below 0."""
        return remaining(self.terms.limit, self.used, self.held, self.standing.extra)

    @property
    def state(self) -> QuotaState:
        """What is to be said about it."""
        return quota_state(
            mode=self.terms.mode,
            limit=self.terms.limit,
            ceiling=self.terms.ceiling,
            used=self.used,
            held=self.held,
            top_ups=self.standing.extra,
            rest=self.standing.rest,
            thresholds=self.terms.thresholds,
        )

    @property
    def resets_at(self) -> datetime | None:
        """When the next period begins, or something comes free in a rolling window; None for a lifetime."""
        return self.standing.resets_at


def quotas_applying(
    tenant: Tenant,
    *,
    agent: Agent | None = None,
    license: License | None = None,
    customer: Customer | None = None,
    at: datetime,
) -> list[QuotaStanding]:
    """The quotas that hold for exactly one of agent, licence and customer at `at` (workspace time).

    In the order agent, parents, licence, customer, tenant, then by meter. An add-on's quota that counts the same as the
    base plan's is part of that one. Raises NotFound for what is another tenant's.
    """
    if agent is not None:
        terms = _terms_of(load_agent(tenant.id, agent.id))
    elif license is not None:
        terms = _terms_of(load_license(tenant.id, license.id))
    elif customer is not None:
        terms = _terms_of_customer(tenant, customer, at)
    else:
        raise ValueError("Name an agent, a licence or a customer.")
    license_id = agent.license_id if agent is not None else None
    return standings(tenant.id, terms, at=at, timezone=ZoneInfo(tenant.timezone), license_id=license_id)


def standings(
    tenant_id: UUID,
    terms: Sequence[QuotaTerms],
    *,
    at: datetime,
    timezone: ZoneInfo,
    license_id: UUID | None = None,
) -> list[QuotaStanding]:
    """How these quotas stand at `at`, in their order; a few reads, whatever their number.

    `license_id` is that of the agents among the subjects, needed where there are any. What expired holds reserve is
    left out, though not written. A quota whose period has no balance yet counts what its events come to.
    """
    current = [Current(tenant_id, license_id or quota.subject_id, timezone, quota, at) for quota in terms]
    return [
        QuotaStanding(each.quota, each.window, standing)
        for each, standing in zip(current, read_standings(current), strict=True)
    ]


def _terms_of(access: AccessSnapshot | None) -> tuple[QuotaTerms, ...]:
    if access is None:
        raise NotFound
    return bound_quotas(access)


def _terms_of_customer(tenant: Tenant, customer: Customer, at: datetime) -> tuple[QuotaTerms, ...]:
    if customer.tenant_id != tenant.id:
        raise NotFound
    own = list_quotas(tenant).filter(Q(customer_id=customer.id) | Q(scope=Scope.TENANT))
    groups = [*customer_groups(tenant, customer.id), *([quota] for quota in own)]
    terms = with_allowances(
        tenant.id,
        (
            bound(group, tenant.id if group[0].scope == Scope.TENANT else customer.id, anchored_at=None)
            for group in groups
        ),
        at=at,
        license_id=None,
        starts_at=None,
    )
    return tuple(sorted(terms, key=lambda quota: (quota.scope is Scope.TENANT, quota.meter_code)))
