"""Making, changing and archiving quotas."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from msgspec import UNSET, UnsetType

from common.clock import real_clock
from common.epochs import EpochKey
from common.errors import Conflict, Invalid
from licenses.models import Agent, License
from licenses.selectors.lookup import resolve_agent, resolve_customer, resolve_license
from metering.domain.enums import Anchor, Period, QuotaMode, Scope
from metering.models import Meter, Quota
from metering.selectors.meters import declared_dimensions, resolve_meter
from metering.selectors.quotas import keys_counted_with
from metering.services.detaching import detach_balances, detach_replaced
from metering.services.prices import check_priced
from metering.services.quota_fields import (
    QuotaSpec,
    check_rolling,
    read_carry_over,
    read_ceiling,
    read_quota,
    read_thresholds,
)
from metering.services.recovering import tell_recovered
from metering.services.taking_up import take_up_plan_balances
from metering.services.validation import filter_field, quantity_field
from tenants.domain.actors import Actor
from tenants.domain.enums import EpochKind
from tenants.models import Customer, Tenant
from tenants.selectors.clocks import clock_of
from tenants.services import fields
from tenants.services.auditing import record_audit
from tenants.services.changes import apply_changes, plain
from tenants.services.epochs import bump_epochs, republish
from tenants.services.locks import lock_configuration


class Owner(NamedTuple):
    """What a quota is set on: a column of its row (none for the tenant) and what that holds."""

    scope: Scope
    columns: Mapping[str, Agent | License | Customer]


def create_quota(
    *,
    tenant: Tenant,
    actor: Actor,
    on: Mapping[str, Any],
    meter: Meter | UUID | str,
    limit: Any,
    period: str | Mapping[str, Any],
    mode: str | None = None,
    filter: Mapping[str, Any] | None = None,
    anchor: str | None = None,
    ceiling: Any = None,
    thresholds: Sequence[int] | None = None,
    carry_over: bool | Mapping[str, Any] | None = None,
) -> Quota:
    """Set a quota on `{"tenant": true}` or a `customer`, `license` or `agent`. It is hard unless it says otherwise.

    It counts what the period has already seen, and from the moment that this returns no event in flight misses it.
    Raises Invalid (422), Conflict (409) `quota_exists`, RevocationPending.
    """
    with transaction.atomic():
        lock_configuration(tenant.id)
        owner = _owner(tenant, on)
        terms = {
            "meter": meter,
            "limit": limit,
            "period": period,
            "mode": mode,
            "filter": filter,
            "anchor": anchor,
            "ceiling": ceiling,
            "thresholds": thresholds,
            "carry_over": carry_over,
        }
        spec = read_quota(tenant, terms, scope=owner.scope)
        quota = insert_quota(tenant, actor, spec, plan_id=None, owner=owner.columns)
        bump_epochs(tenant.id, epoch_of(quota))
    return quota


def update_quota(
    *,
    tenant: Tenant,
    quota_id: UUID,
    actor: Actor,
    limit: Any = UNSET,
    ceiling: Any = UNSET,
    mode: str | UnsetType = UNSET,
    thresholds: Sequence[int] | UnsetType | None = UNSET,
    carry_over: bool | Mapping[str, Any] | UnsetType | None = UNSET,
    meter: Meter | UUID | str | UnsetType = UNSET,
    filter: Mapping[str, Any] | UnsetType | None = UNSET,
    period: str | Mapping[str, Any] | UnsetType = UNSET,
    anchor: str | UnsetType = UNSET,
    scope: str | UnsetType = UNSET,
    on: Mapping[str, Any] | UnsetType = UNSET,
) -> Quota:
    """Change limit, ceiling, mode, thresholds or carry-over; used and held stay, also above a limit that was lowered.

    A limit that is raised lifts an exceeded quota at once, and `quota.recovered` tells so. What top-ups covered stays
    covered. What was carried into a running period stays; a new maximum counts for what is carried from now on.

    What it counts (meter, filter, period, anchor, scope, owner) may be repeated but not changed: Invalid `immutable`.
    Raises NotFound, Invalid (`price_without_quota` where a priced quota would become hard), Conflict `quota_archived`,
    RevocationPending.
    """
    with transaction.atomic():
        lock_configuration(tenant.id)
        quota = Quota.objects.for_tenant(tenant).select_related("meter").get_or_raise(quota_id)
        if quota.archived_at is not None:
            raise Conflict("quota_archived", "An archived quota does not change any more.")
        _refuse_other_counting(tenant, quota, meter=meter, filter=filter, period=period, anchor=anchor, scope=scope)
        if on is not UNSET:
            fields.immutable(_owner(tenant, on), _owner_of(quota), "on")
        wanted: dict[str, Any] = {
            "limit": quota.limit if limit is UNSET else quantity_field("limit", limit),
            "mode": QuotaMode(quota.mode) if mode is UNSET else fields.member(mode, "mode", QuotaMode),
        }
        wanted["ceiling"] = read_ceiling(
            "ceiling", quota.ceiling if ceiling is UNSET else ceiling, limit=wanted["limit"], mode=wanted["mode"]
        )
        if thresholds is not UNSET:
            wanted["thresholds"] = read_thresholds("thresholds", thresholds)
        if carry_over is not UNSET:
            wanted["carry_over"], wanted["carry_over_limit"] = read_carry_over(
                "carry_over", carry_over, meter=quota.meter, period=Period(quota.period)
            )
        if quota.period == Period.ROLLING:
            check_rolling("", quota.meter, wanted["mode"], Anchor(quota.anchor))
        was_soft = quota.mode == QuotaMode.SOFT
        if change_quota(tenant, actor, quota, wanted):
            if quota.plan_id and (quota.scope, quota.mode) == (Scope.LICENSE, QuotaMode.SOFT) and not was_soft:
                take_up_plan_balances(tenant, quota.plan_id, [quota], at=clock_of(tenant).now())
            check_priced(tenant, quota.plan_id)
            bump_epochs(tenant.id, epoch_of(quota))
        else:
            republish(tenant.id, epoch_of(quota))
    return quota


def archive_quota(*, tenant: Tenant, quota_id: UUID, actor: Actor) -> Quota:
    """End a quota: it neither blocks nor bills from now on. Twice is the same as once.

    Raises NotFound, Conflict `quota_priced` while its plan has a price that bills it, RevocationPending.
    """
    with transaction.atomic():
        lock_configuration(tenant.id)
        quota = Quota.objects.for_tenant(tenant).select_related("meter").get_or_raise(quota_id)
        if quota.archived_at is not None:
            republish(tenant.id, epoch_of(quota))
            return quota
        retire_quota(tenant, actor, quota)
        try:
            check_priced(tenant, quota.plan_id)
        except Invalid as error:
            raise Conflict(
                "quota_priced", "A price of the plan bills this quota; take the price away first."
            ) from error
        bump_epochs(tenant.id, epoch_of(quota))
    return quota


def insert_quota(
    tenant: Tenant,
    actor: Actor,
    spec: QuotaSpec,
    *,
    plan_id: UUID | None,
    owner: Mapping[str, Any] | None = None,
) -> Quota:
    """Write a quota of a plan or of its own. Inside the caller's transaction, under the configuration lock."""
    key = spec.key(tenant.id, plan_id)
    columns: dict[str, Any] = {"plan_id": plan_id, **(owner or {})}
    for column in ("license", "customer", "agent"):
        columns.setdefault(column, None)
    if Quota.objects.for_tenant(tenant).filter(key=key, archived_at__isnull=True, **_nulls(columns)).exists():
        detail = "There is a quota already that counts the same: its meter, filter, period and scope are taken."
        raise Conflict("quota_exists", detail)
    since = clock_of(tenant).now() if spec.carry_over else None
    quota = Quota.objects.create(tenant=tenant, key=key, carry_over_since=since, **columns, **spec.columns())
    detach_replaced(tenant, quota)
    record_audit(
        tenant_id=tenant.id, actor=actor, action="quota.created", target=quota, changes=_created(quota, spec.meter)
    )
    return quota


