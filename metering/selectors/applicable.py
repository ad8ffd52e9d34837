"""Every quota that applies to an agent, a licence or a customer, inherited ones included, with what is left of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Q, Sum

from common.errors import NotFound
from licenses.models import Agent, License
from licenses.selectors.access import AccessSnapshot, load_agent, load_license
from metering.domain.enums import Aggregation, Anchor, Period, QuotaMode, QuotaState, Scope
from metering.domain.numbers import EXACT, ZERO
from metering.domain.periods import Window
from metering.domain.quota_state import quota_state, remaining
from metering.domain.terms import QuotaTerms
from metering.models import Balance, HoldLine, Quota, TopUp, TopUpBurn
from metering.selectors.quotas import customer_groups, list_quotas
from metering.selectors.terms import bound_quotas
from metering.selectors.usage_values import counted_value
from tenants.models import Customer, Tenant


@dataclass(frozen=True, slots=True)
class QuotaStanding:
    """A quota as it holds for one subject, and how it stands in the period that `at` lies in.

    `top_ups` is what top-ups add to the limit in this period: what they covered, and what is left of those in force.
    """

    terms: QuotaTerms
    window: Window
    used: Decimal
    held: Decimal
    top_ups: Decimal

    @property
    def remaining(self) -> Decimal:
        """What is left of limit and top-ups, never below 0."""
        return remaining(self.terms.limit, self.used, self.held, self.top_ups)

    @property
    def state(self) -> QuotaState:
        """What is to be said about it."""
        return quota_state(
            mode=self.terms.mode,
            limit=self.terms.limit,
            ceiling=self.terms.ceiling,
            used=self.used,
            held=self.held,
            top_ups=self.top_ups,
            thresholds=self.terms.thresholds,
        )

    @property
    def resets_at(self) -> datetime | None:
        """When the next period begins; None for a lifetime."""
        return self.window.end


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
        terms = _terms_of_customer(tenant, customer)
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
    windows = [quota.window(at, timezone) for quota in terms]
    ids = [quota.balance_id(window) for quota, window in zip(terms, windows, strict=True)]
    balances = Balance.objects.for_tenant(tenant_id).in_bulk(ids)
    expired = dict(
        HoldLine.objects.for_tenant(tenant_id)
        .filter(balance_id__in=ids, open=True, expires_at__lte=at)
        .values_list("balance_id")
        .annotate(total=Sum("reserved"))
    )
    top_ups = _top_ups(tenant_id, terms, ids, at)
    found = []
    for quota, window, id in zip(terms, windows, ids, strict=True):
        balance = balances.get(id)
        if balance is None or (balance.detached_at is not None and balance.closed_at is None):
            used = counted_value(quota, id, tenant_id=tenant_id, license_id=license_id, window=window)
        else:
            used = balance.used
        held = EXACT.subtract(balance.held, expired.get(id, ZERO)) if balance is not None else ZERO
        found.append(QuotaStanding(quota, window, used, held, top_ups.get(id, ZERO)))
    return found


def _terms_of(access: AccessSnapshot | None) -> tuple[QuotaTerms, ...]:
    if access is None:
        raise NotFound
    return bound_quotas(access)


def _terms_of_customer(tenant: Tenant, customer: Customer) -> tuple[QuotaTerms, ...]:
    if customer.tenant_id != tenant.id:
        raise NotFound
    own = list_quotas(tenant).filter(Q(customer_id=customer.id) | Q(scope=Scope.TENANT))
    groups = [*customer_groups(tenant, customer.id), *([quota] for quota in own)]
    terms = [_bound(tenant, customer, group) for group in groups]
    return tuple(sorted(terms, key=lambda quota: (quota.scope is Scope.TENANT, quota.meter_code)))


def _bound(tenant: Tenant, customer: Customer, group: Sequence[Quota]) -> QuotaTerms:
    """A group as one quota: the first gives key and mode, the others add their limits."""
    first, *more = group
    added = ZERO
    for quota in more:
        added = EXACT.add(added, quota.limit)
    return QuotaTerms(
        id=first.id,
        key=first.key,
        scope=Scope(first.scope),
        subject_id=tenant.id if first.scope == Scope.TENANT else customer.id,
        meter_id=first.meter_id,
        meter_code=first.meter.code,
        mode=QuotaMode(first.mode),
        limit=EXACT.add(first.limit, added),
        period=Period(first.period),
        ceiling=None if first.ceiling is None else EXACT.add(first.ceiling, added),
        filter=first.filter,
        anchor=Anchor(first.anchor),
        thresholds=tuple(first.thresholds),
        plan_id=first.plan_id,
        aggregation=Aggregation(first.meter.aggregation),
        value_from=first.meter.value_from,
    )


def _top_ups(tenant_id: UUID, terms: Sequence[QuotaTerms], ids: Sequence[UUID], at: datetime) -> dict[UUID, Decimal]:
    """What top-ups add to each balance: burnt in it, plus the rest of those in force."""
    burns = TopUpBurn.objects.for_tenant(tenant_id).filter(balance_id__in=ids)
    added = dict(burns.values_list("balance_id").annotate(total=Sum("quantity")))
    in_force = TopUp.objects.for_tenant(tenant_id).filter(
        Q(expires_at__isnull=True) | Q(expires_at__gt=at),
        quota_key__in=[quota.key for quota in terms],
        voided_at__isnull=True,
        starts_at__lte=at,
    )
    rest: dict[tuple[UUID, UUID], Decimal] = {}
    for key, subject_id, amount, used in in_force.values_list("quota_key", "subject_id", "amount", "used"):
        rest[key, subject_id] = EXACT.add(rest.get((key, subject_id), ZERO), EXACT.subtract(amount, used))
    return {
        id: EXACT.add(added.get(id, ZERO), rest.get((quota.key, quota.subject_id), ZERO))
        for quota, id in zip(terms, ids, strict=True)
    }
