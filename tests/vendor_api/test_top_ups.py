"""Top-ups at the vendors' door: made, seen, changed, voided, and shown wherever quotas are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from common.clock import real_clock
from tests.agent_door import AgentDoor
from tests.vendor_api.door import Door
from tests.vendor_api.shop import Shop


def made(shop: Shop, **fields: Any) -> dict[str, Any]:
    [quota] = shop.door.listed("/quotas", plan="pro")
    body = {"quota": quota["id"], "on": {"license": shop.license["id"]}, "amount": "5000", **fields}
    answer: dict[str, Any] = shop.door.made("/top-ups", body)
    return answer


def stamp(days: int) -> str:
    return (real_clock().now() + timedelta(days=days)).isoformat().replace("+00:00", "Z")


def test_top_ups__made__are_read_as_they_were_sent(shop: Shop) -> None:
    expires_at = stamp(30)
    top_up = made(shop, expires_at=expires_at, origin="bought", reference="order-1", metadata={"by": "shop"})

    assert shop.door.get(f"/top-ups/{top_up['id']}").json == top_up
    assert top_up | {"id": "", "quota": "", "starts_at": "", "created_at": "", "updated_at": ""} == {
        "id": "",
        "quota": "",
        "meter": "tokens",
        "scope": "license",
        "on": {"license": shop.license["id"]},
        "amount": "5000",
        "used": "0",
        "remaining": "5000",
        "state": "active",
        "starts_at": "",
        "expires_at": expires_at,
        "priority": 0,
        "origin": "bought",
        "reference": "order-1",
        "metadata": {"by": "shop"},
        "voided_at": None,
        "created_at": "",
        "updated_at": "",
    }


def test_top_ups__in_force__are_shown_with_every_quota(shop: Shop) -> None:
    made(shop)

    [listed] = shop.door.listed("/quotas", license=shop.license["id"])
    [validated] = shop.door.post(f"/licenses/{shop.license['id']}/validate", {})["quotas"]
    [seen] = AgentDoor(shop.agent_key).post("/validate", {})["quotas"]

    for quota in (listed, validated, seen):
        assert (quota["limit"], quota["top_ups"], quota["remaining"]) == ("1000000", "5000", "1005000")
        assert quota["carried_over"] == "0"


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"state": "active"}, 1),
        ({"state": "pending"}, 1),
        ({"state": "voided"}, 1),
        ({"state": "used_up"}, 0),
        ({"state": "expired"}, 0),
        ({"meter": "tokens"}, 3),
        ({"plan": "pro", "origin": "bought"}, 1),
        ({"reference": "order-1"}, 1),
        ({"customer": "acme"}, 0),
        ({"scope": "license"}, 3),
        ({"metadata[by]": "shop"}, 1),
        ({"expires_before": "2999-01-01T00:00:00Z"}, 1),
    ],
)
def test_top_ups__filtered__are_what_was_asked_for(shop: Shop, query: dict[str, str], count: int) -> None:
    made(shop, origin="bought", reference="order-1", metadata={"by": "shop"}, expires_at=stamp(30))
    made(shop, starts_at=stamp(1))
    assert shop.door.delete(f"/top-ups/{made(shop)['id']}").status == 204

    assert len(shop.door.listed("/top-ups", **query)) == count
    assert len(shop.door.listed("/top-ups", license=shop.license["id"], **query)) == count
    assert shop.door.listed("/top-ups", agent=shop.agent["id"], **query) == []


def test_top_ups__changed__keep_what_was_bought(shop: Shop) -> None:
    top_up = made(shop)
    path = f"/top-ups/{top_up['id']}"

    changed = shop.door.patch(path, {"priority": 3, "expires_at": stamp(5), "reference": "later"})
    assert (changed.status, changed["priority"], changed["reference"], changed["amount"]) == (200, 3, "later", "5000")
    assert shop.door.patch(path, {"amount": "5000", "on": top_up["on"]}).status == 200
    refused = shop.door.patch(path, {"amount": "6000"})
    assert (refused.status, refused["errors"][0]["field"], refused["errors"][0]["code"]) == (422, "amount", "immutable")


def test_top_ups__voided__stay_readable_and_change_no_more(shop: Shop) -> None:
    path = f"/top-ups/{made(shop)['id']}"

    first = shop.door.post(f"{path}/void", {"reason": "refunded"})
    assert (first.status, first["state"], first["remaining"]) == (200, "voided", "0")
    assert shop.door.post(f"{path}/void")["voided_at"] == first["voided_at"]
    assert shop.door.patch(path, {"priority": 1}).code == "top_up_voided"
    assert shop.door.listed("/audit-entries", action="top_up.voided")[0]["reason"] == "refunded"


def test_quotas__rolling_and_carried__are_answered_as_they_were_sent(shop: Shop) -> None:
    on = {"license": shop.license["id"]}
    rolling = shop.door.made("/quotas", {"on": on, "meter": "tokens", "limit": "10", "period": {"rolling": 3600}})
    carrying = shop.door.made(
        "/quotas",
        {"on": on, "meter": "tokens", "limit": "10", "period": "day", "carry_over": {"max": "5"}},
    )

    assert (rolling["period"], rolling["carry_over"]) == ({"rolling": 3600}, False)
    assert (carrying["period"], carrying["carry_over"]) == ("day", {"max": "5"})
    changed = shop.door.patch(f"/quotas/{carrying['id']}", {"carry_over": True})
    assert changed["carry_over"] is True
    seen = AgentDoor(shop.agent_key).get("/quotas")["data"]
    assert {"rolling": 3600} in [quota["period"] for quota in seen]
    listed = shop.door.listed("/quotas", license=shop.license["id"])
    assert {"rolling": 3600} in [quota["period"] for quota in listed]
    validated = shop.door.post(f"/licenses/{shop.license['id']}/validate", {})["quotas"]
    assert {"rolling": 3600} in [quota["period"] for quota in validated]


def test_plans__quotas_with_all_that_they_can_have__come_back(shop: Shop) -> None:
    quotas = [
        {"meter": "tokens", "limit": "10", "period": {"rolling": 60}, "mode": "hard"},
        {
            "meter": "tokens",
            "limit": "10",
            "period": "month",
            "carry_over": {"max": "5"},
            "mode": "soft",
            "ceiling": 20,
        },
    ]
    plan = shop.door.made("/plans", {"code": "max", "name": "Max", "product": "researcher", "quotas": quotas})

    shown = {str(quota["period"]): quota for quota in plan["quotas"]}
    assert shown["{'rolling': 60}"]["mode"] == "hard"
    assert (shown["month"]["carry_over"], shown["month"]["ceiling"]) == ({"max": "5"}, "20")
    again = shop.door.patch("/plans/max", {"quotas": [quotas[0], quotas[1] | {"carry_over": False}]})
    kept = {quota["id"]: quota["carry_over"] for quota in again["quotas"]}
    assert kept == {shown["{'rolling': 60}"]["id"]: False, shown["month"]["id"]: False}


def test_top_ups__in_another_workspace__are_unknown(shop: Shop) -> None:
    top_up = made(shop)
    stranger = Door()

    assert stranger.get(f"/top-ups/{top_up['id']}").status == 404
    assert stranger.listed("/top-ups") == []
    refused = stranger.post("/top-ups", {"quota": top_up["quota"], "amount": "1"})
    assert (refused.status, refused["errors"][0]["code"]) == (422, "not_found")
