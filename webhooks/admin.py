"""Operators' pages of webhooks: where vendors are told, and what came of it."""

from collections.abc import Iterable

from django.contrib import admin
from django.http import HttpRequest

from common.ids import Prefix
from tenants.admin import columns
from tenants.admin.base import LedgerAdmin, OperatorAdmin
from tenants.admin.columns import display
from tenants.admin.filters import BY_TENANT, MadeFilter, by
from tenants.admin.links import code, public_id_link
from tenants.admin.panels import Panel, Rows, trail_of
from webhooks.models import DeliveryAttempt, WebhookDelivery, WebhookEndpoint


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(OperatorAdmin):
    """Vendors' addresses; their secrets are encrypted, and not read here."""

    with_related = ("tenant",)
    list_display = ("address", "typeid", "tenant", "failing_since", "disabled_at", "created_at")
    list_display_links = ("address",)
    list_filter = (BY_TENANT, MadeFilter)
    search_fields = ("url", "description")
    types = columns.json_block("event_types")
    fieldsets = (
        ("Endpoint", {"fields": ("typeid", "tenant", "address", "description", "types")}),
        ("State", {"fields": ("failing_since", "disabled_at", "disabled_reason", "created_at", "archived_at")}),
        ("Rotation", {"fields": ("previous_secret_until",)}),
    )

    @display(description="address")
    def address(self, row: WebhookEndpoint) -> str:
        """As text: an operator is not to follow a vendor's link by accident."""
        return code(row.url)

    def panels(self, request: HttpRequest, row: WebhookEndpoint) -> Iterable[Panel]:
        """Its trail."""
        yield trail_of(row, tenant_id=row.tenant_id)


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(LedgerAdmin):
    """Events on their way."""

    with_related = ("tenant", "endpoint", "event")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.ENDPOINT: "endpoint_id", Prefix.MESSAGE: "event_id"}
    list_display = ("created_at", "event", "endpoint", "status_label", "attempts", "next_attempt_at", "tenant")
    list_filter = (BY_TENANT, by("status"), MadeFilter)
    status_label = columns.status()
    fieldsets = (
        ("Delivery", {"fields": ("typeid", "tenant", "endpoint", "event", "about", "replay")}),
        ("State", {"fields": ("status", "attempts", "created_at", "next_attempt_at", "finished_at")}),
    )

    @display(description="subject")
    def about(self, row: WebhookDelivery) -> str:
        """What the event is about."""
        return public_id_link(row.subject)

    def panels(self, request: HttpRequest, row: WebhookDelivery) -> Iterable[Panel]:
        """Its attempts."""
        yield Panel(
            "Attempts",
            ["Number", "At", "Status", "Took", "Error"],
            lambda: _attempts(row),
            "webhooks.view_deliveryattempt",
        )


@admin.register(DeliveryAttempt)
class DeliveryAttemptAdmin(LedgerAdmin):
    """What came of each attempt."""

    with_related = ("tenant", "delivery")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.DELIVERY: "delivery_id"}
    list_display = ("at", "delivery", "number", "status_code", "latency_ms", "error", "tenant")
    list_filter = (BY_TENANT, MadeFilter)
    fieldsets = (
        ("Attempt", {"fields": ("tenant", "delivery", "number", "at", "status_code", "latency_ms")}),
        ("Answer", {"fields": ("error", "answer_shown")}),
    )

    @display(description="beginning of the answer")
    def answer_shown(self, row: DeliveryAttempt) -> str:
        """As it came, as text."""
        return code(row.answer or "–")


def _attempts(delivery: WebhookDelivery) -> Rows:
    attempts = DeliveryAttempt.objects.for_tenant(delivery.tenant_id).filter(delivery=delivery).order_by("-number")
    for attempt in attempts[:50]:
        yield (
            f"#{attempt.number}",
            columns.when(attempt.at),
            attempt.status_code or "–",
            f"{attempt.latency_ms} ms",
            attempt.error or "–",
        )
