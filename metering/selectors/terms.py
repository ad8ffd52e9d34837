"""A caller's metering terms: the meters of its tenant and every quota that its usage is held against."""

from collections import defaultdict
from collections.abc import Iterable
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
    by_meter: dict[UUID, list[QuotaTerms]] = defaultdict(list)
    for quota in quotas:
        by_meter[quota.meter_id].append(quota)
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
        quotas_of={meter_id: tuple(of_meter) for meter_id, of_meter in by_meter.items()},
        hold_limits=access.hold_limits,
    )


def bound_quotas(access: AccessSnapshot) -> tuple[QuotaTerms, ...]:
    """Every quota that touches this caller, in the order agent, parents, licence, customer, tenant, then by meter.

    A plan's quota of scope agent holds for each agent of the chain; one of scope customer counts all usage of each
    customer who has any licence with that plan. Quotas of plans that count the same are one.
    """
    groups = [
        *license_groups(access.tenant_id, access.facts.license.id),
        *customer_groups(access.tenant_id, access.facts.customer.id),
        *([quota] for quota in _own_quotas(access)),
    ]
    license = access.facts.license
    quotas = with_allowances(
        access.tenant_id,
        (
            bound(group, subject_id, anchored_at=license.starts_at)
            for group in groups
            for subject_id in _subjects(access, group[0])
        ),
        at=access.clock.now(),
        license_id=license.id,
        starts_at=license.starts_at,
    )
    chain = [*reversed(access.agent_path)]
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


def _own_quotas(access: AccessSnapshot) -> Iterable[Quota]:
    """Those set on the licence, the customer, an agent of the chain, or the tenant itself."""
    own = (
        Q(license_id=access.facts.license.id)
        | Q(customer_id=access.facts.customer.id)
        | Q(agent_id__in=access.agent_path)
        | Q(scope=Scope.TENANT)
    )
    return list_quotas(access.tenant_id).filter(own).order_by("created_at", "id")


def _subjects(access: AccessSnapshot, quota: Quota) -> list[UUID]:
    match quota.scope:
        case Scope.AGENT:
            return [quota.agent_id] if quota.agent_id else list(access.agent_path)
        case Scope.LICENSE:
            return [access.facts.license.id]
        case Scope.CUSTOMER:
            return [access.facts.customer.id]
        case _:
            return [access.tenant_id]
