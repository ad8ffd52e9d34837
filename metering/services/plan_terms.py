"""Plans with their quotas and prices: one body, one transaction."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from msgspec import UNSET, UnsetType

from common.epochs import EpochKey
from common.errors import Invalid
from licenses.models import Plan
from licenses.services import plans
from metering.domain.enums import QuotaMode, Scope
from metering.models import Quota
from metering.selectors.quotas import quotas_of_plan
from metering.services.prices import check_priced, read_prices, replace_prices
from metering.services.quota_fields import QuotaSpec, read_quota
from metering.services.quotas import change_quota, insert_quota, retire_quota
from metering.services.runaway_policies import set_plan_policy
from metering.services.taking_up import take_up_plan_balances
from tenants.domain.actors import Actor
from tenants.domain.enums import EpochKind
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services import fields
from tenants.services.epochs import bump_epochs
from tenants.services.locks import lock_configuration

MAX_QUOTAS: Final = 100

_FIELDS = ("meter", "limit", "period", "mode", "scope", "filter", "anchor", "ceiling", "thresholds", "carry_over")
_CHANGEABLE = ("limit", "ceiling", "mode", "carry_over", "carry_over_limit")
_SCOPES = [Scope.LICENSE, Scope.CUSTOMER, Scope.AGENT]


def create_plan_with_terms(
    *,
    tenant: Tenant,
    actor: Actor,
    quotas: Sequence[Mapping[str, Any]] = (),
    prices: Sequence[Mapping[str, Any]] = (),
    runaway: Sequence[Mapping[str, Any]] = (),
    **plan: Any,
) -> Plan:
    """Make a plan (`plan`: what `licenses.services.plans.create_plan` takes) with its quotas, prices and rules.

    Quotas are of scope license unless they say customer or agent. All or nothing. Raises what `create_plan` does, and
    Invalid (`price_without_quota`, `price_ambiguous`, `currency_mixed`, `price_repeated`, `duplicate` for a quota).
    """
    with transaction.atomic():
        lock_configuration(tenant.id)
        made = plans.create_plan(tenant=tenant, actor=actor, **plan)
        _replace_quotas(tenant, actor, made, _read_quotas(tenant, made, quotas))
        replace_prices(tenant, actor, made.id, read_prices(tenant, prices))
        check_priced(tenant, made.id)
        set_plan_policy(tenant=tenant, plan=made, actor=actor, rules=runaway)
        bump_epochs(tenant.id, EpochKey(EpochKind.TENANT, tenant.id))
    return made


def update_plan_with_terms(
    *,
    tenant: Tenant,
    plan_id: UUID,
    actor: Actor,
    quotas: Sequence[Mapping[str, Any]] | UnsetType = UNSET,
    prices: Sequence[Mapping[str, Any]] | UnsetType = UNSET,
    runaway: Sequence[Mapping[str, Any]] | UnsetType = UNSET,
    **changes: Any,
) -> Plan:
    """Change what is given; `quotas`, `prices` and `runaway` replace their lists.

    A quota that counts the same as before keeps its row, id and balances, whatever else changes in it; one that is no
    longer listed is archived. A price that changed is archived and made anew. Raises what `update_plan` does, and what
    `create_plan_with_terms` does.
    """
    with transaction.atomic():
        lock_configuration(tenant.id)
        plan = plans.update_plan(tenant=tenant, plan_id=plan_id, actor=actor, **changes)
        if quotas is not UNSET:
            billing = _replace_quotas(tenant, actor, plan, _read_quotas(tenant, plan, quotas))
            take_up_plan_balances(tenant, plan.id, billing, at=clock_of(tenant).now())
        if prices is not UNSET:
            replace_prices(tenant, actor, plan.id, read_prices(tenant, prices))
        if quotas is not UNSET or prices is not UNSET:
            check_priced(tenant, plan.id)
        if runaway is not UNSET:
            set_plan_policy(tenant=tenant, plan=plan, actor=actor, rules=runaway)
        if quotas is not UNSET or prices is not UNSET:
            bump_epochs(tenant.id, EpochKey(EpochKind.TENANT, tenant.id))
    return plan


def archive_plan_with_terms(*, tenant: Tenant, plan_id: UUID, actor: Actor, reason: str = "") -> Plan:
    """No new licence can carry the plan; for those that do, its quotas and prices stay in force."""
    with transaction.atomic():
        lock_configuration(tenant.id)
        return plans.archive_plan(tenant=tenant, plan_id=plan_id, actor=actor, reason=reason)


def _read_quotas(tenant: Tenant, plan: Plan, value: object) -> dict[UUID, QuotaSpec]:
    """The listed quotas by key."""
    specs: dict[UUID, QuotaSpec] = {}
    for path, each in fields.entries(value, "quotas", most=MAX_QUOTAS):
        fields.only_keys(each, path, _FIELDS)
        scope = Scope.LICENSE if each.get("scope") is None else each["scope"]
        if scope not in _SCOPES:
            raise Invalid.field(f"{path}.scope", "invalid", f"This is one of {', '.join(_SCOPES)}.")
        spec = read_quota(tenant, each, scope=Scope(scope), prefix=path)
        key = spec.key(tenant.id, plan.id)
        if key in specs:
            detail = "Two quotas of the plan count the same: meter, filter, period and scope are equal."
            raise Invalid.field(path, "duplicate", detail)
        specs[key] = spec
    return specs


def _replace_quotas(tenant: Tenant, actor: Actor, plan: Plan, specs: Mapping[UUID, QuotaSpec]) -> list[Quota]:
    """Make `specs` the plan's quotas; those that can bill from now on and could not before."""
    kept: dict[UUID, Quota] = {}
    billing: list[Quota] = []
    for quota in quotas_of_plan(plan):
        if quota.key in specs:
            kept[quota.key] = quota
        else:
            retire_quota(tenant, actor, quota)
    for key, spec in specs.items():
        if key in kept:
            wanted = {field: getattr(spec, field) for field in _CHANGEABLE}
            was_soft = kept[key].mode == QuotaMode.SOFT
            change_quota(tenant, actor, kept[key], {**wanted, "thresholds": list(spec.thresholds)})
            quota = kept[key]
        else:
            was_soft = False
            quota = insert_quota(tenant, actor, spec, plan_id=plan.id)
        if quota.scope == Scope.LICENSE and quota.mode == QuotaMode.SOFT and not was_soft:
            billing.append(quota)
    return billing
