"""Each resource as a backend works with it: made, read, changed, archived, with exact answers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tenants.services.key_use import forget_noted, write_seen
from tests.trail import actions, last_entry
from tests.vendor_api.door import Door
from tests.vendor_api.shop import Shop


def without(answer: Any, *names: str) -> dict[str, Any]:
    """An answer without its id, times and the fields named."""
    return {name: value for name, value in answer.items() if name not in {"id", "created_at", "updated_at", *names}}


def test_customer__made_changed_suspended_archived(door: Door) -> None:
    made = door.made("/customers", {"external_id": "acme", "metadata": {"team": "search", "seats": 5}})
    path = f"/customers/{made['id']}"

    assert made["id"].startswith("cus_")
    assert without(made) == {
        "external_id": "acme",
        "name": "",
        "email": "",
        "status": "active",
        "rate_limits": [],
        "metadata": {"team": "search", "seats": 5},
    }
    changed = door.patch(path, {"name": "Acme", "rate_limits": [{"limit": 10, "window": 60}]})
    assert (changed["name"], changed["rate_limits"]) == ("Acme", [{"limit": 10, "window": 60, "burst": 10}])
    assert changed["metadata"] == {"team": "search", "seats": 5}
    assert door.post(f"{path}/suspend", {"reason": "unpaid"})["status"] == "suspended"
    assert (last_entry(door.tenant).action, last_entry(door.tenant).reason) == ("customer.suspended", "unpaid")
    assert door.post(f"{path}/reinstate")["status"] == "active"
    assert door.delete(path).status == 204
    assert door.get(path)["status"] == "archived"
    assert door.listed("/customers") == []
    assert door.post("/customers", {"external_id": "acme"}).code == "external_id_taken"


def test_product_and_feature__made_changed_archived(door: Door) -> None:
    product = door.made("/products", {"code": "researcher", "name": "Researcher"})
    feature = door.made(
        "/features",
        {"product": product["id"], "code": "models", "name": "Models", "kind": "choice", "choices": ["small"]},
    )

    assert without(product) == {
        "code": "researcher",
        "name": "Researcher",
        "description": "",
        "metadata": {},
        "archived_at": None,
    }
    assert without(feature) == {
        "product": "researcher",
        "code": "models",
        "name": "Models",
        "kind": "choice",
        "choices": ["small"],
        "archived_at": None,
    }
    assert door.patch("/products/researcher", {"name": "R"})["name"] == "R"
    assert door.patch(f"/features/{feature['id']}", {"choices": ["small", "large"]})["choices"] == ["small", "large"]
    assert door.delete(f"/features/{feature['id']}").status == door.delete("/products/researcher").status == 204
    assert door.get("/products/researcher")["archived_at"] is not None
    assert (door.listed("/products"), len(door.listed("/products", archived="true"))) == ([], 1)


def test_plan__made_with_its_terms__answers_them_as_sent(shop: Shop) -> None:
    quota, price = shop.plan["quotas"][0], shop.plan["prices"][0]

    assert without(shop.plan, "quotas", "prices") == {
        "code": "pro",
        "name": "Pro",
        "product": "researcher",
        "term": {"months": 12},
        "trial": False,
        "grace_days": 7,
        "expiry_notices": [30, 7, 1],
        "activation_limit": None,
        "activation_required": False,
        "activation_lease": None,
        "lapse_policy": "refuse",
        "agent_limit": 50,
        "hold_limit": None,
        "token_ttl": 3600,
        "rate_limits": [{"level": "agent", "limit": 600, "window": 60, "burst": 600}],
        "grants": [
            {"feature": "max_tools", "value": 20},
            {"feature": "models", "value": ["small", "large"]},
            {"feature": "web_search", "value": True},
        ],
        "runaway": [],
        "metadata": {},
        "archived_at": None,
    }
    assert without(quota) == {
        "meter": "tokens",
        "filter": {},
        "scope": "license",
        "mode": "soft",
        "limit": "1000000",
        "ceiling": None,
        "period": "month",
        "anchor": "calendar",
        "carry_over": False,
        "thresholds": [80, 100],
    }
    assert without(price) == {
        "meter": "tokens",
        "filter": {},
        "currency": "USD",
        "model": "per_unit",
        "unit_price": "0.000002",
        "package_size": None,
        "package_price": None,
        "tiers": [],
        "included_units": "0",
        "minimum": None,
        "maximum": None,
        "starts_at": None,
    }
    assert shop.door.get("/plans/pro").json == shop.door.listed("/plans")[0] == shop.plan


def test_plan__number_instead_of_text__is_exact(shop: Shop) -> None:
    price = {"meter": "tokens", "currency": "USD", "model": "per_unit"}
    raw = (
        '{"prices":[{"meter":"tokens","currency":"USD","model":"per_unit","unit_price":0.100000000001}],'
        '"quotas":[{"meter":"tokens","limit":1000000000000000000,"period":"month","mode":"soft"}]}'
    )

    answer = shop.door.call("PATCH", "/plans/pro", raw=raw.encode())

    assert answer["prices"][0]["unit_price"] == "0.100000000001"
    assert answer["quotas"][0]["limit"] == "1000000000000000000"
    assert answer["quotas"][0]["id"] == shop.plan["quotas"][0]["id"]
    assert (
        shop.door.patch("/plans/pro", {"quotas": [], "prices": [price | {"unit_price": 1}]}).code
        == "price_without_quota"
    )


def test_license__issued_changed_and_moved_between_states(shop: Shop) -> None:
    door, path = shop.door, f"/licenses/{shop.license['id']}"

    assert without(shop.license, "starts_at", "expires_at", "grace_until", "key_hint") == {
        "customer": shop.customer["id"],
        "plan": "pro",
        "product": "researcher",
        "add_ons": [],
        "kind": "both",
        "status": "active",
        "status_reason": "",
        "grants": [],
        "rate_limits": [],
        "hold_limit": None,
        "metadata": {},
        "suspended_at": None,
        "revoked_at": None,
        "archived_at": None,
    }
    assert shop.license_key.endswith(shop.license["key_hint"])
    changed = door.patch(path, {"expires_at": "2020-01-01T01:00:00+01:00", "metadata": {"team": "x"}})
    assert changed.fields == {"expires_at": changed.fields["expires_at"]}  # it would end before it begins
    changed = door.patch(path, {"starts_at": "2019-01-01T00:00:00Z", "expires_at": "2020-01-01T01:00:00+01:00"})
    assert (changed["expires_at"], changed["grace_until"], changed["status"]) == (
        "2020-01-01T00:00:00Z",
        "2020-01-08T00:00:00Z",
        "expired",
    )
    grant = {"feature": "max_tools", "value": 99, "starts_at": None, "expires_at": "2030-01-01T00:00:00Z"}
    assert door.patch(path, {"expires_at": None, "grants": [grant]})["grants"] == [grant]
    assert door.post(f"{path}/suspend", {"reason": "unpaid"})["status"] == "suspended"
    assert door.post(f"{path}/reinstate")["status"] == "active"
    rotated = door.post(f"{path}/rotate-key")
    assert rotated["license_key"] != shop.license_key
    assert rotated["license_key"].endswith(rotated["key_hint"])
    assert door.post(f"{path}/revoke", {"reason": "leak"})["status_reason"] == "leak"
    assert door.post(f"{path}/revoke")["status"] == "revoked"
    assert actions(door.tenant, "license.revoked") == ["license.revoked"]
    assert door.post(f"{path}/reinstate").code == "license_revoked"
    assert door.delete(path).status == 204
    assert door.listed("/licenses") == []


def test_license__of_a_customer_that_is_new__makes_the_customer(shop: Shop) -> None:
    issued = shop.door.made("/licenses", {"customer": {"external_id": "new", "name": "New"}, "plan": shop.plan["id"]})

    [customer] = shop.door.listed("/customers", external_id="new")
    assert (customer["name"], customer["id"]) == ("New", issued["license"]["customer"])


def test_license__validated_by_the_vendor__is_the_agents_answer(shop: Shop) -> None:
    path = f"/licenses/{shop.license['id']}/validate"

    good = shop.door.post(path, {"features": ["web_search"], "product": "researcher", "nonce": "n-1"})
    bad = shop.door.post(path, {"features": ["flying"], "product": "other"})

    assert (good["valid"], good["code"], good["codes"], good["nonce"]) == (True, "valid", [], "n-1")
    assert good["features"] == {"models": ["small", "large"], "web_search": True, "max_tools": 20}
    assert good["license"]["customer"] == {"id": shop.customer["id"], "external_id": "acme"}
    assert [(row["meter"], row["limit"], row["used"], row["state"]) for row in good["quotas"]] == [
        ("tokens", "1000000", "0", "ok")
    ]
    assert (bad["valid"], bad["code"]) == (False, "product_mismatch")
    assert [reason["code"] for reason in bad["codes"]] == ["product_mismatch", "feature_not_granted"]


def test_agent__made_changed_and_moved_between_states(shop: Shop) -> None:
    door, path = shop.door, f"/agents/{shop.agent['id']}"
    child = door.made(
        "/agents", {"license": shop.license["id"], "name": "child", "parent_id": shop.agent["id"], "features": []}
    )["agent"]

    assert without(shop.agent) == {
        "license": shop.license["id"],
        "name": "indexer",
        "kind": "agent",
        "parent_id": None,
        "status": "active",
        "status_reason": "",
        "expires_at": None,
        "features": None,
        "rate_limits": [],
        "hold_limit": None,
        "throttle": None,
        "runaway": None,
        "instances": {"active": 0},
        "spawned": False,
        "metadata": {},
        "suspended_at": None,
        "revoked_at": None,
        "archived_at": None,
    }
    assert (child["parent_id"], child["features"]) == (shop.agent["id"], [])
    assert [row["id"] for row in door.listed("/agents", parent=shop.agent["id"])] == [child["id"]]
    assert door.patch(path, {"name": "crawler"})["name"] == "crawler"
    assert door.patch(path, {"license": "lic_" + "0" * 26}).status == 422
    assert door.post(f"{path}/suspend")["status"] == "suspended"
    assert door.post(f"{path}/resume")["status"] == "active"
    assert door.post(f"{path}/revoke", {"reason": "leak"})["status_reason"] == "leak"
    assert door.get(f"/agents/{child['id']}")["status"] == "revoked"
    assert door.post(f"{path}/resume").code == "agent_revoked"
    assert door.delete(path).status == 204


def test_agents__over_the_plans_number__are_403(shop: Shop) -> None:
    shop.door.patch("/plans/pro", {"agent_limit": 1})

    answer = shop.door.post("/agents", {"license": shop.license["id"], "name": "one too many"})

    assert (answer.status, answer.code) == (403, "agent_limit_reached")


def test_agent_keys__made_with_overlap_and_revoked(shop: Shop) -> None:
    path = f"/agents/{shop.agent['id']}/keys"

    plain = shop.door.made(path, {})
    assert (set(plain), plain["expires_at"]) == ({"id", "expires_at", "key"}, None)
    assert [row["expires_at"] for row in shop.door.listed(path)] == [None, None]
    shop.door.made(path, {"overlap": 3600})
    ends = [row["expires_at"] for row in shop.door.listed(path)]
    assert (ends[0], None in ends[1:]) == (None, False)
    revoked = shop.door.post(f"{path}/{plain['id']}/revoke", {"reason": "leak"})
    assert (revoked["id"], revoked["status"], "key" in revoked.json) == (plain["id"], "revoked", False)
    assert [row["id"] for row in shop.door.listed(path, status="revoked")] == [plain["id"]]
    assert shop.door.post(f"/agents/{shop.agent['id']}/keys/agk_{'0' * 26}/revoke").status == 404


def test_meter__made_changed_archived(door: Door) -> None:
    made = door.made("/meters", {"code": "calls", "aggregation": "count", "dimensions": ["model"]})

    assert without(made) == {
        "code": "calls",
        "name": "calls",
        "unit": made["unit"],
        "aggregation": "count",
        "dimensions": ["model"],
        "filter": {},
        "event_types": ["calls"],
        "value_from": None,
        "rate_card": None,
        "archived_at": None,
    }
    assert door.patch("/meters/calls", {"name": "Calls", "unit": "call"})["unit"] == "call"
    assert door.post("/meters", {"code": "calls"}).code == "code_taken"
    assert door.delete(f"/meters/{made['id']}").status == 204
    assert door.listed("/meters") == []


def test_quota__on_each_level__made_changed_archived(shop: Shop) -> None:
    door = shop.door
    owners: list[dict[str, Any]] = [
        {"agent": shop.agent["id"]},
        {"license": shop.license["id"]},
        {"customer": shop.customer["id"]},
        {"tenant": True},
    ]
    body = {"meter": "tokens", "filter": {"model": "large"}, "limit": "50000", "period": "day"}

    made = [door.made("/quotas", body | {"on": on}) for on in owners]

    assert [(row["on"], row["scope"], row["mode"]) for row in made] == [
        (on, scope, "hard") for on, scope in zip(owners, ("agent", "license", "customer", "tenant"), strict=True)
    ]
    path = f"/quotas/{made[0]['id']}"
    assert door.patch(path, {"limit": 7, "mode": "soft", "ceiling": 9})["ceiling"] == "9"
    assert door.patch(path, {"period": "month"}).status == 422
    assert door.post("/quotas", body | {"on": owners[1]}).code == "quota_exists"
    assert door.delete(path).status == 204
    assert len(door.listed("/quotas")) == 4  # three of their own, and the plan's
    assert len(door.listed("/quotas", scope="license")) == 2
    assert [row["used"] for row in door.listed("/quotas", scope="tenant")] == [None]


def test_quotas__that_apply__come_from_every_level_with_how_they_stand(shop: Shop) -> None:
    door = shop.door
    for on in ({"tenant": True}, {"agent": shop.agent["id"]}, {"customer": shop.customer["id"]}):
        door.made("/quotas", {"on": on, "meter": "tokens", "limit": 10, "period": "day"})
    door.post("/usage", {"id": "u-1", "meter": "tokens", "quantity": 9, "agent": shop.agent["id"]})

    agent = door.listed("/quotas", agent=shop.agent["id"])
    license = door.listed("/quotas", license=shop.license["id"])
    customer = door.listed("/quotas", customer="acme")

    assert [(row["scope"], row["used"], row["remaining"], row["state"]) for row in agent] == [
        ("agent", "9", "1", "near_limit"),
        ("license", "9", "999991", "ok"),
        ("customer", "9", "1", "near_limit"),
        ("tenant", "9", "1", "near_limit"),
    ]
    assert agent[0]["subject"] == {"agent": shop.agent["id"]}
    assert agent[1]["on"] == {"plan": "pro"}
    assert [row["scope"] for row in license] == ["license", "customer", "tenant"]
    assert [row["scope"] for row in customer] == ["customer", "tenant"]
    assert [row["scope"] for row in door.listed("/quotas", agent=shop.agent["id"], mode="soft")] == ["license"]
    assert Door().listed("/quotas", agent=shop.agent["id"]) == []


def test_api_key__made_used_changed_revoked(door: Door) -> None:
    forget_noted()
    write_seen()
    made = door.made("/api-keys", {"name": "reader", "scopes": ["licenses:read"]})
    path = f"/api-keys/{made['id']}"

    assert made["key"].startswith("pm_sk_")
    assert without(made, "key", "hint") == {
        "name": "reader",
        "kind": "secret",
        "scopes": ["licenses:read"],
        "networks": [],
        "status": "active",
        "expires_at": None,
        "revoked_at": None,
        "last_used_at": None,
    }
    assert door.call("GET", "/licenses", key=made["key"]).status == 200
    assert door.call("GET", "/agents", key=made["key"]).status == 403
    assert "key" not in door.get(path).json
    assert write_seen() == 2
    assert door.get(path)["last_used_at"] is not None
    assert door.patch(path, {"scopes": ["agents:read"]})["scopes"] == ["agents:read"]
    assert door.call("GET", "/agents", key=made["key"]).status == 200
    assert door.delete(path).status == 204
    assert door.call("GET", "/agents", key=made["key"]).status == 401
    assert door.get(path)["status"] == "revoked"


def test_api_key__scopes_that_the_caller_lacks__cannot_be_handed_on(door: Door) -> None:
    lesser = Door(door.tenant, scopes=("api-keys:write", "licenses:write"))

    for scopes in (["*"], ["agents:read"], ["licenses:read", "agents:write"]):
        assert lesser.post("/api-keys", {"name": "x", "scopes": scopes}).code == "scope_exceeds_own"
    own = f"/api-keys/{lesser.api_key.public_id}"
    assert lesser.patch(own, {"scopes": ["*"]}).code == "scope_exceeds_own"
    assert lesser.post("/api-keys", {"name": "x", "scopes": ["licenses:read", "licenses:write"]}).status == 201


def test_audit_entries__of_a_revoked_license__say_who_and_why_in_a_chain(shop: Shop) -> None:
    target = shop.license["id"]
    shop.door.call("POST", f"/licenses/{target}/revoke", {"reason": "audit check"}, X_Request_Id="req-7")

    newest, *_ = rows = shop.door.listed("/audit-entries", target=target)

    assert (newest["action"], newest["reason"], newest["request_id"]) == ("license.revoked", "audit check", "req-7")
    assert newest["actor"] == {"kind": "api_key", "id": shop.door.api_key.public_id, "name": "backend"}
    assert newest["target"] == {"kind": "license", "id": target}
    assert [row["action"] for row in rows] == ["license.revoked", "license.issued"]
    everything = shop.door.listed("/audit-entries", limit=200)
    assert [row["sequence"] for row in everything] == list(range(len(everything), 0, -1))
    assert all(a["previous_hash"] == b["hash"] for a, b in pairwise(everything))
    assert shop.door.get(f"/audit-entries/{newest['id']}").json == newest


def test_close_periods__of_the_past__is_a_job_to_poll(shop: Shop, django_capture_on_commit_callbacks: Any) -> None:
    answer = shop.door.post("/periods/close", {"before": "2026-01-01T01:00:00+01:00"})

    assert (answer.status, answer["kind"], answer["status"]) == (202, "periods.close", "pending")
    assert answer["input"] == {"before": "2026-01-01T00:00:00Z"}
    assert shop.door.get(f"/jobs/{answer['id']}").json == answer.json
    assert [row["id"] for row in shop.door.listed("/jobs", status="pending")] == [answer["id"]]


@pytest.mark.parametrize("path", ["/overages", "/holds", "/jobs", "/runaway-incidents"])
def test_records__of_nothing_yet__are_an_empty_page(door: Door, path: str) -> None:
    assert door.get(path).json == {"data": [], "next_cursor": None}
