"""The two chains behind one server entry."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path

from licensing_site import wsgi

pytestmark = pytest.mark.django_db(transaction=True)


def query(_request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse("queried")


def fail(request: HttpRequest) -> HttpResponse:
    query(request)
    raise RuntimeError("unforeseen")


def stream(_request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter([b"a", b"b"]))


urlpatterns = [path("agent/v1/query", query), path("agent/v1/fail", fail), path("agent/v1/stream", stream)]
handler500 = "licensing_site.errors.server_error"


@contextmanager
def own_urls() -> Iterator[None]:
    with override_settings(ROOT_URLCONF=__name__):
        yield


def ask(path_info: str, **environ: str) -> tuple[str, dict[str, str], bytes]:
    """One request through the server entry: status line, headers, body."""
    seen: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        seen.extend((status, {name.lower(): value for name, value in headers}))

    body: Iterable[bytes] = wsgi.application(
        {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": path_info,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "8000",
            "HTTP_HOST": "localhost",
            "wsgi.input": io.BytesIO(),
            "wsgi.url_scheme": "http",
            **environ,
        },
        start_response,  # type: ignore[arg-type]
    )
    content = b"".join(body)
    if hasattr(body, "close"):
        body.close()
    return seen[0], seen[1], content


def test_agents_door__answer__has_only_the_short_chains_headers() -> None:
    with own_urls():
        status, headers, body = ask("/agent/v1/query", HTTP_X_REQUEST_ID="r-3")
    assert (status, body) == ("200 OK", b"queried")
    assert headers["x-request-id"] == "r-3"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "set-cookie" not in headers
    assert "content-security-policy" not in headers


@pytest.mark.parametrize("name", ["query", "fail", "stream"])
def test_agents_door__after_any_request__connection_is_given_back(name: str) -> None:
    connection.ensure_connection()
    with own_urls():
        ask(f"/agent/v1/{name}")
    assert connection.connection is None


def test_agents_door__unforeseen_error__is_a_500_problem() -> None:
    with own_urls():
        status, headers, body = ask("/agent/v1/fail")
    assert status == "500 Internal Server Error"
    assert headers["content-type"] == "application/problem+json"
    assert b"internal_error" in body
    assert b"unforeseen" not in body


def test_agents_door__streaming_answer__arrives_whole() -> None:
    with own_urls():
        assert ask("/agent/v1/stream")[2] == b"ab"


def test_agents_door__browser_asks_first__cors_allows_keys_and_no_cookies() -> None:
    status, headers, _ = ask(
        "/agent/v1/validate",
        REQUEST_METHOD="OPTIONS",
        HTTP_ORIGIN="https://app.example",
        HTTP_ACCESS_CONTROL_REQUEST_METHOD="POST",
        HTTP_ACCESS_CONTROL_REQUEST_HEADERS="authorization,content-type",
    )
    assert status == "200 OK"
    assert headers["access-control-allow-origin"] == "*"
    assert "authorization" in headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in headers


def test_other_paths__go_through_the_full_chain() -> None:
    _, headers, _ = ask("/livez")
    assert "content-security-policy" in headers
    assert headers["x-frame-options"] == "DENY"


def test_agents_door__host_that_is_not_ours__is_400() -> None:
    status, headers, body = ask("/agent/v1/validate", HTTP_HOST="evil.example", HTTP_X_REQUEST_ID="r-4")
    assert (status, headers["x-request-id"]) == ("400 Bad Request", "r-4")
    assert b'"code":"host_not_allowed"' in body


def test_vendors_door__host_that_is_not_ours__is_400() -> None:
    status, _, body = ask("/vendor/v1/customers", HTTP_HOST="evil.example")
    assert status == "400 Bad Request"
    assert b'"code":"host_not_allowed"' in body
