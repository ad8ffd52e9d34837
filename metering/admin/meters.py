"""Operators' pages of meters and rate cards."""

from collections.abc import Iterable

from django.contrib import admin
from django.http import HttpRequest

from common.ids import Prefix
from metering.models import Meter, RateCardEntry
from tenants.admin import columns
from tenants.admin.base import OperatorAdmin
from tenants.admin.filters import BY_TENANT, MadeFilter, by
from tenants.admin.links import code, id_link
from tenants.admin.panels import Panel, Rows, trail_of


@admin.register(Meter)
class MeterAdmin(OperatorAdmin):
    """What is counted."""

    with_related = ("tenant",)
    list_display = ("code", "name", "typeid", "unit", "aggregation", "tenant", "derived", "archived_at")
    list_filter = (BY_TENANT, by("aggregation"), "derived", MadeFilter)
    search_fields = ("code", "name")
    dimensions_shown = columns.json_block("dimensions")
    filter_shown = columns.json_block("filter")
    types = columns.json_block("event_types")
    fieldsets = (
        ("Meter", {"fields": ("typeid", "tenant", "code", "name", "unit", "aggregation", "value_from", "derived")}),
        ("What it takes", {"fields": ("dimensions_shown", "filter_shown", "types")}),
        ("State", {"fields": ("created_at", "updated_at", "archived_at")}),
    )

    def panels(self, request: HttpRequest, row: Meter) -> Iterable[Panel]:
        """The rate card of a cost meter, and its trail."""
        if row.derived:
            yield Panel(
                "Rate card",
                ["Of", "With", "Unit price", "From", "Until"],
                lambda: _rate_card(row),
                "metering.view_ratecardentry",
            )
        yield trail_of(row, tenant_id=row.tenant_id)


@admin.register(RateCardEntry)
class RateCardEntryAdmin(OperatorAdmin):
    """Rows of cost meters' rate cards."""

    with_related = ("tenant", "meter", "source")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.METER: "meter_id"}
    list_display = ("meter", "source", "price", "starts_at", "ends_at", "tenant")
    list_filter = (BY_TENANT, MadeFilter)
    price = columns.quantity("unit_price")
    dimensions_shown = columns.json_block("dimensions")
    fieldsets = (
        (None, {"fields": ("tenant", "meter", "source", "dimensions_shown", "price", "starts_at", "ends_at")}),
    )


def _rate_card(meter: Meter) -> Rows:
    rows = RateCardEntry.objects.for_tenant(meter.tenant_id).filter(meter=meter).select_related("source")
    for row in rows.order_by("created_at", "id")[:100]:
        yield (
            id_link(Prefix.METER, row.source_id, row.source.code),
            code(row.dimensions or "–"),
            columns.number(row.unit_price),
            columns.when(row.starts_at),
            columns.when(row.ends_at),
        )
