"""The runaway guard: looks every few seconds at the agents that were active, and acts on those that break a rule.

Calls and refusals come from the gate's counters, spend from roll-ups and the events since. Only an agent's own calls
and events count, never those of agents below it. What cannot be read is not known, and nobody is acted on for what is
not known. Safe to run twice and side by side.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import structlog
from redis.exceptions import RedisError

from common.clock import real_clock
from common.errors import Problem
from licenses.domain.enums import AgentStatus
from licenses.models import Agent
from licenses.services.call_counts import CallCount, read_call_counts, read_call_counts_of
from metering.domain.runaway import (
    Measure,
    Minute,
    Reading,
    Rule,
    RunawayEffect,
    RunawayRule,
    measure,
)
from metering.models import RunawayIncident
from metering.selectors.runaway import Policies, all_policies, baselines, policies_of, rules_of_agents
from metering.services.runaway_incidents import end_incident, in_force, open_incident
from metering.services.runaway_spend import Spend, finish, new_spend, spend_on
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of
from tenants.services.each_workspace import EachWorkspace

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Watch:
    """What a look came to: public ids of incidents that were opened and ended, and how many agents were looked at."""

    opened: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    agents: int = 0


def watch_agents(*, now: datetime | None = None) -> Watch:
    """Look once at every workspace with a policy or an open incident. `now` is real time, for tests.

    Raises WorkspacesFailedError once all others were looked at.
    """
    now = now or real_clock().now()
    watch = Watch()
    found = all_policies()
    if not found:
        return watch
    spend = new_spend({each.tenant: _meters(each) for each in found}, now=now)
    each = EachWorkspace("watch_agents")
    for policies in found:
        with each.of(policies.tenant.pk):
            _watch_tenant(policies, spend, now, watch)
    each.tell()
    # Not where a workspace failed: who spent something there is looked at again.
    finish(spend, now=now)
    return watch


def readings_of(
    policies: Policies, rules: Mapping[UUID, Collection[Rule]], spend: Spend, now: datetime
) -> dict[UUID, Reading]:
    """What is known of these agents as far as their rules ask for it. Calls are unknown while Valkey is away."""
    tenant = policies.tenant
    minutes = _minutes(tenant, rules, now)
    comparing = [
        agent_id
        for agent_id, mine in rules.items()
        if any(_busy_enough(rule, minutes.get(agent_id)) for rule in mine if rule.kind is RunawayRule.BASELINE_MULTIPLE)
    ]
    usual = baselines(tenant.pk, comparing, at=now) if comparing else {}
    spent = spend.of_agents(tenant, _spending(rules))
    return {
        agent_id: Reading(minutes.get(agent_id), usual.get(agent_id), spent.get(agent_id, {})) for agent_id in rules
    }


def standing_of(*, tenant: Tenant, agent_id: UUID, now: datetime | None = None) -> list[tuple[Rule, Measure | None]]:
    """How an agent stands against each rule that holds for it, as the guard would see it now; nothing is done.

    None where it is not known. An agent that is not active is not watched, and has no rules here.
    """
    now = now or real_clock().now()
    policies = policies_of(tenant)
    rules = rules_of_agents(policies, [agent_id])
    if agent_id not in rules:
        return []
    readings = readings_of(policies, rules, spend_on({tenant: _meters(policies)}), now)
    return [(rule, measure(rule, readings[agent_id])) for rule in rules[agent_id]]


def _watch_tenant(policies: Policies, spend: Spend, now: datetime, watch: Watch) -> None:
    tenant = policies.tenant
    under_way = list(RunawayIncident.objects.for_tenant(tenant).filter(ended_at=None).order_by("id"))
    active = _active(policies, now) | spend.active(tenant)
    concerned = active | {incident.agent_id for incident in under_way}
    if not concerned:
        return
    rules = rules_of_agents(policies, concerned)
    readings = readings_of(policies, rules, spend, now)
    watch.agents += len(rules)
    open_ones = _end(tenant, under_way, rules, readings, now, watch)
    for agent_id, mine in rules.items():
        for rule in mine:
            measured = measure(rule, readings[agent_id])
            if measured is not None and measured.broken and (agent_id, rule.key) not in open_ones:
                _fire(tenant, agent_id, rule, measured, now, watch)


def _fire(tenant: Tenant, agent_id: UUID, rule: Rule, measured: Measure, now: datetime, watch: Watch) -> None:
    try:
        incident = open_incident(tenant=tenant, agent_id=agent_id, rule=rule, measured=measured, now=now)
    except Problem as problem:
        # Revoked or archived between two looks.
        log.info("runaway.not_acted", agent=str(agent_id), rule=rule.key, code=problem.code)
        return
    if incident is not None:
        watch.opened.append(incident.public_id)
        log.warning("runaway.detected", incident=incident.public_id, rule=rule.kind, effect=incident.effect)


def _end(
    tenant: Tenant,
    incidents: Sequence[RunawayIncident],
    rules: Mapping[UUID, Collection[Rule]],
    readings: Mapping[UUID, Reading],
    now: datetime,
    watch: Watch,
) -> set[tuple[UUID, str]]:
    """End what is over; which agents and rules have an incident that goes on."""
    agents = Agent.objects.for_tenant(tenant).in_bulk([incident.agent_id for incident in incidents])
    at = clock_of(tenant).now()
    going_on: set[tuple[UUID, str]] = set()
    for incident in incidents:
        agent = agents[incident.agent_id]
        rule = next((rule for rule in rules.get(agent.pk, ()) if rule.key == incident.rule_key), None)
        measured = None if rule is None else measure(rule, readings[agent.pk])
        over, by_hand = _is_over(incident, agent, rule, measured, at)
        if over:
            end_incident(tenant=tenant, incident_id=incident.pk, now=now, hold_off=by_hand)
            watch.ended.append(incident.public_id)
        if not over or by_hand:
            going_on.add((agent.pk, incident.rule_key))
    return going_on


def _is_over(
    incident: RunawayIncident, agent: Agent, rule: Rule | None, measured: Measure | None, at: datetime
) -> tuple[bool, bool]:
    """Whether the episode is over, and whether somebody ended it by hand."""
    if agent.status == AgentStatus.REVOKED or agent.archived_at is not None:
        return True, False
    match incident.effect:
        case RunawayEffect.SUSPENDED:
            lifted = agent.status == AgentStatus.ACTIVE
            return lifted, lifted
        case RunawayEffect.THROTTLED:
            if agent.throttle != incident.throttle:
                return True, True
            # What the throttle holds back still calls: only its end shows whether the agent has come to its senses.
            return not in_force(incident.throttle or {}, at), False
    if agent.status != AgentStatus.ACTIVE:
        return True, False
    return rule is None or (measured is not None and measured.calm), False


def _active(policies: Policies, now: datetime) -> set[UUID]:
    """The agents that called in this minute or the last one; none where no rule is about calls, or Valkey is away."""
    if all(rule.kind is RunawayRule.SPEND_PER_HOUR for rule in policies.rules()):
        return set()
    minute = _minute(now)
    try:
        counts = read_call_counts(policies.tenant.pk, [minute, minute - 1])
    except RedisError as error:
        log.warning("runaway.calls_unknown", error=type(error).__name__)
        return set()
    return {agent_id for by_agent in counts for agent_id in by_agent}


def _minutes(tenant: Tenant, rules: Mapping[UUID, Collection[Rule]], now: datetime) -> dict[UUID, list[Minute]]:
    counting = {
        agent_id: max((rule.minutes for rule in mine if rule.kind is not RunawayRule.SPEND_PER_HOUR), default=0)
        for agent_id, mine in rules.items()
    }
    wanted = [agent_id for agent_id, longest in counting.items() if longest]
    if not wanted:
        return {}
    minute = _minute(now)
    # One more than the longest window: windows are looked at as they stand, and as they stood a minute ago.
    span = range(minute, minute - max(counting.values()) - 1, -1)
    try:
        counts = read_call_counts_of(tenant.pk, wanted, list(span))
    except RedisError as error:
        log.warning("runaway.calls_unknown", error=type(error).__name__)
        return {}
    return {agent_id: [_as_minute(each) for each in mine] for agent_id, mine in counts.items()}


def _as_minute(count: CallCount) -> Minute:
    return Minute(count.calls, count.refusals)


def _busy_enough(rule: Rule, minutes: Collection[Minute] | None) -> bool:
    return minutes is not None and sum(minute.calls for minute in minutes) >= max(rule.minimum_calls, 1)


def _spending(rules: Mapping[UUID, Collection[Rule]]) -> dict[str, list[UUID]]:
    """By meter, the agents whose spend on it is asked for."""
    found: dict[str, list[UUID]] = {}
    for agent_id, mine in rules.items():
        for rule in mine:
            if rule.kind is RunawayRule.SPEND_PER_HOUR and rule.meter is not None:
                found.setdefault(rule.meter, []).append(agent_id)
    return found


def _meters(policies: Policies) -> set[str]:
    return {rule.meter for rule in policies.rules() if rule.meter is not None}


def _minute(now: datetime) -> int:
    return int(now.timestamp()) // 60


__all__ = ["Watch", "readings_of", "watch_agents"]
