"""`validate` and `authorize`."""

from django.http import HttpRequest

from agent_api.use_cases.answering import Answer
from agent_api.use_cases.authorizing import AuthorizeCommand, authorize_many
from agent_api.use_cases.validating import ValidateCommand, validate_many
from agent_api.views import documented
from agent_api.views.base import AgentView, body_of, credentials_of, idempotency_key_of, one, read
from agent_api.wire.answers import AuthorizeAnswer, ValidateAnswer
from agent_api.wire.requests import AuthorizeRequest, ValidateRequest, read_authorize, read_validate


class ValidateView(AgentView):
    """POST /agent/v1/validate"""

    operations = {"POST": documented.VALIDATE}

    def post(self, request: HttpRequest) -> Answer[ValidateAnswer]:
        credentials = credentials_of(request)

        def decode() -> ValidateRequest:
            return read_validate(body_of(request))

        asked = read(credentials, decode, publishable=True)
        credentials = credentials._replace(license_key=asked.license_key)
        return one(validate_many([ValidateCommand(credentials, asked)]))


class AuthorizeView(AgentView):
    """POST /agent/v1/authorize"""

    operations = {"POST": documented.AUTHORIZE}

    def post(self, request: HttpRequest) -> Answer[AuthorizeAnswer]:
        credentials = credentials_of(request)

        def decode() -> AuthorizeRequest:
            return read_authorize(body_of(request), idempotency_key_of(request))

        return one(authorize_many([AuthorizeCommand(credentials, read(credentials, decode))]))
