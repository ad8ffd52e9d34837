"""Incidents of the runaway guard: one is opened with what is done about it, ended, or undone."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from django.db import transaction

from common.clock import real_clock, rfc3339
from common.epochs import EpochKey
from common.errors import RevocationPending
from common.quantities import format_quantity
from licenses.domain.enums import AgentStatus
from licenses.models import Agent, License
from licenses.services.agent_groups import Whom, throttle_agents
from licenses.services.agent_states import lift_suspension, suspend_agent
from licenses.services.throttles import Throttle, read_throttle
from metering.domain.runaway import Measure, Rule, RunawayAction, RunawayEffect, RunawayRule, ThrottleTo
from metering.models import RunawayIncident
from metering.selectors.runaway import policies_of, rule_from, rules_of_agents
from tenants.domain.actors import Actor, worker
from tenants.domain.enums import EpochKind
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services import fields
from tenants.services.auditing import record_audit
from tenants.services.changes import plain
from tenants.services.epochs import republish
from tenants.services.outbox import emit_event

log = structlog.get_logger(__name__)

GUARD: Final = worker("metering.watch_agents")
#: After somebody set aside what the guard did, the rule leaves the agent alone for so long.
HOLD_OFF: Final = timedelta(hours=1)

_WORDS: Final = {
    RunawayRule.CALLS_PER_MINUTE: "{observed} calls in a minute, over {limit}",
    RunawayRule.BASELINE_MULTIPLE: "{observed} calls a minute, over {limit}, its usual rate times {factor}",
    RunawayRule.REFUSAL_SHARE: "a share of {observed} of its calls refused, over {limit}",
    RunawayRule.SPEND_PER_HOUR: "{observed} on {meter} within an hour, over {limit}",
}


def open_incident(
    *, tenant: Tenant, agent_id: UUID, rule: Rule, measured: Measure, now: datetime
) -> RunawayIncident | None:
    """Note that the agent broke `rule`, tell the vendor, and throttle or suspend it; None where that is not called for.

    It is not while an incident of the rule is open, or it is held off; if the agent is not active any more, or the rule
    does not hold for it any more. Safe to call side by side: one incident for an agent, rule and episode. Emits
    `agent.runaway_detected`, and what throttling or suspending emits. If Valkey cannot be told yet, the republisher
    tells it.
    """
    try:
        with transaction.atomic():
            return _open(tenant, agent_id, rule, measured, now)
    except RevocationPending:
        # The commit stands.
        log.warning("runaway.pending", agent=str(agent_id), rule=rule.key)
        mine = RunawayIncident.objects.for_tenant(tenant).filter(agent_id=agent_id, rule_key=rule.key)
        return mine.filter(detected_at=now).first()


def end_incident(*, tenant: Tenant, incident_id: UUID, now: datetime, hold_off: bool = False) -> None:
    """The episode is over; with `hold_off` the rule leaves the agent alone for an hour. Twice is the same as once."""
    until = {"held_off_until": now + HOLD_OFF} if hold_off else {}
    mine = RunawayIncident.objects.for_tenant(tenant).filter(pk=incident_id, ended_at=None)
    mine.update(ended_at=now, updated_at=now, **until)


def undo_incident(*, tenant: Tenant, incident_id: UUID, actor: Actor, reason: str = "") -> RunawayIncident:
    """Take back exactly what the guard did: resume the agent that it suspended, lift the throttle that it set.

    What somebody else has changed since stays as it is; a throttle that the guard's own took the place of comes back.
    Every incident of the agent that is open ends, and for an hour rules about the same that do no more than theirs
    leave it alone. Twice is the same as once. Raises NotFound, RevocationPending.
    """
    reason = fields.reason(reason)
    with transaction.atomic():
        mine = RunawayIncident.objects.for_tenant(tenant)
        agent = _lock_agent(tenant, mine.get_or_raise(incident_id).agent_id)
        incident = mine.select_for_update().get(pk=incident_id)
        if incident.undone_at is not None:
            republish(tenant.id, EpochKey(EpochKind.AGENT, agent.pk))
            return incident
        now = real_clock().now()
        lifted = _lift(tenant, agent, incident, actor, reason)
        held = {"held_off_until": now + HOLD_OFF, "updated_at": now}
        mine.filter(agent=agent, ended_at=None).update(ended_at=now, **held)
        incident.refresh_from_db()
        incident.undone_at = now
        incident.undone_by = (actor.name or actor.id or actor.kind.value)[:200]
        incident.undo_reason = reason
        incident.held_off_until = held["held_off_until"]
        incident.save(update_fields=["undone_at", "undone_by", "undo_reason", "held_off_until", "updated_at"])
        record_audit(
            tenant_id=tenant.id,
            actor=actor,
            action="runaway_incident.undone",
            target=incident,
            changes={"undone_at": [None, plain(now)], "lifted": [None, lifted.value]},
            reason=reason,
        )
    return incident


def _open(tenant: Tenant, agent_id: UUID, rule: Rule, measured: Measure, now: datetime) -> RunawayIncident | None:
    agent = _lock_agent(tenant, agent_id)
    mine = RunawayIncident.objects.for_tenant(tenant).filter(agent=agent)
    if mine.filter(rule_key=rule.key, ended_at=None).exists():
        return None
    held_off = mine.filter(held_off_until__gt=now)
    if any(rule.is_covered_by(rule_from(each.terms)) for each in held_off):
        return None
    # What was read when the agent was looked at may have changed: its state, its plans, their rules.
    current = rules_of_agents(policies_of(tenant), [agent_id]).get(agent_id, [])
    if rule not in current or measured.threshold is None:
        return None
    incident = RunawayIncident(
        tenant=tenant,
        agent=agent,
        rule=rule.kind,
        rule_key=rule.key,
        action=rule.action,
        terms=terms_of(rule),
        observed=measured.observed,
        threshold=measured.threshold,
        evidence=_evidence(measured),
        detected_at=now,
    )
    incident.mark = f"Runaway guard ({incident.public_id}): {_in_words(rule, measured)}."
    throttle = _throttle(tenant, agent, rule.throttle_to)
    if rule.action is RunawayAction.SUSPEND:
        incident.effect = RunawayEffect.SUSPENDED
    elif throttle is not None:
        incident.effect = RunawayEffect.THROTTLED
        incident.previous = agent.throttle
    incident.save(force_insert=True)
    emit_event(
        tenant_id=tenant.id,
        type="agent.runaway_detected",
        subject=agent.public_id,
        data=_payload(agent, incident),
    )
    record_audit(
        tenant_id=tenant.id,
        actor=GUARD,
        action="agent.runaway_detected",
        target=agent,
        changes={"incident": [None, incident.public_id], "effect": [None, incident.effect]},
        reason=incident.mark,
    )
    if rule.action is RunawayAction.SUSPEND:
        suspend_agent(tenant=tenant, agent_id=agent.pk, actor=GUARD, reason=incident.mark)
    elif throttle is not None:
        whom = Whom(agent_id=agent.pk)
        throttle_agents(tenant=tenant, whom=whom, actor=GUARD, throttle=throttle, reason=incident.mark)
        incident.throttle = Agent.objects.for_tenant(tenant).values_list("throttle", flat=True).get(pk=agent.pk)
        incident.save(update_fields=["throttle", "updated_at"])
    return incident


def _lock_agent(tenant: Tenant, agent_id: UUID) -> Agent:
    """The agent, locked; its licence first, as whoever changes many agents does."""
    mine = Agent.objects.for_tenant(tenant)
    holder = License.objects.for_tenant(tenant).select_for_update(no_key=True)
    holder.get(pk=mine.get_or_raise(agent_id).license_id)
    loaded = mine.select_related("license__customer")
    return loaded.select_for_update(of=("self",), no_key=True).get_or_raise(agent_id)


def _lift(tenant: Tenant, agent: Agent, incident: RunawayIncident, actor: Actor, reason: str) -> RunawayEffect:
    """Lift what still is the guard's own; what that was."""
    if agent.archived_at is not None or agent.status == AgentStatus.REVOKED:
        return RunawayEffect.NONE
    if incident.effect == RunawayEffect.SUSPENDED:
        if agent.status == AgentStatus.SUSPENDED and agent.status_reason == incident.mark:
            lift_suspension(tenant=tenant, agent_id=agent.pk, actor=actor, reason=reason)
            return RunawayEffect.SUSPENDED
    elif incident.effect == RunawayEffect.THROTTLED and agent.throttle == incident.throttle:
        before = _standing(tenant, agent, incident)
        back = None if before is None else _as_throttle(before)
        why = reason if before is None else str(before["reason"])
        throttle_agents(tenant=tenant, whom=Whom(agent_id=agent.pk), actor=actor, throttle=back, reason=why)
        return RunawayEffect.THROTTLED
    return RunawayEffect.NONE


