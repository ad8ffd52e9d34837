"""What is malformed is refused with a code, and nothing is done."""

from __future__ import annotations

from typing import Any

import pytest

from tests.trail import actions
from tests.vendor_api.door import Door
from tests.vendor_api.shop import Shop

LONG = "x" * 3000
QUOTA = {"on": {"tenant": True}, "meter": "tokens", "limit": 1, "period": "day"}
LICENSE = {"customer": "acme", "plan": "pro"}
USAGE = {"meter": "tokens", "from": "2026-11-01T00:00:00Z"}

UNREADABLE = [
    (b"{", 400, "malformed_json"),
    (b"", 400, "malformed_json"),
    (b"\xff\xfe", 400, "malformed_json"),
    (b'{"code":"a","code":"b"}', 400, "malformed_json"),
    (b'{"name":NaN}', 400, "malformed_json"),
    (b"[" * 20_000, 400, "malformed_json"),
    (b"[]", 422, "invalid"),
    (b"null", 422, "invalid"),
    (b'"x"', 422, "invalid"),
    (b"1", 422, "invalid"),
    (b'{"code":"a","name":"\\u0000"}', 422, "invalid"),
    (b'{"code":"a","name":"\\ud800"}', 422, "invalid"),
    (b'{"code":"a","name":' + b"9" * 5000 + b"}", 422, "invalid"),
    (b'{"metadata":{"n":1e400},"code":"a","name":"b"}', 422, "invalid"),
    (b'{"code":"a","name":"' + b"x" * (1024 * 1024) + b'"}', 413, "body_too_large"),
]


@pytest.mark.parametrize(("raw", "status", "code"), UNREADABLE, ids=[str(raw[:24]) for raw, _, _ in UNREADABLE])
def test_body__cannot_be_read__is_a_problem(door: Door, raw: bytes, status: int, code: str) -> None:
    answer = door.call("POST", "/products", raw=raw)

    assert (answer.status, answer.code) == (status, code)
    assert actions(door.tenant, "product.") == []


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
def test_body__of_another_kind__is_415(door: Door, content_type: str) -> None:
    answer = door.call("POST", "/products", {"code": "a", "name": "b"}, content_type=content_type)

    assert (answer.status, answer.code) == (415, "unsupported_media_type")


