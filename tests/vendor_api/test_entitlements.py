"""What a licence grants, and why: every grant's part in it, to the licence and to each of its agents."""

from __future__ import annotations

from typing import Any

import pytest

from tests.agent_door import AgentDoor
from tests.vendor_api.door import Door
from tests.vendor_api.shop import Shop

UNTIL = "2090-01-01T00:00:00Z"
LATER = "2091-01-01T00:00:00Z"


def entitlements(door: Door, path: str, **query: Any) -> dict[str, Any]:
    rows = door.listed(f"{path}/entitlements", **query)
    assert [row["feature"] for row in rows] == sorted(row["feature"] for row in rows)
    return {row.pop("feature"): row for row in rows}


def parts(row: Any) -> list[tuple[Any, ...]]:
    """Each grant's source, plan, value and effect."""
    return [(each["source"], each["plan"], each["value"], each["effect"]) for each in row["grants"]]


def features_of(shop: Shop) -> Any:
    """What the agents' door says now, from whatever it has cached."""
    return AgentDoor(shop.agent_key).post("/validate", {})["features"]


def add_on(shop: Shop, code: str, *grants: dict[str, Any]) -> Any:
    return shop.door.made("/plans", {"code": code, "name": code, "product": "researcher", "grants": list(grants)})


def test_entitlements__of_a_plan__name_it(shop: Shop) -> None:
    found = entitlements(shop.door, f"/licenses/{shop.license['id']}")

    assert list(found) == ["max_tools", "models", "web_search"]
    [grant] = found["models"].pop("grants")
    assert grant.pop("id").startswith("gra_")
    assert grant == {
        "source": "plan",
        "plan": "pro",
        "value": ["small", "large"],
        "starts_at": None,
        "expires_at": None,
        "effect": "contributes",
    }
    assert found["models"] == {
        "kind": "choice",
        "value": ["small", "large"],
        "source": "plan",
        "plan": "pro",
        "until": None,
        "narrowed_by": None,
        "narrowed_by_all": [],
        "granted": ["small", "large"],
    }


def test_entitlements__licence_overrides_with_edges__the_one_in_force_wins_and_the_others_are_told(shop: Shop) -> None:
    path = f"/licenses/{shop.license['id']}"
    overrides = [
        {"feature": "max_tools", "value": 99, "expires_at": UNTIL},
        {"feature": "max_tools", "value": 500, "starts_at": LATER},
        {"feature": "web_search", "value": False, "starts_at": UNTIL},
        {"feature": "models", "value": [], "starts_at": "2020-01-01T00:00:00Z", "expires_at": "2020-01-02T00:00:00Z"},
    ]
    assert shop.door.patch(path, {"grants": overrides}).status == 200

    found = entitlements(shop.door, path)

    tools, search = found["max_tools"], found["web_search"]
    assert (tools["value"], tools["source"], tools["plan"], tools["until"]) == (99, "license", None, UNTIL)
    assert parts(tools) == [
        ("plan", "pro", 20, "overridden"),
        ("license", None, 99, "contributes"),
        ("license", None, 500, "not_started"),
    ]
    assert (search["value"], search["source"], search["plan"], search["until"]) == (True, "plan", "pro", UNTIL)
    assert parts(search) == [("plan", "pro", True, "contributes"), ("license", None, False, "not_started")]
    # What has ended has no say any more.
    assert parts(found["models"]) == [("plan", "pro", ["small", "large"], "contributes")]


@pytest.mark.django_db(transaction=True)
def test_entitlements__add_ons__limits_add_up_switches_or_together_choices_unite(shop: Shop) -> None:
    door, path = shop.door, f"/licenses/{shop.license['id']}"
    door.patch(f"/features/{shop.models['id']}", {"choices": ["tiny", "small", "medium", "large"]})
    code = door.made("/features", {"product": "researcher", "code": "code", "name": "Code", "kind": "switch"})
    door.patch(
        "/plans/pro", {"grants": [{"feature": "models", "value": ["large"]}, {"feature": "max_tools", "value": 20}]}
    )
    add_on(
        shop,
        "more",
        {"feature": "models", "value": ["tiny", "medium"]},
        {"feature": "max_tools", "value": 5},
        {"feature": "code", "value": True},
    )
    add_on(shop, "most", {"feature": "max_tools", "value": 7}, {"feature": code["id"], "value": False})
    assert features_of(shop) == {"models": ["large"], "max_tools": 20}

    assert door.patch(path, {"add_ons": ["more", "most"]})["add_ons"] == ["more", "most"]

    assert features_of(shop) == {"models": ["tiny", "medium", "large"], "max_tools": 32, "code": True}
    found = entitlements(door, path)
    assert {name: (row["value"], row["source"], row["plan"]) for name, row in found.items()} == {
        "models": (["tiny", "medium", "large"], "add_on", None),
        "max_tools": (32, "add_on", None),
        "code": (True, "add_on", None),
    }
    assert sorted(parts(found["max_tools"]), key=str) == [
        ("add_on", "more", 5, "contributes"),
        ("add_on", "most", 7, "contributes"),
        ("plan", "pro", 20, "contributes"),
    ]
    door.patch(path, {"grants": [{"feature": "max_tools", "value": 1}]})
    assert features_of(shop)["max_tools"] == 1
    door.patch(path, {"add_ons": [], "grants": []})
    assert features_of(shop) == {"models": ["large"], "max_tools": 20}