def _standing(tenant: Tenant, agent: Agent, incident: RunawayIncident) -> Mapping[str, Any] | None:
    """The throttle that would hold had this one, and those that were undone since, never been set; None if over."""
    before = incident.previous
    others = list(RunawayIncident.objects.for_tenant(tenant).filter(agent=agent, undone_at__isnull=False))
    while before is not None:
        undone = next((each for each in others if each.throttle == before), None)
        if undone is None:
            break
        others.remove(undone)
        before = undone.previous
    return before if before is not None and in_force(before, clock_of(tenant).now()) else None


def in_force(throttle: Mapping[str, Any], at: datetime) -> bool:
    """Whether a stored throttle holds at `at`, on the workspace's clock."""
    until = throttle.get("until")
    return until is None or datetime.fromisoformat(until) > at


def _throttle(tenant: Tenant, agent: Agent, to: ThrottleTo | None) -> Throttle | None:
    """The throttle to set; None where one holds already that is as low and lasts as long. Never looser than that."""
    if to is None:
        return None
    wanted = read_throttle(tenant, limit=to.limit, window=to.window, burst=to.burst, seconds=to.seconds)
    if wanted is None or agent.throttle is None or not in_force(agent.throttle, clock_of(tenant).now()):
        return wanted
    present = _as_throttle(agent.throttle)
    slower = present.limit * wanted.window - wanted.limit * present.window
    lasts = present.until is None or (wanted.until is not None and present.until >= wanted.until)
    if slower < 0 or (slower == 0 and lasts and present.burst <= wanted.burst):
        return None
    return wanted._replace(burst=min(wanted.burst, present.burst))