FIELDS: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("/products", {}, {"code": "required", "name": "required"}),
    ("/products", {"code": "a", "name": "b", "nmae": 1, "x": 2}, {"nmae": "unknown_field", "x": "unknown_field"}),
    ("/products", {"code": "Upper", "name": "b"}, {"code": "invalid"}),
    ("/products", {"code": "lic_" + "0" * 26, "name": "b"}, {"code": "looks_like_id"}),
    ("/products", {"code": 5, "name": ["b"]}, {"code": "wrong_type", "name": "wrong_type"}),
    ("/products", {"code": "a", "name": None}, {"name": "null"}),
    ("/products", {"code": "a", "name": "  "}, {"name": "blank"}),
    ("/products", {"code": "a", "name": LONG}, {"name": "too_long"}),
    ("/products", {"code": "a", "name": "b", "metadata": []}, {"metadata": "wrong_type"}),
    ("/products", {"code": "a", "name": "b", "metadata": {"k": {}}}, {"metadata": "not_flat"}),
    ("/products", {"code": "a", "name": "b", "metadata": {str(n): n for n in range(51)}}, {"metadata": "too_many"}),
    ("/products", {"code": "a", "name": "b", "metadata": {"k": "x" * 16400}}, {"metadata": "too_long"}),
    ("/customers", {"external_id": "a", "email": "nonsense"}, {"email": "invalid"}),
    (
        "/customers",
        {"external_id": "a", "rate_limits": [{"limit": 0, "window": 6}]},
        {"rate_limits.0.limit": "min_value"},
    ),
    ("/customers", {"external_id": "a", "rate_limits": {"limit": 1}}, {"rate_limits": "wrong_type"}),
    ("/features", {"product": "researcher", "code": "x", "name": "X", "kind": "odd"}, {"kind": "invalid_choice"}),
    ("/features", {"product": "nonsense", "code": "x", "name": "X", "kind": "switch"}, {"product": "not_found"}),
    ("/meters", {"code": "x", "aggregation": "median"}, {"aggregation": "invalid_choice"}),
    ("/plans", {"code": "x", "name": "X", "product": "researcher", "term": {}}, {"term": "invalid"}),
    ("/plans", {"code": "x", "name": "X", "product": "researcher", "grace_days": True}, {"grace_days": "wrong_type"}),
    ("/plans", {"code": "x", "name": "X", "product": "researcher", "grace_days": 10**12}, {"grace_days": "max_value"}),
    ("/licenses", {"customer": {"external_id": "acme"}, "plan": "nonsense"}, {"plan": "not_found"}),
    ("/licenses", {"customer": {"name": "A"}, "plan": "pro"}, {"customer.external_id": "required"}),
    ("/licenses", {"customer": {"external_id": "a", "x": 1}, "plan": "pro"}, {"customer.x": "unknown_field"}),
    ("/licenses", {"customer": 5, "plan": "pro"}, {"customer": "wrong_type"}),
    ("/licenses", LICENSE | {"expires_at": "tomorrow"}, {"expires_at": "invalid_time"}),
    (
        "/licenses",
        LICENSE | {"expires_at": "2030-01-01T00:00:00"},
        {"expires_at": "invalid_time"},
    ),
    (
        "/licenses",
        LICENSE | {"expires_at": "0001-01-01T00:00:00Z"},
        {"expires_at": "invalid_time"},
    ),
    (
        "/licenses",
        LICENSE | {"expires_at": "9999-12-31T23:59:60Z"},
        {"expires_at": "invalid_time"},
    ),
    ("/quotas", QUOTA | {"on": {}}, {"on": "one_owner"}),
    ("/quotas", QUOTA | {"meter": "nope"}, {"meter": "unknown_meter"}),
    (
        "/quotas",
        QUOTA | {"limit": "-1"},
        {"limit": "quantity_negative"},
    ),
    (
        "/quotas",
        QUOTA | {"limit": "NaN"},
        {"limit": "quantity_invalid"},
    ),
    (
        "/quotas",
        QUOTA | {"limit": "1e19"},
        {"limit": "quantity_out_of_range"},
    ),
    (
        "/quotas",
        QUOTA | {"limit": "0.0000000000001"},
        {"limit": "quantity_too_precise"},
    ),
    (
        "/quotas",
        QUOTA | {"limit": True},
        {"limit": "quantity_invalid"},
    ),
    (
        "/quotas",
        QUOTA | {"period": "fortnight"},
        {"period": "invalid"},
    ),
    ("/quotas", QUOTA | {"period": {"rolling": 0}}, {"period.rolling": "invalid"}),
    ("/quotas", QUOTA | {"carry_over": {"max": "0"}}, {"carry_over.max": "not_positive"}),
    ("/top-ups", {"quota": "quo_" + "0" * 26, "amount": "1"}, {"quota": "not_found"}),
    ("/top-ups", {"quota": "tokens", "amount": "NaN"}, {"amount": "quantity_invalid"}),
    ("/top-ups", {"amount": "1"}, {"quota": "required"}),
    ("/api-keys", {"name": "x", "scopes": ["nonsense:read"]}, {"scopes.0": "unknown_scope"}),
    ("/periods/close", {"before": "2999-01-01T00:00:00Z"}, {"before": "in_future"}),
    ("/test-clock", {}, {"now": "required"}),
    ("/test-clock", {"now": "tomorrow"}, {"now": "invalid_time"}),
    ("/test-clock", {"now": 5, "by": 1}, {"now": "wrong_type", "by": "unknown_field"}),
]


@pytest.mark.parametrize(
    ("path", "body", "fields"), FIELDS, ids=[f"{path} {str(body)[:60]}" for path, body, _ in FIELDS]
)
def test_fields__do_not_hold__are_named_with_their_codes(
    shop: Shop, path: str, body: dict[str, Any], fields: dict[str, str]
) -> None:
    before = actions(shop.door.tenant)

    answer = shop.door.post(path, body)

    assert (answer.status, answer.fields) == (422, fields)
    assert actions(shop.door.tenant) == before


