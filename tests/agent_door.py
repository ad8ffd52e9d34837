"""The agents' door as a test calls it: the real handlers in this process, and a vendor with something to sell.

Calls go through Django's views, or, where `AgentDoor.coalescing` is set, by what the coalescing door serves them with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, NamedTuple
from unittest.mock import patch
from uuid import uuid4

from django.db import connection
from django.test import RequestFactory
from django.utils.datastructures import CaseInsensitiveMapping
from jsonschema import Draft202012Validator

from agent_api.door.answering import Reply
from agent_api.door.heads import Head, read_head
from agent_api.door.work import answer_calls
from licenses.models import Agent, License
from licenses.services.agents import CreatedAgent
from licensing_site import agent_handler
from licensing_site.agent_handler import AgentHandler
from licensing_site.management.commands.write_openapi import render
from licensing_site.openapi_doors import DOORS
from metering.models import Meter, Quota
from metering.services.meters import create_meter
from metering.services.plan_terms import create_plan_with_terms
from metering.services.quotas import create_quota
from tenants.models import Customer, Tenant
from tests import factories
from tests.factories import ACTOR

_handler: list[AgentHandler] = []


class Answer(NamedTuple):
    """What came back; `json` is the decoded body."""

    status: int
    headers: Mapping[str, str]
    json: Any

    def __getitem__(self, key: Any) -> Any:
        return self.json[key]


class AgentDoor:
    """`door.post("/validate", {}, key=...)`."""

    coalescing: ClassVar[bool] = False

    def __init__(self, key: str | None = None) -> None:
        self.key = key

    def get(self, path: str, **more: Any) -> Answer:
        return self.call("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        return self.call("POST", path, body, **more)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        raw: bytes | None = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        fields = dict(headers or {})
        key = key if key is not None else self.key
        if key:
            fields.setdefault("Authorization", f"Bearer {key}")
        sent = content_type if data else ""
        coalesced = _through_the_door(method, path, data, sent, fields) if self.coalescing else None
        answer = coalesced or _through_views(method, path, data, sent, fields)
        check_against_document(method, path, answer)
        return answer


def _through_views(method: str, path: str, data: bytes, content_type: str, fields: Mapping[str, str]) -> Answer:
    if not _handler:
        _handler.append(AgentHandler())
    request = RequestFactory().generic(method, f"/agent/v1{path}", data, content_type, headers=dict(fields))
    found: dict[str, Any] = {}

    def start_response(status: str, sent: list[tuple[str, str]], *_: Any) -> Any:
        found["status"], found["headers"] = int(status.split(maxsplit=1)[0]), CaseInsensitiveMapping(sent)

    # As Django's own test client does: a test's transaction is not given back between two calls.
    keep = patch.object(agent_handler, "give_back_connections") if connection.in_atomic_block else nullcontext()
    with keep:
        content = b"".join(_handler[0](request.environ, start_response))  # type: ignore[arg-type]
    return Answer(found["status"], found["headers"], json.loads(content) if content else None)


class _Call(NamedTuple):
    head: Head
    body: bytes


def _through_the_door(
    method: str, path: str, data: bytes, content_type: str, fields: Mapping[str, str]
) -> Answer | None:
    """None for what the coalescing door leaves to Django."""
    named = {"Host": "testserver", "Content-Length": str(len(data)), **fields}
    if content_type:
        named["Content-Type"] = content_type
    scope = {
        "method": method,
        "path": f"/agent/v1{path}".partition("?")[0],
        "headers": [(name.lower().encode(), value.encode("latin1")) for name, value in named.items()],
        "client": ("127.0.0.1", 50000),
    }
    head = read_head(scope)
    if head is None:
        return None
    [reply] = answer_calls([_Call(head, data)])
    assert isinstance(reply, Reply)
    headers = CaseInsensitiveMapping({name.decode(): value.decode("latin1") for name, value in reply.headers})
    return Answer(reply.status, headers, json.loads(reply.body))


def check_against_document(method: str, path: str, answer: Answer) -> None:
    """Hold an answer against the OpenAPI document that is made from the code."""
    assert answer.status != 500, answer
    for template, operations in document()["paths"].items():
        pattern = re.sub(r"{[^}]+}", "[^/]+", template)
        if re.fullmatch(pattern, f"/agent/v1{path}".partition("?")[0]) and method.lower() in operations:
            described = operations[method.lower()]["responses"].get(str(answer.status))
            assert described is not None, f"{method} {path} does not describe {answer.status}: {answer.json}"
            if answer.json is None:
                assert "content" not in described
                return
            [(media_type, content)] = described["content"].items()
            assert answer.headers["Content-Type"] == media_type, answer
            schema = {**content["schema"], "components": document()["components"]}
            Draft202012Validator(schema).validate(answer.json)


@cache
def document() -> Any:
    return json.loads(render(DOORS["agent"]))


@dataclass
class Vendor:
    """A workspace with a product, three features, a sum meter `tokens` and a count meter `calls`."""

    tenant: Tenant = field(default_factory=factories.make_workspace)

    def __post_init__(self) -> None:
        self.product = factories.make_product(self.tenant, code="researcher")
        self.search = factories.make_feature(self.product, code="web_search")
        factories.make_feature(self.product, code="max_tools", kind="limit")
        factories.make_feature(self.product, code="models", kind="choice", choices=["small", "medium", "large"])
        self.tokens = self.meter("tokens", dimensions=["model"])
        self.calls = self.meter("calls", aggregation="count")

    def meter(self, code: str, **more: Any) -> Meter:
        return create_meter(tenant=self.tenant, actor=ACTOR, code=code, **more)

    def license(self, *quotas: Mapping[str, Any], customer: Customer | None = None, **plan: Any) -> License:
        """A licence of a plan of its own, which grants search, 20 tools and two models."""
        of_license = {name: plan.pop(name) for name in ("starts_at", "expires_at", "add_ons") if name in plan}
        made_up: dict[str, Any] = {
            "code": f"plan-{uuid4().hex[:8]}",
            "name": "Pro",
            "product": self.product,
            "grants": [
                {"feature": "web_search", "value": True},
                {"feature": "max_tools", "value": 20},
                {"feature": "models", "value": ["small", "large"]},
            ],
            "quotas": [{"meter": "tokens", "period": "month", "mode": "hard", **quota} for quota in quotas],
        }
        made = create_plan_with_terms(tenant=self.tenant, actor=ACTOR, **{**made_up, **plan})
        return factories.make_license(made, customer, **of_license)

    def agent(self, license: License, parent: Agent | None = None, **more: Any) -> CreatedAgent:
        return factories.make_agent(license, parent_id=parent, **more)

    def door(self, *quotas: Mapping[str, Any], **plan: Any) -> AgentDoor:
        """A new agent's own door, under a licence with these quotas."""
        return AgentDoor(self.agent(self.license(*quotas, **plan)).key_text)

    def quota(self, **fields: Any) -> Quota:
        """A quota on something that exists."""
        return create_quota(
            tenant=self.tenant, actor=ACTOR, **{"meter": "tokens", "period": "month", "mode": "hard", **fields}
        )

    def publishable_key(self, **more: Any) -> str:
        return factories.make_api_key(self.tenant, kind="publishable", scopes=(), **more).text

    def secret_key(self, **more: Any) -> str:
        return factories.make_api_key(self.tenant, **more).text