def _as_throttle(stored: Mapping[str, Any]) -> Throttle:
    until = stored["until"]
    return Throttle(
        stored["limit"], stored["window"], stored["burst"], None if until is None else datetime.fromisoformat(until)
    )


def terms_of(rule: Rule) -> dict[str, Any]:
    """A rule as incidents keep it: as it is stored, and whose plan's it is."""
    to = rule.throttle_to
    return {
        "rule": rule.kind.value,
        "limit": format_quantity(rule.limit),
        "action": rule.action.value,
        "window": rule.window,
        "minimum_calls": rule.minimum_calls or None,
        "meter": rule.meter,
        "throttle_to": None if to is None else {"limit": to.limit, "window": to.window, "burst": to.burst},
        "for": None if to is None else to.seconds,
        "plan": rule.plan_id,
    }


def _evidence(measured: Measure) -> dict[str, Any]:
    """What the finding rests on."""
    return {"calls": measured.calls, "refusals": measured.refusals, "baseline": measured.baseline}


def _in_words(rule: Rule, measured: Measure) -> str:
    return _WORDS[rule.kind].format(
        observed=format_quantity(measured.observed),
        limit=format_quantity(measured.threshold or rule.limit),
        factor=format_quantity(rule.limit),
        meter=rule.meter,
    )


def _payload(agent: Agent, incident: RunawayIncident) -> dict[str, Any]:
    return {
        "incident": incident.public_id,
        "agent": agent.public_id,
        "license": agent.license.public_id,
        "customer": agent.license.customer.public_id,
        "rule": incident.rule,
        "observed": format_quantity(incident.observed),
        "limit": format_quantity(incident.threshold),
        "window": incident.terms["window"],
        "meter": incident.terms["meter"],
        "plan": incident.terms["plan"],
        "calls": incident.evidence["calls"],
        "refusals": incident.evidence["refusals"],
        "baseline": incident.evidence["baseline"],
        "action": incident.action,
        "effect": incident.effect,
        "detected_at": rfc3339(incident.detected_at),
    }
