"""Agents' keys: further ones with an overlap, and their revocation."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from licenses.models import AgentKey
from tenants.domain.actors import Actor
from tenants.models import Tenant


class CreatedAgentKey(NamedTuple):
    """A new key and its text, which is shown once."""

    key: AgentKey
    text: str


def create_agent_key(
    *,
    tenant: Tenant,
    agent_id: UUID,
    actor: Actor,
    overlap: int | None = None,
    expires_at: datetime | None = None,
    networks: Sequence[str] = (),
) -> CreatedAgentKey:
    """A further key. `overlap` ends all earlier keys after so many seconds; without it they stay."""
    raise NotImplementedError


def revoke_agent_key(*, tenant: Tenant, agent_id: UUID, key_id: UUID, actor: Actor, reason: str = "") -> AgentKey:
    """Revoke for good; twice is the same as once. Emits `key.revoked`."""
    raise NotImplementedError
