"""The OpenAPI document: complete, up to date, and of version 3.1."""

from __future__ import annotations

from django.core.management import call_command

from tests.vendor_api.door import document


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
