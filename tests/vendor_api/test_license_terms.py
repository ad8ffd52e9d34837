"""Renewals, transfers and trials as a vendor's backend sees them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.trail import last_entry
from tests.vendor_api.door import Door
from tests.vendor_api.shop import Shop


def _issued(shop: Shop, **more: Any) -> Any:
    return shop.door.made("/licenses", {"customer": "acme", "plan": "pro", **more})["license"]


def test_renew__from_the_expiry__a_term_more(shop: Shop) -> None:
    license = _issued(shop, starts_at="2027-02-28T00:00:00Z")

    renewed = shop.door.post(f"/licenses/{license['id']}/renew")

    assert (renewed.status, renewed["expires_at"]) == (200, "2029-02-28T00:00:00Z")
    assert renewed["grace_until"] == "2029-03-07T00:00:00Z"


def test_renew__expired_license_from_now__active_again(shop: Shop) -> None:
    license = _issued(shop, starts_at="2020-01-01T00:00:00Z", expires_at="2021-01-01T00:00:00Z")
    assert license["status"] == "expired"

    still = shop.door.post(f"/licenses/{license['id']}/renew", {"from": "expiry"})
    assert (still["status"], still["expires_at"]) == ("expired", "2022-01-01T00:00:00Z")
    assert shop.door.post(f"/licenses/{license['id']}/renew", {"from": "now"})["status"] == "active"


def test_renew__same_idempotency_key__renews_once(shop: Shop) -> None:
    license = _issued(shop, starts_at="2027-01-01T00:00:00Z")

    for _ in range(2):
        renewed = shop.door.post(f"/licenses/{license['id']}/renew", {"reason": "order 1"}, Idempotency_Key="order-1")

    assert renewed["expires_at"] == "2029-01-01T00:00:00Z"
    assert renewed.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"from": "tomorrow"}, {"from": "invalid_choice"}),
        ({"from": None}, {"from": "null"}),
        ({"from": "now", "expires_at": "2040-01-01T00:00:00Z"}, {"from": "not_both"}),
        ({"expires_at": "2026-01-01T00:00:00Z"}, {"expires_at": "not_later"}),
        ({"expires_at": "soon"}, {"expires_at": "invalid_time"}),
        ({"term": {"months": 1}}, {"term": "unknown_field"}),
    ],
)
def test_renew__fields_that_do_not_hold__named(shop: Shop, body: dict[str, Any], fields: dict[str, str]) -> None:
    refused = shop.door.post(f"/licenses/{shop.license['id']}/renew", body)

    assert (refused.status, refused.fields) == (422, fields)


def test_renew__perpetual__refused(shop: Shop) -> None:
    shop.door.made("/plans", {"code": "free", "name": "Free", "product": "researcher"})
    perpetual = _issued(shop, plan="free")
    ending = _issued(shop, plan="free", expires_at="2030-01-01T00:00:00Z")

    refused = shop.door.post(f"/licenses/{perpetual['id']}/renew")
    assert (refused.status, refused.code) == (409, "license_perpetual")
    refused = shop.door.post(f"/licenses/{ending['id']}/renew")
    assert (refused.status, refused.code) == (409, "plan_perpetual")
    renewed = shop.door.post(f"/licenses/{ending['id']}/renew", {"expires_at": "2031-01-01T00:00:00+01:00"})
    assert renewed["expires_at"] == "2030-12-31T23:00:00Z"


def test_transfer__to_another_customer__license_and_agents_are_theirs(shop: Shop) -> None:
    globex = shop.door.made("/customers", {"external_id": "globex"})

    moved = shop.door.post(f"/licenses/{shop.license['id']}/transfer", {"customer": "globex", "reason": "sold"})

    assert (moved.status, moved["customer"]) == (200, globex["id"])
    assert [row["id"] for row in shop.door.listed("/agents", customer="globex")] == [shop.agent["id"]]
    assert shop.door.listed("/licenses", customer="acme") == []
    entry = last_entry(shop.door.tenant)
    assert (entry.action, entry.reason) == ("license.transferred", "sold")
    assert entry.changes == {"customer": [shop.customer["id"], globex["id"]]}


def test_transfer__customer_who_is_not_there_yet__made(shop: Shop) -> None:
    moved = shop.door.post(
        f"/licenses/{shop.license['id']}/transfer", {"customer": {"external_id": "new", "name": "New"}}
    )

    assert moved.status == 200
    assert shop.door.get(f"/customers/{moved['customer']}")["name"] == "New"


def test_transfer__bad_or_archived_customer__refused(shop: Shop) -> None:
    path = f"/licenses/{shop.license['id']}/transfer"
    gone = shop.door.made("/customers", {"external_id": "gone"})
    shop.door.delete(f"/customers/{gone['id']}")

    assert shop.door.post(path, {}).fields == {"customer": "required"}
    assert shop.door.post(path, {"customer": "nobody"}).fields == {"customer": "not_found"}
    assert shop.door.post(path, {"customer": "gone"}).code == "customer_archived"
    assert shop.door.get(f"/licenses/{shop.license['id']}")["customer"] == shop.customer["id"]


@pytest.mark.parametrize(
    ("action", "body", "target"),
    [
        ("renew", {}, "revoked"),
        ("transfer", {"customer": "acme"}, "revoked"),
        ("suspend", {}, "suspended"),
        ("reinstate", {}, "active"),
        ("rotate-key", {}, "revoked"),
    ],
)
def test_revoked_license__any_change_of_it__refused_with_the_states_named(
    shop: Shop, action: str, body: dict[str, Any], target: str
) -> None:
    path = f"/licenses/{shop.license['id']}"
    assert shop.door.post(f"{path}/revoke").status == 200

    refused = shop.door.post(f"{path}/{action}", body)

    assert (refused.status, refused.code) == (409, "license_revoked")
    assert (refused["from"], refused["to"], refused["allowed"]) == ("revoked", target, ["active", "suspended"])
    assert shop.door.get(path)["status"] == "revoked"


def test_trial_plan__license_and_list__shown_as_trial_while_it_runs(shop: Shop) -> None:
    plan = shop.door.made(
        "/plans", {"code": "trial", "name": "Trial", "product": "researcher", "term": {"days": 14}, "trial": True}
    )
    assert (plan["trial"], plan["expiry_notices"]) == (True, [30, 7, 1])
    running = _issued(shop, plan="trial")
    _issued(shop, plan="trial", starts_at="2020-01-01T00:00:00Z")

    assert running["status"] == "trial"
    assert [row["id"] for row in shop.door.listed("/licenses", status="trial")] == [running["id"]]
    assert [row["id"] for row in shop.door.listed("/licenses", status="active")] == [shop.license["id"]]
    assert shop.door.post(f"/licenses/{running['id']}/validate", {})["license"]["status"] == "trial"

    changed = shop.door.patch(f"/licenses/{running['id']}", {"plan": "pro"})
    assert changed["status"] == "active"


@pytest.mark.parametrize(
    ("days", "fields"),
    [
        ([0], {"expiry_notices.0": "min_value"}),
        ([7, 366], {"expiry_notices.1": "max_value"}),
        (list(range(1, 12)), {"expiry_notices": "max_length"}),
        (7, {"expiry_notices": "wrong_type"}),
    ],
)
def test_plan__notices_that_make_no_sense__refused(shop: Shop, days: Any, fields: dict[str, str]) -> None:
    assert shop.door.patch("/plans/pro", {"expiry_notices": days}).fields == fields


def test_plan__notices__kept_in_their_order_and_once(shop: Shop) -> None:
    assert shop.door.patch("/plans/pro", {"expiry_notices": [1, 14, 1]})["expiry_notices"] == [14, 1]


def test_license_change__with_a_reason__is_in_the_trail(door: Door, shop: Shop) -> None:
    changed = door.patch(f"/licenses/{shop.license['id']}", {"expires_at": None, "reason": "goodwill"})
    assert (changed.status, changed["expires_at"]) == (200, None)
    entry = last_entry(door.tenant)
    assert (entry.action, entry.reason) == ("license.updated", "goodwill")
