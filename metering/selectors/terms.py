"""A caller's metering terms: the meters of its tenant and every quota that its usage is held against."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db.models import Q

from licenses.selectors.access import AccessSnapshot
from metering.domain.enums import Scope
from metering.domain.terms import Caller, QuotaTerms
from metering.models import Quota
from metering.selectors.bound import bound, with_allowances
from metering.selectors.meter_terms import load_meters
from metering.selectors.quotas import customer_groups, license_groups, list_quotas

_LEVELS = {Scope.LICENSE: 1, Scope.CUSTOMER: 2, Scope.TENANT: 3}


def load_caller(access: AccessSnapshot) -> Caller:
    """Bind the quotas of plan, licence, customer, agents and tenant to this caller.

    Read after the snapshot's epochs, so they are as good as the snapshot is.
    """
    tenant_id = access.tenant_id
    meters = load_meters(tenant_id)
    quotas = bound_quotas(access)
    return Caller(
        tenant_id=tenant_id,
        customer_id=access.facts.customer.id,
        license_id=access.facts.license.id,
        agent_id=access.agent_id,
        agent_path=access.agent_path,
        timezone=access.timezone,
        meters=meters,
        quotas=quotas,
        epochs=tuple(
            (key.kind, key.id, version) for key, version in zip(access.epoch_keys, access.versions, strict=True)
        ),
        quotas_of=by_meter(quotas),
        hold_limits=access.hold_limits,
    )


def bound_quotas(access: AccessSnapshot) -> tuple[QuotaTerms, ...]:
    """Every quota that touches this caller, in the order agent, parents, licence, customer, tenant, then by meter.

    A plan's quota of scope agent holds for each agent of the chain; one of scope customer counts all usage of each
    customer who has any licence with that plan. Quotas of plans that count the same are one.
    """
    license = access.facts.license
    quotas = bound_to_holder(
        Holder(access.tenant_id, access.facts.customer.id, license.id, license.starts_at, access.agent_path),
        [
            *license_groups(access.tenant_id, license.id),
            *customer_groups(access.tenant_id, access.facts.customer.id),
            *([quota] for quota in _own_quotas(access)),
        ],
    )
    quotas = with_allowances(
        access.tenant_id, quotas, at=access.clock.now(), license_id=license.id, starts_at=license.starts_at
    )
    return in_order(quotas, access.agent_path)


class Holder(NamedTuple):
    """Whom quotas are bound to."""

    tenant_id: UUID
    customer_id: UUID
    license_id: UUID
    starts_at: datetime
    agent_path: tuple[UUID, ...]


def bound_to_holder(holder: Holder, groups: Iterable[Sequence[Quota]]) -> tuple[QuotaTerms, ...]:
    """Groups of quotas with the subjects that they have for a holder."""
    return tuple(
        bound(group, subject_id, anchored_at=holder.starts_at)
        for group in groups
        for subject_id in _subjects(holder, group[0])
    )


def in_order(quotas: Iterable[QuotaTerms], agent_path: Sequence[UUID]) -> tuple[QuotaTerms, ...]:
    """As a caller has them: agent, parents, licence, customer, tenant, then by meter."""
    chain = [*reversed(agent_path)]
    return tuple(
        sorted(
            quotas,
            key=lambda quota: (
                _LEVELS.get(quota.scope, 0),
                chain.index(quota.subject_id) if quota.scope is Scope.AGENT else 0,
                quota.meter_code,
            ),
        )
    )


def by_meter(quotas: Iterable[QuotaTerms]) -> dict[UUID, tuple[QuotaTerms, ...]]:
    """The same quotas by their meters."""
    found: dict[UUID, list[QuotaTerms]] = defaultdict(list)
    for quota in quotas:
        found[quota.meter_id].append(quota)
    return {meter_id: tuple(of_meter) for meter_id, of_meter in found.items()}


def _own_quotas(access: AccessSnapshot) -> Iterable[Quota]:
    """Those set on the licence, the customer, an agent of the chain, or the tenant itself."""
    own = (
        Q(license_id=access.facts.license.id)
        | Q(customer_id=access.facts.customer.id)
        | Q(agent_id__in=access.agent_path)
        | Q(scope=Scope.TENANT)
    )
    return list_quotas(access.tenant_id).filter(own).order_by("created_at", "id")


def _subjects(holder: Holder, quota: Quota) -> list[UUID]:
    match quota.scope:
        case Scope.AGENT:
            return [quota.agent_id] if quota.agent_id else list(holder.agent_path)
        case Scope.LICENSE:
            return [holder.license_id]
        case Scope.CUSTOMER:
            return [holder.customer_id]
        case _:
            return [holder.tenant_id]
