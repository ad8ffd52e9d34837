"""Licences: issued to a customer, changed, and given a new key."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import UNSET, UnsetType

from licenses.domain.enums import LicenseKind
from licenses.models import License, Plan
from tenants.domain.actors import Actor
from tenants.models import Customer, Tenant

#: A customer itself, its id (UUID or `cus_...`), its external id, or `{"external_id", "name"}` to be made if need be.
CustomerReference = Customer | UUID | str | Mapping[str, Any]
PlanReference = Plan | UUID | str


class IssuedLicense(NamedTuple):
    """A licence and the text of its key, which is shown once; None for a licence that is only carried signed."""

    license: License
    license_key: str | None


def issue_license(
    *,
    tenant: Tenant,
    actor: Actor,
    customer: CustomerReference,
    plan: PlanReference,
    add_ons: Sequence[PlanReference] = (),
    kind: str = LicenseKind.BOTH,
    starts_at: datetime | None = None,
    expires_at: datetime | None = None,
    grants: Sequence[Mapping[str, Any]] = (),
    rate_limits: Sequence[Mapping[str, Any]] = (),
    metadata: Mapping[str, Any] | None = None,
) -> IssuedLicense:
    """Issue a licence. It starts now and ends with the plan's term unless times are given; a past expiry is history.

    `grants` are `[{"feature": code or id, "value", "starts_at", "expires_at"}]`. Emits `license.issued`.
    Raises Invalid, Conflict `customer_archived`.
    """
    raise NotImplementedError


def update_license(
    *,
    tenant: Tenant,
    license_id: UUID,
    actor: Actor,
    plan: PlanReference | UnsetType = UNSET,
    add_ons: Sequence[PlanReference] | UnsetType = UNSET,
    kind: str | UnsetType = UNSET,
    starts_at: datetime | UnsetType = UNSET,
    expires_at: datetime | None | UnsetType = UNSET,
    grants: Sequence[Mapping[str, Any]] | UnsetType = UNSET,
    rate_limits: Sequence[Mapping[str, Any]] | UnsetType = UNSET,
    metadata: Mapping[str, Any] | None | UnsetType = UNSET,
    customer: CustomerReference | UnsetType = UNSET,
) -> License:
    """Change what is given; lists replace lists, an expiry of None is perpetual. The customer stays (`immutable`).

    A change of plan or add-ons takes the configuration lock; `metering` wraps that case.
    Raises NotFound, Invalid, Conflict `license_archived`, RevocationPending.
    """
    raise NotImplementedError


def rotate_license_key(*, tenant: Tenant, license_id: UUID, actor: Actor, reason: str = "") -> IssuedLicense:
    """A new licence key; the old one is unknown from now on. Raises NotFound, Conflict, RevocationPending."""
    raise NotImplementedError
