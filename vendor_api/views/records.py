"""What is only read: overages, audit entries, holds and jobs; and the job that closes periods."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpResponse

from common.errors import Invalid
from common.ids import Prefix
from metering.selectors.listing import holds_of, overages_of
from tenants.domain.scopes import Scope
from tenants.selectors.listing import audit_entries_of, jobs_of
from tenants.services.sealing import seal_audit
from vendor_api.filters.records import AuditFilter, HoldFilter, JobFilter, OverageFilter
from vendor_api.jobs import ask_to_close_periods
from vendor_api.operations import Operation, Resource
from vendor_api.serializers.records import AuditEntryShape, ClosePeriodsBody, HoldShape, JobShape, OverageShape
from vendor_api.views.base import VendorView

OVERAGES = Resource(
    one="overage",
    many="overages",
    tag="Overages",
    shape=OverageShape,
    read=Scope.OVERAGES_READ,
    write=Scope.OVERAGES_WRITE,
)
HOLDS = Resource(one="hold", many="holds", tag="Holds", shape=HoldShape, read=Scope.HOLDS_READ, write=Scope.HOLDS_WRITE)
JOBS = Resource(one="job", many="jobs", tag="Jobs", shape=JobShape, read=Scope.JOBS_READ, write=Scope.PERIODS_WRITE)


class OveragesView(VendorView):
    """/overages"""

    operations: ClassVar = {"GET": OVERAGES.list(OverageFilter)}

    def get(self) -> HttpResponse:
        return self.page(overages_of(self.tenant.id))


class OverageView(VendorView):
    """/overages/{id}"""

    operations: ClassVar = {"GET": OVERAGES.retrieve()}

    def get(self, id: str) -> HttpResponse:
        return self.show(self.find(overages_of(self.tenant.id), Prefix.OVERAGE, id))


class AuditEntriesView(VendorView):
    """/audit-entries"""

    operations: ClassVar = {
        "GET": Operation(
            name="list_audit_entries",
            summary="List audit entries",
            description="What was sealed up to now: reading seals what is not sealed yet.",
            tag="Audit trail",
            scope=Scope.AUDIT_ENTRIES_READ,
            answer=AuditEntryShape,
            query=AuditFilter,
            paged=True,
        )
    }

    def get(self) -> HttpResponse:
        seal_audit(self.tenant.id)
        return self.page(audit_entries_of(self.tenant.id), time_field="at")


class AuditEntryView(VendorView):
    """/audit-entries/{id}"""

    operations: ClassVar = {
        "GET": Operation(
            name="get_audit_entry",
            summary="Read an audit entry",
            tag="Audit trail",
            scope=Scope.AUDIT_ENTRIES_READ,
            answer=AuditEntryShape,
            refusals=(404,),
        )
    }

    def get(self, id: str) -> HttpResponse:
        seal_audit(self.tenant.id)
        return self.show(self.find(audit_entries_of(self.tenant.id), Prefix.AUDIT, id))


class HoldsView(VendorView):
    """/holds"""

    operations: ClassVar = {"GET": HOLDS.list(HoldFilter)}

    def get(self) -> HttpResponse:
        return self.page(holds_of(self.tenant.id))


class HoldView(VendorView):
    """/holds/{id}"""

    operations: ClassVar = {"GET": HOLDS.retrieve()}

    def get(self, id: str) -> HttpResponse:
        return self.show(self.find(holds_of(self.tenant.id), Prefix.HOLD, id))


class JobsView(VendorView):
    """/jobs"""

    operations: ClassVar = {"GET": JOBS.list(JobFilter)}

    def get(self) -> HttpResponse:
        return self.page(jobs_of(self.tenant.id))


class JobView(VendorView):
    """/jobs/{id}"""

    operations: ClassVar = {"GET": JOBS.retrieve()}

    def get(self, id: str) -> HttpResponse:
        return self.show(self.find(jobs_of(self.tenant.id), Prefix.JOB, id))


class ClosePeriodsView(VendorView):
    """/periods/close"""

    operations: ClassVar = {
        "POST": Operation(
            name="close_periods",
            summary="Close ended periods",
            description="Finalises the periods that ended before this time now, without waiting for the grace for late "
            "events. Answers 202 with a job to poll at `/vendor/v1/jobs/{id}`.",
            tag="Overages",
            scope=Scope.PERIODS_WRITE,
            body=ClosePeriodsBody,
            answer=JobShape,
            status=202,
            example={"before": "2026-11-01T00:00:00Z"},
        )
    }

    def post(self) -> HttpResponse:
        before = self.body["before"]
        if before > self.now():
            raise Invalid.field("before", "in_future", "Only periods that have ended can be closed.")
        return self.show(ask_to_close_periods(**self.who(), before=before))