@pytest.mark.django_db(transaction=True)
def test_entitlements__edits_of_plan_licence_and_agent__are_felt_at_once_at_the_agents_door(shop: Shop) -> None:
    door, path = shop.door, f"/licenses/{shop.license['id']}"
    door.made("/plans", {"code": "free", "name": "Free", "product": "researcher"})
    assert features_of(shop) == {"models": ["small", "large"], "web_search": True, "max_tools": 20}

    door.patch("/plans/pro", {"grants": [{"feature": "max_tools", "value": 3}]})
    assert features_of(shop) == {"max_tools": 3}
    door.patch(path, {"grants": [{"feature": "web_search", "value": True}]})
    assert features_of(shop) == {"max_tools": 3, "web_search": True}
    door.patch(f"/agents/{shop.agent['id']}", {"features": ["web_search"]})
    assert features_of(shop) == {"max_tools": 0, "web_search": True}
    door.patch(path, {"plan": "free"})
    assert features_of(shop) == {"web_search": True}


def test_entitlements__for_agents__say_who_up_the_chain_narrows(shop: Shop) -> None:
    door, license = shop.door, shop.license["id"]
    door.patch(f"/agents/{shop.agent['id']}", {"features": ["models", "web_search"]})
    child = door.made(
        "/agents", {"license": license, "name": "child", "parent_id": shop.agent["id"], "features": ["models"]}
    )["agent"]

    as_child = entitlements(door, f"/agents/{child['id']}")

    assert as_child == entitlements(door, f"/licenses/{license}", agent=child["id"])
    told = {
        name: (row["value"], row["granted"], row["narrowed_by"], row["narrowed_by_all"])
        for name, row in as_child.items()
    }
    assert told == {
        "models": (["small", "large"], ["small", "large"], None, []),
        "web_search": (False, True, child["id"], [child["id"]]),
        "max_tools": (0, 20, child["id"], [child["id"], shop.agent["id"]]),
    }
    own = entitlements(door, f"/licenses/{license}")
    assert {row["narrowed_by"] for row in own.values()} == {None}
    assert own["max_tools"]["value"] == 20


def test_entitlements__agents_of_others__are_422_and_parameters_of_no_use_are_named(shop: Shop) -> None:
    door, path = shop.door, f"/licenses/{shop.license['id']}/entitlements"
    second = door.made("/licenses", {"customer": "acme", "plan": "pro"})["license"]
    not_its = door.made("/agents", {"license": second["id"], "name": "other"})["agent"]["id"]
    foreign = Shop(Door()).agent["id"]

    for id in (not_its, foreign, "agt_00000000000000000000000000"):
        answer = door.get(path, agent=id)
        assert (answer.status, answer.fields) == (422, {"agent": "not_found"})
    assert door.get(path, agent=shop.license["id"]).fields == {"agent": "invalid_id"}
    assert door.get(path, nonsense="1").fields == {"nonsense": "unknown_parameter"}


def test_grants__that_do_not_fit__are_422_naming_them(shop: Shop) -> None:
    door = shop.door
    cases: list[tuple[Any, str, str]] = [
        ({"feature": "flying", "value": True}, "grants.0.feature", "not_found"),
        ({"feature": "models", "value": ["small", "huge"]}, "grants.0.value.1", "unknown_choice"),
        ({"feature": "models", "value": "small"}, "grants.0.value", "invalid"),
        ({"feature": "max_tools", "value": -1}, "grants.0.value", "invalid"),
        ({"feature": "max_tools", "value": 10**15 + 1}, "grants.0.value", "invalid"),
        ({"feature": "web_search", "value": 1}, "grants.0.value", "invalid"),
    ]
    for sent, field, code in cases:
        for path in ("/plans/pro", f"/licenses/{shop.license['id']}"):
            answer = door.patch(path, {"grants": [sent]})
            assert answer.status == 422, (path, sent)
            assert answer.fields == {field: code}, (path, sent)
            assert code != "not_found" or "'flying'" in answer["detail"]
    for body in ({"plan": "gold"}, {"add_ons": ["gold"]}):
        answer = door.patch(f"/licenses/{shop.license['id']}", body)
        assert (answer.status, set(answer.fields.values())) == (422, {"not_found"})
        assert "'gold'" in answer["detail"]
    assert features_of(shop) == {"models": ["small", "large"], "web_search": True, "max_tools": 20}


def test_entitlements__bad_query_of_an_unknown_license__the_query_is_refused_first(door: Door) -> None:
    path = "/licenses/lic_01h455vb4pex5vsknk084sn02q/entitlements"
    assert door.get(path).status == 404
    assert door.get(path, colour="red").status == 422
