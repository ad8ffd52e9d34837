"""Licences: issued, changed, and moved between their states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.http import HttpResponse

from common.errors import Problem
from licenses.models import License
from licenses.selectors.listing import licenses_of
from licenses.selectors.lookup import get_license
from licenses.services import issuing, license_states
from licenses.services.bulk_issuing import issue_licenses
from licenses.services.issuing import IssuedLicense
from metering.services import license_plans
from metering.services.previewing import preview_license
from tenants.domain.scopes import Scope
from vendor_api.filters.resources import LicenseFilter
from vendor_api.operations import Operation, Resource
from vendor_api.serializers.bulk import results_of
from vendor_api.serializers.common import ReasonBody
from vendor_api.serializers.license_terms import LicenseChangeBody
from vendor_api.serializers.licenses import (
    LICENSE_EXAMPLE,
    IssuedLicenseShape,
    LicenseBody,
    LicenseShape,
    RotatedLicenseShape,
)
from vendor_api.serializers.previews import PreviewShape
from vendor_api.serializers.validation import ValidateBody, ValidationShape
from vendor_api.validating import validate_license
from vendor_api.views.base import VendorView
from vendor_api.views.bulk import BulkView, Items
from vendor_api.views.previews import DRY_RUN, EditQuery, EditView

LICENSES = Resource(
    one="license",
    many="licenses",
    tag="Licences",
    shape=LicenseShape,
    read=Scope.LICENSES_READ,
    write=Scope.LICENSES_WRITE,
    example=LICENSE_EXAMPLE,
)


class LicenseRoute(VendorView):
    """What the routes of licences share."""

    def show_license(self, license: License) -> HttpResponse:
        """A licence as it is now, with its plans and grants."""
        return self.show(licenses_of(self.tenant.id).get_or_raise(license.id))


class LicensesView(BulkView):
    """/licenses"""

    operations: ClassVar = {
        "GET": LICENSES.list(LicenseFilter),
        "POST": LICENSES.create(
            LicenseBody,
            answer=IssuedLicenseShape,
            name="issue_license",
            summary="Issue a license",
            description=(
                "The licence key is in this answer only. An expiry in the past is allowed. Up to 1,000 at once as "
                "`items`: then the answer is 200, and each has its own result."
            ),
            bulk=results_of(IssuedLicenseShape),
        ),
    }

    def get(self) -> HttpResponse:
        return self.page(licenses_of(self.tenant.id))

    def post(self) -> HttpResponse:
        if isinstance(self.body, Items):
            return self.make_all(self.body, self._issue)
        return self.show(issuing.issue_license(**self.who(), **self.body))

    def _issue(self, items: Sequence[dict[str, Any]]) -> list[IssuedLicense | Problem]:
        results = issue_licenses(**self.who(), items=items)
        ids = [each.license.id for each in results if isinstance(each, IssuedLicense)]
        shown = licenses_of(self.tenant.id).in_bulk(ids)  # with all that is shown of each, in a few statements
        return [
            IssuedLicense(shown[each.license.id], each.license_key) if isinstance(each, IssuedLicense) else each
            for each in results
        ]


class LicenseView(EditView, LicenseRoute):
    """/licenses/{id}"""

    operations: ClassVar = {
        "GET": LICENSES.retrieve(),
        "PATCH": LICENSES.change(
            LicenseChangeBody,
            description=f"Lists replace lists; an expiry of null is perpetual. The customer stays.\n\n{DRY_RUN}",
            query=EditQuery,
            otherwise=PreviewShape,
        ),
        "DELETE": LICENSES.archive(description="It is revoked, and left out of lists."),
    }

    def get(self, id: str) -> HttpResponse:
        return self.show_license(get_license(self.tenant, id))

    def patch(self, id: str) -> HttpResponse:
        asked, license = self.edit_query(), get_license(self.tenant, id)
        if asked.value("dry_run"):
            return self.show(preview_license(**self.who(), license_id=license.id, **self.body), PreviewShape)
        return self.show_license(
            license_plans.update_license_with_terms(**self.who(), license_id=license.id, **self.body)
        )

    def delete(self, id: str) -> HttpResponse:
        license = get_license(self.tenant, id)
        license_plans.archive_license_with_terms(**self.who(), license_id=license.id)
        return self.gone()


class SuspendLicenseView(LicenseRoute):
    """/licenses/{id}/suspend"""

    operations: ClassVar = {"POST": LICENSES.act("suspend", ReasonBody)}

    def post(self, id: str) -> HttpResponse:
        license = get_license(self.tenant, id)
        return self.show_license(license_states.suspend_license(**self.who(), license_id=license.id, **self.body))


class ReinstateLicenseView(LicenseRoute):
    """/licenses/{id}/reinstate"""

    operations: ClassVar = {"POST": LICENSES.act("reinstate", ReasonBody)}

    def post(self, id: str) -> HttpResponse:
        license = get_license(self.tenant, id)
        return self.show_license(license_states.reinstate_license(**self.who(), license_id=license.id, **self.body))


class RevokeLicenseView(LicenseRoute):
    """/licenses/{id}/revoke"""

    operations: ClassVar = {
        "POST": LICENSES.act(
            "revoke",
            ReasonBody,
            description="For good. When this answers, no process accepts the licence any more.",
        )
    }

    def post(self, id: str) -> HttpResponse:
        license = get_license(self.tenant, id)
        return self.show_license(license_states.revoke_license(**self.who(), license_id=license.id, **self.body))


class RotateLicenseKeyView(VendorView):
    """/licenses/{id}/rotate-key"""

    operations: ClassVar = {
        "POST": LICENSES.act(
            "rotate-key",
            ReasonBody,
            answer=RotatedLicenseShape,
            name="rotate_license_key",
            summary="Give a license a new key",
            description="The old key is unknown from now on; the new one is in this answer only.",
        )
    }

    def post(self, id: str) -> HttpResponse:
        license = get_license(self.tenant, id)
        return self.show(issuing.rotate_license_key(**self.who(), license_id=license.id, **self.body))


class ValidateLicenseView(VendorView):
    """/licenses/{id}/validate"""

    operations: ClassVar = {
        "POST": Operation(
            name="validate_license",
            summary="Ask whether a license is good",
            description="What the agents' door would answer to the licence itself. Nothing is written.",
            tag=LICENSES.tag,
            scope=Scope.LICENSES_READ,
            body=ValidateBody,
            answer=ValidationShape,
            refusals=(404,),
        )
    }

    def post(self, id: str) -> HttpResponse:
        license = get_license(self.tenant, id)
        return self.show(validate_license(self.tenant, license, at=self.now(), **self.body))
