"""Operators' pages of licences and of what they carry."""

from collections.abc import Iterable
from datetime import datetime

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

from common.ids import Prefix
from licenses.domain.enums import LicenseStatus
from licenses.domain.explaining import GrantEffect, explain_features
from licenses.models import Agent, License, LicenseGrant, LicensePlan, LicenseTransfer
from licenses.selectors.access import load_license
from licenses.selectors.licenses import shown_status
from licenses.services.license_states import reinstate_license, revoke_license, suspend_license
from licenses.services.renewing import renew_license
from tenants.admin import columns
from tenants.admin.base import LedgerAdmin
from tenants.admin.columns import display
from tenants.admin.filters import BY_TENANT, MadeFilter, by
from tenants.admin.links import code, id_link
from tenants.admin.operations import OperatedAdmin, Operation
from tenants.admin.panels import Panel, Rows, trail_of
from tenants.selectors.clocks import clock_of

OPERATIONS = (
    Operation(
        name="suspend",
        label="Suspend",
        done="suspended",
        icon="pause_circle",
        effect="Every agent under these licences is refused with license_suspended.",
        run=lambda row, actor, reason: suspend_license(
            tenant=row.tenant, license_id=row.pk, actor=actor, reason=reason
        ),
        fits=lambda row: row.status == LicenseStatus.ACTIVE,
    ),
    Operation(
        name="reinstate",
        label="Reinstate",
        done="reinstated",
        icon="play_circle",
        effect="The agents under these licences are answered again.",
        run=lambda row, actor, reason: reinstate_license(
            tenant=row.tenant, license_id=row.pk, actor=actor, reason=reason
        ),
        fits=lambda row: row.status == LicenseStatus.SUSPENDED,
    ),
    Operation(
        name="renew",
        label="Renew",
        done="renewed",
        icon="autorenew",
        effect="Their expiry is put off by a term of their plan.",
        run=lambda row, actor, reason: renew_license(tenant=row.tenant, license_id=row.pk, actor=actor, reason=reason),
        fits=lambda row: row.status != LicenseStatus.REVOKED and row.expires_at is not None,
    ),
    Operation(
        name="revoke",
        label="Revoke",
        done="revoked",
        icon="block",
        effect="Every agent under these licences is refused with license_revoked, for good.",
        run=lambda row, actor, reason: revoke_license(tenant=row.tenant, license_id=row.pk, actor=actor, reason=reason),
        fits=lambda row: row.status != LicenseStatus.REVOKED,
        for_good=True,
    ),
)


@admin.register(License)
class LicenseAdmin(OperatedAdmin, LedgerAdmin):
    """Licences of all workspaces."""

    operations = OPERATIONS
    with_related = ("tenant", "customer")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.CUSTOMER: "customer_id"}
    list_display = ("typeid", "customer", "tenant", "status_label", "kind", "hint", "starts_at", "expires_at")
    list_filter = (BY_TENANT, by("status"), by("kind"), MadeFilter)
    search_fields = ("key_hint__iexact", "customer__external_id", "customer__name")
    status_label = columns.status()
    limits = columns.json_block("rate_limits", "rate limits of its own")
    notes = columns.json_block("metadata")
    fieldsets = (
        ("License", {"fields": ("typeid", "tenant", "customer", "kind", "hint")}),
        ("Term", {"fields": ("standing", "starts_at", "expires_at", "expiring_noted_days", "expired_noted_at")}),
        ("State", {"fields": ("status", "status_reason", "suspended_at", "revoked_at", "created_at", "archived_at")}),
        ("More", {"fields": ("limits", "hold_limit", "notes")}),
    )

    @display(description="key ends in")
    def hint(self, row: License) -> str:
        """The last group of its key."""
        return code(row.key_hint or "–")

    @display(description="now")
    def standing(self, row: License) -> str:
        """What state and clock together say at this moment of the workspace."""
        return shown_status(row, self.now(row)).replace("_", " ").capitalize()

    def now(self, row: License) -> datetime:
        """The workspace's time."""
        return clock_of(row.tenant).now()

    def panels(self, request: HttpRequest, row: License) -> Iterable[Panel]:
        """Plans, what they and its own grants come to, agents, and its trail."""
        agents = reverse("admin:licenses_agent_changelist")
        yield Panel("Plans", ["Plan", "Role", "Product"], lambda: _plans(row), "licenses.view_plan")
        yield Panel(
            "Entitlements",
            ["Feature", "Kind", "Value", "From", "Until"],
            lambda: _entitlements(row, self.now(row)),
            "licenses.view_licensegrant",
            empty="No feature is granted.",
        )
        yield Panel(
            "Newest agents",
            ["Agent", "Id", "Status", "Kind", "Expires at"],
            lambda: _agents(row),
            "licenses.view_agent",
            more=f"{agents}?q={row.public_id}",
        )
        yield Panel(
            "Earlier holders",
            ["Customer", "Until", "Handed over to"],
            lambda: _transfers(row),
            "tenants.view_customer",
            empty="It has never changed hands.",
        )
        yield trail_of(row, tenant_id=row.tenant_id)


