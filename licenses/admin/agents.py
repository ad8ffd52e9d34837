"""Operators' pages of agents, their keys, and activations."""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import mark_safe

from common.ids import Prefix
from licenses.domain.activations import activation_status
from licenses.domain.enums import AgentStatus
from licenses.models import Activation, Agent, AgentKey
from licenses.services.activations import release_activation
from licenses.services.agent_groups import Whom, suspend_agents, throttle_agents
from licenses.services.agent_keys import revoke_agent_key
from licenses.services.agents import resume_agent, revoke_agent, suspend_agent
from licenses.services.throttles import read_throttle
from tenants.admin import columns
from tenants.admin.base import LedgerAdmin
from tenants.admin.columns import display
from tenants.admin.filters import BY_TENANT, MadeFilter, by
from tenants.admin.keys import OpaqueKeyAdmin
from tenants.admin.links import code, id_link
from tenants.admin.operations import OperatedAdmin, Operation
from tenants.admin.panels import Panel, Rows, trail_of
from tenants.selectors.clocks import clock_of

#: What operators throttle to; vendors choose.
THROTTLED_TO: Final = 10

OPERATIONS = (
    Operation(
        name="suspend",
        label="Suspend",
        done="suspended",
        icon="pause_circle",
        effect="These agents are refused with agent_suspended, and those below them with parent_agent_inactive.",
        run=lambda row, actor, reason: suspend_agent(tenant=row.tenant, agent_id=row.pk, actor=actor, reason=reason),
        fits=lambda row: row.status == AgentStatus.ACTIVE,
    ),
    Operation(
        name="suspend_subtree",
        label="Suspend with all below",
        done="suspended with all below",
        icon="account_tree",
        effect="These agents and all below them are refused with agent_suspended, each until it is resumed.",
        run=lambda row, actor, reason: suspend_agents(
            tenant=row.tenant, whom=Whom(agent_id=row.pk, subtree=True), actor=actor, reason=reason
        ),
        fits=lambda row: row.status == AgentStatus.ACTIVE and row.archived_at is None,
    ),
    Operation(
        name="throttle",
        label=f"Throttle to {THROTTLED_TO} a minute",
        done="throttled",
        icon="speed",
        effect=f"These agents, each with all below it, make at most {THROTTLED_TO} calls a minute for an hour.",
        run=lambda row, actor, reason: throttle_agents(
            tenant=row.tenant,
            whom=Whom(agent_id=row.pk),
            actor=actor,
            throttle=read_throttle(row.tenant, limit=THROTTLED_TO, window=60, seconds=3600),
            reason=reason,
        ),
        fits=lambda row: row.status != AgentStatus.REVOKED and row.archived_at is None,
    ),
    Operation(
        name="resume",
        label="Resume",
        done="resumed",
        icon="play_circle",
        effect="These agents are answered again, and without a throttle.",
        run=lambda row, actor, reason: resume_agent(tenant=row.tenant, agent_id=row.pk, actor=actor, reason=reason),
        fits=lambda row: (
            (row.status == AgentStatus.SUSPENDED or row.throttle is not None) and row.status != AgentStatus.REVOKED
        ),
    ),
    Operation(
        name="revoke",
        label="Revoke",
        done="revoked",
        icon="block",
        effect="These agents and all below them are answered 401: their keys are dead.",
        run=lambda row, actor, reason: revoke_agent(tenant=row.tenant, agent_id=row.pk, actor=actor, reason=reason),
        fits=lambda row: row.status != AgentStatus.REVOKED,
        for_good=True,
    ),
)


@admin.register(Agent)
class AgentAdmin(OperatedAdmin, LedgerAdmin):
    """Agents of all workspaces."""

    operations = OPERATIONS
    with_related = ("tenant", "license", "parent")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.LICENSE: "license_id"}
    list_display = ("name", "typeid", "license", "tenant", "status_label", "kind", "parent", "created_at")
    list_filter = (BY_TENANT, by("status"), by("kind"), "spawned", MadeFilter)
    search_fields = ("name",)
    status_label = columns.status()
    features_shown = columns.json_block("features", "features it may use")
    limits = columns.json_block("rate_limits", "rate limits of its own")
    throttle_shown = columns.json_block("throttle")
    notes = columns.json_block("metadata")
    fieldsets = (
        ("Agent", {"fields": ("typeid", "tenant", "license", "name", "kind", "chain", "spawned")}),
        (
            "State",
            {
                "fields": (
                    "status",
                    "status_reason",
                    "expires_at",
                    "suspended_at",
                    "revoked_at",
                    "created_at",
                    "archived_at",
                )
            },
        ),
        ("Limits", {"fields": ("features_shown", "limits", "hold_limit", "throttle_shown", "notes")}),
    )

    @display(description="chain, topmost first")
    def chain(self, row: Agent) -> str:
        """Its parents, down to itself."""
        names = dict(Agent.objects.for_tenant(row.tenant_id).filter(pk__in=row.path).values_list("pk", "name"))
        links = ((id_link(Prefix.AGENT, each, names.get(each)),) for each in row.path)
        return format_html_join(mark_safe(" &rsaquo; "), "{}", links)

    def panels(self, request: HttpRequest, row: Agent) -> Iterable[Panel]:
        """Its keys, the agents right below it, and its trail."""
        yield Panel(
            "Keys",
            ["Key", "Id", "State", "Made at", "Last used at", "Expires at"],
            lambda: _keys(row),
            "licenses.view_agentkey",
        )
        yield Panel(
            "Agents below it",
            ["Agent", "Id", "Status", "Made at"],
            lambda: _children(row),
            "licenses.view_agent",
            empty="None.",
        )
        yield trail_of(row, tenant_id=row.tenant_id)


