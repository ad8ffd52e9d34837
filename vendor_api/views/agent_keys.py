"""One key of an agent."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpResponse

from common.ids import Prefix
from licenses.selectors.listing import agent_keys_of
from licenses.selectors.lookup import get_agent
from licenses.services import agent_keys
from vendor_api.serializers.agents import AgentKeyChangesBody
from vendor_api.views.agents import KEYS
from vendor_api.views.base import VendorView


class AgentKeyView(VendorView):
    """/agents/{id}/keys/{key}"""

    operations: ClassVar = {
        "GET": KEYS.retrieve(),
        "PATCH": KEYS.change(
            AgentKeyChangesBody,
            example={"networks": ["192.0.2.0/24", "2001:db8::/32"]},
            description="From where it may be used, and when it ends; both hold everywhere when this answers.",
        ),
    }

    def get(self, id: str, key: str) -> HttpResponse:
        agent = get_agent(self.tenant, id)
        return self.show(self.find(agent_keys_of(self.tenant.id, agent.id), Prefix.AGENT_KEY, key))

    def patch(self, id: str, key: str) -> HttpResponse:
        agent = get_agent(self.tenant, id)
        found = self.find(agent_keys_of(self.tenant.id, agent.id), Prefix.AGENT_KEY, key)
        return self.show(agent_keys.update_agent_key(**self.who(), agent_id=agent.id, key_id=found.id, **self.body))
