"""Health, the API reference, errors and headers, as a browser or a program sees them."""

from __future__ import annotations

import json
import re
import time

import pytest
from django.core.handlers.exception import convert_exception_to_response
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings

from licensing_site import health

pytestmark = pytest.mark.django_db


def test_livez__valkey_is_away__still_answers(client: Client) -> None:
    with override_settings(REDIS_URL="redis://127.0.0.1:1/0"):
        answer = client.get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_readyz__both_stores_answer__is_200(client: Client) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "checks": {"postgres": "ok", "valkey": "ok"}}


def test_readyz__valkey_is_away__is_a_503_problem_that_says_so(client: Client) -> None:
    health._client.cache_clear()
    with override_settings(REDIS_URL="redis://127.0.0.1:1/0"):
        answer = client.get("/readyz", headers={"X-Request-Id": "r-1"})
    health._client.cache_clear()

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "store_unreachable"
    assert problem["request_id"] == "r-1"
    assert problem["checks"] == {"postgres": "ok", "valkey": "unreachable"}


@pytest.mark.parametrize("door", ["agent", "vendor"])
def test_openapi__each_door__is_a_3_1_document(client: Client, door: str) -> None:
    document = json.loads(b"".join(client.get(f"/openapi/{door}.json")))
    assert document["openapi"].startswith("3.1")


@pytest.mark.parametrize("path", ["/openapi/other.json", "/openapi/..%2fpyproject.json"])
def test_openapi__no_such_door__is_404(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_docs__root__leads_to_the_api_reference(client: Client) -> None:
    answer = client.get("/docs/", follow=True)
    assert answer.status_code == 200
    assert "/docs/api/" in answer.content.decode() + str(answer.redirect_chain)


def test_docs__api_reference__needs_no_other_host_and_no_inline_code(client: Client) -> None:
    page = client.get("/docs/api/").content.decode()
    assert re.findall(r'(?:src|href)="(?:https?:)?//', page) == []
    assert re.findall(r"<script(?![^>]*src=)|<style| on\w+=| style=", page) == []
    assert "/openapi/agent.json" in page
    assert "/openapi/vendor.json" in page


@pytest.mark.parametrize(("path", "allowed"), [("/docs/api/", False), ("/accounts/login/", False), ("/admin/", True)])
def test_content_security_policy__unsafe_eval__is_the_admins_alone(client: Client, path: str, allowed: bool) -> None:
    policy = client.get(path).headers["Content-Security-Policy"]
    assert ("'unsafe-eval'" in policy) is allowed
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy


def test_not_found__on_an_api__is_a_problem_document(client: Client) -> None:
    answer = client.get("/agent/v1/no-such-thing", headers={"X-Request-Id": "r-2"})
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (answer.json()["code"], answer.json()["request_id"]) == ("not_found", "r-2")


def test_not_found__elsewhere__is_a_page(client: Client) -> None:
    answer = client.get("/no-such-page")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(("path", "kind"), [("/agent/v1/x", "application/problem+json"), ("/dashboard/", "text/html")])
def test_server_error__store_does_not_answer__is_503_with_retry_after(path: str, kind: str) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        raise OperationalError("gone")

    answer = convert_exception_to_response(view)(RequestFactory().get(path))

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Content-Type"].startswith(kind)


@pytest.mark.parametrize(
    ("sent", "echoed"), [("abc-1.2:3", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("é", False)]
)
def test_request_id__sane_or_not__is_echoed_or_made(client: Client, sent: str, echoed: bool) -> None:
    answered = client.get("/livez", headers={"X-Request-Id": sent}).headers["X-Request-Id"]
    assert (answered == sent) is echoed
    assert re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", answered)


def test_login__more_posts_than_the_rate_from_one_address__is_429(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr("django_ratelimit.core.time.time", lambda: now)  # all of them in one window
    statuses = [
        client.post("/accounts/login/", {"login": f"ann{n}@example.test", "password": "x"}).status_code
        for n in range(31)
    ]
    assert statuses[-1] == 429
    assert 1 <= int(client.post("/accounts/login/", {}).headers["Retry-After"]) <= 60
    assert client.get("/accounts/login/").status_code == 200


def test_admin__not_logged_in__leads_to_the_common_log_in(client: Client) -> None:
    answer = client.get("/admin/", follow=True)
    assert answer.redirect_chain[-1][0].startswith("/accounts/login/?next=")
