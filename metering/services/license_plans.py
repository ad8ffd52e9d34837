"""Licences whose plans change: what their quotas counted is let go of where it no longer applies."""

from typing import Any
from uuid import UUID

from django.db import transaction

from common.epochs import EpochKey
from licenses.models import License
from licenses.services import issuing, license_states
from metering.services.detaching import CarriedKeys, detach_anchored
from metering.services.moving_top_ups import FollowingTopUps
from metering.services.taking_up import take_up_balances
from tenants.domain.actors import Actor
from tenants.domain.enums import EpochKind
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services.epochs import bump_epochs
from tenants.services.locks import lock_configuration


def update_license_with_terms(*, tenant: Tenant, license_id: UUID, actor: Actor, **changes: Any) -> License:
    """Change a licence (`changes`: what `licenses.services.issuing.update_license` takes), its plans included.

    Usage of the running periods counts under the new plans' quotas, too; those of plans that are gone let go, and
    their top-ups go over to the quotas of the new plans that count the same, with what they have covered. A start
    that moves gives quotas that are anchored to it other periods. Raises what `update_license` does.
    """
    with transaction.atomic():
        lock_configuration(tenant.id)
        before = License.objects.for_tenant(tenant).get_or_raise(license_id)
        carried = CarriedKeys(tenant, license_id=before.id, customer_id=before.customer_id)
        top_ups = FollowingTopUps(tenant, license_id=before.id, customer_id=before.customer_id)
        license = issuing.update_license(tenant=tenant, license_id=license_id, actor=actor, **changes)
        carried.detach_vanished()
        if changes.keys() & {"plan", "add_ons"}:
            top_ups.follow()
        if license.starts_at != before.starts_at:
            detach_anchored(tenant, license.id)
        if changes.keys() & {"plan", "add_ons"}:
            take_up_balances(tenant, license.id, at=clock_of(tenant).now())
            # Quotas that plans put on the customer hold for its other licences, too.
            bump_epochs(tenant.id, EpochKey(EpochKind.CUSTOMER, license.customer_id))
    return license


def archive_license_with_terms(*, tenant: Tenant, license_id: UUID, actor: Actor, reason: str = "") -> License:
    """Archive a licence: quotas that its plans put on the customer end, unless another licence brings them too.

    Raises what `licenses.services.license_states.archive_license` does.
    """
    with transaction.atomic():
        lock_configuration(tenant.id)
        license = License.objects.for_tenant(tenant).get_or_raise(license_id)
        carried = CarriedKeys(tenant, license_id=license.id, customer_id=license.customer_id)
        license = license_states.archive_license(tenant=tenant, license_id=license_id, actor=actor, reason=reason)
        carried.detach_vanished()
        bump_epochs(tenant.id, EpochKey(EpochKind.CUSTOMER, license.customer_id))
    return license
