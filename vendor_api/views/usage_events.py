"""Raw events: listed, taken along, and one of them with what it counted in."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpResponse, StreamingHttpResponse

from common.ids import Prefix
from common.pagination import paginate, parse_limit
from metering.selectors.event_export import as_csv, as_ndjson
from metering.selectors.events import events_of, trail_of
from tenants.domain.scopes import Scope
from vendor_api.filters.usage_events import EventExportFilter, UsageEventFilter
from vendor_api.operations import Operation
from vendor_api.serializers.base import show_all
from vendor_api.serializers.usage_events import EventTrailShape, UsageEventShape
from vendor_api.views.base import VendorView

_NDJSON = "application/x-ndjson"


class UsageEventsView(VendorView):
    """/usage/events"""

    operations: ClassVar = {
        "GET": Operation(
            name="list_usage_events",
            summary="List raw events",
            description="By time of use, newest first. Bounds of time make it quick, whatever else is asked for.",
            tag="Usage",
            scope=Scope.USAGE_READ,
            answer=UsageEventShape,
            query=UsageEventFilter,
            paged=True,
        )
    }

    def get(self) -> HttpResponse:
        limit, cursor = parse_limit(self.query.get("limit")), self.query.get("cursor")
        asked = UsageEventFilter(self.query, events_of(self.tenant.id), at=self.now())
        asked.tenant_id = self.tenant.id
        found = paginate(
            asked.apply(), limit=limit, cursor=cursor, time_field="occurred_at", bound_to=self._list_name()
        )
        data = show_all(UsageEventShape, found.items, at=self.now())
        return self.answer({"data": data, "next_cursor": found.next_cursor})


class ExportUsageEventsView(VendorView):
    """/usage/events/export"""

    operations: ClassVar = {
        "GET": Operation(
            name="export_usage_events",
            summary="Export raw events as CSV or NDJSON",
            description=(
                "All that the filters leave, by time of use, oldest first, however many. Cells of CSV that a "
                "spreadsheet would run as a formula begin with an apostrophe. `format=ndjson`: a JSON object a line."
            ),
            tag="Usage",
            scope=Scope.USAGE_READ,
            query=EventExportFilter,
            media_type="text/csv",
        )
    }

    def get(self) -> StreamingHttpResponse:
        asked = EventExportFilter(self.query, events_of(self.tenant.id), at=self.now())
        asked.tenant_id = self.tenant.id
        events = asked.apply().order_by("occurred_at", "id")
        accepts_ndjson = _NDJSON in self.request.META.get("HTTP_ACCEPT", "")
        if (asked.value("format") or ("ndjson" if accepts_ndjson else "csv")) == "ndjson":
            response, name = StreamingHttpResponse(as_ndjson(events), content_type=_NDJSON), "events.ndjson"
        else:
            response = StreamingHttpResponse(as_csv(events), content_type="text/csv; charset=utf-8")
            name = "events.csv"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response


class UsageEventView(VendorView):
    """/usage/events/{id}"""

    operations: ClassVar = {
        "GET": Operation(
            name="get_usage_event",
            summary="Read an event, and what it counted in",
            description="The balances of quotas, also of another period where its own was closed; what took it back; "
            "what was derived from it.",
            tag="Usage",
            scope=Scope.USAGE_READ,
            answer=EventTrailShape,
            refusals=(404,),
        )
    }

    def get(self, id: str) -> HttpResponse:
        return self.show(trail_of(self.find(events_of(self.tenant.id), Prefix.EVENT, id)))
