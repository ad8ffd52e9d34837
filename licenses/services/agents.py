"""Agents below a licence: made within the plan's number, changed, suspended, revoked with all below them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import UNSET, UnsetType

from licenses.domain.enums import AgentKind
from licenses.models import Agent, AgentKey, License
from tenants.domain.actors import Actor
from tenants.models import Tenant

MAX_DEPTH = 8


class CreatedAgent(NamedTuple):
    """A new agent and the text of its first key, which is shown once."""

    agent: Agent
    key_text: str
    key: AgentKey


def create_agent(
    *,
    tenant: Tenant,
    actor: Actor,
    license: License | UUID | str,
    name: str,
    kind: str = AgentKind.AGENT,
    parent_id: Agent | UUID | str | None = None,
    expires_at: datetime | None = None,
    features: Sequence[str] | None = None,
    rate_limits: Sequence[Mapping[str, Any]] = (),
    metadata: Mapping[str, Any] | None = None,
    spawned: bool = False,
) -> CreatedAgent:
    """Make an agent with a key. Raises Invalid, Forbidden `agent_limit_reached`, Conflict `license_revoked`."""
    raise NotImplementedError


def update_agent(
    *,
    tenant: Tenant,
    agent_id: UUID,
    actor: Actor,
    name: str | UnsetType = UNSET,
    kind: str | UnsetType = UNSET,
    expires_at: datetime | None | UnsetType = UNSET,
    features: Sequence[str] | None | UnsetType = UNSET,
    rate_limits: Sequence[Mapping[str, Any]] | UnsetType = UNSET,
    metadata: Mapping[str, Any] | None | UnsetType = UNSET,
    license: License | UUID | str | UnsetType = UNSET,
    parent_id: Agent | UUID | str | None | UnsetType = UNSET,
) -> Agent:
    """Change what is given; licence and parent stay (`immutable`)."""
    raise NotImplementedError


def suspend_agent(*, tenant: Tenant, agent_id: UUID, actor: Actor, reason: str = "") -> Agent:
    """Answer `agent_suspended`, and `parent_agent_inactive` to those below."""
    raise NotImplementedError


def resume_agent(*, tenant: Tenant, agent_id: UUID, actor: Actor, reason: str = "") -> Agent:
    """End a suspension. Raises Conflict `agent_revoked`."""
    raise NotImplementedError


def revoke_agent(*, tenant: Tenant, agent_id: UUID, actor: Actor, reason: str = "") -> Agent:
    """Revoke the agent and all below it for good: their keys are dead."""
    raise NotImplementedError


def archive_agent(*, tenant: Tenant, agent_id: UUID, actor: Actor, reason: str = "") -> Agent:
    """Revoke, and leave it out of lists."""
    raise NotImplementedError
