"""Keys of vendors' backends and of shipped software: made, changed, revoked."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from msgspec import UNSET, UnsetType

from tenants.domain.actors import Actor
from tenants.domain.enums import ApiKeyKind
from tenants.models import ApiKey, Tenant


class CreatedApiKey(NamedTuple):
    """A new key and its text, which is shown once."""

    api_key: ApiKey
    text: str


def create_api_key(
    *,
    tenant: Tenant,
    actor: Actor,
    name: str,
    kind: str = ApiKeyKind.SECRET,
    scopes: Sequence[str] = (),
    networks: Sequence[str] = (),
    expires_at: datetime | None = None,
) -> CreatedApiKey:
    """Make a key (`pm_sk_` or `pm_pk_`). Raises Invalid."""
    raise NotImplementedError


def update_api_key(
    *,
    tenant: Tenant,
    api_key_id: UUID,
    actor: Actor,
    name: str | UnsetType = UNSET,
    scopes: Sequence[str] | UnsetType = UNSET,
    networks: Sequence[str] | UnsetType = UNSET,
    expires_at: datetime | None | UnsetType = UNSET,
    kind: str | UnsetType = UNSET,
) -> ApiKey:
    """Change what is given; the kind stays. Raises NotFound, Invalid, Conflict `key_revoked`."""
    raise NotImplementedError


def revoke_api_key(*, tenant: Tenant, api_key_id: UUID, actor: Actor, reason: str = "") -> ApiKey:
    """Revoke for good; twice is the same as once. Emits `key.revoked`. Raises NotFound, RevocationPending."""
    raise NotImplementedError
