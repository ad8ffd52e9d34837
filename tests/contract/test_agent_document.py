"""The agents' door as its OpenAPI document describes it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from agent_api.urls import urlpatterns
from licenses.domain.enums import ReasonCode
from licensing_site.management.commands.write_openapi import render
from licensing_site.openapi_doors import DOORS
from licensing_site.reference import OPENAPI_DIR
from tests.agent_door import document
from tests.docs.pages import first_column, page

#: A product is asked for by `validate` only, a value by `authorize`; the key of a revoked agent is a 401.
NEVER_SHOWN = {
    "validate": {"agent_revoked", "feature_value_not_allowed"},
    "authorize": {"agent_revoked", "product_mismatch", "valid"},
}


def contents() -> list[Any]:
    """Every body and answer with examples: (where, schema, examples)."""
    found = []
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            bodies = operation.get("requestBody", {}).get("content", {})
            found.append((f"{method} {path}", bodies))
            for status, answer in operation["responses"].items():
                found.append((f"{method} {path} {status}", answer.get("content", {})))
    return [
        pytest.param(content["schema"], content.get("examples", {}), id=f"{where} {media_type}")
        for where, by_type in found
        for media_type, content in by_type.items()
    ]


def test_document__committed__is_what_the_code_says() -> None:
    assert (OPENAPI_DIR / "agent.json").read_text() == render(DOORS["agent"])


@pytest.mark.parametrize(("schema", "examples"), contents())
def test_document__examples__are_what_their_schemas_say(schema: Any, examples: Any) -> None:
    validator = Draft202012Validator({**schema, "components": document()["components"]})
    for example in examples.values():
        validator.validate(example["value"])


def test_document__every_route__is_described_and_its_refusals_have_examples() -> None:
    routes = {"/agent/v1/" + re.sub(r"<str:(\w+)>", r"{\1}", str(pattern.pattern)) for pattern in urlpatterns}
    assert routes == set(document()["paths"])
    for operations in document()["paths"].values():
        for operation in operations.values():
            assert {"401", "403", "429", "503"} <= operation["responses"].keys()
            assert {"200", "201", "204"} & operation["responses"].keys()
            assert operation["security"] == [{"agentKey": []}]
            for status, answer in operation["responses"].items():
                assert all(content["examples"] for content in answer.get("content", {}).values()), (operation, status)


@pytest.mark.parametrize("name", ["AuthorizeRequest", "ValidateRequest", "ReportedEvent", "UsageLine", "SettleRequest"])
def test_document__what_is_sent__refuses_unknown_fields(name: str) -> None:
    assert document()["components"]["schemas"][name]["additionalProperties"] is False


def test_document__every_refusal__is_shown_with_codes_that_are_explained() -> None:
    explained = set(first_column(page("docs/reference/error-codes.md")))
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    shown = [
                        each["value"] for each in answer["content"]["application/problem+json"]["examples"].values()
                    ]
                    codes = {each["code"] for each in shown}
                    fields = {error["code"] for each in shown for error in each["errors"]}
                    assert codes | fields <= explained, (method, path, status)
                    assert {each["status"] for each in shown} == {int(status)}, (method, path, status)


def test_document__decisions__show_every_reason_that_stands_for_a_kind_of_no() -> None:
    explained = set(first_column(page("docs/reference/error-codes.md")))
    for operation, never in NEVER_SHOWN.items():
        answers = document()["paths"][f"/agent/v1/{operation}"]["post"]["responses"]["200"]["content"]
        shown = [each["value"] for each in answers["application/json"]["examples"].values()]
        codes = {each["code"] for each in shown} | {reason["code"] for each in shown for reason in each["codes"]}
        assert codes <= explained
        assert {code.value for code in ReasonCode} - codes == never
