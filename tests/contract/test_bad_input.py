"""What every POST of the agents' door answers to what nobody should send: a problem document, and nothing counted."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from metering.models import EventId, UsageEvent
from tests.agent_door import AgentDoor, Answer, Vendor

pytestmark = pytest.mark.django_db

PATHS = ("/validate", "/authorize", "/usage", "/holds/hld_01h455vb4pex5vsknk084sn02q/settle")
LONG = "x" * 3000
MEBIBYTE = 1024 * 1024


class Sent(NamedTuple):
    """A body, and the status that it gets wherever it is sent (None: it depends, but it is no 5xx)."""

    raw: bytes
    status: int | None


BODIES = {
    "empty": Sent(b"", None),
    "spaces": Sent(b"  \n", None),
    "half an object": Sent(b"{", 400),
    "a list": Sent(b"[]", 422),
    "null": Sent(b"null", 422),
    "a text": Sent(b'"x"', 422),
    "a number": Sent(b"7", 422),
    "a huge exponent": Sent(b'{"a":1e999}', 422),
    "no UTF-8": Sent(b"\xff\xfe", 400),
    "a byte order mark": Sent(b"\xef\xbb\xbf{}", 400),
    "UTF-16": Sent('{"id": "a"}'.encode("utf-16"), 400),
    "half a character": Sent(b'{"id":"\\ud800","meter":"tokens","quantity":"1"}', 422),
    "NUL": Sent(b'{"id":"\\u0000","meter":"tokens","quantity":"1"}', 422),
    "a bare NUL": Sent(b'{"id":"\x00"}', 400),
    "NaN as a text": Sent(b'{"id":"q","meter":"tokens","quantity":"NaN"}', 422),
    "NaN": Sent(b'{"id":"q","meter":"tokens","quantity":NaN}', 400),
    "infinity": Sent(b'{"id":"q","meter":"tokens","quantity":-Infinity}', 400),
    "a huge number": Sent(b'{"id":"q","meter":"tokens","quantity":1e400}', 422),
    "endless digits": Sent(b'{"id":"q","meter":"tokens","quantity":' + b"9" * 5000 + b"}", 422),
    "endless digits as a text": Sent(b'{"id":"q","meter":"tokens","quantity":"' + b"9" * 5000 + b'"}', 422),
    "an unknown field": Sent(b'{"unknown_field":1}', 422),
    "a repeated name": Sent(b'{"id":"a","id":"b"}', 400),
    "deep nesting": Sent(b"[" * 20_000, 400),
    "deep nesting, closed": Sent(b'{"id":' + b"[" * 500 + b"]" * 500 + b"}", 400),
    "too many features": Sent(b'{"features":[' + b'"a",' * 30_000 + b'"a"]}', 422),
    "long texts": Sent(json.dumps({"id": LONG, "meter": LONG, "quantity": "1"}).encode(), 422),
    "trailing rubbish": Sent(b"{} x", 400),
    "two objects": Sent(b"{}{}", 400),
    "over a mebibyte": Sent(b'{"nonce":"' + b"a" * MEBIBYTE + b'"}', 413),
}


@pytest.fixture
def door() -> AgentDoor:
    return Vendor().door({"limit": "1000"})


def check_problem(answer: Answer, *, status: int | None = None) -> None:
    assert 400 <= answer.status < 500, answer
    assert status is None or answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Request-Id"] == answer["request_id"]
    assert {"type", "title", "status", "detail", "code", "request_id", "errors"} <= answer.json.keys()
    assert answer["status"] == answer.status
    assert UsageEvent.objects.count() == EventId.objects.count() == 0


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", BODIES)
def test_post__body_that_nobody_should_send__is_a_problem(door: AgentDoor, path: str, name: str) -> None:
    sent = BODIES[name]
    answer = door.post(path, raw=sent.raw)
    if answer.status == 200:
        assert sent.status is None
    else:
        check_problem(answer, status=sent.status)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "application/jsonx",
        "",
    ],
)
def test_post__another_kind_of_body__is_415(door: AgentDoor, path: str, content_type: str) -> None:
    check_problem(door.post(path, raw=b"{}", content_type=content_type), status=415)


def test_post__compressed_body__is_415(door: AgentDoor) -> None:
    check_problem(door.post("/usage", {}, headers={"Content-Encoding": "gzip"}), status=415)


@pytest.mark.parametrize("path", [*PATHS, "/holds", "/self", "/quotas"])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "HEAD"])
def test_method__not_known_here__is_405_with_those_that_are(door: AgentDoor, path: str, method: str) -> None:
    known = {"/usage": "GET, POST"}.get(path, "POST" if path in PATHS else "GET")
    answer = door.call(method, path)
    assert (answer.status, answer["code"], answer.headers["Allow"]) == (405, "method_not_allowed", known)


@pytest.mark.parametrize("path", ["", "/", "/validate/", "/nothing", "/holds/x", "/VALIDATE", "/validate%00"])
def test_path__that_leads_nowhere__is_404(door: AgentDoor, path: str) -> None:
    check_problem(door.post(path, {}), status=404)


@pytest.mark.parametrize(
    ("field", "value", "status", "code"),
    [
        ("Idempotency-Key", "", 400, "idempotency_key_invalid"),
        ("Idempotency-Key", '"open', 400, "idempotency_key_invalid"),
        ("Idempotency-Key", "a,b", 400, "idempotency_key_invalid"),
        ("Idempotency-Key", "x" * 256, 400, "idempotency_key_invalid"),
    ],
)
def test_authorize__header_that_does_not_hold__is_a_problem(
    door: AgentDoor, field: str, value: str, status: int, code: str
) -> None:
    answer = door.post("/authorize", {"usage": [{"meter": "tokens", "quantity": "1"}]}, headers={field: value})
    check_problem(answer, status=status)
    assert answer["code"] == code


@pytest.mark.parametrize(("sent", "echoed"), [("abc-123", True), ("a" * 129, False), ("a b", False), ("<x>", False)])
def test_request_id__sane_one__is_echoed(door: AgentDoor, sent: str, echoed: bool) -> None:
    for answer in (
        door.post("/validate", {}, headers={"X-Request-Id": sent}),
        door.post("/validate", raw=b"{", headers={"X-Request-Id": sent}),
    ):
        assert (answer.headers["X-Request-Id"] == sent) is echoed


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("", "meter", "required"),
        ("?meter=tokens", "from", "required"),
        ("?meter=nope&from=2026-01-01T00:00:00Z", "meter", "unknown_meter"),
        ("?meter=tokens&from=yesterday", "from", "time_invalid"),
        ("?meter=tokens&from=2026-01-01", "from", "time_invalid"),
        ("?meter=tokens&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from", "range_empty"),
        ("?meter=tokens&from=2026-01-01T00:00:00Z&window=century", "window", "invalid"),
        ("?meter=tokens&from=2026-01-01T00:00:00Z&timezone=Mars", "timezone", "invalid"),
        ("?meter=tokens&from=2026-01-01T00:00:00Z&timezone=../../etc/passwd", "timezone", "invalid"),
        ("?meter=tokens&from=2026-01-01T00:00:00Z&group_by=colour", "group_by", "group_by_unknown"),
        ("?meter=tokens&meter=calls&from=2026-01-01T00:00:00Z", "meter", "repeated"),
        ("?meter=tokens&colour=red", "colour", "unknown_field"),
    ],
)
def test_usage_query__parameters_that_do_not_hold__are_422(door: AgentDoor, query: str, field: str, code: str) -> None:
    answer = door.get(f"/usage{query}")
    check_problem(answer, status=422)
    assert (answer["errors"][0]["field"], answer["errors"][0]["code"]) == (field, code)


@pytest.mark.parametrize("query", ["?limit=0", "?limit=201", "?limit=x", "?cursor=x", "?colour=red"])
def test_holds__parameters_that_do_not_hold__are_422(door: AgentDoor, query: str) -> None:
    check_problem(door.get(f"/holds{query}"), status=422)


def test_post__events_in_odd_unicode__come_back_as_they_are(door: AgentDoor) -> None:
    ids: list[Any] = ["日本語", "é", "é", "👩‍🚀", "a b", "\u202e", "%00", "'; DROP TABLE x; --", "\\x", "{}", "a\\tb"]
    events = [{"id": id, "meter": "tokens", "quantity": "1", "dimensions": {"model": id}} for id in ids]
    answer = door.post("/usage", {"events": events})
    assert [each["id"] for each in answer["results"]] == ids
    stored = dict(UsageEvent.objects.values_list("client_id", "dimensions"))
    recorded = [each["id"] for each in answer["results"] if each["status"] == "recorded"]
    assert stored == {id: {"model": id} for id in recorded}
    assert set(ids) - set(recorded) <= {"\u202e"}
