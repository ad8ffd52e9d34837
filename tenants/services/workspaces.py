"""Workspaces: made with their owner, suspended by operators, and (test ones) moved in time."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from msgspec import UNSET, UnsetType

from common.clock import real_clock, rfc3339
from common.epochs import EpochKey
from common.errors import Forbidden, Invalid, NotFound
from tenants.domain.actors import Actor
from tenants.domain.enums import EpochKind, Role, TenantMode, TenantStatus
from tenants.models import Membership, Tenant, User
from tenants.services import fields
from tenants.services.auditing import record_audit
from tenants.services.changes import apply_changes, conflict_if_taken, plain
from tenants.services.epochs import bump_epochs, republish
from tenants.services.locks import lock_configuration

MAX_CLOCK_OFFSET = timedelta(days=3660)


def create_workspace(
    *,
    actor: Actor,
    name: str,
    slug: str,
    owner: User | None = None,
    timezone: str = "UTC",
    currency: str = "USD",
    mode: str = TenantMode.LIVE,
    live: Tenant | None = None,
) -> Tenant:
    """Make a workspace, with `owner` as its first member.

    A test workspace may belong to a live one, whose members are then its members too, so it takes no owner.
    Raises Invalid, Conflict `slug_taken`.
    """
    tenant = Tenant(
        slug=fields.slug(slug),
        name=fields.text(name, "name"),
        timezone=fields.timezone(timezone),
        currency=fields.currency(currency),
        mode=fields.member(mode, "mode", TenantMode),
        live=live,
    )
    if live is not None and (tenant.mode != TenantMode.TEST or live.mode != TenantMode.LIVE):
        raise Invalid.field("live", "invalid", "Only a test workspace belongs to a live one.")
    if live is not None and owner is not None:
        raise Invalid.field("owner", "invalid", "The members are those of the live workspace.")
    with (
        transaction.atomic(),
        conflict_if_taken("tenants_tenant_slug_key", "slug_taken", "There is a workspace with this slug already."),
        conflict_if_taken("tenants_tenant_live_id_key", "test_workspace_exists", "It has a test workspace already."),
    ):
        tenant.save(force_insert=True)
        record_audit(
            tenant_id=tenant.id,
            actor=actor,
            action="tenant.created",
            target=tenant,
            changes={"slug": [None, tenant.slug], "mode": [None, tenant.mode]},
        )
        if owner is not None:
            membership = Membership.objects.create(tenant=tenant, user=owner, role=Role.OWNER)
            record_audit(
                tenant_id=tenant.id,
                actor=actor,
                action="membership.created",
                target=membership,
                changes={"role": [None, Role.OWNER]},
            )
    return tenant


def update_workspace(
    *,
    tenant_id: UUID,
    actor: Actor,
    name: str | UnsetType = UNSET,
    rate_limits: Sequence[Mapping[str, Any]] | UnsetType = UNSET,
) -> Tenant:
    """Change what is given. Timezone and currency stay: periods and amounts hang on them.

    Raises NotFound, Invalid, RevocationPending.
    """
    wanted = {
        "name": UNSET if name is UNSET else fields.text(name, "name"),
        "rate_limits": UNSET if rate_limits is UNSET else fields.rate_limits(rate_limits),
    }
    with transaction.atomic():
        return _change(_locked(tenant_id), wanted, "tenant.updated", actor)


def suspend_tenant(*, tenant_id: UUID, actor: Actor, reason: str = "") -> Tenant:
    """Answer `tenant_suspended` on both doors. Twice is the same as once. Raises NotFound, RevocationPending."""
    with transaction.atomic():
        tenant = _locked(tenant_id)
        wanted = {"status": TenantStatus.SUSPENDED, "status_reason": fields.reason(reason)}
        if tenant.status == TenantStatus.SUSPENDED:
            wanted = {}
        return _change(tenant, wanted, "tenant.suspended", actor, reason)


def reinstate_tenant(*, tenant_id: UUID, actor: Actor, reason: str = "") -> Tenant:
    """End a suspension. Raises NotFound, RevocationPending."""
    with transaction.atomic():
        wanted = {"status": TenantStatus.ACTIVE, "status_reason": ""}
        return _change(_locked(tenant_id), wanted, "tenant.reinstated", actor, fields.reason(reason))


def move_clock(*, tenant_id: UUID, actor: Actor, by: timedelta) -> Tenant:
    """Move a test workspace's clock forward, never back: what has been decided stays decided.

    Takes the configuration lock, as every event's period hangs on the clock. Raises NotFound, Invalid,
    Forbidden `not_a_test_workspace`, RevocationPending.
    """
    with transaction.atomic():
        lock_configuration(tenant_id)
        tenant = _locked(tenant_id)
        if tenant.mode != TenantMode.TEST:
            raise Forbidden("not_a_test_workspace", "Only the clock of a test workspace can be moved.")
        offset = (tenant.clock_offset or timedelta(0)) + by
        if by <= timedelta(0) or offset > MAX_CLOCK_OFFSET:
            detail = f"The clock goes forward only, and at most {MAX_CLOCK_OFFSET.days} days ahead of real time."
            raise Invalid.field("by", "invalid", detail)
        return _change(tenant, {"clock_offset": offset}, "tenant.clock_moved", actor)


def begin_clock_move(*, tenant_id: UUID, actor: Actor, to: datetime, reason: str = "") -> Tenant:
    """Note that a test workspace's clock is being moved to `to`; `step_clock` moves it there, stop by stop.

    Raises NotFound, Forbidden `not_a_test_workspace`, Invalid where the time has passed there or is too far ahead.
    """
    with transaction.atomic():
        tenant = _locked(tenant_id)
        if tenant.mode != TenantMode.TEST:
            raise Forbidden("not_a_test_workspace", "Only the clock of a test workspace can be moved.")
        now = real_clock().now()
        before = now + (tenant.clock_offset or timedelta(0))
        if to <= before:
            detail = f"The clock goes forward only, and it shows {rfc3339(before)} already."
            raise Invalid.field("now", "clock_goes_forward", detail)
        if to > now + MAX_CLOCK_OFFSET:
            detail = f"The clock goes at most {MAX_CLOCK_OFFSET.days} days ahead of real time: "
            detail += f"after {rfc3339(before)}, up to {rfc3339(now + MAX_CLOCK_OFFSET)}."
            raise Invalid.field("now", "too_far_ahead", detail)
        record_audit(
            tenant_id=tenant.id,
            actor=actor,
            action="tenant.clock_moved",
            target=tenant,
            changes={"now": [plain(before), plain(to)]},
            reason=fields.reason(reason),
        )
        return tenant


def step_clock(*, tenant_id: UUID, to: datetime, now: datetime) -> datetime:
    """Let a test workspace's clock show at least `to` at the real time `now`; what it shows then. Never goes back.

    Takes the configuration lock, as every event's period hangs on the clock. Raises NotFound, RevocationPending.
    """
    with transaction.atomic():
        lock_configuration(tenant_id)
        tenant = _locked(tenant_id)
        offset = tenant.clock_offset or timedelta(0)
        if to - now > offset:
            offset = to - now
            tenant.clock_offset = offset
            tenant.save(update_fields=["clock_offset", "updated_at"])
            bump_epochs(tenant.id, EpochKey(EpochKind.TENANT, tenant.id))
    return now + offset


def _locked(tenant_id: UUID) -> Tenant:
    tenant = Tenant.objects.select_for_update(no_key=True).filter(pk=tenant_id).first()
    if tenant is None:
        raise NotFound("No tenant has this id.")
    return tenant


def _change(tenant: Tenant, wanted: Mapping[str, Any], action: str, actor: Actor, reason: str = "") -> Tenant:
    epoch = EpochKey(EpochKind.TENANT, tenant.id)
    changes = apply_changes(tenant, wanted)
    if not changes:
        republish(tenant.id, epoch)
        return tenant
    tenant.save()
    record_audit(tenant_id=tenant.id, actor=actor, action=action, target=tenant, changes=changes, reason=reason)
    bump_epochs(tenant.id, epoch)
    return tenant
