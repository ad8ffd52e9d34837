"""Operators' pages of meters and rate cards."""

from collections.abc import Iterable

from django.contrib import admin
from django.http import HttpRequest

from common.ids import Prefix
from metering.models import DimensionValue, Meter, RateCardEntry
from metering.services.meters import archive_meter
from tenants.admin import columns
from tenants.admin.base import OperatorAdmin
from tenants.admin.filters import BY_TENANT, MadeFilter, by
from tenants.admin.links import code, id_link
from tenants.admin.operations import OperatedAdmin, Operation
from tenants.admin.panels import Panel, Rows, trail_of
from tenants.domain.actors import Actor


def _archive(meter: Meter, actor: Actor, reason: str) -> object:
    return archive_meter(tenant=meter.tenant, meter_id=meter.id, actor=actor, reason=reason)


@admin.register(Meter)
class MeterAdmin(OperatedAdmin):
    """What is counted."""

    operations = (
        Operation(
            name="archive",
            label="Archive",
            done="archived",
            icon="archive",
            effect="From now on it is unknown to new events; what was recorded stays.",
            run=_archive,
            fits=lambda meter: meter.archived_at is None,
            for_good=True,
        ),
    )

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
        """The rate card of a cost meter, values of dimensions that have a limit, and its trail."""
        if row.derived:
            yield Panel(
                "Rate card",
                ["Of", "With", "Unit price", "From", "Until"],
                lambda: _rate_card(row),
                "metering.view_ratecardentry",
            )
        if any(isinstance(each, dict) and "max_values" in each for each in row.dimensions):
            yield Panel(
                "Values of limited dimensions",
                ["Dimension", "Value", "Since"],
                lambda: _values(row),
                "metering.view_meter",
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


def _values(meter: Meter) -> Rows:
    values = DimensionValue.objects.for_tenant(meter.tenant_id).filter(meter=meter)
    for row in values.order_by("dimension", "created_at", "id")[:100]:
        yield code(row.dimension), code(row.value), columns.when(row.created_at)
