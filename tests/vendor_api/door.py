"""The vendors' door as a backend calls it; every answer is held against the OpenAPI document made from the code."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any, NamedTuple

from django.test import Client
from jsonschema import Draft202012Validator

from licensing_site.management.commands.write_openapi import render
from licensing_site.openapi_doors import DOORS
from tenants.models import Tenant
from tests.factories import make_api_key, make_workspace

PREFIX = "/vendor/v1"


class Answer(NamedTuple):
    """What came back; `json` is None without a body."""

    status: int
    json: Any
    headers: Any

    def __getitem__(self, name: Any) -> Any:
        return self.json[name]

    @property
    def code(self) -> str:
        """The stable code of a problem document."""
        assert self.headers["Content-Type"] == "application/problem+json", self
        return str(self.json["code"])

    @property
    def fields(self) -> dict[str, str]:
        """The fields at fault and their codes."""
        return {error["field"]: error["code"] for error in self.json["errors"]}


class Door:
    """A workspace and a secret key to it."""

    def __init__(self, tenant: Tenant | None = None, *, scopes: tuple[str, ...] = ("*",), prefix: str = PREFIX) -> None:
        self.prefix = prefix
        self.tenant = tenant or make_workspace()
        created = make_api_key(self.tenant, scopes=scopes)
        self.api_key, self.key = created.api_key, created.text
        self.client = Client(raise_request_exception=False)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        raw: bytes | None = None,
        query: dict[str, Any] | None = None,
        content_type: str = "application/json",
        **headers: str,
    ) -> Answer:
        """One request; header names have underscores. Without `key` it is the door's own."""
        sent = {"Authorization": f"Bearer {self.key if key is None else key}"} if key != "" else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = raw if raw is not None else (json.dumps(body).encode() if body is not None else b"")
        response = self.client.generic(
            method,
            self.prefix + path,
            data,
            content_type=content_type if data else "",
            query_params=query,
            headers=sent,
        )
        raw_content = b"".join(response.streaming_content) if response.streaming else response.content
        is_json = "json" in response.headers.get("Content-Type", "")
        content = json.loads(raw_content) if raw_content and is_json else raw_content.decode() or None
        answer = Answer(response.status_code, content, response.headers)
        assert answer.status != 500, answer
        check_against_document(method, path, answer, prefix=self.prefix)
        return answer

    def get(self, path: str, **query: Any) -> Answer:
        return self.call("GET", path, query=query)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.call("POST", path, body, **headers)

    def patch(self, path: str, body: Any) -> Answer:
        return self.call("PATCH", path, body)

    def delete(self, path: str) -> Answer:
        return self.call("DELETE", path)

    def made(self, path: str, body: Any) -> Any:
        """What was made; anything but 201 fails the test."""
        answer = self.post(path, body)
        assert answer.status == 201, answer
        return answer.json

    def listed(self, path: str, **query: Any) -> list[Any]:
        """The rows of a list."""
        answer = self.get(path, **query)
        assert answer.status == 200, answer
        return list(answer["data"])


@cache
def document() -> Any:
    """The OpenAPI document of this door."""
    return json.loads(render(DOORS["vendor"]))


def check_against_document(method: str, path: str, answer: Answer, *, prefix: str = PREFIX) -> None:
    """Fail where an answer is not what the document says, or a status is not in it."""
    operation = _operation(method, prefix + path)
    if operation is None or answer.status == 405:
        return
    described = operation["responses"].get(str(answer.status))
    assert described is not None, f"{method} {path}: {answer.status} is not in the document: {answer.json}"
    if answer.json is None:
        # A file may be empty, a document is not.
        assert not any("json" in kind.split("x-nd")[0] for kind in described.get("content", {}))
        return
    media_type = answer.headers["Content-Type"].partition(";")[0]
    if isinstance(answer.json, str):
        assert media_type in described["content"]
        return
    schema = described["content"][media_type]["schema"]
    validator = Draft202012Validator({**schema, "components": document()["components"]})
    faults = [
        f"{'.'.join(map(str, each.absolute_path))}: {each.message}" for each in validator.iter_errors(answer.json)
    ]
    assert not faults, (method, path, faults)
    if answer.status in {403, 404, 409}:
        shown = {example["code"] for example in shown_refusals(described)}
        assert answer.code in shown, f"{method} {path}: an example of {answer.code} is missing in the document"
    # A problem document may have members of its own; nothing else may say more than the document does.
    known = _all_properties(schema)
    assert answer.status >= 400 or known is None or set(answer.json) <= known, (
        method,
        path,
        set(answer.json) - (known or set()),
    )


def shown_refusals(described: Any) -> list[Any]:
    """The examples of problem documents that an operation shows for a status."""
    examples = described["content"]["application/problem+json"]["examples"].values()
    shared = document()["components"]["examples"]
    return [shared[example["$ref"].rpartition("/")[2]]["value"] for example in examples]


def _operation(method: str, path: str) -> Any:
    # `/licenses/export` before `/licenses/{id}`, as in the URL map.
    for template, operations in sorted(document()["paths"].items(), key=lambda item: item[0].count("{")):
        pattern = re.sub(r"\{[^}]+\}", "[^/]+", template)
        if re.fullmatch(pattern, path):
            return operations.get(method.lower())
    return None


def _all_properties(schema: Any) -> set[str] | None:
    name = schema.get("$ref", "").rpartition("/")[2]
    found = document()["components"]["schemas"].get(name, {})
    return set(found["properties"]) if "properties" in found else None
