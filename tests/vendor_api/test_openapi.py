"""The OpenAPI document: complete, up to date, and of version 3.1."""

from __future__ import annotations

from django.core.management import call_command
from jsonschema import Draft202012Validator

from tests.docs.pages import first_column, page
from tests.vendor_api.door import document, shown_refusals
from vendor_api.refusals import MET_BY, OF_STATE


def test_document__committed__is_what_the_code_says() -> None:
    call_command("write_openapi", "vendor", check=True)


def test_document__every_operation__says_who_may_and_how_it_refuses() -> None:
    assert document()["openapi"].startswith("3.1")
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            where = (method, path)
            assert list(operation["security"][0]) == ["secretKey"], where
            assert operation["summary"], where
            assert {"401", "403", "503"} <= set(operation["responses"]), where
            assert ("requestBody" in operation) == (method in {"post", "patch"}), where
            headers = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "header"}
            # A decision is never replayed.
            assert ("Idempotency-Key" in headers) == (method == "post" and not path.startswith("/access/")), where
            for status, described in operation["responses"].items():
                if int(status) >= 400:
                    assert set(described["content"]) == {"application/problem+json"}, where


def test_document__every_refusal__has_examples_whose_codes_are_explained() -> None:
    explained = set(first_column(page("docs/reference/error-codes.md")))
    validator = Draft202012Validator(
        {"$ref": "#/components/schemas/ProblemShape", "components": document()["components"]}
    )
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            for status, described in operation["responses"].items():
                if int(status) >= 400:
                    where = (method, path, status)
                    examples = shown_refusals(described)
                    codes = [example["code"] for example in examples]
                    assert codes, where
                    assert len(set(codes)) == len(codes), where
                    assert set(codes) <= explained, where
                    fields = {error["code"] for example in examples for error in example["errors"]}
                    assert fields <= explained, where
                    assert {example["status"] for example in examples} == {int(status)}, where
                    for example in examples:
                        validator.validate(example)


def test_table_of_refusals__operations__are_in_the_document() -> None:
    named = {each["operationId"] for operations in document()["paths"].values() for each in operations.values()}
    assert MET_BY.keys() <= named
    assert {code for codes in MET_BY.values() for code in codes} == OF_STATE.keys()
