"""Operators' pages of prices, overage records and statements."""

from collections.abc import Iterable

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html

from common.ids import Prefix
from metering.domain.enums import OverageStatus
from metering.domain.money import minor_units, round_money
from metering.models import OverageRecord, Price, Statement
from metering.services.overage_corrections import rerate_overage, void_overage
from tenants.admin import columns
from tenants.admin.base import LedgerAdmin, OperatorAdmin
from tenants.admin.columns import display
from tenants.admin.filters import BY_TENANT, MadeFilter, by
from tenants.admin.operations import OperatedAdmin, Operation
from tenants.admin.panels import Panel, Rows, trail_of

SHOWN_CORRECTIONS = 20


@admin.register(Price)
class PriceAdmin(OperatorAdmin):
    """What plans charge above their soft quotas."""

    with_related = ("tenant", "plan", "meter")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.PLAN: "plan_id", Prefix.METER: "meter_id"}
    list_display = ("typeid", "plan", "meter", "model", "unit", "currency", "tenant", "starts_at", "archived_at")
    list_filter = (BY_TENANT, by("model"), MadeFilter)
    unit = columns.quantity("unit_price")
    package = columns.quantity("package_size")
    package_for = columns.quantity("package_price")
    included = columns.quantity("included_units")
    least = columns.quantity("minimum")
    most = columns.quantity("maximum")
    tiers_shown = columns.json_block("tiers")
    filter_shown = columns.json_block("filter")
    fieldsets = (
        ("Price", {"fields": ("typeid", "tenant", "plan", "meter", "filter_shown", "currency", "model")}),
        (
            "Terms",
            {"fields": ("unit", "package", "package_for", "tiers_shown", "included", "least", "most")},
        ),
        ("State", {"fields": ("starts_at", "created_at", "archived_at")}),
    )

    def panels(self, request: HttpRequest, row: Price) -> Iterable[Panel]:
        """Its trail."""
        yield trail_of(row, tenant_id=row.tenant_id)


@admin.register(OverageRecord)
class OverageRecordAdmin(OperatedAdmin, LedgerAdmin):
    """Priced excess, as it grows and as it was billed."""

    operations = (
        Operation(
            name="void",
            label="Void",
            done="voided",
            icon="money_off",
            effect="Nothing of them is owed, corrections included; what was on a statement is given back on the next.",
            run=lambda row, actor, reason: void_overage(
                tenant=row.tenant, actor=actor, overage_id=row.pk, reason=reason
            ),
            fits=lambda row: row.corrects_id is None and row.status in (OverageStatus.OPEN, OverageStatus.FINALIZED),
            for_good=True,
        ),
        Operation(
            name="rerate",
            label="Rate anew",
            done="rated anew",
            icon="currency_exchange",
            effect="The difference to the price that the plan has by now for that period becomes a record of its own.",
            run=lambda row, actor, reason: rerate_overage(
                tenant=row.tenant, actor=actor, overage_id=row.pk, reason=reason
            ),
            fits=lambda row: row.status == OverageStatus.FINALIZED,
        ),
    )

    with_related = ("tenant", "quota__meter", "meter", "license", "customer", "corrects", "statement")
    related_ids = {
        Prefix.TENANT: "tenant_id",
        Prefix.QUOTA: "quota_id",
        Prefix.METER: "meter_id",
        Prefix.LICENSE: "license_id",
        Prefix.CUSTOMER: "customer_id",
        Prefix.BALANCE: "balance_id",
    }
    list_display = (
        "typeid",
        "customer",
        "license_short",
        "meter",
        "period_start",
        "quantity_shown",
        "amount_shown",
        "status_label",
        "tenant",
    )
    list_filter = (BY_TENANT, by("status"), MadeFilter)
    search_fields = ("customer__external_id", "customer__name")
    license_short = columns.short_id_of("license_id", Prefix.LICENSE, "license")
    status_label = columns.status()
    whom = columns.subject
    limit_shown = columns.quantity("limit")
    used_shown = columns.quantity("used")
    quantity_shown = columns.quantity("quantity", "over by")
    balance = columns.id_of("balance_id", Prefix.BALANCE, "balance")
    lines_shown = columns.json_block("lines")
    price_shown = columns.json_block("price", "terms that were applied")
    fieldsets = (
        ("Overage", {"fields": ("typeid", "tenant", "customer", "license", "meter", "quota", "whom", "balance")}),
        ("Period", {"fields": ("period_start", "period_end")}),
        ("Numbers", {"fields": ("limit_shown", "used_shown", "quantity_shown", "amount_shown")}),
        (
            "State",
            {"fields": ("status", "status_reason", "created_at", "finalized_at", "voided_at", "corrects", "statement")},
        ),
        ("Working", {"fields": ("lines_shown", "price_shown")}),
    )

    @display(description="amount")
    def amount_shown(self, row: OverageRecord) -> str:
        """To the minor unit, with its currency: `255.50 USD`."""
        amount = f"{round_money(row.amount, row.currency):.{minor_units(row.currency)}f}"
        return format_html('<span class="pm-number pm-line">{} {}</span>', amount, row.currency)

    def panels(self, request: HttpRequest, row: OverageRecord) -> Iterable[Panel]:
        """What corrects it, and its trail."""

        def corrections() -> Rows:
            for each in row.corrections.order_by("id")[:SHOWN_CORRECTIONS]:
                amount = f"{round_money(each.amount, each.currency):f} {each.currency}"
                yield [each.public_id, each.get_status_display(), amount, each.status_reason]

        if row.corrects_id is None:
            yield Panel(
                title="Corrections",
                headers=["Record", "Status", "Amount", "Reason"],
                rows=corrections,
                permission="metering.view_overagerecord",
            )
        yield trail_of(row, tenant_id=row.tenant_id)


@admin.register(Statement)
class StatementAdmin(LedgerAdmin):
    """What customers were billed for their months, as it was handed out."""

    with_related = ("tenant", "customer")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.CUSTOMER: "customer_id"}
    list_display = ("typeid", "number", "customer", "period_start", "issued_at", "tenant")
    list_filter = (BY_TENANT, MadeFilter)
    search_fields = ("customer__external_id", "customer__name")
    totals_shown = columns.json_block("totals")
    fieldsets = (
        ("Statement", {"fields": ("typeid", "tenant", "customer", "number", "issued_at")}),
        ("Period", {"fields": ("period_start", "period_end")}),
        ("Totals", {"fields": ("totals_shown",)}),
        ("As it was issued", {"fields": ("as_csv", "as_json")}),
    )

    def panels(self, request: HttpRequest, row: Statement) -> Iterable[Panel]:
        """Its trail."""
        yield trail_of(row, tenant_id=row.tenant_id)
