"""Reads of the runaway guard: whose rules hold for which agents, how agents were before, and what was found."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Q

from common.ids import Prefix, encode_id
from licenses.models import Agent, LicensePlan
from metering.domain.runaway import (
    Rule,
    RunawayAction,
    RunawayRule,
    ThrottleTo,
    baseline,
    strictest,
)
from metering.models import CallProfile, RunawayIncident, RunawayPolicy
from tenants.models import Tenant, TenantQuerySet

_HOUR = 60 * 60


@dataclass(frozen=True, slots=True)
class Policies:
    """All policies of one workspace: rules by plan and by agent."""

    tenant: Tenant
    of_plans: Mapping[UUID, Sequence[Rule]] = field(default_factory=dict)
    of_agents: Mapping[UUID, Sequence[Rule]] = field(default_factory=dict)

    def rules(self) -> Iterable[Rule]:
        """Every rule of the workspace."""
        for listed in (*self.of_plans.values(), *self.of_agents.values()):
            yield from listed


def all_policies() -> list[Policies]:
    """The policies of every workspace that has any, or an incident under way."""
    found: dict[UUID, Policies] = {}
    rows = RunawayPolicy.objects.select_related("tenant").order_by("tenant_id", "id")
    for row in rows:
        policies = found.setdefault(row.tenant_id, Policies(row.tenant, {}, {}))
        _add(policies, row)
    open_ones = RunawayIncident.objects.filter(ended_at=None).exclude(tenant_id__in=found)
    for tenant in Tenant.objects.filter(pk__in=open_ones.values("tenant_id")):
        found[tenant.pk] = Policies(tenant, {}, {})
    return list(found.values())


def policies_of(tenant: Tenant) -> Policies:
    """The policies of one workspace."""
    policies = Policies(tenant, {}, {})
    for row in RunawayPolicy.objects.for_tenant(tenant):
        _add(policies, row)
    return policies


def rules_of_agents(policies: Policies, agent_ids: Collection[UUID]) -> dict[UUID, list[Rule]]:
    """The rules that hold for each of these agents: its own, else those of all plans of its licence.

    Agents without a rule, and those that are not active, are left out.
    """
    tenant_id = policies.tenant.pk
    mine = Agent.objects.for_tenant(tenant_id).filter(pk__in=agent_ids, status="active", archived_at__isnull=True)
    under_plans = LicensePlan.objects.for_tenant(tenant_id).filter(plan_id__in=list(policies.of_plans))
    watched = mine.filter(Q(pk__in=list(policies.of_agents)) | Q(license_id__in=under_plans.values("license_id")))
    licenses = dict(watched.values_list("pk", "license_id"))
    plans: dict[UUID, list[UUID]] = {}
    carried = under_plans.filter(license_id__in=set(licenses.values())).order_by("id")
    for license_id, plan_id in carried.values_list("license_id", "plan_id"):
        plans.setdefault(license_id, []).append(plan_id)
    found: dict[UUID, list[Rule]] = {}
    for agent_id, license_id in licenses.items():
        if agent_id in policies.of_agents:
            rules = strictest(policies.of_agents[agent_id])
        else:
            rules = strictest(rule for plan_id in plans.get(license_id, ()) for rule in policies.of_plans[plan_id])
        if rules:
            found[agent_id] = rules
    return found


def own_rules(tenant_id: UUID, agent_ids: Collection[UUID]) -> dict[UUID, list[dict[str, Any]]]:
    """The rules that agents have of their own, as they are shown, by agent; one that is not there has its plans'."""
    mine = RunawayPolicy.objects.for_tenant(tenant_id).filter(agent_id__in=agent_ids)
    return {policy.agent_id: policy.rules for policy in mine if policy.agent_id is not None}


def baselines(tenant_id: UUID, agent_ids: Collection[UUID], *, at: datetime) -> dict[UUID, int]:
    """What these agents reach in a busy minute, in calls; who has not enough of a past is left out.

    Hours in which an incident was under way do not count, unless it was undone: then that was healthy.
    """
    hour = int(at.timestamp()) // _HOUR
    troubled: dict[UUID, set[int]] = {}
    incidents = RunawayIncident.objects.for_tenant(tenant_id).filter(agent_id__in=agent_ids, undone_at=None)
    for agent_id, began, ended in incidents.values_list("agent_id", "detected_at", "ended_at"):
        first, last = int(began.timestamp()) // _HOUR, int((ended or at).timestamp()) // _HOUR
        troubled.setdefault(agent_id, set()).update(range(max(first, last - 200), last + 1))
    found: dict[UUID, int] = {}
    for profile in CallProfile.objects.for_tenant(tenant_id).filter(agent_id__in=agent_ids):
        peaks = {int(each): peak for each, peak in profile.peaks.items()}
        level = baseline(
            peaks, first_hour=profile.first_hour, hour=hour, passed_over=troubled.get(profile.agent_id, ())
        )
        if level is not None:
            found[profile.agent_id] = level
    return found


def incidents_of(tenant_id: UUID) -> TenantQuerySet[RunawayIncident]:
    """All incidents, with the agents concerned and their licences."""
    return RunawayIncident.objects.for_tenant(tenant_id).select_related("agent__license")


def rule_from(stored: Mapping[str, Any], plan_id: UUID | None = None) -> Rule:
    """A stored rule."""
    rate = stored["throttle_to"]
    return Rule(
        kind=RunawayRule(stored["rule"]),
        limit=Decimal(stored["limit"]),
        action=RunawayAction(stored["action"]),
        window=stored["window"],
        minimum_calls=stored["minimum_calls"] or 0,
        meter=stored["meter"],
        throttle_to=ThrottleTo(rate["limit"], rate["window"], rate["burst"], stored["for"]) if rate else None,
        plan_id=None if plan_id is None else encode_id(Prefix.PLAN, plan_id),
    )


def _add(policies: Policies, row: RunawayPolicy) -> None:
    rules = [rule_from(each, row.plan_id) for each in row.rules]
    if row.plan_id is not None:
        policies.of_plans[row.plan_id] = rules  # type: ignore[index] # it is being built
    elif row.agent_id is not None:
        policies.of_agents[row.agent_id] = rules  # type: ignore[index]
