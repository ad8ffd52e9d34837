"""`tokens`: a signed licence."""

from django.http import HttpRequest

from agent_api.use_cases import tokens
from agent_api.use_cases.answering import Answer
from agent_api.use_cases.tokens import TokenCommand
from agent_api.views.base import AgentView, body_of, credentials_of, idempotency_key_of, read
from agent_api.views.documented_tokens import ISSUE_TOKEN
from agent_api.wire.tokens import TokenAnswer, TokenRequest, read_tokens


class TokensView(AgentView):
    """POST /agent/v1/tokens"""

    operations = {"POST": ISSUE_TOKEN}

    def post(self, request: HttpRequest) -> Answer[TokenAnswer]:
        credentials = credentials_of(request)

        def decode() -> tuple[TokenRequest, bytes, str | None]:
            raw = body_of(request)
            return read_tokens(raw), raw, idempotency_key_of(request)

        asked, raw, key = read(credentials, decode)
        return tokens.issue(TokenCommand(credentials, asked, raw, key))
