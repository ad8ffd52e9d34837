"""`activations`: make one, keep it, give it back."""

from django.http import HttpRequest

from agent_api.use_cases import activating
from agent_api.use_cases.activating import ActivationCommand
from agent_api.use_cases.answering import Answer
from agent_api.use_cases.callers import Credentials
from agent_api.views import documented_activations as documented
from agent_api.views.base import AgentView, body_of, credentials_of, idempotency_key_of, read
from agent_api.wire.activations import (
    ActivationAnswer,
    ActivationRequest,
    HeartbeatRequest,
    read_activation,
    read_heartbeat,
)
from agent_api.wire.answers import Nothing
from common.errors import Invalid


class ActivationsView(AgentView):
    """POST /agent/v1/activations"""

    operations = {"POST": documented.ACTIVATE}

    def post(self, request: HttpRequest) -> Answer[ActivationAnswer]:
        credentials = credentials_of(request)

        def decode() -> tuple[ActivationRequest, ActivationCommand]:
            raw = body_of(request)
            asked = read_activation(raw)
            return asked, _command(request, credentials, raw, asked.license_key)

        asked, command = read(credentials, decode, publishable=True)
        return activating.activate(command, asked)


class HeartbeatView(AgentView):
    """POST /agent/v1/activations/{activation}/heartbeat"""

    operations = {"POST": documented.HEARTBEAT}

    def post(self, request: HttpRequest, activation: str) -> Answer[ActivationAnswer]:
        return activating.heartbeat(_on_one(request, activation))


class ActivationView(AgentView):
    """DELETE /agent/v1/activations/{activation}"""

    operations = {"DELETE": documented.GIVE_UP}

    def delete(self, request: HttpRequest, activation: str) -> Answer[Nothing]:
        return activating.give_up(_on_one(request, activation))


def _on_one(request: HttpRequest, activation: str) -> ActivationCommand:
    credentials = credentials_of(request)

    def decode() -> ActivationCommand:
        raw = body_of(request)
        asked: HeartbeatRequest = read_heartbeat(raw)
        return _command(request, credentials, raw, asked.license_key, activation)

    return read(credentials, decode, publishable=True)


def _command(
    request: HttpRequest, credentials: Credentials, raw: bytes, license_key: str | None, activation: str = ""
) -> ActivationCommand:
    """The licence key stands in the body or, as a DELETE often has none, in the field X-License-Key."""
    field = request.META.get("HTTP_X_LICENSE_KEY")
    if field is not None and license_key is not None and field != license_key:
        detail = "The body's license key is not that of X-License-Key: send one of them."
        raise Invalid.field("license_key", "license_key_mismatch", detail)
    return ActivationCommand(
        credentials=credentials._replace(license_key=license_key if license_key is not None else field),
        request_id=getattr(request, "request_id", ""),
        activation=activation,
        path=request.path,
        raw=raw,
        idempotency_key=idempotency_key_of(request) if request.method == "POST" else None,
    )