def change_quota(tenant: Tenant, actor: Actor, quota: Quota, wanted: Mapping[str, Any]) -> bool:
    """Write what differs from `wanted`; whether anything did. Inside the caller's transaction, under its lock."""
    changes = apply_changes(quota, wanted)
    if not changes:
        return False
    if changes.keys() & {"carry_over"} and quota.carry_over:
        # What was left of periods before is not carried after all.
        quota.carry_over_since = clock_of(tenant).now()
    quota.save(update_fields=[*changes, "carry_over_since", "updated_at"])
    record_audit(tenant_id=tenant.id, actor=actor, action="quota.updated", target=quota, changes=changes)
    if changes.keys() & {"limit", "mode"}:
        tell_recovered(tenant, keys_counted_with(quota))
    return True


def retire_quota(tenant: Tenant, actor: Actor, quota: Quota) -> None:
    """Archive a quota and let go of its balances. Inside the caller's transaction, under its lock."""
    quota.archived_at = real_clock().now()
    quota.save(update_fields=["archived_at", "updated_at"])
    owner_id = quota.agent_id or quota.license_id or quota.customer_id
    # The key of a quota of its own is shared by all owners' quotas that count alike: the subject tells them apart.
    detach_balances(tenant, [quota.key], subject_ids=[owner_id] if owner_id else None)
    record_audit(tenant_id=tenant.id, actor=actor, action="quota.archived", target=quota)


