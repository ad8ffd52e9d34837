"""A licence's states: active, suspended (and back), revoked for good, put away."""

from uuid import UUID

from licenses.models import License
from tenants.domain.actors import Actor
from tenants.models import Tenant


def suspend_license(*, tenant: Tenant, license_id: UUID, actor: Actor, reason: str = "") -> License:
    """Answer `license_suspended` from now on. Raises NotFound, Conflict `license_revoked`, RevocationPending."""
    raise NotImplementedError


def reinstate_license(*, tenant: Tenant, license_id: UUID, actor: Actor, reason: str = "") -> License:
    """End a suspension. Raises NotFound, Conflict `license_revoked`, RevocationPending."""
    raise NotImplementedError


def revoke_license(*, tenant: Tenant, license_id: UUID, actor: Actor, reason: str = "") -> License:
    """Revoke for good; twice is the same as once. Raises NotFound, RevocationPending."""
    raise NotImplementedError


def archive_license(*, tenant: Tenant, license_id: UUID, actor: Actor, reason: str = "") -> License:
    """Revoke, and leave it out of lists. Raises NotFound, RevocationPending."""
    raise NotImplementedError
