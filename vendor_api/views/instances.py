"""The copies of an agent."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpResponse

from licenses.selectors.lookup import get_agent
from licenses.services.instances import read_instances
from tenants.domain.scopes import Scope
from vendor_api.operations import Operation
from vendor_api.serializers.agents import InstanceListShape
from vendor_api.views.agents import AGENTS
from vendor_api.views.base import VendorView


class InstancesView(VendorView):
    """/agents/{id}/instances"""

    operations: ClassVar = {
        "GET": Operation(
            name="list_agent_instances",
            summary="List the copies of an agent",
            tag=AGENTS.tag,
            scope=Scope.AGENTS_READ,
            answer=InstanceListShape,
            refusals=(404,),
            description=(
                "Told apart by the `Permeter-Instance` field that they send, the latest first. Kept in Valkey for a"
                " day, and begun anew if that loses it."
            ),
        )
    }

    def get(self, id: str) -> HttpResponse:
        agent = get_agent(self.tenant, id)
        return self.show({"data": read_instances(self.tenant.id, agent.id), "next_cursor": None})
