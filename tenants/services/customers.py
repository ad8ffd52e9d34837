"""Customers of a vendor: made, changed, suspended, put away."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType

from tenants.domain.actors import Actor
from tenants.models import Customer, Tenant


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
    raise NotImplementedError


def get_or_create_customer(
    *, tenant: Tenant, actor: Actor, external_id: str, name: str = "", email: str = ""
) -> tuple[Customer, bool]:
    """The customer of this external id, made if there is none, and whether it was made; safe under parallel calls."""
    raise NotImplementedError


def update_customer(
    *,
    tenant: Tenant,
    customer_id: UUID,
    actor: Actor,
    external_id: str | UnsetType = UNSET,
    name: str | UnsetType = UNSET,
    email: str | UnsetType = UNSET,
    rate_limits: Sequence[Mapping[str, Any]] | UnsetType = UNSET,
    metadata: Mapping[str, Any] | None | UnsetType = UNSET,
) -> Customer:
    """Change what is given. Raises NotFound, Invalid, Conflict `external_id_taken` or `customer_archived`."""
    raise NotImplementedError


def suspend_customer(*, tenant: Tenant, customer_id: UUID, actor: Actor, reason: str = "") -> Customer:
    """Answer `customer_suspended` to everything below this customer. Raises NotFound, Conflict, RevocationPending."""
    raise NotImplementedError


def reinstate_customer(*, tenant: Tenant, customer_id: UUID, actor: Actor, reason: str = "") -> Customer:
    """End a suspension or bring an archived customer back. Raises NotFound, RevocationPending."""
    raise NotImplementedError


def archive_customer(*, tenant: Tenant, customer_id: UUID, actor: Actor, reason: str = "") -> Customer:
    """Put a customer away: nothing new is made for it, and its licences no longer hold."""
    raise NotImplementedError