@pytest.mark.parametrize("path", ["/customers", "/licenses", "/agents", "/plans", "/products"])
def test_query__name_of_metadata_with_nul__is_422(door: Door, path: str) -> None:
    answer = door.call("GET", path, query={"metadata[\0]": "x"})

    assert (answer.status, answer.fields) == (422, {"metadata[\0]": "invalid"})


def test_fields__of_another_workspace__are_unknown_like_those_that_never_were(shop: Shop) -> None:
    stranger = Shop(Door())
    absent = "lic_" + "0" * 26

    foreign = stranger.door.post("/agents", {"license": shop.license["id"], "name": "x"})
    missing = stranger.door.post("/agents", {"license": absent, "name": "x"})

    # Each is told what it asked for itself, and nothing else.
    [said], [said_of_none] = foreign["errors"], missing["errors"]
    assert said["detail"].replace(shop.license["id"], absent) == said_of_none["detail"]
    assert foreign.status == missing.status
    assert foreign.fields == missing.fields == {"license": "not_found"}


def test_query__word_that_is_none_of_a_few__is_told_which_there_are(shop: Shop) -> None:
    answer = shop.door.call("GET", "/usage", query=USAGE | {"window": "year"})

    assert answer["detail"] == "window: Expected one of: hour, day, week, month."


@pytest.mark.parametrize(
    ("path", "query", "fields"),
    [
        ("/licenses", {"nonsense": "1"}, {"nonsense": "unknown_parameter"}),
        ("/licenses", {"status": "odd"}, {"status": "invalid_choice"}),
        ("/licenses", {"status": ""}, {"status": "empty"}),
        ("/licenses", {"status": ["active", "grace"]}, {"status": "repeated_parameter"}),
        ("/licenses", {"limit": "0"}, {"limit": "invalid"}),
        ("/licenses", {"limit": "201"}, {"limit": "invalid"}),
        ("/licenses", {"cursor": "nonsense"}, {"cursor": "invalid"}),
        ("/licenses", {"created_after": "yesterday"}, {"created_after": "invalid_time"}),
        ("/licenses", {"plan": "cus_" + "0" * 26}, {"plan": "invalid_id"}),
        ("/licenses", {"customer": "a\0b"}, {"customer": "invalid"}),
        ("/licenses", {"metadata[]": "x"}, {"metadata[]": "unknown_parameter"}),
        ("/agents", {"license": "nonsense"}, {"license": "invalid_id"}),
        ("/agents", {"license": "agt_" + "0" * 26}, {"license": "invalid_id"}),
        ("/products", {"archived": "maybe"}, {"archived": "invalid_choice"}),
        ("/meters", {"metadata[a]": "x"}, {"metadata[a]": "unknown_parameter"}),
        ("/quotas", {"license": "lic_" + "0" * 26, "agent": "agt_" + "0" * 26}, {"license": "one_owner"}),
        ("/usage", {"meter": "tokens"}, {"from": "required"}),
        ("/usage", {"from": "2026-11-01T00:00:00Z"}, {"meter": "required"}),
        ("/usage", {"meter": "nope", "from": "2026-11-01T00:00:00Z"}, {"meter": "unknown_meter"}),
        ("/usage", USAGE | {"limit": "5"}, {"limit": "unknown_parameter"}),
        ("/usage", USAGE | {"cursor": "x"}, {"cursor": "unknown_parameter"}),
        ("/usage", USAGE | {"nonsense": "x"}, {"nonsense": "unknown_parameter"}),
        ("/usage", USAGE | {"window": "year"}, {"window": "invalid_choice"}),
        (
            "/usage",
            USAGE | {"group_by": "x"},
            {"group_by": "group_by_unknown"},
        ),
        (
            "/usage",
            USAGE | {"timezone": "../etc"},
            {"timezone": "timezone_unknown"},
        ),
        (
            "/usage",
            USAGE | {"to": "2026-10-01T00:00:00Z"},
            {"from": "range_empty"},
        ),
    ],
)
def test_query__does_not_hold__is_422_that_names_the_parameter(
    shop: Shop, path: str, query: dict[str, Any], fields: dict[str, str]
) -> None:
    answer = shop.door.call("GET", path, query=query)

    assert (answer.status, answer.fields) == (422, fields)
