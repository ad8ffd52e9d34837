"""Agents as the pages show them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.db.models import Count, Max, Q, QuerySet

from common.ids import Prefix, parse_any_id
from dashboard.access import Workspace
from dashboard.selectors.usage import busiest_agents
from licenses.domain.enums import AgentStatus
from licenses.models import Agent
from licenses.selectors.listing import agents_of
from metering.models import Meter

#: What the status filter offers, in the order of its chips.
STATES: Final = {"active": "Active", "suspended": "Suspended", "ended": "Ended", "revoked": "Revoked"}


@dataclass(frozen=True, slots=True)
class AgentRow:
    """An agent with what its row shows. `status` also tells of its own end and of agents above it that stand still."""

    agent: Agent
    status: str
    parent: Agent | None
    last_used_at: datetime | None
    used: Decimal | None = None

    @property
    def depth(self) -> int:
        """How many agents stand above it."""
        return len(self.agent.path) - 1

    @property
    def may_suspend(self) -> bool:
        """Whether suspending changes anything."""
        return self.agent.status == AgentStatus.ACTIVE

    @property
    def may_resume(self) -> bool:
        """Whether there is a suspension to end."""
        return self.agent.status == AgentStatus.SUSPENDED

    @property
    def may_revoke(self) -> bool:
        """Whether its keys still live."""
        return self.agent.status != AgentStatus.REVOKED


def shown_agents(workspace: Workspace) -> QuerySet[Agent]:
    """The workspace's agents that are not archived, with customers."""
    return agents_of(workspace.tenant.id).filter(archived_at__isnull=True).select_related("license__customer")


def in_state(agents: QuerySet[Agent], state: str, workspace: Workspace) -> QuerySet[Agent]:
    """Only those of one of `STATES`."""
    ended = Q(expires_at__lte=workspace.now)
    match state:
        case "active":
            return agents.filter(status=AgentStatus.ACTIVE).exclude(ended)
        case "ended":
            return agents.filter(ended).exclude(status=AgentStatus.REVOKED)
        case _:
            return agents.filter(status=state)


def search_agents(agents: QuerySet[Agent], text: str) -> QuerySet[Agent]:
    """Those with the text in their own or their customer's name; an id finds what it names."""
    parsed = parse_any_id(text)
    if parsed is None:
        customer = Q(license__customer__name__icontains=text) | Q(license__customer__external_id__icontains=text)
        return agents.filter(Q(name__icontains=text) | customer)
    prefix, uuid = parsed
    if prefix == Prefix.LICENSE:
        return agents.filter(license_id=uuid)
    if prefix == Prefix.CUSTOMER:
        return agents.filter(license__customer_id=uuid)
    return agents.filter(path__contains=[uuid])


def agent_rows(workspace: Workspace, agents: Iterable[Agent], used: dict[str, Decimal] | None = None) -> list[AgentRow]:
    """The rows of a page of agents; two queries more, for the agents above them and for the use of keys."""
    found = list(agents)
    above = {each for agent in found for each in agent.path[:-1]}
    known = {each.id: each for each in found}
    missing = above - known.keys()
    if missing:
        known |= agents_of(workspace.tenant.id).in_bulk(missing)
    seen = _last_used(workspace, known)
    return [
        AgentRow(
            agent=each,
            status=_status(each, known, workspace),
            parent=known.get(each.path[-2]) if len(each.path) > 1 else None,
            last_used_at=seen.get(each.id),
            used=(used or {}).get(each.public_id),
        )
        for each in found
    ]


def agents_at_work(workspace: Workspace, meter: Meter | None, *, limit: int) -> list[AgentRow]:
    """The busiest agents of the last 24 hours; where there were none, the newest."""
    used = busiest_agents(workspace, meter, limit=limit) if meter else {}
    if not used:
        return agent_rows(workspace, shown_agents(workspace).order_by("-created_at", "-id")[:limit])
    ids = [parsed[1] for public_id in used if (parsed := parse_any_id(public_id))]
    found = shown_agents(workspace).filter(pk__in=ids)
    rows = agent_rows(workspace, found, used)
    return sorted(rows, key=lambda row: row.used or Decimal(0), reverse=True)


@dataclass(frozen=True, slots=True)
class AgentCounts:
    """How many agents there are that are not revoked, and how many of them may work."""

    all: int
    active: int
    suspended: int


def count_agents(workspace: Workspace) -> AgentCounts:
    """Count in one query."""
    found = (
        agents_of(workspace.tenant.id)
        .filter(archived_at__isnull=True)
        .exclude(status=AgentStatus.REVOKED)
        .aggregate(
            all=Count("id"),
            active=Count("id", filter=Q(status=AgentStatus.ACTIVE) & ~Q(expires_at__lte=workspace.now)),
            suspended=Count("id", filter=Q(status=AgentStatus.SUSPENDED)),
        )
    )
    return AgentCounts(**found)


def agents_below(workspace: Workspace, agent: Agent) -> int:
    """How many agents below this one are not revoked: they stop with it."""
    below = agents_of(workspace.tenant.id).filter(license_id=agent.license_id, path__contains=[agent.id])
    return below.exclude(pk=agent.pk).exclude(status=AgentStatus.REVOKED).count()


def _last_used(workspace: Workspace, ids: Iterable[UUID]) -> dict[UUID, datetime | None]:
    used = agents_of(workspace.tenant.id).filter(pk__in=list(ids)).order_by()
    return dict(used.values_list("id").annotate(at=Max("keys__last_used_at")))


def _status(agent: Agent, known: dict[UUID, Agent], workspace: Workspace) -> str:
    if agent.status != AgentStatus.ACTIVE:
        return agent.status
    if _ended(agent, workspace):
        return "expired"
    above = [known[each] for each in agent.path[:-1] if each in known]
    if any(each.status != AgentStatus.ACTIVE or _ended(each, workspace) for each in above):
        return "parent_inactive"
    return AgentStatus.ACTIVE


def _ended(agent: Agent, workspace: Workspace) -> bool:
    return agent.expires_at is not None and agent.expires_at <= workspace.now
