"""An agent's states: active, suspended (and back), revoked for good with all below it, put away."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from common.clock import real_clock
from common.epochs import EpochKey
from common.errors import Conflict
from licenses.domain.enums import AgentStatus
from licenses.models import Agent, License
from licenses.services.agent_events import emit_agent_event, emit_agent_events
from tenants.domain.actors import Actor
from tenants.domain.enums import EpochKind
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services import fields
from tenants.services.auditing import record_audit
from tenants.services.changes import apply_changes
from tenants.services.epochs import bump_epochs, republish

PARENT_REVOKED = "An agent above it was revoked."


def suspend_agent(*, tenant: Tenant, agent_id: UUID, actor: Actor, reason: str = "") -> Agent:
    """Answer `agent_suspended` to it and `parent_agent_inactive` to those below, from the moment that this returns.

    Suspending twice is the same as once. Emits `agent.suspended`.
    Raises NotFound, Conflict `agent_revoked`, RevocationPending.
    """
    with transaction.atomic():
        agent = _locked(tenant, agent_id)
        _refuse_if_revoked(agent, "suspended")
        now = clock_of(tenant).now()
        return _move(agent, actor, "agent.suspended", reason, status=AgentStatus.SUSPENDED, suspended_at=now)


def resume_agent(*, tenant: Tenant, agent_id: UUID, actor: Actor, reason: str = "") -> Agent:
    """End a suspension and a throttle; an active agent without one stays as it is. Emits `agent.resumed`.

    Raises NotFound, Conflict `agent_revoked`, RevocationPending.
    """
    with transaction.atomic():
        agent = _locked(tenant, agent_id)
        _refuse_if_revoked(agent, "resumed")
        return _move(agent, actor, "agent.resumed", reason, status=AgentStatus.ACTIVE, suspended_at=None, throttle=None)


def lift_suspension(*, tenant: Tenant, agent_id: UUID, actor: Actor, reason: str = "") -> Agent:
    """End a suspension and nothing else: a throttle stays. Emits `agent.resumed`; an active agent stays as it is.

    Raises NotFound, Conflict `agent_revoked` or `agent_archived`, RevocationPending.
    """
    with transaction.atomic():
        agent = _locked(tenant, agent_id)
        _refuse_if_revoked(agent, "resumed")
        if agent.status == AgentStatus.ACTIVE:
            republish(agent.tenant_id, EpochKey(EpochKind.AGENT, agent.id))
            return agent
        return _move(agent, actor, "agent.resumed", reason, status=AgentStatus.ACTIVE, suspended_at=None)


def revoke_agent(*, tenant: Tenant, agent_id: UUID, actor: Actor, reason: str = "") -> Agent:
    """Revoke an agent and all below it for good: their keys are 401 in every process when this returns.

    Twice is the same as once. Emits `agent.revoked` for each that was not revoked before.
    Raises NotFound, RevocationPending.
    """
    with transaction.atomic():
        return _revoke_tree(tenant, agent_id, actor, reason)


def archive_agent(*, tenant: Tenant, agent_id: UUID, actor: Actor, reason: str = "") -> Agent:
    """Revoke an agent and all below it, and leave it out of lists. Raises NotFound, RevocationPending."""
    with transaction.atomic():
        agent = _revoke_tree(tenant, agent_id, actor, reason)
        if agent.archived_at is None:
            changes = apply_changes(agent, {"archived_at": clock_of(tenant).now()})
            agent.save(update_fields=["archived_at", "updated_at"])
            record_audit(
                tenant_id=tenant.id,
                actor=actor,
                action="agent.archived",
                target=agent,
                changes=changes,
                reason=fields.reason(reason),
            )
    return agent


def _revoke_tree(tenant: Tenant, agent_id: UUID, actor: Actor, reason: str) -> Agent:
    mine = Agent.objects.for_tenant(tenant)
    # The licence first, as whoever makes an agent: none can appear below while the tree is being revoked.
    holder = License.objects.for_tenant(tenant).select_for_update(no_key=True)
    holder.get(pk=mine.get_or_raise(agent_id).license_id)
    agent = _locked(tenant, agent_id)
    if agent.status != AgentStatus.REVOKED:
        _revoke_below(agent, actor, clock_of(tenant).now())
    now = clock_of(tenant).now()
    return _move(agent, actor, "agent.revoked", reason, status=AgentStatus.REVOKED, revoked_at=now)


def _revoke_below(agent: Agent, actor: Actor, now: datetime) -> None:
    """Their epochs stay: a snapshot holds those of every agent above it, and the topmost one's is bumped."""
    below = (
        Agent.objects.for_tenant(agent.tenant_id)
        .filter(license_id=agent.license_id, path__contains=[agent.id])
        .exclude(pk=agent.pk)
        .exclude(status=AgentStatus.REVOKED)
    )
    fallen = list(below.select_related("license__customer").order_by("id").select_for_update(of=("self",), no_key=True))
    for each in fallen:
        changes = apply_changes(
            each, {"status": AgentStatus.REVOKED, "status_reason": PARENT_REVOKED, "revoked_at": now}
        )
        each.updated_at = real_clock().now()
        record_audit(
            tenant_id=each.tenant_id,
            actor=actor,
            action="agent.revoked",
            target=each,
            changes=changes,
            reason=PARENT_REVOKED,
        )
    Agent.objects.bulk_update(fallen, ["status", "status_reason", "revoked_at", "updated_at"], batch_size=500)
    emit_agent_events("agent.revoked", fallen, reason=PARENT_REVOKED)


def _locked(tenant: Tenant, agent_id: UUID) -> Agent:
    agents = Agent.objects.for_tenant(tenant).select_related("license__customer")
    return agents.select_for_update(of=("self",), no_key=True).get_or_raise(agent_id)


def refuse_if_archived(agent: Agent, detail: str) -> None:
    """Raises Conflict `agent_archived` for an agent whose life was over and that was put away."""
    if agent.archived_at is not None:
        raise Conflict("agent_archived", detail)


def _refuse_if_revoked(agent: Agent, wanted: str) -> None:
    if agent.status == AgentStatus.REVOKED:
        detail = f"The agent is revoked for good; only an active or suspended one can be {wanted}."
        raise Conflict("agent_revoked", detail, extra={"status": agent.status})
    refuse_if_archived(agent, f"The agent's life is over and it was put away; it cannot be {wanted}.")


def _move(agent: Agent, actor: Actor, action: str, reason: str, *, status: AgentStatus, **more: Any) -> Agent:
    """Change the state once; a repeat only tells Valkey again what the first call may not have been able to."""
    reason = fields.reason(reason)
    epoch = EpochKey(EpochKind.AGENT, agent.id)
    if agent.status == status and not (status is AgentStatus.ACTIVE and agent.throttle is not None):
        # Revoked together with an agent above it, whose epoch carries it: then that one is told again as well.
        republish(agent.tenant_id, *(EpochKey(EpochKind.AGENT, each) for each in agent.path))
        return agent
    kept = "" if status is AgentStatus.ACTIVE else reason
    changes = apply_changes(agent, {"status": status, "status_reason": kept, **more})
    agent.save(update_fields=["status", "status_reason", *more, "updated_at"])
    record_audit(tenant_id=agent.tenant_id, actor=actor, action=action, target=agent, changes=changes, reason=reason)
    emit_agent_event(action, agent, reason=reason)
    bump_epochs(agent.tenant_id, epoch)
    return agent
