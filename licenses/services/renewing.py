"""Licences that go on: renewed by their plan's term, or until a given time."""

from datetime import datetime
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import transaction

from common.clock import rfc3339
from common.epochs import EpochKey
from common.errors import Conflict, Invalid
from licenses.domain.license_changes import LicenseChange
from licenses.domain.license_times import Term, add_term, renewed_until
from licenses.models import License, Plan
from licenses.selectors.licenses import carried_plans
from licenses.services.license_rules import refuse_if_forbidden
from tenants.domain.actors import Actor
from tenants.domain.enums import EpochKind
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services import fields
from tenants.services.auditing import record_audit
from tenants.services.changes import apply_changes, plain
from tenants.services.epochs import bump_epochs
from tenants.services.outbox import emit_event

FROM_EXPIRY: Final = "expiry"
FROM_NOW: Final = "now"


def renew_license(
    *,
    tenant: Tenant,
    license_id: UUID,
    actor: Actor,
    start_from: str = FROM_EXPIRY,
    expires_at: datetime | None = None,
    reason: str = "",
) -> License:
    """Put a licence's expiry off by its base plan's term, counted from the expiry or from now, or until `expires_at`.

    A licence that has expired holds again if its new expiry lies ahead; a suspended one stays suspended. Each call
    renews once more: repeat a call with its Idempotency-Key. Emits `license.renewed`.
    Raises NotFound, Invalid, Conflict `license_revoked`, `license_perpetual` or `plan_perpetual`, RevocationPending.
    """
    reason = fields.reason(reason)
    given = fields.optional_instant(expires_at, "expires_at")
    if start_from not in (FROM_EXPIRY, FROM_NOW):
        raise Invalid.field("from", "invalid", f"This is one of {FROM_EXPIRY}, {FROM_NOW}.")
    if given is not None and start_from != FROM_EXPIRY:
        raise Invalid.field("from", "not_both", "Say from when the term counts, or when it ends.")
    with transaction.atomic():
        licenses = License.objects.for_tenant(tenant).select_related("customer")
        license = licenses.select_for_update(of=("self",), no_key=True).get_or_raise(license_id)
        refuse_if_forbidden(license, LicenseChange.RENEW)
        before = license.expires_at
        if before is None:
            raise Conflict("license_perpetual", "The license never expires: there is nothing to renew.")
        plan = carried_plans(license).base
        after = given or _next_expiry(tenant, license, before, plan, from_now=start_from == FROM_NOW)
        if after <= before:
            detail = f"A renewed license ends later than before, {rfc3339(before)}; this would be {rfc3339(after)}."
            raise Invalid.field("expires_at" if given else "from", "not_later", detail)
        changes = apply_changes(license, {"expires_at": after})
        license.expired_noted_at = license.expiring_noted_days = None  # the new expiry is to be told of in its turn
        license.save(update_fields=["expires_at", "expired_noted_at", "expiring_noted_days", "updated_at"])
        record_audit(
            tenant_id=tenant.id, actor=actor, action="license.renewed", target=license, changes=changes, reason=reason
        )
        emit_event(
            tenant_id=tenant.id,
            type="license.renewed",
            subject=license.public_id,
            data={
                "license": license.public_id,
                "customer": license.customer.public_id,
                "plan": plan.public_id,
                "expires_at": plain(after),
                "previous_expires_at": plain(before),
                "reason": reason,
            },
        )
        bump_epochs(tenant.id, EpochKey(EpochKind.LICENSE, license.id))
    return license


def _next_expiry(tenant: Tenant, license: License, before: datetime, plan: Plan, *, from_now: bool) -> datetime:
    if plan.term is None:
        detail = (
            f"The plan {plan.code} has no term to renew by. Give expires_at, or change the license's expiry to null."
        )
        raise Conflict("plan_perpetual", detail)
    term, zone = Term(**plan.term), ZoneInfo(tenant.timezone)
    try:
        if from_now:
            # One that has not begun yet lasts its term from when it does.
            return add_term(max(clock_of(tenant).now(), license.starts_at), term, zone=zone)
        return renewed_until(license.starts_at, before, term, zone=zone)
    except ValueError:
        detail = "The plan's term would end beyond the year 9999. Give an expiry."
        raise Invalid.field("from", "invalid", detail) from None
