"""Licences that change hands: whose quotas count what."""

from uuid import UUID

from django.db import transaction

from licenses.models import License
from licenses.services import transferring
from licenses.services.issuing import CustomerReference
from metering.services.detaching import CarriedKeys
from tenants.domain.actors import Actor
from tenants.models import Tenant
from tenants.services.locks import lock_configuration


def transfer_license_with_terms(
    *, tenant: Tenant, license_id: UUID, actor: Actor, customer: CustomerReference, reason: str = ""
) -> License:
    """Hand a licence over to another customer, with what its quotas have counted.

    What was used before stays in the reports and quotas of the customer who had the licence then; that customer's
    quotas that only this licence's plans brought end. Whoever holds the licence when a period ends pays for all of it.
    Raises what `licenses.services.transferring.transfer_license` does.
    """
    with transaction.atomic():
        lock_configuration(tenant.id)
        before = License.objects.for_tenant(tenant).get_or_raise(license_id)
        carried = CarriedKeys(tenant, license_id=before.id, customer_id=before.customer_id)
        license = transferring.transfer_license(
            tenant=tenant, license_id=license_id, actor=actor, customer=customer, reason=reason
        )
        if license.customer_id != before.customer_id:
            carried.detach_vanished()
    return license
