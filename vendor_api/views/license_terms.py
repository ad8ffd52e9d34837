"""Licences that are renewed, change hands, or are taken along as CSV."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpResponse, StreamingHttpResponse

from licenses.selectors.license_export import export_licenses
from licenses.selectors.listing import licenses_of
from licenses.selectors.lookup import get_license
from licenses.services.renewing import renew_license
from metering.services.license_transfers import transfer_license_with_terms
from tenants.domain.scopes import Scope
from vendor_api.filters.resources import LicenseFilter
from vendor_api.operations import Operation
from vendor_api.serializers.license_terms import RENEW_EXAMPLE, TRANSFER_EXAMPLE, RenewBody, TransferBody
from vendor_api.views.base import VendorView
from vendor_api.views.licenses import LICENSES, LicenseRoute


class RenewLicenseView(LicenseRoute):
    """/licenses/{id}/renew"""

    operations: ClassVar = {
        "POST": LICENSES.act(
            "renew",
            RenewBody,
            example=RENEW_EXAMPLE,
            description=(
                "Adds the plan's term to the expiry, or counts it from now, or takes `expires_at`. Each call renews "
                "once more, so send an Idempotency-Key. `license_perpetual` and `plan_perpetual`: there is nothing to "
                "add. A license that ended longer ago than a term is still expired: the answer's `status` says so."
            ),
        )
    }

    def post(self, id: str) -> HttpResponse:
        license = get_license(self.tenant, id)
        return self.show_license(renew_license(**self.who(), license_id=license.id, **self.body))


class TransferLicenseView(LicenseRoute):
    """/licenses/{id}/transfer"""

    operations: ClassVar = {
        "POST": LICENSES.act(
            "transfer",
            TransferBody,
            example=TRANSFER_EXAMPLE,
            description=(
                "With its agents and keys. What was used before stays in the reports and quotas of the customer who "
                "had it; whoever holds it when a period ends pays for that period."
            ),
        )
    }

    def post(self, id: str) -> HttpResponse:
        license = get_license(self.tenant, id)
        return self.show_license(transfer_license_with_terms(**self.who(), license_id=license.id, **self.body))


class LicenseExportFilter(LicenseFilter):
    """What a list of licences can be narrowed by; there are no pages."""

    is_paged = False


class ExportLicensesView(VendorView):
    """/licenses/export"""

    operations: ClassVar = {
        "GET": Operation(
            name="export_licenses",
            summary="Export licenses as CSV",
            description=(
                "All that the filters leave, oldest first, with their customers, in the columns that an import reads. "
                "Cells that a spreadsheet would run as a formula begin with an apostrophe."
            ),
            tag=LICENSES.tag,
            scope=Scope.LICENSES_READ,
            query=LicenseExportFilter,
            media_type="text/csv",
        )
    }

    def get(self) -> StreamingHttpResponse:
        asked = LicenseExportFilter(self.query, licenses_of(self.tenant.id), at=self.now())
        lines = export_licenses(asked.apply().order_by("created_at", "id"), at=self.now())
        response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        response.headers["Content-Disposition"] = 'attachment; filename="licenses.csv"'
        return response
