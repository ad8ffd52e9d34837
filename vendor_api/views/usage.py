"""Usage: asked for, and posted on behalf of agents and licences."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpResponse

from tenants.domain.scopes import Scope
from vendor_api.filters.usage import UsageFilter
from vendor_api.operations import Operation
from vendor_api.serializers.usage import UsageReportShape
from vendor_api.usage_queries import usage_asked_for
from vendor_api.views.base import VendorView


class UsageView(VendorView):
    """/usage"""

    operations: ClassVar = {
        "GET": Operation(
            name="query_usage",
            summary="Query usage",
            description="Exact up to the last event that was recorded. At most 10,000 rows: ask for a shorter range, "
            "wider windows or fewer groups where there would be more.",
            tag="Usage",
            scope=Scope.USAGE_READ,
            answer=UsageReportShape,
            query=UsageFilter,
        )
    }

    def get(self) -> HttpResponse:
        report = usage_asked_for(self.tenant, UsageFilter(self.query, at=self.now()), at=self.now())
        return self.show(report)
