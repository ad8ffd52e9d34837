"""`agents`: an agent makes agents below itself, sees its own, and revokes what is below it."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

import msgspec
from msgspec import UNSET

from agent_api.use_cases.answering import Answer
from agent_api.use_cases.callers import Credentials, KnownCaller
from agent_api.use_cases.holding import admit, rate_fields_on_problems
from agent_api.use_cases.once import answer_once
from agent_api.wire.shapes import public_id
from agent_api.wire.spawning import (
    BudgetRequest,
    RateLimitRule,
    SpawnAnswer,
    SpawnRequest,
    SubAgentBody,
    SubAgentList,
)
from common.errors import NotFound
from common.ids import Prefix, decode_id
from common.pagination import paginate
from licenses.domain.enums import AgentStatus, DisplayedAgentStatus
from licenses.selectors.listing import agents_of
from licenses.services.agent_states import revoke_agent
from metering.services.spawning import spawn_agent
from tenants.domain.actors import Actor
from tenants.domain.enums import ActorKind
from tenants.selectors.workspaces import tenant_of


class SubAgent(Protocol):
    """A stored agent, as far as it is shown."""

    id: UUID
    license_id: UUID
    parent_id: UUID | None
    path: Any
    name: str
    kind: str
    status: str
    expires_at: datetime | None
    features: Any
    rate_limits: Any
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SpawnCommand:
    """An agent asks for a sub-agent; `raw` is the body as it came, for the Idempotency-Key."""

    credentials: Credentials
    asked: SpawnRequest
    raw: bytes = b""
    idempotency_key: str | None = None
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class RevokeCommand:
    """An agent revokes the agent with this (public) id, which stands below it."""

    credentials: Credentials
    agent: str
    reason: str = ""
    raw: bytes = b""
    idempotency_key: str | None = None
    request_id: str = ""


def spawn(command: SpawnCommand) -> Answer[SpawnAnswer]:
    """Make a sub-agent of the caller, once for each idempotency key.

    Raises Invalid, Forbidden: `exceeds_parent`, `agent_limit_reached`, `agent_depth_reached`, or the code of what
    stands against the caller or its licence.
    """
    admission = admit(command.credentials, lambda _: None)
    with rate_fields_on_problems(admission):
        known = admission.known
        parent_id = _agent_of(known)
        return answer_once(
            known,
            key=command.idempotency_key,
            path="/agent/v1/agents",
            raw=command.raw,
            fields=admission.fields,
            answer=SpawnAnswer,
            work=lambda: (201, _spawn(command, known, parent_id)),
        )


def list_children(credentials: Credentials, *, limit: int, cursor: str | None) -> Answer[SubAgentList]:
    """The agents right below the caller, newest first. Raises Invalid for a bad cursor."""
    admission = admit(credentials, lambda _: None)
    with rate_fields_on_problems(admission):
        access = admission.known.access
        mine = agents_of(access.tenant_id).filter(parent_id=_agent_of(admission.known), archived_at__isnull=True)
        page = paginate(mine, limit=limit, cursor=cursor)
        at = access.clock.now()
        return Answer(SubAgentList([_body(agent, at) for agent in page.items], page.next_cursor), admission.fields)


def revoke(command: RevokeCommand) -> Answer[SubAgentBody]:
    """Revoke an agent below the caller, with all below that one. Raises NotFound for any other agent."""
    admission = admit(command.credentials, lambda _: None)
    with rate_fields_on_problems(admission):
        known = admission.known
        return answer_once(
            known,
            key=command.idempotency_key,
            path=f"/agent/v1/agents/{command.agent}/revoke",
            raw=command.raw,
            fields=admission.fields,
            answer=SubAgentBody,
            work=lambda: (200, _revoke(command, known)),
        )


def _revoke(command: RevokeCommand, known: KnownCaller) -> SubAgentBody:
    caller_id = _agent_of(known)
    try:
        agent_id = decode_id(Prefix.AGENT, command.agent)
    except ValueError:
        raise NotFound("There is no such agent below this one.") from None
    below = agents_of(known.access.tenant_id).filter(path__contains=[caller_id], id=agent_id)
    if agent_id == caller_id or not below.exists():
        raise NotFound("There is no such agent below this one.")
    revoked = revoke_agent(
        tenant=tenant_of(known.access.tenant_id),
        agent_id=agent_id,
        actor=_actor(known, command.credentials, command.request_id),
        reason=command.reason,
    )
    return _body(revoked, known.access.clock.now())


def _spawn(command: SpawnCommand, known: KnownCaller, parent_id: UUID) -> SpawnAnswer:
    asked = command.asked
    created = spawn_agent(
        tenant=tenant_of(known.access.tenant_id),
        parent_id=parent_id,
        actor=_actor(known, command.credentials, command.request_id),
        name=asked.name,
        ttl=asked.ttl,
        features=asked.features,
        rate_limits=[
            {"limit": each.limit, "window": each.window, "burst": each.burst} for each in asked.rate_limits or ()
        ],
        quotas=[_budget(each) for each in asked.quotas or ()],
    )
    return SpawnAnswer(_body(created.agent, known.access.clock.now()), created.key_text)


def _budget(asked: BudgetRequest) -> dict[str, Any]:
    return {
        "meter": asked.meter,
        "limit": _plain(asked.limit),
        "period": asked.period if isinstance(asked.period, str) else {"rolling": asked.period.rolling},
        "mode": asked.mode,
        "filter": None if asked.filter is UNSET else _plain(asked.filter),
    }


def _plain(raw: msgspec.Raw) -> Any:
    """A value whose numbers have been through no float."""
    return json.loads(bytes(raw), parse_float=Decimal)


def _body(agent: SubAgent, at: datetime) -> SubAgentBody:
    status = agent.status
    if status == AgentStatus.ACTIVE and agent.expires_at is not None and agent.expires_at <= at:
        status = DisplayedAgentStatus.EXPIRED.value
    return SubAgentBody(
        id=public_id(Prefix.AGENT, agent.id),
        license=public_id(Prefix.LICENSE, agent.license_id),
        parent_id=None if agent.parent_id is None else public_id(Prefix.AGENT, agent.parent_id),
        name=agent.name,
        kind=str(agent.kind),  # type: ignore[arg-type] # a member of AgentKind, by the table's own check
        status=str(status),  # type: ignore[arg-type] # the same of AgentStatus
        depth=len(agent.path),
        expires_at=None if agent.expires_at is None else agent.expires_at.astimezone(UTC),
        features=agent.features,
        rate_limits=[
            RateLimitRule(each["limit"], each["window"], each.get("burst") or each["limit"])
            for each in agent.rate_limits
        ],
        created_at=agent.created_at.astimezone(UTC),
    )


def _agent_of(known: KnownCaller) -> UUID:
    if known.access.agent_id is None:
        raise NotFound
    return known.access.agent_id


def _actor(known: KnownCaller, credentials: Credentials, request_id: str) -> Actor:
    agent = known.access.facts.agent
    return Actor(
        kind=ActorKind.AGENT,
        id="" if agent is None else public_id(Prefix.AGENT, agent.id),
        name="" if agent is None else agent.name,
        address=credentials.address,
        request_id=request_id,
    )
