"""One action on many agents: a subtree, all of a licence, all of a customer. One transaction, set-based.

Only agents' epochs are bumped, and of those only the topmost changed ones: a snapshot holds the epochs of every agent
above it, so whoever is not concerned keeps its snapshot.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from common.clock import real_clock
from common.epochs import EpochKey
from common.errors import Conflict, NotFound
from licenses.domain.enums import AgentStatus
from licenses.models import Agent, License
from licenses.services.agent_events import emit_agent_events
from licenses.services.agent_states import refuse_if_archived
from licenses.services.throttles import Throttle, as_stored
from tenants.domain.actors import Actor
from tenants.domain.enums import EpochKind
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services import fields
from tenants.services.auditing import AuditNote, record_audits
from tenants.services.changes import apply_changes
from tenants.services.epochs import bump_epochs, republish

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Whom:
    """Exactly one of: an agent (`subtree`: with all below it), a licence's agents, a customer's agents."""

    agent_id: UUID | None = None
    license_id: UUID | None = None
    customer_id: UUID | None = None
    subtree: bool = False


def suspend_agents(*, tenant: Tenant, whom: Whom, actor: Actor, reason: str = "") -> int:
    """Suspend every active one of them; how many that were. Emits `agent.suspended` for each.

    Raises NotFound, Conflict `agent_revoked` or `agent_archived` (for a single agent), RevocationPending.
    """
    with transaction.atomic():
        agents = _locked(tenant, whom, "suspended")
        now = clock_of(tenant).now()
        wanted = {"status": AgentStatus.SUSPENDED, "status_reason": fields.reason(reason), "suspended_at": now}
        concerned = [agent for agent in agents if agent.status == AgentStatus.ACTIVE]
        return _change(tenant, agents, [(agent, wanted) for agent in concerned], "agent.suspended", actor, reason)


def resume_agents(*, tenant: Tenant, whom: Whom, actor: Actor, reason: str = "") -> int:
    """End suspensions and throttles; how many agents had one. Emits `agent.resumed` for each.

    Raises NotFound, Conflict `agent_revoked` or `agent_archived` (for a single agent), RevocationPending.
    """
    with transaction.atomic():
        agents = _locked(tenant, whom, "resumed")
        wanted = {"status": AgentStatus.ACTIVE, "status_reason": "", "suspended_at": None, "throttle": None}
        living = (agent for agent in agents if agent.status != AgentStatus.REVOKED)
        concerned = [agent for agent in living if agent.status == AgentStatus.SUSPENDED or agent.throttle is not None]
        return _change(tenant, agents, [(agent, wanted) for agent in concerned], "agent.resumed", actor, reason)


def revoke_agents(*, tenant: Tenant, whom: Whom, actor: Actor, reason: str = "") -> int:
    """Revoke all of them for good, and, of a single agent, all below it; how many lived.

    Emits `agent.revoked` for each. Their keys are 401 in every process when this returns.
    Raises NotFound, RevocationPending.
    """
    with transaction.atomic():
        agents = _locked(tenant, Whom(whom.agent_id, whom.license_id, whom.customer_id, subtree=True), None)
        now = clock_of(tenant).now()
        wanted = {"status": AgentStatus.REVOKED, "status_reason": fields.reason(reason), "revoked_at": now}
        concerned = [agent for agent in agents if agent.status != AgentStatus.REVOKED]
        return _change(tenant, agents, [(agent, wanted) for agent in concerned], "agent.revoked", actor, reason)


def throttle_agents(*, tenant: Tenant, whom: Whom, actor: Actor, throttle: Throttle | None, reason: str = "") -> int:
    """Give each of them a further rate limit for a time, or lift it (None); how many changed.

    A throttle never loosens: it stands beside the other limits. Emits `agent.throttled` for each, `agent.resumed` where
    one was lifted. Raises NotFound, Conflict `agent_revoked` or `agent_archived` (single agent), RevocationPending.
    """
    with transaction.atomic():
        agents = _locked(tenant, whom, "throttled")
        stored = None if throttle is None else as_stored(throttle, fields.reason(reason))
        living = (agent for agent in agents if agent.status != AgentStatus.REVOKED)
        concerned = [agent for agent in living if agent.throttle != stored]
        wanted = [(agent, {"throttle": stored}) for agent in concerned]
        return _change(
            tenant, agents, wanted, "agent.throttled" if stored is not None else "agent.resumed", actor, reason
        )


def _locked(tenant: Tenant, whom: Whom, wanted: str | None) -> list[Agent]:
    """Them, locked; the licences first, as whoever makes an agent: none can appear among them meanwhile.

    Archived ones are left out. `wanted` is what is to be done to a single agent, refused if it is revoked or archived.
    """
    mine = Agent.objects.for_tenant(tenant)
    among = Q(archived_at__isnull=True)
    if whom.agent_id is not None:
        licenses = Q(pk=mine.get_or_raise(whom.agent_id).license_id)
        among = Q(path__contains=[whom.agent_id]) if whom.subtree else Q(pk=whom.agent_id)
        among &= Q(archived_at__isnull=True) | Q(pk=whom.agent_id)
    elif whom.license_id is not None:
        licenses = Q(pk=whom.license_id)
    else:
        licenses = Q(customer_id=whom.customer_id)
    held = License.objects.for_tenant(tenant).filter(licenses).order_by("id").select_for_update(no_key=True)
    license_ids = [license.pk for license in held]
    if whom.license_id is not None and not license_ids:
        raise NotFound
    chosen = mine.filter(among, license_id__in=license_ids).select_related("license__customer")
    agents = list(chosen.order_by("id").select_for_update(of=("self",), no_key=True))
    if whom.agent_id is not None and wanted is not None:
        [topmost] = [agent for agent in agents if agent.pk == whom.agent_id]
        _refuse_dead(topmost, wanted)
    return agents


def _refuse_dead(agent: Agent, wanted: str) -> None:
    if agent.status == AgentStatus.REVOKED:
        detail = f"The agent is revoked for good; only an active or suspended one can be {wanted}."
        raise Conflict("agent_revoked", detail, extra={"status": agent.status})
    refuse_if_archived(agent, f"The agent's life is over and it was put away; it cannot be {wanted}.")


def _change(
    tenant: Tenant,
    agents: Sequence[Agent],
    wanted: Iterable[tuple[Agent, dict[str, Any]]],
    action: str,
    actor: Actor,
    reason: str,
) -> int:
    """Write what changes, with audit entries and events; a repeat tells Valkey again what the first could not."""
    reason = fields.reason(reason)
    changed = [(agent, changes) for agent, values in wanted if (changes := apply_changes(agent, values))]
    if not changed:
        if agents:
            republish(tenant.id, *_epochs(agents))
        return 0
    touched = sorted({name for _, changes in changed for name in changes})
    now: datetime = real_clock().now()
    for agent, _ in changed:
        agent.updated_at = now
    written = [agent for agent, _ in changed]
    Agent.objects.bulk_update(written, [*touched, "updated_at"], batch_size=_BATCH)
    record_audits(tenant.id, actor, [AuditNote(action, agent, changes, reason) for agent, changes in changed])
    emit_agent_events(action, written, reason=reason)
    bump_epochs(tenant.id, *_epochs(written))
    return len(written)


def _epochs(agents: Sequence[Agent]) -> list[EpochKey]:
    """Those of the topmost of them, which all below them hold too."""
    among = {agent.pk for agent in agents}
    return [EpochKey(EpochKind.AGENT, agent.pk) for agent in agents if among.isdisjoint(agent.path[:-1])]
