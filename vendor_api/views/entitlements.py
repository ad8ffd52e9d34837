"""What licences and agents may do, explained."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpResponse

from common.ids import Prefix
from licenses.selectors.lookup import get_agent, get_license
from tenants.domain.scopes import Scope
from vendor_api.entitlements import entitlements_of_agent, entitlements_of_license
from vendor_api.filters.base import IdFilter, Query
from vendor_api.operations import Operation
from vendor_api.serializers.entitlements import EntitlementsShape
from vendor_api.views.base import VendorView


class EntitlementQuery(Query):
    """For whom."""

    agent = IdFilter(prefix=Prefix.AGENT, help_text="An agent of the licence: what is left of each feature for it.")


class LicenseEntitlementsView(VendorView):
    """/licenses/{id}/entitlements"""

    operations: ClassVar = {
        "GET": Operation(
            name="list_license_entitlements",
            summary="List what a license grants now, and why",
            description="Each effective value with the grants that it comes from, until when it holds, and, with "
            "`agent`, who up the chain of agents narrows it.",
            tag="Licences",
            scope=Scope.LICENSES_READ,
            query=EntitlementQuery,
            answer=EntitlementsShape,
            refusals=(404,),
        )
    }

    def get(self, id: str) -> HttpResponse:
        asked = EntitlementQuery(self.query, at=self.now())
        asked.check()
        license = get_license(self.tenant, id)
        return self.show({"data": entitlements_of_license(license, agent_id=asked.value("agent"), at=self.now())})


class AgentEntitlementsView(VendorView):
    """/agents/{id}/entitlements"""

    operations: ClassVar = {
        "GET": Operation(
            name="list_agent_entitlements",
            summary="List what an agent may use now, and why",
            description="The features of its licence as they hold for the agent: a child has at most what each of its "
            "parents has.",
            tag="Agents",
            scope=Scope.AGENTS_READ,
            answer=EntitlementsShape,
            refusals=(404,),
        )
    }

    def get(self, id: str) -> HttpResponse:
        return self.show({"data": entitlements_of_agent(get_agent(self.tenant, id), at=self.now())})