def epoch_of(quota: Quota) -> EpochKey:
    """The epoch of everybody whose snapshot holds the quota."""
    if quota.agent_id is not None:
        return EpochKey(EpochKind.AGENT, quota.agent_id)
    if quota.license_id is not None:
        return EpochKey(EpochKind.LICENSE, quota.license_id)
    if quota.customer_id is not None:
        return EpochKey(EpochKind.CUSTOMER, quota.customer_id)
    return EpochKey(EpochKind.TENANT, quota.tenant_id)


def _owner(tenant: Tenant, on: object) -> Owner:
    named = {name: value for name, value in on.items() if value is not None} if isinstance(on, Mapping) else {}
    if len(named) != 1:
        raise Invalid.field("on", "one_owner", "A quota is on exactly one: tenant, customer, license or agent.")
    [(name, value)] = named.items()
    match name:
        case "tenant" if value is True:
            return Owner(Scope.TENANT, {})
        case "customer":
            return Owner(Scope.CUSTOMER, {"customer": resolve_customer(tenant, value, field="on.customer")})
        case "license":
            return Owner(Scope.LICENSE, {"license": resolve_license(tenant, value, field="on.license")})
        case "agent":
            return Owner(Scope.AGENT, {"agent": resolve_agent(tenant, value, field="on.agent")})
        case "tenant":
            raise Invalid.field("on.tenant", "invalid", "This is true.")
        case _:
            raise Invalid.field(f"on.{name}", "unknown_field", "A quota is on a tenant, customer, license or agent.")


def _owner_of(quota: Quota) -> Owner:
    owners: dict[str, Agent | License | Customer | None] = {
        "customer": quota.customer,
        "license": quota.license,
        "agent": quota.agent,
    }
    return Owner(Scope(quota.scope), {name: owner for name, owner in owners.items() if owner is not None})


def _refuse_other_counting(tenant: Tenant, quota: Quota, **given: Any) -> None:
    for field, value in given.items():
        if value is UNSET:
            continue
        same = value == getattr(quota, field)
        match field:
            case "meter":
                same = resolve_meter(tenant, value).id == quota.meter_id
            case "filter":
                same = filter_field("filter", value, declared_dimensions(quota.meter)) == quota.filter
            case "period" if isinstance(value, Mapping):
                same = quota.period == Period.ROLLING and value == {"rolling": quota.rolling_seconds}
        if not same:
            detail = "What a quota counts stays as it is. Archive it and make a new one."
            raise Invalid.field(field, "immutable", detail)


def _nulls(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{name}__isnull" if value is None else name: True if value is None else value
        for name, value in columns.items()
    }


def _created(quota: Quota, meter: Meter) -> dict[str, Any]:
    fields = ("scope", "filter", "limit", "ceiling", "mode", "period", "anchor", "thresholds", "carry_over")
    return {"meter": [None, meter.code], **{field: [None, plain(getattr(quota, field))] for field in fields}}
