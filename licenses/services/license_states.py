"""A licence's states: active, suspended (and back), revoked for good, put away."""

from typing import Any
from uuid import UUID

from django.db import transaction

from common.epochs import EpochKey
from licenses.domain.enums import LicenseStatus
from licenses.domain.license_changes import LicenseChange
from licenses.models import License
from licenses.services.license_rules import refuse_if_forbidden
from tenants.domain.actors import Actor
from tenants.domain.enums import EpochKind
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services import fields
from tenants.services.auditing import record_audit
from tenants.services.changes import apply_changes
from tenants.services.epochs import bump_epochs, republish
from tenants.services.outbox import emit_event


def suspend_license(*, tenant: Tenant, license_id: UUID, actor: Actor, reason: str = "") -> License:
    """Answer `license_suspended` to every agent under it, in every process, from the moment that this returns.

    Suspending twice is the same as once. Emits `license.suspended`.
    Raises NotFound, Conflict `license_revoked`, RevocationPending.
    """
    with transaction.atomic():
        license = _locked(tenant, license_id)
        refuse_if_forbidden(license, LicenseChange.SUSPEND)
        now = clock_of(tenant).now()
        return _move(license, actor, "license.suspended", reason, status=LicenseStatus.SUSPENDED, suspended_at=now)


def reinstate_license(*, tenant: Tenant, license_id: UUID, actor: Actor, reason: str = "") -> License:
    """End a suspension; an active licence stays as it is. Emits `license.reinstated`.

    Raises NotFound, Conflict `license_revoked`, RevocationPending.
    """
    with transaction.atomic():
        license = _locked(tenant, license_id)
        refuse_if_forbidden(license, LicenseChange.REINSTATE)
        return _move(license, actor, "license.reinstated", reason, status=LicenseStatus.ACTIVE, suspended_at=None)


def revoke_license(*, tenant: Tenant, license_id: UUID, actor: Actor, reason: str = "") -> License:
    """Revoke a licence for good: from now on every agent under it is answered `license_revoked`.

    When this returns, no process accepts the licence any more. The agents' own states stay. Revoking twice is the
    same as once. Emits `license.revoked`. Raises NotFound, RevocationPending.
    """
    with transaction.atomic():
        return _revoke(_locked(tenant, license_id), actor, reason)


def archive_license(*, tenant: Tenant, license_id: UUID, actor: Actor, reason: str = "") -> License:
    """Revoke a licence, and leave it out of lists. Twice is the same as once. Raises NotFound, RevocationPending."""
    with transaction.atomic():
        license = _revoke(_locked(tenant, license_id), actor, reason)
        if license.archived_at is None:
            changes = apply_changes(license, {"archived_at": clock_of(tenant).now()})
            license.save(update_fields=["archived_at", "updated_at"])
            record_audit(
                tenant_id=tenant.id,
                actor=actor,
                action="license.archived",
                target=license,
                changes=changes,
                reason=fields.reason(reason),
            )
    return license


def _revoke(license: License, actor: Actor, reason: str) -> License:
    now = clock_of(license.tenant).now()
    return _move(license, actor, "license.revoked", reason, status=LicenseStatus.REVOKED, revoked_at=now)


def _locked(tenant: Tenant, license_id: UUID) -> License:
    licenses = License.objects.for_tenant(tenant).select_related("customer", "tenant")
    return licenses.select_for_update(of=("self",), no_key=True).get_or_raise(license_id)


def _move(license: License, actor: Actor, action: str, reason: str, *, status: LicenseStatus, **times: Any) -> License:
    """Change the state once; a repeat only tells Valkey again what the first call may not have been able to."""
    reason = fields.reason(reason)
    epoch = EpochKey(EpochKind.LICENSE, license.id)
    if license.status == status:
        republish(license.tenant_id, epoch)
        return license
    kept = "" if status is LicenseStatus.ACTIVE else reason
    changes = apply_changes(license, {"status": status, "status_reason": kept, **times})
    license.save(update_fields=["status", "status_reason", *times, "updated_at"])
    record_audit(
        tenant_id=license.tenant_id, actor=actor, action=action, target=license, changes=changes, reason=reason
    )
    emit_event(
        tenant_id=license.tenant_id,
        type=action,
        subject=license.public_id,
        data={
            "license": license.public_id,
            "customer": license.customer.public_id,
            "status": status,
            "reason": reason,
        },
    )
    bump_epochs(license.tenant_id, epoch)
    return license
