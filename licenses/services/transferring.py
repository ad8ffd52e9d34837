"""Licences that change hands. What this does to quotas and bills is metering's, which wraps it."""

from uuid import UUID

from django.db import transaction

from common.epochs import EpochKey
from licenses.domain.license_changes import LicenseChange
from licenses.models import License, LicenseTransfer
from licenses.services.issuing import CustomerReference, find_holder
from licenses.services.license_rules import refuse_if_forbidden
from tenants.domain.actors import Actor
from tenants.domain.enums import EpochKind
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services import fields
from tenants.services.auditing import record_audit
from tenants.services.epochs import bump_epochs, republish
from tenants.services.locks import lock_configuration


def transfer_license(
    *, tenant: Tenant, license_id: UUID, actor: Actor, customer: CustomerReference, reason: str = ""
) -> License:
    """Hand a licence with its agents, keys and usage over to another customer, who is made if need be.

    From the moment that this returns everything below the licence is the new customer's, and stands and falls with it.
    To the one who holds it already is no change. Takes the configuration lock: the customer's quotas count
    other events from now on. Raises NotFound, Invalid, Conflict `license_revoked` or `customer_archived`,
    RevocationPending.
    """
    reason = fields.reason(reason)
    with transaction.atomic():
        lock_configuration(tenant.id)
        licenses = License.objects.for_tenant(tenant).select_related("customer")
        license = licenses.select_for_update(of=("self",), no_key=True).get_or_raise(license_id)
        refuse_if_forbidden(license, LicenseChange.TRANSFER)
        giver, taker = license.customer, find_holder(tenant, actor, customer)
        keys = [
            EpochKey(EpochKind.LICENSE, license.id),
            # Quotas that the licence's plans put on a customer hold for its other licences, too.
            EpochKey(EpochKind.CUSTOMER, giver.id),
            EpochKey(EpochKind.CUSTOMER, taker.id),
        ]
        if giver == taker:
            republish(tenant.id, *keys)
            return license
        license.customer = taker
        license.save(update_fields=["customer", "updated_at"])
        LicenseTransfer.objects.create(
            tenant=tenant, license=license, giver=giver, taker=taker, at=clock_of(tenant).now()
        )
        record_audit(
            tenant_id=tenant.id,
            actor=actor,
            action="license.transferred",
            target=license,
            changes={"customer": [giver.public_id, taker.public_id]},
            reason=reason,
        )
        bump_epochs(tenant.id, *keys)
    return license
