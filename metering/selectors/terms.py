"""A caller's metering terms: the meters of its tenant and every quota that its usage is held against."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID

from django.db.models import Q

from licenses.models import LicensePlan
from licenses.selectors.access import AccessSnapshot
from metering.domain.enums import Aggregation, Anchor, Period, QuotaMode, Scope
from metering.domain.numbers import EXACT
from metering.domain.terms import Caller, MeterTerms, QuotaTerms
from metering.models import Meter, Quota

_LEVELS = {Scope.LICENSE: 1, Scope.CUSTOMER: 2, Scope.TENANT: 3}


def load_caller(access: AccessSnapshot) -> Caller:
    """Bind the quotas of plan, licence, customer, agents and tenant to this caller.

    Read after the snapshot's epochs, so they are as good as the snapshot is.
    """
    tenant_id = access.tenant_id
    meters = {
        meter.code: MeterTerms(
            id=meter.id,
            code=meter.code,
            aggregation=Aggregation(meter.aggregation),
            dimensions=tuple(each if isinstance(each, str) else each["name"] for each in meter.dimensions),
            event_types=tuple(meter.event_types),
        )
        for meter in Meter.objects.for_tenant(tenant_id).filter(archived_at__isnull=True, derived=False)
    }
    quotas = bind_quotas(access, applying_quotas(access))
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
    )


def applying_quotas(access: AccessSnapshot) -> list[Quota]:
    """The quota rows that touch this caller, own ones and those of plans.

    A plan's quota of scope customer counts all usage of each customer who has any licence with that plan.
    """
    facts = access.facts
    plan_ids = [access.base_plan_id, *access.add_on_plan_ids]
    customers_plans = LicensePlan.objects.for_tenant(access.tenant_id).filter(
        license__customer_id=facts.customer.id, license__archived_at__isnull=True
    )
    return list(
        Quota.objects.for_tenant(access.tenant_id)
        .filter(archived_at__isnull=True)
        .filter(
            Q(plan_id__in=plan_ids, scope__in=[Scope.LICENSE, Scope.AGENT])
            | Q(plan_id__in=customers_plans.values("plan_id"), scope=Scope.CUSTOMER)
            | Q(license_id=facts.license.id)
            | Q(customer_id=facts.customer.id)
            | Q(agent_id__in=access.agent_path)
            | Q(scope=Scope.TENANT)
        )
        .select_related("meter")
        .order_by("created_at", "id")
    )


def bind_quotas(access: AccessSnapshot, quotas: Iterable[Quota]) -> tuple[QuotaTerms, ...]:
    """Quotas with their subjects, in the order agent, parents, licence, customer, tenant, then by meter.

    A quota of scope agent on a plan holds for each agent of the chain. An add-on's quota that counts the same as
    one of the base plan adds its limit to that one.
    """
    ordered = sorted(quotas, key=lambda quota: quota.plan_id != access.base_plan_id)
    bound: dict[tuple[object, ...], QuotaTerms] = {}
    for quota in ordered:
        for subject_id in _subjects(access, quota):
            same = _sameness(quota, subject_id)
            mine = _terms(access, quota, subject_id)
            bound[same] = _merged(bound[same], mine) if same in bound else mine
    chain = [*reversed(access.agent_path)]
    return tuple(
        sorted(
            bound.values(),
            key=lambda quota: (
                _LEVELS.get(quota.scope, 0),
                chain.index(quota.subject_id) if quota.scope is Scope.AGENT else 0,
                quota.meter_code,
            ),
        )
    )


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


def _sameness(quota: Quota, subject_id: UUID) -> tuple[object, ...]:
    """Plan quotas that count the same on one subject are one; a quota of its own stays apart."""
    if quota.plan_id is None:
        return (quota.key, subject_id)
    return (
        subject_id,
        quota.scope,
        quota.meter_id,
        tuple(sorted(quota.filter.items())),
        quota.period,
        quota.rolling_seconds,
        quota.anchor,
    )


def _terms(access: AccessSnapshot, quota: Quota, subject_id: UUID) -> QuotaTerms:
    return QuotaTerms(
        id=quota.id,
        key=quota.key,
        scope=Scope(quota.scope),
        subject_id=subject_id,
        meter_id=quota.meter_id,
        meter_code=quota.meter.code,
        mode=QuotaMode(quota.mode),
        limit=quota.limit,
        period=Period(quota.period),
        ceiling=quota.ceiling,
        filter=quota.filter,
        anchor=Anchor(quota.anchor),
        anchored_at=access.facts.license.starts_at if quota.anchor == Anchor.LICENSE else None,
        thresholds=tuple(quota.thresholds),
        plan_id=quota.plan_id,
    )


def _merged(base: QuotaTerms, more: QuotaTerms) -> QuotaTerms:
    ceiling = None if base.ceiling is None else EXACT.add(base.ceiling, more.limit)
    return replace(base, limit=EXACT.add(base.limit, more.limit), ceiling=ceiling)
