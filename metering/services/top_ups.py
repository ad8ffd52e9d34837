"""Extra allowance for one quota and subject: given or bought, from its start to its expiry, used up by priority.

Whoever makes or takes back a top-up holds the configuration lock, so no decision in flight misses it.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from msgspec import UNSET, UnsetType

from common.epochs import EpochKey
from common.errors import Conflict, Invalid
from common.quantities import format_quantity
from licenses.selectors.lookup import named_id, resolve_agent, resolve_customer, resolve_license
from metering.domain.enums import Aggregation, Period, Scope, TopUpOrigin
from metering.models import Quota, TopUp
from metering.selectors.quotas import key_counting, list_quotas
from metering.selectors.top_ups import subject_of, top_ups_of
from metering.services.recovering import tell_recovered
from metering.services.validation import quantity_field
from tenants.domain.actors import Actor
from tenants.domain.enums import EpochKind
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services import fields
from tenants.services.auditing import record_audit
from tenants.services.changes import apply_changes, plain
from tenants.services.epochs import bump_epochs
from tenants.services.locks import lock_configuration

MAX_PRIORITY = 1_000_000

_EPOCHS = {
    Scope.AGENT: EpochKind.AGENT,
    Scope.LICENSE: EpochKind.LICENSE,
    Scope.CUSTOMER: EpochKind.CUSTOMER,
    Scope.TENANT: EpochKind.TENANT,
}


class _Subject(NamedTuple):
    """Whom a top-up is for; `license_id` and `customer_id` say where its quota applies."""

    id: UUID
    license_id: UUID | None = None
    customer_id: UUID | None = None


def create_top_up(
    *,
    tenant: Tenant,
    actor: Actor,
    quota: Quota | UUID | str,
    amount: Any,
    on: Mapping[str, Any] | None = None,
    starts_at: datetime | None = None,
    expires_at: datetime | None = None,
    priority: int = 0,
    origin: str = TopUpOrigin.GIVEN,
    reference: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> TopUp:
    """Give the subject `on` (`{"license": …}`, by the quota's scope; optional where the quota has one owner) more.

    It covers what is counted from `starts_at` (now, if left out) until `expires_at`, once the quota's own allowance is
    used up. Raises Invalid (`quota_not_applying`, `top_up_on_rolling`, `top_up_on_latest` …), RevocationPending.
    """
    with transaction.atomic():
        lock_configuration(tenant.id)
        found = _resolve_quota(tenant, quota)
        subject = _subject(tenant, found, on)
        key = key_counting(found, license_id=subject.license_id, customer_id=subject.customer_id)
        if key is None:
            raise Invalid.field("on", "quota_not_applying", "The quota does not apply there: its plan is not carried.")
        now = clock_of(tenant).now()
        begins = fields.optional_instant(starts_at, "starts_at") or now
        made = TopUp.objects.create(
            tenant=tenant,
            quota=found,
            quota_key=key,
            scope=found.scope,
            subject_id=subject.id,
            amount=_amount(amount),
            starts_at=begins,
            expires_at=_expiry(expires_at, begins, now),
            priority=_priority(priority),
            origin=fields.member(origin, "origin", TopUpOrigin),
            reference=fields.text(reference, "reference", max_length=255, blank=True),
            metadata=fields.metadata({} if metadata is None else metadata),
        )
        names = ("amount", "starts_at", "expires_at", "priority", "origin", "reference")
        record_audit(
            tenant_id=tenant.id,
            actor=actor,
            action="top_up.created",
            target=made,
            changes={
                "quota": [None, found.public_id],
                "on": [None, subject_of(made)],
                **{name: [None, plain(getattr(made, name))] for name in names},
            },
        )
        tell_recovered(tenant, [key], subject_ids=[subject.id])
        bump_epochs(tenant.id, _epoch(made))
    return made


def update_top_up(
    *,
    tenant: Tenant,
    top_up_id: UUID,
    actor: Actor,
    expires_at: datetime | UnsetType | None = UNSET,
    priority: int | UnsetType = UNSET,
    reference: str | UnsetType = UNSET,
    metadata: Mapping[str, Any] | UnsetType | None = UNSET,
    **fixed: Any,
) -> TopUp:
    """Change when it expires, its priority, reference or metadata: from now on, what was covered stays covered.

    Quota, subject, amount, start and origin may be repeated but not changed: Invalid `immutable`.
    Raises NotFound, Invalid, Conflict `top_up_voided`, RevocationPending.
    """
    with transaction.atomic():
        lock_configuration(tenant.id)
        found = _locked(tenant, top_up_id)
        if found.voided_at is not None:
            raise Conflict("top_up_voided", "A top-up that was voided does not change any more.")
        _refuse_other(found, fixed)
        wanted: dict[str, Any] = {}
        if expires_at is not UNSET and plain(expires_at) != plain(found.expires_at):
            wanted["expires_at"] = _expiry(expires_at, found.starts_at, clock_of(tenant).now())
        if priority is not UNSET:
            wanted["priority"] = _priority(priority)
        if reference is not UNSET:
            wanted["reference"] = fields.text(reference, "reference", max_length=255, blank=True)
        if metadata is not UNSET:
            wanted["metadata"] = fields.metadata({} if metadata is None else metadata)
        changes = apply_changes(found, wanted)
        if changes:
            found.save(update_fields=[*changes, "updated_at"])
            record_audit(tenant_id=tenant.id, actor=actor, action="top_up.updated", target=found, changes=changes)
            tell_recovered(tenant, [found.quota_key], subject_ids=[found.subject_id])
        bump_epochs(tenant.id, _epoch(found))
    return found


def void_top_up(*, tenant: Tenant, top_up_id: UUID, actor: Actor, reason: str = "") -> TopUp:
    """Take back what is left of a top-up; what it has covered stays covered. Twice is the same as once.

    Raises NotFound, RevocationPending.
    """
    with transaction.atomic():
        lock_configuration(tenant.id)
        found = _locked(tenant, top_up_id)
        if found.voided_at is None:
            found.voided_at = clock_of(tenant).now()
            found.save(update_fields=["voided_at", "updated_at"])
            record_audit(
                tenant_id=tenant.id,
                actor=actor,
                action="top_up.voided",
                target=found,
                reason=fields.reason(reason),
                changes={"left": [format_quantity(found.amount - found.used), "0"]},
            )
        bump_epochs(tenant.id, _epoch(found))
    return found


def _locked(tenant: Tenant, top_up_id: UUID) -> TopUp:
    return top_ups_of(tenant).get_or_raise(top_up_id)


def _resolve_quota(tenant: Tenant, reference: Quota | UUID | str) -> Quota:
    row_id = named_id(reference, Quota)
    quota = list_quotas(tenant).filter(id=row_id).first() if row_id is not None else None
    if quota is None:
        raise Invalid.field("quota", "not_found", "There is no such quota in force. Name it by its id.")
    if quota.period == Period.ROLLING:
        detail = "A rolling window has no top-ups: what they covered would have to come back. Raise its limit."
        raise Invalid.field("quota", "top_up_on_rolling", detail)
    if quota.meter.aggregation == Aggregation.LATEST:
        detail = "What a latest meter shows goes up and down; a top-up cannot be used up by it. Raise the limit."
        raise Invalid.field("quota", "top_up_on_latest", detail)
    return quota


def _subject(tenant: Tenant, quota: Quota, on: Mapping[str, Any] | None) -> _Subject:
    named = {name: value for name, value in on.items() if value is not None} if isinstance(on, Mapping) else {}
    scope = Scope(quota.scope)
    if not named and quota.plan_id is None:
        only = quota.agent_id or quota.license_id or quota.customer_id or tenant.id
        return _Subject(only, quota.license_id, quota.customer_id)
    if named.keys() != {scope.value}:
        raise Invalid.field(
            "on", "wrong_scope", f'The quota counts by {scope}: say {{"{scope}": …}}, and nothing else.'
        )
    value = named[scope.value]
    match scope:
        case Scope.AGENT:
            agent = resolve_agent(tenant, value, field="on.agent")
            subject = _Subject(agent.id, agent.license_id, agent.license.customer_id)
        case Scope.LICENSE:
            license = resolve_license(tenant, value, field="on.license")
            subject = _Subject(license.id, license.id, license.customer_id)
        case Scope.CUSTOMER:
            customer = resolve_customer(tenant, value, field="on.customer")
            subject = _Subject(customer.id, None, customer.id)
        case _:
            if value is not True:
                raise Invalid.field("on.tenant", "invalid", "This is true.")
            subject = _Subject(tenant.id)
    set_on = quota.agent_id or quota.license_id or quota.customer_id
    if set_on is not None and set_on != subject.id:
        raise Invalid.field("on", "quota_not_applying", "The quota is set on another one. Leave `on` out.")
    return subject


def _amount(value: Any) -> Decimal:
    amount = quantity_field("amount", value)
    if not amount:
        raise Invalid.field("amount", "not_positive", "A top-up is more than 0.")
    return amount


def _expiry(value: Any, starts_at: datetime, now: datetime) -> datetime | None:
    expires_at = fields.optional_instant(value, "expires_at")
    if expires_at is not None and expires_at <= starts_at:
        raise Invalid.field("expires_at", "not_after_start", "It expires after it starts.")
    if expires_at is not None and expires_at <= now:
        raise Invalid.field("expires_at", "in_the_past", "This is over already. To take a top-up back, void it.")
    return expires_at


def _priority(value: Any) -> int:
    return fields.integer(value, "priority", least=0, most=MAX_PRIORITY)


def _refuse_other(top_up: TopUp, given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if value is UNSET:
            continue
        match name:
            case "quota":
                same = named_id(value, Quota) == top_up.quota_id
            case "on":
                same = value is None or value == subject_of(top_up)
            case "amount":
                same = _amount(value) == top_up.amount
            case _:
                same = value is None or plain(value) == plain(getattr(top_up, name))
        if not same:
            raise Invalid.field(name, "immutable", "This stays as it is. Void the top-up and make a new one.")


def _epoch(top_up: TopUp) -> EpochKey:
    return EpochKey(_EPOCHS[Scope(top_up.scope)], top_up.subject_id)
