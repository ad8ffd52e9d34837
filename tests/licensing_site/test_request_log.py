"""What the log says of requests: under the id that was answered, and without secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest
from django.test import Client
from structlog.stdlib import ProcessorFormatter

from tests.licensing_site.test_wsgi import ask, own_urls

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def written() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The lines since the beginning of the test, as an operator's log has them."""
    root = logging.getLogger()
    formatter = next(h.formatter for h in root.handlers if isinstance(h.formatter, ProcessorFormatter))
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(formatter)
    root.addHandler(handler)
    yield lambda: [json.loads(line) for line in handler.stream.getvalue().splitlines()]
    root.removeHandler(handler)


def finished(lines: list[dict[str, Any]]) -> list[tuple[str, str, str, int]]:
    lines = [line for line in lines if line["event"] == "request.finished"]
    assert all(line["duration_ms"] >= 0 for line in lines)
    return [(line["request_id"], line["method"], line["path"], line["status"]) for line in lines]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/agent/v1/self", 401), ("/agent/v1/nothing", 404), ("/vendor/v1/plans", 401), ("/docs/", 200)],
)
def test_request__on_any_door__has_one_line_with_the_answered_id(
    written: Callable[[], list[dict[str, Any]]], path: str, status: int
) -> None:
    _, headers, _ = ask(path, HTTP_X_REQUEST_ID="r-7", QUERY_STRING="secret=hunter2")

    assert headers["x-request-id"] == "r-7"
    assert finished(written()) == [("r-7", "GET", path, status)]
    assert "hunter2" not in json.dumps(written())


def test_request__without_an_id__is_logged_under_the_one_that_was_made(
    written: Callable[[], list[dict[str, Any]]],
) -> None:
    _, headers, _ = ask("/vendor/v1/plans")

    assert finished(written()) == [(headers["x-request-id"], "GET", "/vendor/v1/plans", 401)]


@pytest.mark.parametrize("path", ["/agent/v1/query", "/livez"])
def test_request__that_went_well_where_many_do__has_no_line(
    written: Callable[[], list[dict[str, Any]]], path: str
) -> None:
    if path.startswith("/agent"):
        with own_urls():
            ask(path)
    else:
        ask(path)

    assert finished(written()) == []


def test_agents_door__unforeseen_error__is_logged_with_its_traceback_and_id(
    written: Callable[[], list[dict[str, Any]]],
) -> None:
    with own_urls():
        ask("/agent/v1/fail", HTTP_X_REQUEST_ID="r-8")

    [failure] = [line for line in written() if "exception" in line]
    assert failure["request_id"] == "r-8"
    assert "RuntimeError: unforeseen" in failure["exception"]
    assert finished(written()) == [("r-8", "GET", "/agent/v1/fail", 500)]


def test_vendors_door__unforeseen_error__is_logged_with_its_traceback_and_id(
    written: Callable[[], list[dict[str, Any]]],
) -> None:
    with patch("vendor_api.views.base.authenticate_caller", side_effect=RuntimeError("unforeseen")):
        ask("/vendor/v1/plans", HTTP_X_REQUEST_ID="r-9")

    [failure] = [line for line in written() if "exception" in line]
    assert failure["request_id"] == "r-9"
    assert "RuntimeError: unforeseen" in failure["exception"]


def test_request__with_a_one_time_key_in_its_path__is_logged_without_it(
    client: Client, written: Callable[[], list[dict[str, Any]]]
) -> None:
    client.get("/accounts/confirm-email/MQ:1abcdef:sekrit/")

    [(_, _, path, _)] = finished(written())
    assert path == "/accounts/confirm-email/[redacted]/"
