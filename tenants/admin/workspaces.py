"""Operators' pages of workspaces and their customers."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html

from common.ids import Prefix
from tenants.admin import columns
from tenants.admin.base import LedgerAdmin
from tenants.admin.columns import display
from tenants.admin.filters import BY_TENANT, MadeFilter, by
from tenants.admin.forms import ServiceForm, ServiceFormMixin
from tenants.admin.operations import OperatedAdmin, Operation, operator_of
from tenants.admin.panels import Panel, trail_of
from tenants.domain.enums import CustomerStatus, TenantStatus
from tenants.models import Customer, Tenant
from tenants.selectors.clocks import clock_of
from tenants.services.customers import reinstate_customer, suspend_customer
from tenants.services.workspaces import create_workspace, reinstate_tenant, suspend_tenant, update_workspace

TENANT_OPERATIONS = (
    Operation(
        name="suspend",
        label="Suspend",
        done="suspended",
        icon="pause_circle",
        effect="Every agent under these workspaces is refused with tenant_suspended, and their backends get 403.",
        run=lambda row, actor, reason: suspend_tenant(tenant_id=row.pk, actor=actor, reason=reason),
        fits=lambda row: row.status == TenantStatus.ACTIVE,
    ),
    Operation(
        name="reinstate",
        label="Reinstate",
        done="reinstated",
        icon="play_circle",
        effect="Agents and backends of these workspaces are answered again.",
        run=lambda row, actor, reason: reinstate_tenant(tenant_id=row.pk, actor=actor, reason=reason),
        fits=lambda row: row.status == TenantStatus.SUSPENDED,
    ),
)

CUSTOMER_OPERATIONS = (
    Operation(
        name="suspend",
        label="Suspend",
        done="suspended",
        icon="pause_circle",
        effect="Every licence and agent of these customers is refused with customer_suspended.",
        run=lambda row, actor, reason: suspend_customer(
            tenant=row.tenant, customer_id=row.pk, actor=actor, reason=reason
        ),
        fits=lambda row: row.status == CustomerStatus.ACTIVE,
    ),
    Operation(
        name="reinstate",
        label="Reinstate",
        done="reinstated",
        icon="play_circle",
        effect="The licences and agents of these customers hold again.",
        run=lambda row, actor, reason: reinstate_customer(
            tenant=row.tenant, customer_id=row.pk, actor=actor, reason=reason
        ),
        fits=lambda row: row.status != CustomerStatus.ACTIVE,
    ),
)


@admin.register(Tenant)
class TenantAdmin(ServiceFormMixin, OperatedAdmin):
    """Workspaces: made here or by sign-up, named, limited, suspended and reinstated here."""

    form = ServiceForm
    operations: ClassVar[Sequence[Operation]] = TENANT_OPERATIONS
    related_ids = {}
    list_display = ("slug", "name", "typeid", "mode_label", "status_label", "timezone", "currency", "created_at")
    list_display_links = ("slug",)
    list_filter = (by("mode"), by("status"))
    search_fields = ("slug", "name")
    with_related = ("live",)
    mode_label = columns.status("mode", "mode")
    status_label = columns.status()
    fieldsets = (
        ("Workspace", {"fields": ("typeid", "slug", "name", "mode", "live", "timezone", "currency")}),
        ("State", {"fields": ("status", "status_reason", "created_at", "updated_at")}),
        ("Clock and limits", {"fields": ("clock", "rate_limits")}),
    )
    add_fieldsets = ((None, {"fields": ("name", "slug", "mode", "live", "timezone", "currency")}),)
    changed_here = frozenset({"name", "rate_limits"})

    @display(description="its time")
    def clock(self, row: Tenant) -> str:
        """What the workspace's clock shows."""
        now = columns.when(clock_of(row).now())
        return format_html("{} UTC, {} ahead of real time", now, row.clock_offset) if row.clock_offset else f"{now} UTC"

    def panels(self, request: HttpRequest, row: Tenant) -> Iterable[Panel]:
        """Its trail."""
        yield trail_of(row, tenant_id=row.pk)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A workspace is made by a service, so operators may."""
        return request.user.has_perm("tenants.add_tenant")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Its name and its limits are changed by a service, so operators may."""
        return request.user.has_perm("tenants.change_tenant")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """All else stays as it is: periods and amounts hang on timezone and currency."""
        shown = [name for _, options in self.fieldsets for name in options["fields"]] if obj else []
        return [name for name in shown if name not in self.changed_here]

    def get_autocomplete_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """Fields of the form that makes a workspace."""
        return ("live",)

    def save_model(self, request: HttpRequest, obj: Tenant, form: Any, change: bool) -> None:
        """Make the workspace, its members are added on their own page; or change its name and its limits."""
        if change:
            limits = obj.rate_limits or []
            update_workspace(tenant_id=obj.pk, actor=operator_of(request), name=obj.name, rate_limits=limits)
            return
        made = create_workspace(
            actor=operator_of(request),
            name=obj.name,
            slug=obj.slug,
            timezone=obj.timezone,
            currency=obj.currency,
            mode=obj.mode,
            live=obj.live,
        )
        obj.pk, obj.created_at, obj._state.adding = made.pk, made.created_at, False


@admin.register(Customer)
class CustomerAdmin(OperatedAdmin, LedgerAdmin):
    """Customers of all workspaces."""

    operations = CUSTOMER_OPERATIONS
    with_related = ("tenant",)
    related_ids = {Prefix.TENANT: "tenant_id"}
    list_display = ("external_id", "name", "typeid", "tenant", "status_label", "created_at")
    list_display_links = ("external_id",)
    list_filter = (BY_TENANT, by("status"), MadeFilter)
    search_fields = ("external_id", "name", "email")
    status_label = columns.status()
    limits = columns.json_block("rate_limits", "rate limits")
    notes = columns.json_block("metadata")
    fieldsets = (
        ("Customer", {"fields": ("typeid", "tenant", "external_id", "name", "email")}),
        ("State", {"fields": ("status", "created_at", "updated_at")}),
        ("More", {"fields": ("limits", "notes")}),
    )

    def panels(self, request: HttpRequest, row: Customer) -> Iterable[Panel]:
        """Its trail."""
        yield trail_of(row, tenant_id=row.tenant_id)
