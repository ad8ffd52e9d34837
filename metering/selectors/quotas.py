"""Reads of quotas, and which quotas of plans count as one."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from licenses.domain.enums import PlanRole
from licenses.models import LicensePlan, Plan
from metering.domain.enums import Scope
from metering.models import Quota
from tenants.models import Tenant, TenantQuerySet


def list_quotas(tenant: Tenant | UUID, *, archived: bool = False) -> TenantQuerySet[Quota]:
    """A tenant's quotas with their meters and owners, without the archived ones unless asked for."""
    quotas = Quota.objects.for_tenant(tenant).select_related("meter", "plan", "license", "customer", "agent")
    return quotas if archived else quotas.filter(archived_at__isnull=True)


def quotas_of_plan(plan: Plan) -> TenantQuerySet[Quota]:
    """A plan's quotas in force, in the order in which they were made."""
    live = Quota.objects.for_tenant(plan.tenant_id).filter(plan=plan, archived_at__isnull=True)
    return live.select_related("meter").order_by("created_at", "id")


def counting(quota: Quota) -> tuple[object, ...]:
    """What a quota counts, whichever plan it comes from."""
    return (
        quota.scope,
        quota.meter_id,
        tuple(sorted(quota.filter.items())),
        quota.period,
        quota.rolling_seconds,
        quota.anchor,
    )


def grouped(quotas: Iterable[Quota], *, base_plan_id: UUID | None) -> list[list[Quota]]:
    """Quotas of the plans that one licence carries, those that count the same together.

    The first of a group, the base plan's if there is one and else the oldest, gives key, mode and price; the others add
    their limits to its.
    """
    ordered = sorted(quotas, key=lambda quota: (quota.plan_id != base_plan_id, quota.created_at, quota.id))
    groups: dict[tuple[object, ...], list[Quota]] = {}
    for quota in ordered:
        groups.setdefault(counting(quota), []).append(quota)
    return list(groups.values())


def customer_groups(tenant: Tenant | UUID, customer_id: UUID) -> list[list[Quota]]:
    """The quotas of scope customer that a customer's licences bring, grouped as `grouped` does.

    They are grouped licence by licence and then put together, so that everybody sees the same groups, whichever licence
    is used. A plan that two licences carry counts once; quotas of two base plans stay apart.
    """
    carried = LicensePlan.objects.for_tenant(tenant).filter(
        license__customer_id=customer_id, license__archived_at__isnull=True
    )
    plans: dict[UUID, list[tuple[UUID, str]]] = {}
    for license_id, plan_id, role in carried.values_list("license_id", "plan_id", "role"):
        plans.setdefault(license_id, []).append((plan_id, role))
    plan_ids = {plan_id for pairs in plans.values() for plan_id, _ in pairs}
    quotas = list(list_quotas(tenant).filter(plan_id__in=plan_ids, scope=Scope.CUSTOMER))
    groups: dict[UUID, dict[UUID, Quota]] = {}
    for pairs in plans.values():
        base = next((plan_id for plan_id, role in pairs if role == PlanRole.BASE), None)
        mine = {plan_id for plan_id, _ in pairs}
        for first, *more in grouped((quota for quota in quotas if quota.plan_id in mine), base_plan_id=base):
            group = groups.setdefault(first.id, {first.id: first})
            group.update({quota.id: quota for quota in more})
    return [list(group.values()) for group in groups.values()]


def license_groups(tenant: Tenant | UUID, license_id: UUID) -> list[list[Quota]]:
    """The quotas of scope agent and license that a licence's plans bring, grouped.

    `taken_at` of each says when the licence took its plan.
    """
    carried = LicensePlan.objects.for_tenant(tenant).filter(license_id=license_id)
    rows = list(carried.values_list("plan_id", "role", "since"))
    base = next((plan_id for plan_id, role, _ in rows if role == PlanRole.BASE), None)
    taken = {plan_id: since for plan_id, _, since in rows}
    quotas = list(list_quotas(tenant).filter(plan_id__in=list(taken), scope__in=[Scope.AGENT, Scope.LICENSE]))
    for quota in quotas:
        quota.taken_at = taken[quota.plan_id] if quota.plan_id else None
    return grouped(quotas, base_plan_id=base)


def key_counting(quota: Quota, *, license_id: UUID | None, customer_id: UUID | None) -> UUID | None:
    """The key under which a quota counts for a licence (or an agent under it) or a customer; None: it does not apply.

    An add-on's quota that counts the same as the base plan's is part of that one.
    """
    if quota.plan_id is None:
        return quota.key
    if quota.scope == Scope.CUSTOMER:
        groups = customer_groups(quota.tenant_id, customer_id) if customer_id else []
    else:
        groups = license_groups(quota.tenant_id, license_id) if license_id else []
    return next((group[0].key for group in groups if any(each.id == quota.id for each in group)), None)


def keys_counted_with(quota: Quota) -> set[UUID]:
    """The keys under which a quota's limit may count: its own, and those of other plans' that count the same."""
    if quota.plan_id is None:
        return {quota.key}
    others = list_quotas(quota.tenant_id).filter(plan__isnull=False, meter_id=quota.meter_id, scope=quota.scope)
    return {quota.key, *(other.key for other in others if counting(other) == counting(quota))}


def first_keys(groups: Sequence[Sequence[Quota]]) -> dict[UUID, str]:
    """The keys under which groups are counted, with their scopes."""
    return {group[0].key: group[0].scope for group in groups}
