"""Many agents or keys at once: each is made or refused by itself."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from django.db import transaction

from common.errors import Problem
from licenses.services.agent_keys import CreatedAgentKey, create_agent_key
from licenses.services.agents import CreatedAgent, create_agent
from tenants.domain.actors import Actor
from tenants.models import Tenant

T = TypeVar("T")


def create_agents(*, tenant: Tenant, actor: Actor, items: Sequence[Mapping[str, Any]]) -> list[CreatedAgent | Problem]:
    """Make an agent of each of `items` (what `create_agent` takes).

    What is wrong with one is its result and leaves the others alone; places of the plan's number are given in their
    order. One transaction. Raises RevocationPending.
    """
    # Licences are locked in one order by everybody, so that two of these never wait for one another.
    order = sorted(range(len(items)), key=lambda place: str(items[place].get("license")))
    return _each(order, lambda place: create_agent(tenant=tenant, actor=actor, **items[place]))


def create_agent_keys(
    *, tenant: Tenant, actor: Actor, agent_id: UUID, items: Sequence[Mapping[str, Any]]
) -> list[CreatedAgentKey | Problem]:
    """Make a further key of the agent for each of `items` (what `create_agent_key` takes), in their order.

    One transaction. Raises NotFound, RevocationPending.
    """

    def make(place: int) -> CreatedAgentKey:
        return create_agent_key(tenant=tenant, actor=actor, agent_id=agent_id, **items[place])

    return _each(range(len(items)), make)


def _each(order: Sequence[int], make: Callable[[int], T]) -> list[T | Problem]:
    results: dict[int, T | Problem] = {}
    with transaction.atomic():
        for place in order:
            results[place] = _one(place, make)
    return [results[place] for place in sorted(results)]


def _one(place: int, make: Callable[[int], T]) -> T | Problem:
    try:
        with transaction.atomic():
            return make(place)
    except Problem as problem:
        return problem
