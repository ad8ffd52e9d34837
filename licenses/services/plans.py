"""Plans and what they grant. Their quotas and prices are metering's."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from msgspec import UNSET, UnsetType

from common.clock import real_clock
from common.epochs import EpochKey
from common.errors import Conflict, Invalid
from licenses.domain.activations import MAX_LEASE
from licenses.domain.enums import LapsePolicy, LimitLevel
from licenses.domain.license_times import DEFAULT_NOTICES
from licenses.models import Plan, PlanGrant, Product
from licenses.selectors.lookup import resolve_product
from licenses.services.grants import read_plan_grants, replace_plan_grants
from tenants.domain.actors import Actor
from tenants.domain.enums import EpochKind
from tenants.models import Tenant
from tenants.services import fields
from tenants.services.auditing import record_audit
from tenants.services.changes import apply_changes, conflict_if_taken
from tenants.services.epochs import bump_epochs, republish

MAX_GRACE_DAYS = 3650
MAX_TERM = {"years": 100, "months": 1200, "days": 36_525}
MAX_NOTICES = 10
MAX_NOTICE_DAYS = 365
#: Where a plan or a licence can set rate limits; customers and workspaces have their own.
LIMIT_LEVELS = (LimitLevel.AGENT.value, LimitLevel.LICENSE.value)

_TAKEN = ("plan_code", "code_taken", "There is a plan with this code already, maybe an archived one.")


def create_plan(
    *,
    tenant: Tenant,
    actor: Actor,
    code: str,
    name: str,
    product: Product | UUID | str,
    term: Mapping[str, int] | None = None,
    trial: bool = False,
    grace_days: int = 0,
    expiry_notices: Sequence[int] = DEFAULT_NOTICES,
    activation_limit: int | None = None,
    activation_required: bool = False,
    activation_lease: int | None = None,
    lapse_policy: str = LapsePolicy.REFUSE,
    agent_limit: int | None = None,
    hold_limit: int | None = None,
    token_ttl: int = 3600,
    rate_limits: Sequence[Mapping[str, Any]] = (),
    grants: Sequence[Mapping[str, Any]] = (),
    metadata: Mapping[str, Any] | None = None,
) -> Plan:
    """Make a plan with its grants `[{"feature": code or id, "value"}]`. Raises Invalid, Conflict `code_taken`.

    `term` is `{"years" | "months" | "days": n}`, None is perpetual; lease and token life are in seconds; of expiries
    notice is given `expiry_notices` days before.
    """
    values = _checked(
        code=code,
        name=name,
        term=term,
        trial=trial,
        grace_days=grace_days,
        expiry_notices=expiry_notices,
        activation_limit=activation_limit,
        activation_required=activation_required,
        activation_lease=activation_lease,
        lapse_policy=lapse_policy,
        agent_limit=agent_limit,
        hold_limit=hold_limit,
        token_ttl=token_ttl,
        rate_limits=rate_limits,
        metadata=metadata,
    )
    with transaction.atomic(), conflict_if_taken(*_TAKEN):
        plan = Plan(tenant=tenant, product=resolve_product(tenant, product, unarchived=True), **values)
        wanted = read_plan_grants(plan.product, grants)
        plan.save(force_insert=True)
        PlanGrant.objects.bulk_create(
            PlanGrant(tenant=tenant, plan=plan, feature=grant.feature, value=grant.value) for grant in wanted
        )
        changes = {"code": [None, plan.code], "grants": [None, {grant.feature.code: grant.value for grant in wanted}]}
        record_audit(tenant_id=tenant.id, actor=actor, action="plan.created", target=plan, changes=changes)
    return plan


def update_plan(
    *,
    tenant: Tenant,
    plan_id: UUID,
    actor: Actor,
    product: Product | UUID | str | UnsetType = UNSET,
    grants: Sequence[Mapping[str, Any]] | UnsetType = UNSET,
    code: str | UnsetType = UNSET,
    name: str | UnsetType = UNSET,
    term: Mapping[str, int] | UnsetType | None = UNSET,
    trial: bool | UnsetType = UNSET,
    grace_days: int | UnsetType = UNSET,
    expiry_notices: Sequence[int] | UnsetType = UNSET,
    activation_limit: int | UnsetType | None = UNSET,
    activation_required: bool | UnsetType = UNSET,
    activation_lease: int | UnsetType | None = UNSET,
    lapse_policy: str | UnsetType = UNSET,
    agent_limit: int | UnsetType | None = UNSET,
    hold_limit: int | UnsetType | None = UNSET,
    token_ttl: int | UnsetType = UNSET,
    rate_limits: Sequence[Mapping[str, Any]] | UnsetType = UNSET,
    metadata: Mapping[str, Any] | UnsetType | None = UNSET,
) -> Plan:
    """Change what is given; `grants` replaces the whole list. Licences that carry the plan feel it at once.

    Their expiries stay: a term counts where a licence is issued or renewed. The product may be sent again but never
    changes (Invalid `immutable`). Raises NotFound, Invalid, Conflict `code_taken` or `plan_archived`,
    RevocationPending.
    """
    wanted = _checked(
        code=code,
        name=name,
        term=term,
        trial=trial,
        grace_days=grace_days,
        expiry_notices=expiry_notices,
        activation_limit=activation_limit,
        activation_required=activation_required,
        activation_lease=activation_lease,
        lapse_policy=lapse_policy,
        agent_limit=agent_limit,
        hold_limit=hold_limit,
        token_ttl=token_ttl,
        rate_limits=rate_limits,
        metadata=metadata,
    )
    epoch = EpochKey(EpochKind.TENANT, tenant.id)
    with transaction.atomic(), conflict_if_taken(*_TAKEN):
        plan = _locked(tenant, plan_id)
        if plan.archived_at is not None:
            raise Conflict("plan_archived", "The plan is archived and does not change any more.")
        if product is not UNSET:
            fields.immutable(resolve_product(tenant, product).id, plan.product_id, "product")
        changes = apply_changes(plan, wanted)
        columns = [*changes, "updated_at"]
        if grants is not UNSET:
            granted = set(PlanGrant.objects.for_tenant(tenant).filter(plan=plan).values_list("feature_id", flat=True))
            changed = replace_plan_grants(plan, read_plan_grants(plan.product, grants, granted=granted))
            changes |= {"grants": changed} if changed else {}
        if changes:
            plan.save(update_fields=columns)
            record_audit(tenant_id=tenant.id, actor=actor, action="plan.updated", target=plan, changes=changes)
            bump_epochs(tenant.id, epoch)
        else:
            republish(tenant.id, epoch)
    return plan


def archive_plan(*, tenant: Tenant, plan_id: UUID, actor: Actor, reason: str = "") -> Plan:
    """No new licence can carry it; those that do go on. Twice is the same as once. Raises NotFound."""
    with transaction.atomic():
        plan = _locked(tenant, plan_id)
        if plan.archived_at is not None:
            return plan
        changes = apply_changes(plan, {"archived_at": real_clock().now()})
        plan.save(update_fields=["archived_at", "updated_at"])
        record_audit(
            tenant_id=tenant.id,
            actor=actor,
            action="plan.archived",
            target=plan,
            changes=changes,
            reason=fields.reason(reason),
        )
    return plan


def _locked(tenant: Tenant, plan_id: UUID) -> Plan:
    plans = Plan.objects.for_tenant(tenant).select_related("product")
    return plans.select_for_update(of=("self",), no_key=True).get_or_raise(plan_id)


def _term(value: Any, field: str) -> dict[str, int] | None:
    """`{"years" | "months" | "days": n}`, at least a day."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise Invalid.field(field, "invalid", 'A term is a map such as {"months": 12}, or null for a perpetual one.')
    fields.only_keys(value, field, MAX_TERM)
    term = {
        unit: fields.integer(count, f"{field}.{unit}", most=MAX_TERM[unit]) for unit, count in value.items() if count
    }
    if not term:
        raise Invalid.field(field, "invalid", 'A term is at least a day, such as {"days": 1}; null is perpetual.')
    return term


