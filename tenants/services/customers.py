"""Customers of a vendor: made, changed, suspended, put away."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from msgspec import UNSET, UnsetType

from common.epochs import EpochKey
from common.errors import Conflict
from tenants.domain.actors import Actor
from tenants.domain.enums import CustomerStatus, EpochKind
from tenants.models import Customer, Tenant
from tenants.services import fields
from tenants.services.auditing import record_audit
from tenants.services.changes import apply_changes, conflict_if_taken
from tenants.services.epochs import bump_epochs, republish

_TAKEN = ("customer_external_id", "external_id_taken", "There is a customer with this external_id already.")


def create_customer(
    *,
    tenant: Tenant,
    actor: Actor,
    external_id: str,
    name: str = "",
    email: str = "",
    rate_limits: Sequence[Mapping[str, Any]] = (),
    metadata: Mapping[str, Any] | None = None,
) -> Customer:
    """Make a customer. Raises Invalid, Conflict `external_id_taken`."""
    customer = Customer(
        tenant=tenant,
        external_id=fields.external_id(external_id),
        name=fields.text(name, "name", blank=True),
        email=fields.email(email),
        rate_limits=fields.rate_limits(rate_limits),
        metadata=fields.metadata(metadata),
    )
    with transaction.atomic(), conflict_if_taken(*_TAKEN):
        customer.save(force_insert=True)
        record_audit(
            tenant_id=tenant.id,
            actor=actor,
            action="customer.created",
            target=customer,
            changes={"external_id": [None, customer.external_id], "name": [None, customer.name]},
        )
    return customer


def get_or_create_customer(
    *, tenant: Tenant, actor: Actor, external_id: str, name: str = "", email: str = ""
) -> tuple[Customer, bool]:
    """The customer of this external id, made if there is none, and whether it was made.

    Safe under parallel calls: whoever comes second waits for the first and finds its customer. One that exists
    is left as it is, whatever name is given.
    """
    known = Customer.objects.for_tenant(tenant).filter(external_id=fields.external_id(external_id))
    if (customer := known.first()) is not None:
        return customer, False
    try:
        created = create_customer(tenant=tenant, actor=actor, external_id=external_id, name=name, email=email)
    except Conflict:
        return known.get(), False
    return created, True


def update_customer(
    *,
    tenant: Tenant,
    customer_id: UUID,
    actor: Actor,
    external_id: str | UnsetType = UNSET,
    name: str | UnsetType = UNSET,
    email: str | UnsetType = UNSET,
    rate_limits: Sequence[Mapping[str, Any]] | UnsetType = UNSET,
    metadata: Mapping[str, Any] | UnsetType | None = UNSET,
) -> Customer:
    """Change what is given. Raises NotFound, Invalid, Conflict `external_id_taken` or `customer_archived`."""
    wanted = {
        "external_id": UNSET if external_id is UNSET else fields.external_id(external_id),
        "name": UNSET if name is UNSET else fields.text(name, "name", blank=True),
        "email": UNSET if email is UNSET else fields.email(email),
        "rate_limits": UNSET if rate_limits is UNSET else fields.rate_limits(rate_limits),
        "metadata": UNSET if metadata is UNSET else fields.metadata(metadata),
    }
    with transaction.atomic(), conflict_if_taken(*_TAKEN):
        customer = _locked(tenant, customer_id)
        if customer.status == CustomerStatus.ARCHIVED:
            raise Conflict("customer_archived", "The customer is archived. Reinstate it to change it.")
        if changes := apply_changes(customer, wanted):
            customer.save()
            record_audit(tenant_id=tenant.id, actor=actor, action="customer.updated", target=customer, changes=changes)
            bump_epochs(tenant.id, _epoch(customer))
        else:
            republish(tenant.id, _epoch(customer))
    return customer


def suspend_customer(*, tenant: Tenant, customer_id: UUID, actor: Actor, reason: str = "") -> Customer:
    """Answer `customer_suspended` to everything below this customer, from the moment that this returns.

    Suspending twice is the same as once. Raises NotFound, Conflict `customer_archived`, RevocationPending.
    """
    with transaction.atomic():
        customer = _locked(tenant, customer_id)
        if customer.status == CustomerStatus.ARCHIVED:
            raise Conflict("customer_archived", "The customer is archived; only an active one can be suspended.")
        return _move(customer, CustomerStatus.SUSPENDED, "customer.suspended", actor, reason)


def reinstate_customer(*, tenant: Tenant, customer_id: UUID, actor: Actor, reason: str = "") -> Customer:
    """End a suspension, or bring an archived customer back. Raises NotFound, RevocationPending."""
    with transaction.atomic():
        return _move(_locked(tenant, customer_id), CustomerStatus.ACTIVE, "customer.reinstated", actor, reason)


def archive_customer(*, tenant: Tenant, customer_id: UUID, actor: Actor, reason: str = "") -> Customer:
    """Put a customer away: nothing new is issued to it, and its licences no longer hold until it is reinstated.

    Raises NotFound, RevocationPending.
    """
    with transaction.atomic():
        return _move(_locked(tenant, customer_id), CustomerStatus.ARCHIVED, "customer.archived", actor, reason)


def _locked(tenant: Tenant, customer_id: UUID) -> Customer:
    return Customer.objects.for_tenant(tenant).select_for_update(no_key=True).get_or_raise(customer_id)


def _move(customer: Customer, status: CustomerStatus, action: str, actor: Actor, reason: str) -> Customer:
    reason = fields.reason(reason)
    changes = apply_changes(customer, {"status": status})
    if not changes:
        republish(customer.tenant_id, _epoch(customer))
        return customer
    customer.save(update_fields=["status", "updated_at"])
    record_audit(
        tenant_id=customer.tenant_id, actor=actor, action=action, target=customer, changes=changes, reason=reason
    )
    bump_epochs(customer.tenant_id, _epoch(customer))
    return customer


def _epoch(customer: Customer) -> EpochKey:
    return EpochKey(EpochKind.CUSTOMER, customer.id)
