"""Operators' pages of the ledger: what has happened, for everybody to read and nobody to change."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.utils.html import format_html_join

from common.ids import Prefix, encode_id
from licenses.models import Agent, License
from metering.models import DroppedMonth, EventId, LateEntry, RollupCursor, UsageEvent, UsageRollup
from tenants.admin import columns
from tenants.admin.base import LedgerAdmin, OperatorAdmin
from tenants.admin.columns import display
from tenants.admin.filters import BY_TENANT, MadeFilter, by
from tenants.admin.links import code, id_link

_OWNERS: dict[str, str] = {
    Prefix.TENANT: "tenant_id",
    Prefix.CUSTOMER: "customer_id",
    Prefix.LICENSE: "license_id",
    Prefix.AGENT: "agent_id",
    Prefix.METER: "meter_id",
}


def narrowed(queryset: QuerySet[Any], prefix: str, id: UUID) -> QuerySet[Any]:
    """Rows of a licence or an agent, with the workspace and licence before them, as indexes want it."""
    if prefix == Prefix.AGENT:
        agent = Agent.objects.filter(pk=id).values_list("tenant_id", "license_id").first()
        if agent is None:
            return queryset.none()
        return queryset.filter(tenant_id=agent[0], license_id=agent[1], agent_id=id)
    license = License.objects.filter(pk=id).values_list("tenant_id", flat=True).first()
    return queryset.none() if license is None else queryset.filter(tenant_id=license, license_id=id)


@admin.register(UsageEvent)
class UsageEventAdmin(LedgerAdmin):
    """Events. An event's id alone finds it: each month's partition has an index that begins with it."""

    with_related = ("tenant", "customer", "license", "agent", "meter")
    related_ids = _OWNERS
    list_display = ("recorded_at", "occurred_at", "meter", "quantity_shown", "agent", "license", "tenant", "kind")
    list_display_links = ("recorded_at",)
    list_filter = (BY_TENANT, by("kind"), MadeFilter)
    quantity_shown = columns.quantity("quantity")
    dimensions_shown = columns.json_block("dimensions")
    flags_shown = columns.json_block("flags")
    hold = columns.id_of("hold_id", Prefix.HOLD, "hold")
    reverses = columns.id_of("corrects", Prefix.EVENT, "reverses")
    source = columns.id_of("derived_from", Prefix.EVENT, "derived from")
    fieldsets = (
        ("Event", {"fields": ("typeid", "client_id", "kind", "meter", "quantity_shown", "dimensions_shown")}),
        ("Whose", {"fields": ("tenant", "customer", "license", "agent", "path")}),
        ("When", {"fields": ("occurred_at", "recorded_at", "xid")}),
        ("Belongs to", {"fields": ("hold", "reverses", "source", "flags_shown")}),
    )

    @display(description="agents it counts on")
    def path(self, row: UsageEvent) -> str:
        """From the topmost down."""
        return format_html_join(", ", "{}", ((id_link(Prefix.AGENT, each),) for each in row.agent_path))

    def by_id(self, queryset: QuerySet[Any], prefix: str, id: UUID) -> QuerySet[Any]:
        """Ids of licences and agents are looked up by the index."""
        if prefix in {Prefix.AGENT, Prefix.LICENSE}:
            return narrowed(queryset, prefix, id)
        return super().by_id(queryset, prefix, id)


@admin.register(EventId)
class EventIdAdmin(LedgerAdmin):
    """The register of ids that were counted or held."""

    with_related = ("tenant",)
    related_ids = {Prefix.TENANT: "tenant_id"}
    list_display = ("digest", "kind", "occurred_at", "tenant")
    list_filter = (BY_TENANT, by("kind"))
    ordering = ("tenant_id", "pk")
    hold = columns.id_of("hold_id", Prefix.HOLD, "hold")
    fieldsets = (
        ("Id", {"fields": ("digest", "fingerprint", "tenant", "kind", "occurred_at", "occurred_given")}),
        ("What was answered", {"fields": ("events", "hold")}),
    )

    @display(description="events")
    def events(self, row: EventId) -> str:
        """The events that it stands for."""
        return format_html_join(", ", "{}", ((id_link(Prefix.EVENT, each),) for each in row.event_ids))


@admin.register(LateEntry)
class LateEntryAdmin(LedgerAdmin):
    """Events that are counted in another period than their own."""

    with_related = ("tenant", "balance__meter")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.EVENT: "event_id", Prefix.BALANCE: "balance_id"}
    list_display = ("created_at", "event", "occurred_at", "counted_in", "quantity_shown", "tenant")
    list_filter = (BY_TENANT, MadeFilter)
    event = columns.id_of("event_id", Prefix.EVENT, "event")
    own = columns.id_of("own_balance_id", Prefix.BALANCE, "its own period's balance")
    quantity_shown = columns.quantity("quantity")
    fieldsets = (
        (None, {"fields": ("tenant", "event", "occurred_at", "quantity_shown", "counted_in", "own", "created_at")}),
    )

    @display(description="counted in")
    def counted_in(self, row: LateEntry) -> str:
        """The balance that took it."""
        return id_link(Prefix.BALANCE, row.balance_id, code(encode_id(Prefix.BALANCE, row.balance_id)))


@admin.register(UsageRollup)
class UsageRollupAdmin(LedgerAdmin):
    """Sums of events by bucket."""

    with_related = ("tenant", "meter", "customer", "license", "agent")
    related_ids = _OWNERS
    list_display = ("bucket_start", "size", "meter", "total_shown", "events", "agent", "license", "tenant")
    list_filter = (BY_TENANT, by("size"))
    total_shown = columns.quantity("total")
    dimensions_shown = columns.json_block("dimensions")
    fieldsets = (
        ("Bucket", {"fields": ("size", "bucket_start", "meter", "dimensions_shown")}),
        ("Whose", {"fields": ("tenant", "customer", "license", "agent")}),
        ("Sum", {"fields": ("total_shown", "events")}),
    )

    def by_id(self, queryset: QuerySet[Any], prefix: str, id: UUID) -> QuerySet[Any]:
        """Ids of licences and agents are looked up by the indexes."""
        if prefix in {Prefix.AGENT, Prefix.LICENSE}:
            return narrowed(queryset, prefix, id)
        return super().by_id(queryset, prefix, id)


@admin.register(DroppedMonth)
class DroppedMonthAdmin(OperatorAdmin):
    """Months whose events are not kept any more, and where they were written to."""

    related_ids = {}
    list_display = ("name", "events", "dropped_at", "exported_to", "ids_forgotten_at")
    fieldsets = (
        ("Month", {"fields": ("name", "starts_at", "ends_at", "events")}),
        ("File", {"fields": ("exported_to", "sha256")}),
        ("When", {"fields": ("dropped_at", "ids_forgotten_at")}),
    )


@admin.register(RollupCursor)
class RollupCursorAdmin(OperatorAdmin):
    """How far events are rolled up."""

    related_ids = {}
    list_display = ("name", "generation", "watermark", "rolled_up_at")
    fieldsets = ((None, {"fields": ("name", "generation", "watermark", "rolled_up_at")}),)
