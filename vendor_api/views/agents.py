"""Agents and their keys."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

from django.http import HttpResponse

from common.errors import Problem
from common.ids import Prefix
from licenses.selectors.listing import agent_keys_of, agents_of
from licenses.selectors.lookup import get_agent
from licenses.services import agent_keys, agents
from licenses.services.bulk_agents import create_agent_keys
from licenses.services.instances import count_active
from metering.selectors.runaway import own_rules
from metering.services import agent_terms
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
from vendor_api.serializers.bulk import results_of
from vendor_api.serializers.common import ReasonBody
from vendor_api.views.base import VendorView
from vendor_api.views.bulk import BulkView, Items

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


class AgentsView(BulkView):
    """/agents"""

    operations: ClassVar = {
        "GET": AGENTS.list(AgentFilter),
        "POST": AGENTS.create(
            AgentBody,
            answer=CreatedAgentShape,
            bulk=results_of(CreatedAgentShape),
            description="The key is in this answer only. Over the plan's number: 403 `agent_limit_reached`.",
        ),
    }

    def get(self) -> HttpResponse:
        return self.page(agents_of(self.tenant.id))

    def post(self) -> HttpResponse:
        if isinstance(self.body, Items):
            rules: dict[UUID, Any] = {}  # filled as they are made; new agents have no copies yet
            return self.make_all(self.body, partial(self._make, rules), active={}, runaway=rules)
        return self.show(_shown_agent(agent_terms.create_agent_with_terms(**self.who(), **self.body)))

    def _make(self, rules: dict[UUID, Any], items: Sequence[dict[str, Any]]) -> list[dict[str, Any] | Problem]:
        made = agent_terms.create_agents_with_terms(**self.who(), items=items)
        rules |= own_rules(self.tenant.id, [each.agent.id for each in made if not isinstance(each, Problem)])
        return [each if isinstance(each, Problem) else _shown_agent(each) for each in made]

    def beside(self, rows: Sequence[Any]) -> dict[str, Any]:
        """The copies of all agents of a page, in one flight, and their rules of the runaway guard, in one query."""
        agent_ids = [agent.id for agent in rows]
        return {"active": count_active(self.tenant.id, agent_ids), "runaway": own_rules(self.tenant.id, agent_ids)}


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
        return self.show(agent_terms.update_agent_with_terms(**self.who(), agent_id=agent.id, **self.body))

    def delete(self, id: str) -> HttpResponse:
        agents.archive_agent(**self.who(), agent_id=get_agent(self.tenant, id).id)
        return self.gone()


class AgentKeysView(BulkView):
    """/agents/{id}/keys"""

    operations: ClassVar = {
        "GET": KEYS.list(KeyFilter, refusals=(404,)),
        "POST": KEYS.create(
            AgentKeyBody,
            answer=CreatedAgentKeyShape,
            bulk=results_of(CreatedAgentKeyShape),
            refusals=(404, 409),
            description="`overlap` ends all earlier keys after so many seconds; without it they stay.",
        ),
    }

    def get(self, id: str) -> HttpResponse:
        return self.page(agent_keys_of(self.tenant.id, get_agent(self.tenant, id).id))

    def post(self, id: str) -> HttpResponse:
        agent = get_agent(self.tenant, id)
        if isinstance(self.body, Items):
            return self.make_all(self.body, partial(self._make, agent.id))
        return self.show(_shown_key(agent_keys.create_agent_key(**self.who(), agent_id=agent.id, **self.body)))

    def _make(self, agent_id: UUID, items: Sequence[dict[str, Any]]) -> list[dict[str, Any] | Problem]:
        made = create_agent_keys(**self.who(), agent_id=agent_id, items=items)
        return [each if isinstance(each, Problem) else _shown_key(each) for each in made]


class RevokeAgentKeyView(VendorView):
    """/agents/{id}/keys/{key}/revoke"""

    operations: ClassVar = {"POST": KEYS.act("revoke", ReasonBody)}

    def post(self, id: str, key: str) -> HttpResponse:
        agent = get_agent(self.tenant, id)
        found = self.find(agent_keys_of(self.tenant.id, agent.id), Prefix.AGENT_KEY, key)
        return self.show(agent_keys.revoke_agent_key(**self.who(), agent_id=agent.id, key_id=found.id, **self.body))


def _shown_agent(created: agents.CreatedAgent) -> dict[str, Any]:
    return {"agent": created.agent, "key": created.key_text}


def _shown_key(made: agent_keys.CreatedAgentKey) -> dict[str, Any]:
    return {"id": made.key.id, "expires_at": made.key.expires_at, "key": made.text}