@admin.register(LicensePlan)
class LicensePlanAdmin(LedgerAdmin):
    """Which licences carry which plans."""

    with_related = ("tenant", "license", "plan")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.LICENSE: "license_id", Prefix.PLAN: "plan_id"}
    list_display = ("license", "plan", "role", "tenant", "created_at")
    list_filter = (BY_TENANT, by("role"), MadeFilter)
    fieldsets = ((None, {"fields": ("tenant", "license", "plan", "role", "created_at")}),)


@admin.register(LicenseTransfer)
class LicenseTransferAdmin(LedgerAdmin):
    """Licences that changed hands."""

    with_related = ("tenant", "license", "giver", "taker")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.LICENSE: "license_id"}
    list_display = ("license", "giver", "taker", "at", "tenant")
    list_filter = (BY_TENANT, MadeFilter)
    fieldsets = ((None, {"fields": ("tenant", "license", "giver", "taker", "at")}),)


@admin.register(LicenseGrant)
class LicenseGrantAdmin(LedgerAdmin):
    """Licences' own values for features."""

    with_related = ("tenant", "license", "feature")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.LICENSE: "license_id", Prefix.FEATURE: "feature_id"}
    list_display = ("typeid", "license", "feature", "value_code", "starts_at", "expires_at", "tenant")
    list_filter = (BY_TENANT, MadeFilter)
    value_shown = columns.json_block("value")
    fieldsets = (
        (None, {"fields": ("typeid", "tenant", "license", "feature", "value_shown", "starts_at", "expires_at")}),
    )

    @display(description="value")
    def value_code(self, row: LicenseGrant) -> str:
        """As it is."""
        return code(row.value)


def _plans(license: License) -> Rows:
    carried = LicensePlan.objects.for_tenant(license.tenant_id).filter(license=license).select_related("plan__product")
    for each in carried.order_by("created_at", "id"):
        product = each.plan.product
        yield (
            id_link(Prefix.PLAN, each.plan_id, each.plan.code),
            each.get_role_display(),
            id_link(Prefix.PRODUCT, product.pk, product.code),
        )


def _entitlements(license: License, now: datetime) -> Rows:
    access = load_license(license.tenant_id, license.pk)
    if access is None:
        return
    for found in explain_features(access.facts, now):
        feature = found.effective
        value = ", ".join(feature.shown) if isinstance(feature.shown, list) else feature.shown
        parts = [each.grant for each in found.grants if each.effect is GrantEffect.CONTRIBUTES]
        source = ", ".join(dict.fromkeys(grant.plan or "the license itself" for grant in parts))
        yield code(found.code), feature.kind, code(value), source, columns.when(feature.until)


def _transfers(license: License) -> Rows:
    transfers = LicenseTransfer.objects.for_tenant(license.tenant_id).filter(license=license)
    for transfer in transfers.select_related("giver", "taker").order_by("-at", "-id")[:20]:
        giver, taker = transfer.giver, transfer.taker
        yield (
            id_link(Prefix.CUSTOMER, giver.pk, giver.external_id),
            columns.when(transfer.at),
            id_link(Prefix.CUSTOMER, taker.pk, taker.external_id),
        )


def _agents(license: License) -> Rows:
    for agent in Agent.objects.for_tenant(license.tenant_id).filter(license=license).order_by("-created_at")[:20]:
        yield (
            id_link(Prefix.AGENT, agent.pk, agent.name),
            code(agent.public_id),
            agent.get_status_display(),
            agent.get_kind_display(),
            columns.when(agent.expires_at),
        )