@admin.register(AgentKey)
class AgentKeyAdmin(OpaqueKeyAdmin):
    """Agents' keys."""

    operations = (
        Operation(
            name="revoke",
            label="Revoke",
            done="revoked",
            icon="block",
            effect="Whoever uses these keys is answered 401 from now on.",
            run=lambda row, actor, reason: revoke_agent_key(
                tenant=row.tenant, agent_id=row.agent_id, key_id=row.pk, actor=actor, reason=reason
            ),
            fits=lambda row: row.revoked_at is None,
            for_good=True,
        ),
    )
    with_related = ("tenant", "agent")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.AGENT: "agent_id"}
    list_display = ("hint_code", "typeid", "agent", "tenant", "state", "last_used_at", "created_at")
    list_filter = (BY_TENANT, MadeFilter)
    search_fields = ("key_id__exact", "hint__startswith")
    fieldsets = (
        ("Key", {"fields": ("typeid", "tenant", "agent", "hint_code", "networks_shown")}),
        ("State", {"fields": ("state", "created_at", "last_used_at", "expires_at", "revoked_at")}),
    )

    def panels(self, request: HttpRequest, row: AgentKey) -> Iterable[Panel]:
        """Its trail."""
        yield trail_of(row, tenant_id=row.tenant_id)


@admin.register(Activation)
class ActivationAdmin(OperatedAdmin, LedgerAdmin):
    """Licences bound to machines and copies of agents."""

    operations = (
        Operation(
            name="release",
            label="Release",
            done="released",
            icon="link_off",
            effect="Their places are free at once; these machines and copies are not activated any more.",
            run=lambda row, actor, reason: release_activation(
                tenant=row.tenant, activation_id=row.pk, actor=actor, reason=reason
            ),
            fits=lambda row: row.released_at is None,
            for_good=True,
        ),
    )
    with_related = ("tenant", "license", "agent")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.LICENSE: "license_id", Prefix.AGENT: "agent_id"}
    list_display = ("named", "typeid", "license", "agent", "tenant", "state", "expires_at", "created_at")
    list_display_links = ("named", "typeid")
    list_filter = (BY_TENANT, MadeFilter)
    search_fields = ("fingerprint__exact", "instance__exact", "label__istartswith")
    fieldsets = (
        ("Activation", {"fields": ("typeid", "tenant", "license", "agent", "fingerprint", "instance", "label")}),
        (
            "State",
            {"fields": ("state", "created_at", "last_heartbeat_at", "expires_at", "lapse_noted_at", "released_at")},
        ),
    )

    @display(description="machine or copy")
    def named(self, row: Activation) -> str:
        """Its label, or else what names it."""
        return str(row)

    @display(description="state")
    def state(self, row: Activation) -> str:
        """Whether it holds a place, on the workspace's clock."""
        at = clock_of(row.tenant).now()
        status = activation_status(expires_at=row.expires_at, released_at=row.released_at, at=at)
        return status.value.capitalize()

    def panels(self, request: HttpRequest, row: Activation) -> Iterable[Panel]:
        """Its trail."""
        yield trail_of(row, tenant_id=row.tenant_id)


def _keys(agent: Agent) -> Rows:
    keys = AgentKey.objects.for_tenant(agent.tenant_id).filter(agent=agent).defer("digest", "pepper_id")
    for key in keys.order_by("-created_at")[:20]:
        yield (
            id_link(Prefix.AGENT_KEY, key.pk, code(key.hint)),
            code(key.public_id),
            _state(key),
            columns.when(key.created_at),
            columns.when(key.last_used_at),
            columns.when(key.expires_at),
        )


def _state(key: AgentKey) -> str:
    if key.revoked_at is not None:
        return "Revoked"
    return "Expired" if key.expires_at is not None and key.expires_at <= columns.real_now() else "Active"


def _children(agent: Agent) -> Rows:
    agent_id: UUID = agent.pk
    for child in Agent.objects.for_tenant(agent.tenant_id).filter(parent_id=agent_id).order_by("-pk")[:20]:
        yield (
            id_link(Prefix.AGENT, child.pk, child.name),
            code(child.public_id),
            child.get_status_display(),
            columns.when(child.created_at),
        )
