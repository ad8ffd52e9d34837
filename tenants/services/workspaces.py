"""Workspaces: made with their owner, suspended by operators, and (test ones) moved in time."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType

from tenants.domain.actors import Actor
from tenants.domain.enums import TenantMode
from tenants.models import Tenant, User


def create_workspace(
    *,
    actor: Actor,
    name: str,
    slug: str,
    owner: User | None = None,
    timezone: str = "UTC",
    currency: str = "USD",
    mode: TenantMode = TenantMode.LIVE,
    live: Tenant | None = None,
) -> Tenant:
    """Make a workspace; a test one may belong to a live one. Raises Invalid, Conflict `slug_taken`."""
    raise NotImplementedError


def update_workspace(
    *,
    tenant_id: UUID,
    actor: Actor,
    name: str | UnsetType = UNSET,
    rate_limits: Sequence[Mapping[str, Any]] | UnsetType = UNSET,
) -> Tenant:
    """Change what is given."""
    raise NotImplementedError


def suspend_tenant(*, tenant_id: UUID, actor: Actor, reason: str = "") -> Tenant:
    """Answer `tenant_suspended` on both doors."""
    raise NotImplementedError


def reinstate_tenant(*, tenant_id: UUID, actor: Actor, reason: str = "") -> Tenant:
    """End a suspension."""
    raise NotImplementedError


def move_clock(*, tenant_id: UUID, actor: Actor, by: timedelta) -> Tenant:
    """Move a test workspace's clock forward. Raises Invalid, Forbidden `not_a_test_workspace`."""
    raise NotImplementedError
