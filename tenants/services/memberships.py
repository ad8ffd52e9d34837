"""Who works in a workspace: added, given another role, taken out."""

from uuid import UUID

from django.db import transaction

from common.errors import Conflict, Invalid
from tenants.domain.actors import Actor
from tenants.domain.enums import Role, TenantMode
from tenants.models import Membership, Tenant, User
from tenants.services import fields
from tenants.services.auditing import record_audit
from tenants.services.changes import apply_changes, conflict_if_taken


def add_member(*, tenant: Tenant, user: User, role: str, actor: Actor) -> Membership:
    """Make a person a member of a workspace, and so of its test workspace.

    Raises Invalid (a test workspace that belongs to a live one has that one's members), Conflict `already_member`.
    """
    if tenant.mode == TenantMode.TEST and tenant.live_id is not None:
        raise Invalid.field("tenant", "invalid", "The members are those of the live workspace.")
    membership = Membership(tenant=tenant, user=user, role=fields.member(role, "role", Role))
    with (
        transaction.atomic(),
        conflict_if_taken("membership_once", "already_member", "This person is a member already."),
    ):
        membership.save(force_insert=True)
        record_audit(
            tenant_id=tenant.id,
            actor=actor,
            action="membership.created",
            target=membership,
            changes={"role": [None, membership.role], "user": [None, str(user.pk)]},
        )
    return membership


def change_role(*, tenant: Tenant, membership_id: UUID, role: str, actor: Actor) -> Membership:
    """Give a member another role; the same one changes nothing. Raises NotFound, Invalid, Conflict `last_owner`."""
    wanted = fields.member(role, "role", Role)
    with transaction.atomic():
        membership = _locked(tenant, membership_id)
        if wanted is not Role.OWNER:
            _refuse_last_owner(membership)
        if changes := apply_changes(membership, {"role": wanted}):
            membership.save(update_fields=["role", "updated_at"])
            record_audit(
                tenant_id=tenant.id,
                actor=actor,
                action="membership.updated",
                target=membership,
                changes=changes,
            )
    return membership


def remove_member(*, tenant: Tenant, membership_id: UUID, actor: Actor, reason: str = "") -> None:
    """Take a person out of a workspace, from their next request on. Raises NotFound, Conflict `last_owner`."""
    with transaction.atomic():
        membership = _locked(tenant, membership_id)
        _refuse_last_owner(membership)
        record_audit(
            tenant_id=tenant.id,
            actor=actor,
            action="membership.removed",
            target=membership,
            changes={"role": [membership.role, None], "user": [str(membership.user_id), None]},
            reason=fields.reason(reason),
        )
        membership.delete()


def _locked(tenant: Tenant, membership_id: UUID) -> Membership:
    """The membership, with all owners of the workspace locked: two of them cannot both leave at once."""
    memberships = Membership.objects.for_tenant(tenant).select_for_update()
    list(memberships.filter(role=Role.OWNER).order_by("pk").values_list("pk"))
    return memberships.get_or_raise(membership_id)


def _refuse_last_owner(membership: Membership) -> None:
    if membership.role != Role.OWNER:
        return
    others = Membership.objects.for_tenant(membership.tenant_id).filter(role=Role.OWNER).exclude(pk=membership.pk)
    if not others.exists():
        raise Conflict("last_owner", "This is the workspace's only owner. Name another one first.")
