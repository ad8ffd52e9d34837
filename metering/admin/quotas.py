"""Operators' pages of quotas, balances, top-ups and holds."""

from collections.abc import Iterable

from django.contrib import admin
from django.http import HttpRequest

from common.ids import Prefix
from metering.models import Balance, Hold, HoldLine, Quota
from tenants.admin import columns
from tenants.admin.base import LedgerAdmin
from tenants.admin.columns import display
from tenants.admin.filters import BY_TENANT, MadeFilter, by
from tenants.admin.links import code, id_link, subject_link
from tenants.admin.panels import Panel, Rows, trail_of

#: Ids of those whom balances, top-ups and overages are about.
SUBJECT_IDS: dict[str, str] = {Prefix.AGENT: "subject_id", Prefix.LICENSE: "subject_id", Prefix.CUSTOMER: "subject_id"}


@admin.register(Quota)
class QuotaAdmin(LedgerAdmin):
    """Limits, wherever they are set."""

    with_related = ("tenant", "meter", "plan", "license", "customer", "agent")
    related_ids = {
        Prefix.TENANT: "tenant_id",
        Prefix.METER: "meter_id",
        Prefix.PLAN: "plan_id",
        Prefix.LICENSE: "license_id",
        Prefix.CUSTOMER: "customer_id",
        Prefix.AGENT: "agent_id",
    }
    list_display = ("typeid", "meter", "limit_shown", "period", "mode", "scope", "owner", "tenant", "archived_at")
    list_filter = (BY_TENANT, by("mode"), by("scope"), by("period"), MadeFilter)
    limit_shown = columns.quantity("limit")
    ceiling_shown = columns.quantity("ceiling")
    carried_most = columns.quantity("carry_over_limit")
    filter_shown = columns.json_block("filter")
    percents = columns.json_block("thresholds", "thresholds, per cent")
    fieldsets = (
        ("Quota", {"fields": ("typeid", "tenant", "meter", "filter_shown", "limit_shown", "ceiling_shown", "mode")}),
        ("Set on", {"fields": ("scope", "owner", "key")}),
        ("Period", {"fields": ("period", "rolling_seconds", "anchor", "carry_over", "carried_most", "percents")}),
        ("State", {"fields": ("created_at", "updated_at", "archived_at")}),
    )

    @display(description="set on")
    def owner(self, row: Quota) -> str:
        """The plan, licence, customer, agent or workspace."""
        for prefix, owner in (
            (Prefix.PLAN, row.plan),
            (Prefix.LICENSE, row.license),
            (Prefix.CUSTOMER, row.customer),
            (Prefix.AGENT, row.agent),
        ):
            if owner is not None:
                return id_link(prefix, owner.pk, owner)
        return id_link(Prefix.TENANT, row.tenant_id, row.tenant)

    def panels(self, request: HttpRequest, row: Quota) -> Iterable[Panel]:
        """Its newest balances, and its trail."""
        yield Panel(
            "Newest balances",
            ["Subject", "Period", "Used", "Held", "Closed at"],
            lambda: _balances(row),
            "metering.view_balance",
        )
        yield trail_of(row, tenant_id=row.tenant_id)


@admin.register(Balance)
class BalanceAdmin(LedgerAdmin):
    """What subjects have used and hold. Ids are derived, not made in order: lists follow them all the same."""

    with_related = ("tenant", "meter")
    related_ids = {Prefix.TENANT: "tenant_id", **SUBJECT_IDS}
    list_display = ("typeid", "whom_short", "meter", "period", "period_start", "used_shown", "held_shown", "closed_at")
    list_filter = (BY_TENANT, by("scope"), by("period"))
    whom = columns.subject
    whom_short = columns.short_subject
    used_shown = columns.quantity("used")
    held_shown = columns.quantity("held")
    carried_shown = columns.quantity("carried")
    burned_shown = columns.quantity("burned", "covered by top-ups")
    base_shown = columns.quantity("base", "of events that are not kept")
    filter_shown = columns.json_block("filter")
    fired = columns.json_block("thresholds_fired")
    plan = columns.id_of("plan_id", Prefix.PLAN, "plan")
    fieldsets = (
        ("Balance", {"fields": ("typeid", "tenant", "scope", "whom", "meter", "filter_shown", "plan", "quota_key")}),
        ("Period", {"fields": ("period", "period_start", "period_end", "closed_at", "detached_at")}),
        ("Numbers", {"fields": ("used_shown", "held_shown", "carried_shown", "burned_shown", "base_shown", "fired")}),
    )


@admin.register(Hold)
class HoldAdmin(LedgerAdmin):
    """Reservations."""

    with_related = ("tenant", "license", "customer", "agent")
    related_ids = {
        Prefix.TENANT: "tenant_id",
        Prefix.LICENSE: "license_id",
        Prefix.CUSTOMER: "customer_id",
        Prefix.AGENT: "agent_id",
    }
    list_display = ("typeid", "agent", "license", "tenant", "status_label", "lease", "expires_at", "created_at")
    list_filter = (BY_TENANT, by("status"), "lease", MadeFilter)
    status_label = columns.status()
    usage_shown = columns.json_block("usage", "what was asked")
    settled_shown = columns.json_block("settled", "what was counted")
    fieldsets = (
        ("Hold", {"fields": ("typeid", "tenant", "customer", "license", "agent", "client_id")}),
        ("State", {"fields": ("status", "on_excess", "lease", "created_at", "expires_at", "closed_at")}),
        ("Usage", {"fields": ("usage_shown", "settled_shown")}),
    )

    def panels(self, request: HttpRequest, row: Hold) -> Iterable[Panel]:
        """What it reserves, on which balances."""
        yield Panel(
            "Lines", ["Line", "Balance", "Asked", "Still reserved"], lambda: _lines(row), "metering.view_holdline"
        )


@admin.register(HoldLine)
class HoldLineAdmin(LedgerAdmin):
    """What holds reserve on balances."""

    with_related = ("tenant", "hold", "balance")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.HOLD: "hold_id", Prefix.BALANCE: "balance_id"}
    list_display = ("created_at", "hold", "line", "balance", "quantity_shown", "reserved_shown", "open", "tenant")
    list_filter = (BY_TENANT, "open", MadeFilter)
    quantity_shown = columns.quantity("quantity")
    reserved_shown = columns.quantity("reserved")
    fieldsets = (
        (None, {"fields": ("tenant", "hold", "line", "balance", "quantity_shown", "reserved_shown")}),
        ("State", {"fields": ("open", "created_at", "expires_at")}),
    )


def _balances(quota: Quota) -> Rows:
    balances = Balance.objects.for_tenant(quota.tenant_id).filter(quota_key=quota.key)
    for balance in balances.order_by("-period_start")[:20]:
        yield (
            subject_link(balance.scope, balance.subject_id),
            id_link(Prefix.BALANCE, balance.pk, columns.when(balance.period_start)),
            columns.number(balance.used),
            columns.number(balance.held),
            columns.when(balance.closed_at),
        )


def _lines(hold: Hold) -> Rows:
    for line in HoldLine.objects.for_tenant(hold.tenant_id).filter(hold=hold).order_by("line", "pk")[:100]:
        yield (
            code(line.line),
            id_link(Prefix.BALANCE, line.balance_id),
            columns.number(line.quantity),
            columns.number(line.reserved),
        )
