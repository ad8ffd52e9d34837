"""Agents below a licence: made within the plan's number, and changed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from msgspec import UNSET, UnsetType

from common.epochs import EpochKey
from common.errors import Conflict
from licenses.domain.enums import AgentKind, AgentStatus
from licenses.models import Agent
from licenses.selectors.licenses import carried_plans
from licenses.selectors.lookup import resolve_agent, resolve_license
from licenses.services.agent_drafts import (
    MAX_DEPTH,
    AgentBook,
    AgentReference,
    CreatedAgent,
    LicenseReference,
    draft_agent,
    store_agents,
)
from licenses.services.agent_places import Places, lock_licenses, takes_place
from licenses.services.agent_states import archive_agent, refuse_if_archived, resume_agent, revoke_agent, suspend_agent
from licenses.services.delegation import load_parent, refuse_excess
from licenses.services.grants import feature_codes
from tenants.domain.actors import Actor
from tenants.domain.enums import EpochKind
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services import fields
from tenants.services.auditing import record_audit
from tenants.services.changes import apply_changes
from tenants.services.epochs import bump_epochs, republish

__all__ = [
    "MAX_DEPTH",
    "CreatedAgent",
    "archive_agent",
    "create_agent",
    "resume_agent",
    "revoke_agent",
    "suspend_agent",
    "update_agent",
]


def create_agent(
    *,
    tenant: Tenant,
    actor: Actor,
    license: LicenseReference,
    name: str,
    kind: str = AgentKind.AGENT,
    parent_id: AgentReference | None = None,
    expires_at: datetime | None = None,
    features: Sequence[str] | None = None,
    rate_limits: Sequence[Mapping[str, Any]] = (),
    hold_limit: int | None = None,
    metadata: Mapping[str, Any] | None = None,
    spawned: bool = False,
) -> CreatedAgent:
    """Make an agent with a key, also under a licence that has expired, not begun or is suspended.

    With a parent it has at most what that has. `spawned` is when the parent itself asks: then the licence and the
    parent must hold, features must be granted, and the child's life ends with the parent's and the licence's.
    The plan's number of agents holds under parallel calls: the licence's row is locked while they are counted.
    Emits `agent.created`. Raises Invalid, Forbidden `agent_limit_reached` (with `limit` and `current`),
    `exceeds_parent`, `agent_depth_reached` (with `limit`) or, spawned, the code of what stands against the licence;
    Conflict `license_revoked`, `agent_revoked` or `agent_archived` (the parent).
    """
    with transaction.atomic():
        draft = draft_agent(
            AgentBook(tenant, [license], [parent_id]),
            license=license,
            name=name,
            kind=kind,
            parent_id=parent_id,
            expires_at=expires_at,
            features=features,
            rate_limits=rate_limits,
            hold_limit=hold_limit,
            metadata=metadata,
            spawned=spawned,
        )
        [created] = store_agents(tenant, actor, [draft])
    return created


def update_agent(
    *,
    tenant: Tenant,
    agent_id: UUID,
    actor: Actor,
    name: str | UnsetType = UNSET,
    kind: str | UnsetType = UNSET,
    expires_at: datetime | UnsetType | None = UNSET,
    features: Sequence[str] | UnsetType | None = UNSET,
    rate_limits: Sequence[Mapping[str, Any]] | UnsetType = UNSET,
    hold_limit: int | UnsetType | None = UNSET,
    metadata: Mapping[str, Any] | UnsetType | None = UNSET,
    license: LicenseReference | UnsetType = UNSET,
    parent_id: AgentReference | UnsetType | None = UNSET,
) -> Agent:
    """Change what is given; licence and parent may be sent again but never change (Invalid `immutable`).

    An expired agent whose expiry is put off lives again with those below it, and they must fit into the plan's number.
    A child is given no more than its parent has; what a parent loses its children lose with it, though nothing of
    theirs is written.
    Raises NotFound, Invalid, Forbidden `agent_limit_reached` or `exceeds_parent`, Conflict `agent_revoked` or
    `agent_archived`, RevocationPending.
    """
    wanted: dict[str, Any] = {
        "name": UNSET if name is UNSET else fields.text(name, "name"),
        "kind": UNSET if kind is UNSET else fields.member(kind, "kind", AgentKind),
        "expires_at": UNSET if expires_at is UNSET else fields.optional_instant(expires_at, "expires_at"),
        "rate_limits": UNSET if rate_limits is UNSET else fields.rate_limits(rate_limits),
        "hold_limit": UNSET if hold_limit is UNSET else fields.optional_integer(hold_limit, "hold_limit"),
        "metadata": UNSET if metadata is UNSET else fields.metadata(metadata),
    }
    with transaction.atomic():
        mine = Agent.objects.for_tenant(tenant)
        [holder] = lock_licenses(tenant, [mine.get_or_raise(agent_id).license_id]).values()  # first, as everybody
        agent = mine.select_for_update(no_key=True).get_or_raise(agent_id)
        agent.license = holder
        if agent.status == AgentStatus.REVOKED:
            raise Conflict("agent_revoked", "The agent is revoked for good and does not change any more.")
        refuse_if_archived(agent, "The agent's life is over and it was put away; it does not change any more.")
        if license is not UNSET:
            fields.immutable(resolve_license(tenant, license).id, agent.license_id, "license")
        if parent_id is not UNSET:
            parent = None if parent_id is None else resolve_agent(tenant, parent_id, field="parent_id").id
            fields.immutable(parent, agent.parent_id, "parent_id")
        if features is not UNSET:
            product = carried_plans(holder).product
            wanted["features"] = None if features is None else feature_codes(product, features)
        now = clock_of(tenant).now()
        if agent.parent_id is not None:
            refuse_excess(
                load_parent(tenant.id, agent.parent_id).facts,
                at=now,
                features=_given(wanted.get("features")),
                rate_limits=_given(wanted["rate_limits"]) or (),
                expires_at=_given(wanted["expires_at"]),
            )
        counted_before = takes_place(agent, now)
        changes = apply_changes(agent, wanted)
        if takes_place(agent, now) and not counted_before:
            Places(tenant, [holder], now).take_again(agent)
        if changes:
            agent.save(update_fields=[*changes, "updated_at"])
            record_audit(tenant_id=tenant.id, actor=actor, action="agent.updated", target=agent, changes=changes)
            bump_epochs(tenant.id, EpochKey(EpochKind.AGENT, agent.id))
        else:
            republish(tenant.id, EpochKey(EpochKind.AGENT, agent.id))
    return agent


def _given(value: Any) -> Any:
    return None if value is UNSET else value
