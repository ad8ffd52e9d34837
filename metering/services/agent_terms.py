"""Agents with what metering keeps for them: one body, one transaction."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from msgspec import UNSET, UnsetType

from common.errors import Problem
from licenses.models import Agent
from licenses.services import agents
from licenses.services.agents import CreatedAgent
from licenses.services.bulk_agents import create_agents
from metering.services.runaway_policies import read_rules, set_agent_policy
from tenants.domain.actors import Actor
from tenants.models import Tenant


def create_agent_with_terms(
    *, tenant: Tenant, actor: Actor, runaway: Sequence[Mapping[str, Any]] | None = None, **agent: Any
) -> CreatedAgent:
    """Make an agent (`agent`: what `create_agent` takes) with its own rules of the runaway guard; None: its plans'.

    All or nothing. Raises what `create_agent` does, and Invalid for `runaway`.
    """
    with transaction.atomic():
        created = agents.create_agent(tenant=tenant, actor=actor, **agent)
        set_agent_policy(tenant=tenant, agent=created.agent, actor=actor, rules=runaway)
    return created


def create_agents_with_terms(
    *, tenant: Tenant, actor: Actor, items: Sequence[Mapping[str, Any]]
) -> list[CreatedAgent | Problem]:
    """Make an agent of each of `items`; what is wrong with one is its result and leaves the others alone."""
    rules: dict[int, object] = {}
    wanted: dict[int, Mapping[str, Any]] = {}
    results: dict[int, CreatedAgent | Problem] = {}
    with transaction.atomic():
        for place, item in enumerate(items):
            fields = dict(item)
            rules[place] = fields.pop("runaway", None)
            try:
                if rules[place] is not None:
                    read_rules(tenant, rules[place])
            except Problem as problem:
                results[place] = problem
            else:
                wanted[place] = fields
        made = create_agents(tenant=tenant, actor=actor, items=list(wanted.values())) if wanted else []
        for place, each in zip(wanted, made, strict=True):
            if isinstance(each, CreatedAgent) and rules[place] is not None:
                set_agent_policy(tenant=tenant, agent=each.agent, actor=actor, rules=rules[place])
            results[place] = each
    return [results[place] for place in range(len(items))]


def update_agent_with_terms(
    *,
    tenant: Tenant,
    agent_id: UUID,
    actor: Actor,
    runaway: Sequence[Mapping[str, Any]] | UnsetType | None = UNSET,
    **changes: Any,
) -> Agent:
    """Change what is given; `runaway` replaces the whole list, null gives the agent its plans' rules again.

    Raises what `update_agent` does, and Invalid for `runaway`.
    """
    with transaction.atomic():
        agent = agents.update_agent(tenant=tenant, agent_id=agent_id, actor=actor, **changes)
        if runaway is not UNSET:
            set_agent_policy(tenant=tenant, agent=agent, actor=actor, rules=runaway)
    return agent