def _notices(value: Any, field: str) -> list[int]:
    """Different numbers of days, the longest first; none at all for no notice."""
    entries = fields.items(value, field, most=MAX_NOTICES)
    days = {fields.integer(each, place, least=1, most=MAX_NOTICE_DAYS) for place, each in entries}
    return sorted(days, reverse=True)


_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "code": fields.code,
    "name": fields.text,
    "term": _term,
    "trial": fields.boolean,
    "grace_days": partial(fields.integer, most=MAX_GRACE_DAYS),
    "expiry_notices": _notices,
    "activation_limit": fields.optional_integer,
    "activation_required": fields.boolean,
    "activation_lease": partial(fields.optional_integer, least=1, most=MAX_LEASE),
    "lapse_policy": lambda value, field: fields.member(value, field, LapsePolicy),
    "agent_limit": fields.optional_integer,
    "hold_limit": fields.optional_integer,
    "token_ttl": partial(fields.integer, least=1),
    "rate_limits": partial(fields.rate_limits, levels=LIMIT_LEVELS),
    "metadata": fields.metadata,
}


def _checked(**values: Any) -> dict[str, Any]:
    """What is given (not UNSET) of a plan's own fields, as it is stored."""
    return {name: _CHECKS[name](value, name) for name, value in values.items() if value is not UNSET}
