"""Operators' pages of top-ups: what they have covered, where, and taking one back."""

from collections.abc import Iterable

from django.contrib import admin
from django.http import HttpRequest

from common.ids import Prefix
from metering.admin.quotas import SUBJECT_IDS
from metering.models import TopUp, TopUpBurn
from metering.selectors.top_ups import state_of
from metering.services.top_ups import void_top_up
from tenants.admin import columns
from tenants.admin.base import LedgerAdmin
from tenants.admin.columns import display
from tenants.admin.filters import BY_TENANT, MadeFilter, by
from tenants.admin.links import id_link
from tenants.admin.operations import OperatedAdmin, Operation
from tenants.admin.panels import Panel, Rows, trail_of
from tenants.domain.actors import Actor
from tenants.selectors.clocks import clock_of

SHOWN_BURNS = 50


def _void(row: TopUp, actor: Actor, reason: str) -> object:
    return void_top_up(tenant=row.tenant, top_up_id=row.id, actor=actor, reason=reason)


@admin.register(TopUp)
class TopUpAdmin(OperatedAdmin, LedgerAdmin):
    """Extra allowance."""

    with_related = ("tenant", "quota__meter")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.QUOTA: "quota_id", **SUBJECT_IDS}
    list_display = (
        *("typeid", "whom_short", "quota", "amount_shown", "used_shown", "left_shown", "state_shown"),
        *("starts_at", "expires_at", "tenant"),
    )
    list_filter = (BY_TENANT, by("scope"), by("origin"), MadeFilter)
    whom = columns.subject
    whom_short = columns.short_subject
    amount_shown = columns.quantity("amount")
    used_shown = columns.quantity("used")
    notes = columns.json_block("metadata")
    operations = (
        Operation(
            name="void",
            label="Void",
            done="voided",
            icon="block",
            effect="What is left of it is taken back at once. What it has covered stays covered.",
            run=_void,
            fits=lambda row: row.voided_at is None,
            for_good=True,
        ),
    )
    fieldsets = (
        ("Top-up", {"fields": ("typeid", "tenant", "quota", "scope", "whom", "origin", "reference", "priority")}),
        ("Numbers", {"fields": ("amount_shown", "used_shown", "left_shown")}),
        (
            "State",
            {"fields": ("state_shown", "starts_at", "expires_at", "voided_at", "created_at", "updated_at", "notes")},
        ),
    )

    @display(description="left")
    def left_shown(self, row: TopUp) -> str:
        """What it has not covered yet, whatever its state."""
        return columns.number(row.amount - row.used)

    @display(description="state")
    def state_shown(self, row: TopUp) -> str:
        """Whether it covers anything now, by its workspace's clock."""
        return state_of(row, clock_of(row.tenant).now()).replace("_", " ")

    def panels(self, request: HttpRequest, row: TopUp) -> Iterable[Panel]:
        """What it has covered, period by period, and its trail."""
        yield Panel(
            "What it has covered",
            ["Balance", "Period", "Quantity", "Last"],
            lambda: _burns(row),
            "metering.view_topupburn",
        )
        yield trail_of(row, tenant_id=row.tenant_id)


@admin.register(TopUpBurn)
class TopUpBurnAdmin(LedgerAdmin):
    """How much of a top-up each balance has used."""

    with_related = ("tenant", "top_up", "balance")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.TOP_UP: "top_up_id", Prefix.BALANCE: "balance_id"}
    list_display = ("created_at", "top_up", "balance", "quantity_shown", "tenant")
    list_filter = (BY_TENANT, MadeFilter)
    quantity_shown = columns.quantity("quantity")
    fieldsets = ((None, {"fields": ("tenant", "top_up", "balance", "quantity_shown", "created_at")}),)


def _burns(top_up: TopUp) -> Rows:
    burns = TopUpBurn.objects.for_tenant(top_up.tenant_id).filter(top_up=top_up).select_related("balance")
    for burn in burns.order_by("-created_at", "-id")[:SHOWN_BURNS]:
        yield (
            id_link(Prefix.BALANCE, burn.balance_id),
            columns.when(burn.balance.period_start),
            columns.number(burn.quantity),
            columns.when(burn.updated_at),
        )
