"""Agents' keys: made with an agent or beside its others, changed, and revoked.

Keys live on real time, also in a workspace whose clock was moved: they are credentials, not terms.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from msgspec import UNSET, UnsetType

from common.clock import real_clock
from common.crypto import KeyKind, mint_key
from common.epochs import EpochKey
from common.errors import Conflict
from licenses.domain.enums import AgentStatus
from licenses.models import Agent, AgentKey
from licenses.services.agent_states import refuse_if_archived
from tenants.domain.actors import Actor
from tenants.domain.enums import EpochKind, TenantMode
from tenants.models import Tenant
from tenants.services import fields
from tenants.services.auditing import record_audit
from tenants.services.changes import apply_changes, plain
from tenants.services.epochs import bump_epochs, republish
from tenants.services.outbox import emit_event

MAX_OVERLAP = 90 * 24 * 60 * 60


class CreatedAgentKey(NamedTuple):
    """A new key and its text, which is shown once."""

    key: AgentKey
    text: str

    def __repr__(self) -> str:
        return f"CreatedAgentKey({self.key!r})"


def create_agent_key(
    *,
    tenant: Tenant,
    agent_id: UUID,
    actor: Actor,
    overlap: int | None = None,
    expires_at: datetime | None = None,
    networks: Sequence[str] = (),
) -> CreatedAgentKey:
    """A further key for an agent, which keeps its id, its spend and its windows.

    `overlap` ends all earlier keys after so many seconds (0: at once), unless they end sooner; without it they
    stay. Raises NotFound, Invalid, Conflict `agent_revoked`, RevocationPending.
    """
    lasts = fields.optional_integer(overlap, "overlap", most=MAX_OVERLAP)
    with transaction.atomic():
        agent = Agent.objects.for_tenant(tenant).select_for_update(no_key=True).get_or_raise(agent_id)
        if agent.status == AgentStatus.REVOKED:
            raise Conflict("agent_revoked", "The agent is revoked for good; it gets no new key.")
        refuse_if_archived(agent, "The agent's life is over and it was put away; it gets no new key.")
        ending = [] if lasts is None else _end_living_keys(agent, real_clock().now() + timedelta(seconds=lasts))
        created = draft_agent_key(tenant, agent, expires_at=expires_at, networks=networks)
        created.key.save(force_insert=True)
        record_audit(
            tenant_id=tenant.id,
            actor=actor,
            action="agent_key.created",
            target=created.key,
            changes={
                "agent": [None, agent.public_id],
                "expires_at": [None, plain(created.key.expires_at)],
                "ends_earlier_keys": [None, [key.public_id for key in ending]],
            },
        )
        if ending:
            bump_epochs(tenant.id, *(_epoch(key) for key in ending))
    return created


def draft_agent_key(
    tenant: Tenant, agent: Agent, *, expires_at: datetime | None = None, networks: Sequence[str] = ()
) -> CreatedAgentKey:
    """Make a key; the caller stores and audits it. Raises Invalid."""
    end = fields.key_expiry(expires_at)
    minted = mint_key(KeyKind.AGENT, test=tenant.mode == TenantMode.TEST)
    key = AgentKey(
        tenant=tenant,
        agent=agent,
        key_id=minted.key_id,
        digest=minted.digest,
        pepper_id=minted.pepper_id,
        hint=minted.hint,
        networks=fields.networks(networks),
        expires_at=end,
    )
    return CreatedAgentKey(key, minted.text)


def revoke_agent_key(*, tenant: Tenant, agent_id: UUID, key_id: UUID, actor: Actor, reason: str = "") -> AgentKey:
    """Revoke a key for good: it is 401 in every process from the moment that this returns.

    Twice is the same as once. Emits `key.revoked`. Raises NotFound, RevocationPending.
    """
    reason = fields.reason(reason)
    with transaction.atomic():
        keys = AgentKey.objects.for_tenant(tenant).filter(agent_id=agent_id)
        keys = keys.select_related("agent__license__customer").select_for_update(of=("self",), no_key=True)
        key = keys.get_or_raise(key_id)
        if key.revoked_at is not None:
            republish(tenant.id, _epoch(key))
            return key
        changes = apply_changes(key, {"revoked_at": real_clock().now()})
        key.save(update_fields=["revoked_at", "updated_at"])
        record_audit(
            tenant_id=tenant.id, actor=actor, action="agent_key.revoked", target=key, changes=changes, reason=reason
        )
        emit_event(
            tenant_id=tenant.id,
            type="key.revoked",
            subject=key.public_id,
            data={
                "key": key.public_id,
                "kind": "agent",
                "agent": key.agent.public_id,
                "license": key.agent.license.public_id,
                "customer": key.agent.license.customer.public_id,
                "reason": reason,
            },
        )
        bump_epochs(tenant.id, _epoch(key))
    return key


def update_agent_key(
    *,
    tenant: Tenant,
    agent_id: UUID,
    key_id: UUID,
    actor: Actor,
    networks: Sequence[str] | UnsetType = UNSET,
    expires_at: datetime | UnsetType | None = UNSET,
) -> AgentKey:
    """Change from where a key may be used, or when it ends: both hold everywhere when this returns.

    Raises NotFound, Invalid, Conflict `key_revoked`, RevocationPending.
    """
    with transaction.atomic():
        keys = AgentKey.objects.for_tenant(tenant).filter(agent_id=agent_id).select_for_update(no_key=True)
        key = keys.get_or_raise(key_id)
        if key.revoked_at is not None:
            raise Conflict("key_revoked", "The key is revoked for good. Make a new one.")
        wanted = {
            "networks": UNSET if networks is UNSET else fields.networks(networks),
            "expires_at": UNSET if expires_at is UNSET else fields.key_expiry(expires_at),
        }
        if changes := apply_changes(key, wanted):
            key.save(update_fields=[*changes, "updated_at"])
            record_audit(tenant_id=tenant.id, actor=actor, action="agent_key.updated", target=key, changes=changes)
            bump_epochs(tenant.id, _epoch(key))
        else:
            republish(tenant.id, _epoch(key))
    return key


def _end_living_keys(agent: Agent, end: datetime) -> list[AgentKey]:
    """Bring the end of every key forward that would live longer."""
    longer = Q(expires_at__isnull=True) | Q(expires_at__gt=end)
    keys = AgentKey.objects.for_tenant(agent.tenant_id).filter(longer, agent=agent, revoked_at__isnull=True)
    ending = list(keys.order_by("id").select_for_update(no_key=True))
    for key in ending:
        key.expires_at = end
        key.save(update_fields=["expires_at", "updated_at"])
    return ending


def _epoch(key: AgentKey) -> EpochKey:
    return EpochKey(EpochKind.KEY, key.id)
