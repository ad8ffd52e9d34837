"""Many agents or keys at once: each is made or refused by itself."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction

from common.errors import Problem
from licenses.models import Agent
from licenses.services.agent_drafts import AgentBook, CreatedAgent, draft_agent, store_agents
from licenses.services.agent_keys import CreatedAgentKey, create_agent_key
from tenants.domain.actors import Actor
from tenants.models import Tenant


def create_agents(*, tenant: Tenant, actor: Actor, items: Sequence[Mapping[str, Any]]) -> list[CreatedAgent | Problem]:
    """Make an agent of each of `items` (what `create_agent` takes).

    What is wrong with one is its result and leaves the others alone; places of the plan's number are given in their
    order. One transaction, with as few statements as for one agent; parents cost some each.
    """
    results: dict[int, CreatedAgent | Problem] = {}
    drafts: dict[int, Agent] = {}
    with transaction.atomic():
        book = AgentBook(tenant, [item["license"] for item in items], [item.get("parent_id") for item in items])
        for place, item in enumerate(items):
            try:
                drafts[place] = draft_agent(book, **item)
            except Problem as problem:
                results[place] = problem
        results |= zip(drafts, store_agents(tenant, actor, list(drafts.values())), strict=True)
    return [results[place] for place in range(len(items))]


def create_agent_keys(
    *, tenant: Tenant, actor: Actor, agent_id: UUID, items: Sequence[Mapping[str, Any]]
) -> list[CreatedAgentKey | Problem]:
    """Make a further key of the agent for each of `items` (what `create_agent_key` takes), in their order.

    One transaction. Raises NotFound, RevocationPending.
    """
    results: list[CreatedAgentKey | Problem] = []
    with transaction.atomic():
        for item in items:
            try:
                results.append(create_agent_key(tenant=tenant, actor=actor, agent_id=agent_id, **item))
            except Problem as problem:
                results.append(problem)
    return results
