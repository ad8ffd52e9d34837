"""`holds`: list, settle, release, extend."""

from django.http import HttpRequest

from agent_api.use_cases import holding
from agent_api.use_cases.answering import Answer
from agent_api.use_cases.holding import HoldCommand
from agent_api.use_cases.settling import SettleCommand, settle_many
from agent_api.views import documented
from agent_api.views.base import AgentView, body_of, credentials_of, idempotency_key_of, one, parameters_of, read
from agent_api.wire.answers import HoldAnswer, HoldList
from agent_api.wire.requests import SettleRequest, read_extend, read_nothing, read_settle
from common.pagination import parse_limit


class HoldsView(AgentView):
    """GET /agent/v1/holds"""

    operations = {"GET": documented.LIST_HOLDS}

    def get(self, request: HttpRequest) -> Answer[HoldList]:
        credentials = credentials_of(request)

        def decode() -> tuple[int, str | None]:
            given = parameters_of(request, {"limit", "cursor"})
            return parse_limit(given.get("limit")), given.get("cursor")

        limit, cursor = read(credentials, decode)
        return holding.list_open(credentials, limit=limit, cursor=cursor)


class SettleView(AgentView):
    """POST /agent/v1/holds/{hold}/settle"""

    operations = {"POST": documented.SETTLE}

    def post(self, request: HttpRequest, hold: str) -> Answer[HoldAnswer]:
        credentials = credentials_of(request)

        def decode() -> SettleRequest:
            return read_settle(body_of(request), idempotency_key_of(request))

        return one(settle_many([SettleCommand(credentials, hold, read(credentials, decode))]))


class ReleaseView(AgentView):
    """POST /agent/v1/holds/{hold}/release"""

    operations = {"POST": documented.RELEASE}

    def post(self, request: HttpRequest, hold: str) -> Answer[HoldAnswer]:
        credentials = credentials_of(request)
        read(credentials, lambda: read_nothing(body_of(request)))
        return one(holding.release_many([HoldCommand(credentials, hold)]))


class ExtendView(AgentView):
    """POST /agent/v1/holds/{hold}/extend"""

    operations = {"POST": documented.EXTEND}

    def post(self, request: HttpRequest, hold: str) -> Answer[HoldAnswer]:
        credentials = credentials_of(request)
        asked = read(credentials, lambda: read_extend(body_of(request)))
        return one(holding.extend_many([HoldCommand(credentials, hold, asked.ttl)]))
