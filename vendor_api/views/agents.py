"""Agents and their keys."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpResponse

from common.ids import Prefix
from licenses.selectors.listing import agent_keys_of, agents_of
from licenses.selectors.lookup import get_agent
from licenses.services import agent_keys, agents
from tenants.domain.scopes import Scope
from vendor_api.filters.resources import AgentFilter, KeyFilter
from vendor_api.operations import Resource
from vendor_api.serializers.agents import (
    AGENT_EXAMPLE,
    AgentBody,
    AgentKeyBody,
    AgentKeyShape,
    AgentShape,
    CreatedAgentKeyShape,
    CreatedAgentShape,
)
from vendor_api.serializers.common import ReasonBody
from vendor_api.views.base import VendorView

AGENTS = Resource(
    one="agent",
    many="agents",
    tag="Agents",
    shape=AgentShape,
    read=Scope.AGENTS_READ,
    write=Scope.AGENTS_WRITE,
    example=AGENT_EXAMPLE,
)
KEYS = Resource(
    one="agent key",
    many="agent keys",
    tag="Agents",
    shape=AgentKeyShape,
    read=Scope.AGENTS_READ,
    write=Scope.AGENTS_WRITE,
    example={"overlap": 3600},
)


class AgentsView(VendorView):
    """/agents"""

    operations: ClassVar = {
        "GET": AGENTS.list(AgentFilter),
        "POST": AGENTS.create(
            AgentBody,
            answer=CreatedAgentShape,
            description="The key is in this answer only. Over the plan's number: 403 `agent_limit_reached`.",
        ),
    }

    def get(self) -> HttpResponse:
        return self.page(agents_of(self.tenant.id))

    def post(self) -> HttpResponse:
        created = agents.create_agent(**self.who(), **self.body)
        return self.show({"agent": created.agent, "key": created.key_text})


class AgentView(VendorView):
    """/agents/{id}"""

    operations: ClassVar = {
        "GET": AGENTS.retrieve(),
        "PATCH": AGENTS.change(AgentBody, description="Licence and parent stay as they are."),
        "DELETE": AGENTS.archive(description="It is revoked with all below it, and left out of lists."),
    }

    def get(self, id: str) -> HttpResponse:
        return self.show(get_agent(self.tenant, id))

    def patch(self, id: str) -> HttpResponse:
        agent = get_agent(self.tenant, id)
        return self.show(agents.update_agent(**self.who(), agent_id=agent.id, **self.body))

    def delete(self, id: str) -> HttpResponse:
        agents.archive_agent(**self.who(), agent_id=get_agent(self.tenant, id).id)
        return self.gone()


class SuspendAgentView(VendorView):
    """/agents/{id}/suspend"""

    operations: ClassVar = {"POST": AGENTS.act("suspend", ReasonBody)}

    def post(self, id: str) -> HttpResponse:
        agent = get_agent(self.tenant, id)
        return self.show(agents.suspend_agent(**self.who(), agent_id=agent.id, **self.body))


class ResumeAgentView(VendorView):
    """/agents/{id}/resume"""

    operations: ClassVar = {"POST": AGENTS.act("resume", ReasonBody)}

    def post(self, id: str) -> HttpResponse:
        agent = get_agent(self.tenant, id)
        return self.show(agents.resume_agent(**self.who(), agent_id=agent.id, **self.body))


class RevokeAgentView(VendorView):
    """/agents/{id}/revoke"""

    operations: ClassVar = {
        "POST": AGENTS.act(
            "revoke",
            ReasonBody,
            description="For good, with all agents below it: their keys are dead when this answers.",
        )
    }

    def post(self, id: str) -> HttpResponse:
        agent = get_agent(self.tenant, id)
        return self.show(agents.revoke_agent(**self.who(), agent_id=agent.id, **self.body))


class AgentKeysView(VendorView):
    """/agents/{id}/keys"""

    operations: ClassVar = {
        "GET": KEYS.list(KeyFilter, refusals=(404,)),
        "POST": KEYS.create(
            AgentKeyBody,
            answer=CreatedAgentKeyShape,
            refusals=(404, 409),
            description="`overlap` ends all earlier keys after so many seconds; without it they stay.",
        ),
    }

    def get(self, id: str) -> HttpResponse:
        return self.page(agent_keys_of(self.tenant.id, get_agent(self.tenant, id).id))

    def post(self, id: str) -> HttpResponse:
        agent = get_agent(self.tenant, id)
        made = agent_keys.create_agent_key(**self.who(), agent_id=agent.id, **self.body)
        return self.show({"id": made.key.id, "expires_at": made.key.expires_at, "key": made.text})


class RevokeAgentKeyView(VendorView):
    """/agents/{id}/keys/{key}/revoke"""

    operations: ClassVar = {"POST": KEYS.act("revoke", ReasonBody)}

    def post(self, id: str, key: str) -> HttpResponse:
        agent = get_agent(self.tenant, id)
        found = self.find(agent_keys_of(self.tenant.id, agent.id), Prefix.AGENT_KEY, key)
        return self.show(agent_keys.revoke_agent_key(**self.who(), agent_id=agent.id, key_id=found.id, **self.body))
