"""Operators' pages of the runaway guard: whose rules hold, what it found, and undoing what it did."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

from common.ids import Prefix
from licenses.models import Agent, Plan
from metering.models import CallProfile, RunawayIncident, RunawayPolicy
from metering.selectors.runaway import incidents_of, policies_of, rules_of_agents
from metering.services.runaway_incidents import undo_incident
from tenants.admin import columns
from tenants.admin.base import LedgerAdmin, OperatorAdmin
from tenants.admin.columns import display
from tenants.admin.filters import BY_TENANT, MadeFilter, by
from tenants.admin.links import id_link
from tenants.admin.operations import OperatedAdmin, Operation
from tenants.admin.panels import Panel, Rows, trail_of

SHOWN_INCIDENTS = 12

_RULE_HEADERS = ["Rule", "Limit", "Window", "Action", "Whose"]


@admin.register(RunawayIncident)
class RunawayIncidentAdmin(OperatedAdmin, LedgerAdmin):
    """Agents that broke a rule, and what was done about it."""

    operations = (
        Operation(
            name="undo",
            label="Undo",
            done="undone",
            icon="undo",
            effect="What the guard did to these agents is taken back, and the rules leave them alone for an hour.",
            run=lambda row, actor, reason: undo_incident(
                tenant=row.tenant, incident_id=row.pk, actor=actor, reason=reason
            ),
            fits=lambda row: row.undone_at is None,
        ),
    )
    with_related = ("tenant", "agent__license")
    related_ids = {
        Prefix.TENANT: "tenant_id",
        Prefix.AGENT: "agent_id",
        Prefix.LICENSE: "agent__license_id",
    }
    list_display = (
        "typeid",
        "agent",
        "rule",
        "observed_shown",
        "threshold_shown",
        "effect",
        "state",
        "tenant",
        "detected_at",
    )
    list_filter = (BY_TENANT, by("rule"), by("action"), by("effect"), MadeFilter)
    search_fields = ("agent__name",)
    observed_shown = columns.quantity("observed")
    threshold_shown = columns.quantity("threshold", "limit")
    terms_shown = columns.json_block("terms", "the rule as it was")
    evidence_shown = columns.json_block("evidence")
    throttle_shown = columns.json_block("throttle")
    previous_shown = columns.json_block("previous", "throttle before")
    fieldsets = (
        ("Incident", {"fields": ("typeid", "tenant", "agent", "rule", "observed_shown", "threshold_shown")}),
        ("What was done", {"fields": ("action", "effect", "mark", "throttle_shown", "previous_shown")}),
        ("State", {"fields": ("state", "detected_at", "ended_at", "held_off_until")}),
        ("Undone", {"fields": ("undone_at", "undone_by", "undo_reason")}),
        ("Evidence", {"fields": ("terms_shown", "evidence_shown")}),
    )

    @display(description="state")
    def state(self, row: RunawayIncident) -> str:
        """Whether the episode lasts, and whether somebody set it right."""
        return "Undone" if row.undone_at else "Ended" if row.ended_at else "Open"

    def panels(self, request: HttpRequest, row: RunawayIncident) -> Iterable[Panel]:
        """Its trail."""
        yield trail_of(row, tenant_id=row.tenant_id)


@admin.register(RunawayPolicy)
class RunawayPolicyAdmin(OperatorAdmin):
    """The rules of plans and agents."""

    with_related = ("tenant", "plan", "agent")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.PLAN: "plan_id", Prefix.AGENT: "agent_id"}
    list_display = ("typeid", "plan", "agent", "in_short", "tenant", "updated_at")
    list_filter = (BY_TENANT, MadeFilter)
    rules_shown = columns.json_block("rules")
    fieldsets = (
        ("Policy", {"fields": ("typeid", "tenant", "plan", "agent")}),
        ("Rules", {"fields": ("rules_shown", "created_at", "updated_at")}),
    )

    @display(description="rules")
    def in_short(self, row: RunawayPolicy) -> str:
        """`calls per minute: suspend`, and so on."""
        return ", ".join(f"{_words(rule['rule'])}: {rule['action']}" for rule in row.rules) or "not watched"


@admin.register(CallProfile)
class CallProfileAdmin(OperatorAdmin):
    """What agents usually do: their busiest minutes by hour."""

    with_related = ("tenant", "agent")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.AGENT: "agent_id"}
    list_display = ("agent", "hours", "tenant")
    list_filter = (BY_TENANT,)
    peaks_shown = columns.json_block("peaks", "busiest minute by hour")
    fieldsets = (("Profile", {"fields": ("agent", "tenant", "first_hour", "peaks_shown")}),)

    @display(description="hours")
    def hours(self, row: CallProfile) -> int:
        """Of how many hours something is known."""
        return len(row.peaks)


def rules_of_plan(plan: Plan) -> Panel:
    """The rules that hold for each agent under a plan's licences."""

    def rows() -> Rows:
        for policy in RunawayPolicy.objects.for_tenant(plan.tenant_id).filter(plan=plan):
            for rule in policy.rules:
                yield (*_rule(rule), "each agent under it")

    return Panel("Runaway guard", _RULE_HEADERS, rows, "metering.view_runawaypolicy", empty="Nothing acts by itself.")


def rules_of_agent(agent: Agent) -> Panel:
    """The rules that hold for an agent, its own or its plans'."""

    def rows() -> Rows:
        found = rules_of_agents(policies_of(agent.tenant), [agent.pk]).get(agent.pk, [])
        for rule in found:
            stored = {"rule": rule.kind, "limit": rule.limit, "window": rule.window, "action": rule.action}
            yield (*_rule({**stored, "meter": rule.meter}), rule.plan_id or "its own")

    return Panel(
        "Runaway guard",
        _RULE_HEADERS,
        rows,
        "metering.view_runawaypolicy",
        empty="Not watched: it has no rules, or is not active.",
    )


def incidents_of_agent(agent: Agent) -> Panel:
    """The latest incidents of an agent."""

    def rows() -> Rows:
        mine = incidents_of(agent.tenant_id).filter(agent=agent).order_by("-pk")
        for incident in mine[:SHOWN_INCIDENTS]:
            yield (
                id_link(Prefix.RUNAWAY_INCIDENT, incident.pk, columns.when(incident.detected_at)),
                _words(incident.rule),
                columns.number(incident.observed),
                columns.number(incident.threshold),
                incident.effect,
                columns.when(incident.undone_at),
            )

    return Panel(
        "Runaway incidents",
        ["Detected at", "Rule", "Observed", "Limit", "Effect", "Undone at"],
        rows,
        "metering.view_runawayincident",
        empty="It never ran away.",
        more=f"{reverse('admin:metering_runawayincident_changelist')}?q={agent.public_id}",
    )


def _rule(rule: dict[str, Any]) -> Sequence[object]:
    what = _words(rule["rule"]) + (f" ({rule['meter']})" if rule.get("meter") else "")
    return what, rule["limit"], f"{rule['window']} s", rule["action"]


def _words(code: str) -> str:
    return code.replace("_", " ")
