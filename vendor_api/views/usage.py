"""Usage: asked for, and posted on behalf of agents and licences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from common.http_json import check_content_type, read_body
from metering.selectors.usage_export import usage_as_csv, usage_as_ndjson
from tenants.domain.scopes import Scope, has_scope
from vendor_api.filters.usage import UsageFilter
from vendor_api.formats import CSV, NDJSON, format_of
from vendor_api.operations import Operation
from vendor_api.recording import record_usage
from vendor_api.serializers.base import Body
from vendor_api.serializers.usage import USAGE_EXAMPLE, RecordedShape, UsageBody, UsageReportShape
from vendor_api.usage_events import read_usage
from vendor_api.usage_queries import groups_asked_for, usage_asked_for
from vendor_api.views.base import VendorView


class UsageView(VendorView):
    """/usage"""

    operations: ClassVar = {
        "GET": Operation(
            name="query_usage",
            summary="Query usage",
            description="Exact up to the last event that was recorded. At most 10,000 rows: ask for a shorter range, "
            "wider windows or fewer groups where there would be more. As CSV or NDJSON it is a row a line; cells of "
            "CSV that a spreadsheet would run as a formula begin with an apostrophe.",
            tag="Usage",
            scope=Scope.USAGE_READ,
            answer=UsageReportShape,
            query=UsageFilter,
            other_media_types=(CSV, NDJSON),
        ),
        "POST": Operation(
            name="record_usage",
            summary="Record usage on behalf of agents and licences",
            description="Facts: they are recorded whatever the licence's state and quotas, for revoked agents too. "
            "What is wrong with one event is its own result. A lone event's conflict is 409, its rejection 422. "
            "An event with `corrects` (an `evt_…` or the id that its caller gave) changes that one by its signed "
            "`quantity`, wherever it counted, and has no time and dimensions of its own; sum meters only.",
            tag="Usage",
            scope=Scope.USAGE_WRITE,
            body=UsageBody,
            answer=RecordedShape,
            refusals=(409,),
            example=USAGE_EXAMPLE,
        ),
    }

    def read(self, request: HttpRequest, _body: type[Body], /) -> Callable[[], Any]:
        # Events are decoded one by one: what is wrong with one of them is its own result.
        raw = read_body(request)
        check_content_type(request, raw)
        usage = read_usage(raw)
        return lambda: usage

    def get(self) -> HttpResponse | StreamingHttpResponse:
        asked = UsageFilter(self.query, at=self.now())
        report = usage_asked_for(self.tenant, asked, at=self.now())
        match format_of(self.request, asked.value("format"), offered=("csv", "ndjson")):
            case "csv":
                lines = usage_as_csv(report, groups_asked_for(asked))
                response = StreamingHttpResponse(lines, content_type=f"{CSV}; charset=utf-8")
                response.headers["Content-Disposition"] = 'attachment; filename="usage.csv"'
                return response
            case "ndjson":
                response = StreamingHttpResponse(usage_as_ndjson(report), content_type=NDJSON)
                response.headers["Content-Disposition"] = 'attachment; filename="usage.ndjson"'
                return response
        return self.show(report)

    def post(self) -> HttpResponse:
        backfill = has_scope(self.caller.key.scopes, Scope.USAGE_BACKFILL)
        return self.show(record_usage(self.tenant, self.caller.actor, self.body, at=self.now(), backfill=backfill))
