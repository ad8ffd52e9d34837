"""`agents`: sub-agents of the caller."""

from django.http import HttpRequest

from agent_api.use_cases import spawning
from agent_api.use_cases.answering import Answer
from agent_api.use_cases.spawning import RevokeCommand, SpawnCommand
from agent_api.views.base import AgentView, body_of, credentials_of, idempotency_key_of, parameters_of, read
from agent_api.views.documented_agents import LIST_AGENTS, REVOKE_AGENT, SPAWN_AGENT
from agent_api.wire.spawning import (
    RevokeAgentRequest,
    SpawnAnswer,
    SpawnRequest,
    SubAgentBody,
    SubAgentList,
    read_revoke,
    read_spawn,
)
from common.pagination import parse_limit


class SubAgentsView(AgentView):
    """POST and GET /agent/v1/agents"""

    operations = {"POST": SPAWN_AGENT, "GET": LIST_AGENTS}

    def post(self, request: HttpRequest) -> Answer[SpawnAnswer]:
        credentials = credentials_of(request)

        def decode() -> tuple[SpawnRequest, bytes, str | None]:
            raw = body_of(request)
            return read_spawn(raw), raw, idempotency_key_of(request)

        asked, raw, key = read(credentials, decode)
        return spawning.spawn(SpawnCommand(credentials, asked, raw, key, getattr(request, "request_id", "")))

    def get(self, request: HttpRequest) -> Answer[SubAgentList]:
        credentials = credentials_of(request)

        def decode() -> tuple[int, str | None]:
            given = parameters_of(request, {"limit", "cursor"})
            return parse_limit(given.get("limit")), given.get("cursor")

        limit, cursor = read(credentials, decode)
        return spawning.list_children(credentials, limit=limit, cursor=cursor)


class RevokeSubAgentView(AgentView):
    """POST /agent/v1/agents/{agent}/revoke"""

    operations = {"POST": REVOKE_AGENT}

    def post(self, request: HttpRequest, agent: str) -> Answer[SubAgentBody]:
        credentials = credentials_of(request)

        def decode() -> tuple[RevokeAgentRequest, bytes, str | None]:
            raw = body_of(request)
            return read_revoke(raw), raw, idempotency_key_of(request)

        asked, raw, key = read(credentials, decode)
        request_id = getattr(request, "request_id", "")
        return spawning.revoke(RevokeCommand(credentials, agent, asked.reason or "", raw, key, request_id))
