"""Commands as a shell would make them, for many agents at once."""

from __future__ import annotations

import json
from typing import Any

from agent_api.use_cases.authorizing import AuthorizeCommand
from agent_api.use_cases.callers import Credentials
from agent_api.use_cases.recording import RecordCommand
from agent_api.use_cases.validating import ValidateCommand
from agent_api.wire.requests import read_authorize, read_validate
from agent_api.wire.usage import read_usage


def validate(key: str, **asked: Any) -> ValidateCommand:
    return ValidateCommand(Credentials(key), read_validate(json.dumps(asked).encode()))


def authorize(key: str, quantity: object = "1", **asked: Any) -> AuthorizeCommand:
    body = {"usage": [{"meter": "tokens", "quantity": quantity}], **asked}
    return AuthorizeCommand(Credentials(key), read_authorize(json.dumps(body).encode()))


def record(key: str, *events: dict[str, Any]) -> RecordCommand:
    return RecordCommand(Credentials(key), read_usage(json.dumps({"events": events}).encode()))


def event(id: str, quantity: object = "1", **more: Any) -> dict[str, Any]:
    return {"id": id, "meter": "tokens", "quantity": quantity, **more}
