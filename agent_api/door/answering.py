"""Answers on their way out: status, header fields, body. The same as those of the views, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from agent_api.use_cases.answering import Answer
from agent_api.wire.answers import encode
from common.errors import Problem
from common.http_json import JSON
from common.problems import PROBLEM_JSON, problem_bytes


class Reply(NamedTuple):
    """What is sent: `code` is that of a problem, for the log."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    code: str = ""


def reply_of(outcome: Answer[Any] | Problem, request_id: str) -> Reply:
    """The reply for what a use case gave back."""
    if isinstance(outcome, Problem):
        body = problem_bytes(outcome, request_id)
        return Reply(outcome.status, _headers(PROBLEM_JSON, body, outcome.headers, request_id), body, outcome.code)
    body = encode(outcome.body)
    return Reply(outcome.status, _headers(JSON, body, outcome.fields, request_id), body)


_FIXED = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]


def _headers(content_type: str, body: bytes, fields: Mapping[str, str], request_id: str) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id.encode()),
        *_FIXED,
    ]
    if fields:
        headers += [(name.lower().encode("latin1"), value.encode("latin1")) for name, value in fields.items()]
    return headers
