"""Agents that make agents: at most what the parent has, in features, rate, budget, life, depth and number."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connections

from licenses.models import Agent, AgentKey
from licenses.services.agent_states import revoke_agent, suspend_agent
from licenses.services.agents import update_agent
from licenses.services.license_states import suspend_license
from metering.models import Quota
from tests.agent_door import AgentDoor, Vendor
from tests.factories import ACTOR, make_test_workspace
from tests.parallel import at_once

pytestmark = pytest.mark.django_db

BUDGET = {"meter": "tokens", "limit": "500", "period": "lifetime"}


def soon(**more: float) -> datetime:
    return datetime.now(UTC) + timedelta(**more)


def fields_of(answer: Any) -> list[str]:
    return [error["field"] for error in answer["errors"]]


def test_spawn__all_fields__a_child_below_with_its_own_key_and_budget() -> None:
    vendor = Vendor()
    parent = vendor.agent(vendor.license())
    door = AgentDoor(parent.key_text)

    made = door.post(
        "/agents",
        {
            "name": "worker-1",
            "ttl": 600,
            "features": ["web_search"],
            "rate_limits": [{"limit": 60, "window": 60}],
            "quotas": [{**BUDGET, "mode": "hard"}],
        },
    )

    assert made.status == 201
    assert made["agent"]["parent_id"] == parent.agent.public_id
    assert made["agent"]["features"] == ["web_search"]
    assert made["agent"]["rate_limits"] == [{"limit": 60, "window": 60, "burst": 60}]
    assert (made["agent"]["depth"], made["agent"]["status"]) == (2, "active")
    ends = datetime.fromisoformat(made["agent"]["expires_at"])
    assert timedelta(seconds=590) < ends - datetime.now(UTC) <= timedelta(seconds=600)
    child = AgentDoor(made["key"])
    answer = child.post("/validate")
    assert (answer["valid"], answer["features"]["web_search"]) == (True, True)
    assert answer["features"] == {"web_search": True, "max_tools": 0, "models": []}
    assert [(quota["meter"], quota["limit"], quota["mode"]) for quota in answer["quotas"]] == [
        ("tokens", "500", "hard")
    ]
    assert answer["agent"]["parent_id"] == parent.agent.public_id
    row = Agent.objects.get(name="worker-1")
    assert (row.spawned, row.path) == (True, [parent.agent.id, row.id])


def test_spawn__name_only__has_what_the_parent_has() -> None:
    vendor = Vendor()
    ends = soon(days=1).replace(microsecond=0)
    parent = vendor.agent(vendor.license(), features=["web_search"], expires_at=ends)

    made = AgentDoor(parent.key_text).post("/agents", {"name": "worker"})

    assert made.status == 201
    assert datetime.fromisoformat(made["agent"]["expires_at"]) == ends
    assert (made["agent"]["features"], made["agent"]["rate_limits"]) == (None, [])
    assert AgentDoor(made["key"]).post("/validate")["features"]["models"] == []


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"features": ["web_search", "models"]}, "features.1"),
        ({"features": ["no_such_thing"]}, "features.0"),
        ({"rate_limits": [{"limit": 61, "window": 60}]}, "rate_limits.0.limit"),
        ({"rate_limits": [{"limit": 60, "window": 60, "burst": 61}]}, "rate_limits.0.burst"),
        ({"rate_limits": [{"limit": 2, "window": 1}]}, "rate_limits"),
        ({"ttl": 7300}, "ttl"),
        ({"quotas": [{**BUDGET, "limit": "500.000000000001"}]}, "quotas.0.limit"),
        ({"quotas": [{**BUDGET, "filter": {"model": "large"}, "limit": "501"}]}, "quotas.0.limit"),
    ],
)
def test_spawn__more_than_the_parent_has__refused_and_nothing_made(asked: dict[str, Any], field: str) -> None:
    vendor = Vendor()
    parent = vendor.agent(
        vendor.license(),
        features=["web_search"],
        rate_limits=[{"limit": 60, "window": 60}],
        expires_at=soon(hours=2),
    )
    vendor.quota(on={"agent": parent.agent}, **BUDGET)

    refused = AgentDoor(parent.key_text).post("/agents", {"name": "worker", **asked})

    assert (refused.status, refused["code"], fields_of(refused)) == (403, "exceeds_parent", [field])
    assert (Agent.objects.count(), AgentKey.objects.count(), Quota.objects.count()) == (1, 1, 1)


@pytest.mark.parametrize(
    "asked",
    [
        {"features": ["web_search"]},
        {"features": []},
        {"rate_limits": [{"limit": 60, "window": 60}]},
        {"rate_limits": [{"limit": 3600, "window": 3600}]},
        {"rate_limits": [{"limit": 2, "window": 1}, {"limit": 60, "window": 60}]},
        {"ttl": 7100},
        {"quotas": [BUDGET]},
        {"quotas": [{**BUDGET, "limit": 500, "filter": {"model": "large"}}]},
        {"quotas": [{**BUDGET, "period": "day", "limit": "100000"}]},
        {"quotas": [{**BUDGET, "meter": "calls", "limit": "100000"}]},
    ],
)
def test_spawn__up_to_what_the_parent_has__made(asked: dict[str, Any]) -> None:
    vendor = Vendor()
    parent = vendor.agent(
        vendor.license(),
        features=["web_search"],
        rate_limits=[{"limit": 60, "window": 60}],
        expires_at=soon(hours=2),
    )
    vendor.quota(on={"agent": parent.agent}, **BUDGET)

    assert AgentDoor(parent.key_text).post("/agents", {"name": "worker", **asked}).status == 201


def test_spawn__budget__held_against_the_parents_limit_not_its_remainder() -> None:
    vendor = Vendor()
    parent = vendor.agent(vendor.license())
    vendor.quota(on={"agent": parent.agent}, **BUDGET)
    door = AgentDoor(parent.key_text)
    door.post("/usage", {"id": "e1", "meter": "tokens", "quantity": "450"})

    made = door.post("/agents", {"name": "worker", "quotas": [BUDGET]})

    asked = {"usage": [{"meter": "tokens", "quantity": "51"}]}
    assert made.status == 201
    assert AgentDoor(made["key"]).post("/authorize", asked)["allowed"] is False
    asked["usage"][0]["quantity"] = "50"
    assert AgentDoor(made["key"]).post("/authorize", asked)["allowed"] is True


def test_spawn__beyond_the_licences_end__refused() -> None:
    vendor = Vendor()
    door = AgentDoor(vendor.agent(vendor.license(expires_at=soon(hours=1))).key_text)

    refused = door.post("/agents", {"name": "worker", "ttl": 3700})

    assert (refused.status, refused["code"], fields_of(refused)) == (403, "exceeds_parent", ["ttl"])
    assert door.post("/agents", {"name": "worker", "ttl": 3500}).status == 201


def test_spawn__eight_deep__the_ninth_is_refused() -> None:
    vendor = Vendor()
    door = AgentDoor(vendor.agent(vendor.license()).key_text)
    for depth in range(2, 9):
        made = door.post("/agents", {"name": f"worker-{depth}"})
        assert (made.status, made["agent"]["depth"]) == (201, depth)
        door = AgentDoor(made["key"])

    refused = door.post("/agents", {"name": "worker-9"})

    assert (refused.status, refused["code"], refused["limit"]) == (403, "agent_depth_reached", 8)
    assert Agent.objects.count() == 8


@pytest.mark.django_db(transaction=True)
def test_spawn__licence_or_parent_does_not_hold__refused_with_the_reason() -> None:
    vendor = Vendor()
    license = vendor.license()
    parent = vendor.agent(license)
    child = AgentDoor(AgentDoor(parent.key_text).post("/agents", {"name": "worker"})["key"])
    suspend_agent(tenant=vendor.tenant, agent_id=parent.agent.id, actor=ACTOR)
    for door, code in ((AgentDoor(parent.key_text), "agent_suspended"), (child, "parent_agent_inactive")):
        refused = door.post("/agents", {"name": "late"})
        assert (refused.status, refused["code"]) == (403, code)
    suspend_license(tenant=vendor.tenant, license_id=license.id, actor=ACTOR)
    assert child.post("/agents", {"name": "late"})["code"] == "license_suspended"
    revoke_agent(tenant=vendor.tenant, agent_id=parent.agent.id, actor=ACTOR)
    assert child.post("/agents", {"name": "late"}).status == 401
    assert Agent.objects.count() == 2


def test_spawn__same_idempotency_key__the_same_agent_and_key_again() -> None:
    vendor = Vendor()
    door = AgentDoor(vendor.agent(vendor.license()).key_text)
    header = {"Idempotency-Key": "spawn-1"}

    first = door.post("/agents", {"name": "worker"}, headers=header)
    again = door.post("/agents", {"name": "worker"}, headers=header)
    other = door.post("/agents", {"name": "another"}, headers=header)

    assert (first.status, again.status) == (201, 201)
    assert again.json == first.json
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (other.status, other["code"]) == (422, "idempotency_key_reused")
    assert Agent.objects.count() == 2


def test_spawn__same_idempotency_key_after_a_refusal__is_refused_again_and_nothing_made() -> None:
    vendor = Vendor()
    license = vendor.license(agent_limit=2)
    door, header = AgentDoor(vendor.agent(license).key_text), {"Idempotency-Key": "spawn-1"}
    other = vendor.agent(license).agent

    refused = door.post("/agents", {"name": "worker"}, headers=header)
    revoke_agent(tenant=vendor.tenant, agent_id=other.id, actor=ACTOR)
    again = door.post("/agents", {"name": "worker"}, headers=header)

    assert (refused.status, refused["code"]) == (403, "agent_limit_reached")
    assert [again[name] for name in ("status", "code", "limit", "current")] == [403, "agent_limit_reached", 2, 2]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert Agent.objects.count() == 2


def test_revoke__same_idempotency_key__replayed__other_body_refused_and_nothing_done() -> None:
    vendor = Vendor()
    door = AgentDoor(vendor.agent(vendor.license()).key_text)
    header = {"Idempotency-Key": "end-1"}
    first, second = (door.post("/agents", {"name": name})["agent"]["id"] for name in ("a", "b"))

    answers = [door.post(f"/agents/{first}/revoke", {"reason": "done"}, headers=header) for _ in range(2)]
    other = door.post(f"/agents/{second}/revoke", {"reason": "done"}, headers=header)

    assert [each.status for each in answers] == [200, 200]
    assert answers[0].json == answers[1].json
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    assert (other.status, other["code"]) == (422, "idempotency_key_reused")
    assert Agent.objects.get(name="b").status == "active"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "w", "ttl": 0}, "ttl"),
        ({"name": "w", "parent_id": "agt_x"}, "parent_id"),
        ({"name": "w", "rate_limits": [{"limit": 0, "window": 1}]}, "rate_limits.0.limit"),
        ({"name": "w", "rate_limits": [{"limit": 1, "window": 1}, {"limit": 2, "window": 1}]}, "rate_limits.1.window"),
        ({"name": "w", "quotas": [{"meter": "nothing", "limit": "1", "period": "day"}]}, "quotas.0.meter"),
        ({"name": "w", "quotas": [{**BUDGET, "limit": "-1"}]}, "quotas.0.limit"),
        ({"name": "w", "quotas": [BUDGET, {**BUDGET, "limit": "4"}]}, "quotas.1"),
    ],
)
def test_spawn__bad_field__named_and_nothing_made(body: dict[str, Any], field: str) -> None:
    door = Vendor().door()

    refused = door.post("/agents", body)

    assert (refused.status, fields_of(refused)) == (422, [field])
    assert Agent.objects.count() == 1


def test_list_agents__own_children_only__newest_first_by_page() -> None:
    vendor = Vendor()
    license = vendor.license()
    door = AgentDoor(vendor.agent(license).key_text)
    vendor.agent(license)
    keys = [door.post("/agents", {"name": f"worker-{number}"})["key"] for number in range(3)]
    AgentDoor(keys[0]).post("/agents", {"name": "grandchild"})

    first = door.get("/agents?limit=2")
    rest = door.get(f"/agents?limit=2&cursor={first['next_cursor']}")

    assert [agent["name"] for agent in (*first["data"], *rest["data"])] == ["worker-2", "worker-1", "worker-0"]
    assert rest["next_cursor"] is None
    assert [agent["name"] for agent in AgentDoor(keys[0]).get("/agents")["data"]] == ["grandchild"]
    assert door.get("/agents?cursor=x").status == 422


@pytest.mark.django_db(transaction=True)
def test_revoke_agent__below_the_caller__dead_at_once__anyone_else__not_found() -> None:
    vendor = Vendor()
    license = vendor.license()
    parent, sibling = vendor.agent(license), vendor.agent(license)
    stranger = Vendor().door().get("/self")["agent"]["id"]
    door = AgentDoor(parent.key_text)
    child = door.post("/agents", {"name": "worker"})
    grandchild = AgentDoor(child["key"]).post("/agents", {"name": "below"})
    assert AgentDoor(grandchild["key"]).post("/validate")["valid"] is True

    for other in (parent.agent.public_id, sibling.agent.public_id, stranger, "agt_x", "lic_x"):
        assert door.post(f"/agents/{other}/revoke").status == 404
    assert AgentDoor(grandchild["key"]).post(f"/agents/{child['agent']['id']}/revoke").status == 404
    revoked = door.post(f"/agents/{child['agent']['id']}/revoke", {"reason": "done"})

    assert (revoked.status, revoked["status"]) == (200, "revoked")
    assert AgentDoor(child["key"]).post("/validate").status == 401
    assert AgentDoor(grandchild["key"]).post("/validate").status == 401
    assert AgentDoor(sibling.key_text).post("/validate")["valid"] is True
    assert door.post(f"/agents/{child['agent']['id']}/revoke")["status"] == "revoked"


def test_ephemeral__its_time_is_over__ended_at_once_and_its_place_is_free() -> None:
    vendor = Vendor(make_test_workspace())
    door = AgentDoor(vendor.agent(vendor.license(agent_limit=2)).key_text)
    child = door.post("/agents", {"name": "worker", "ttl": 600})
    below = door.post("/agents", {"name": "no place"})
    assert (below.status, below["code"], below["limit"], below["current"]) == (403, "agent_limit_reached", 2, 2)

    vendor.tenant.clock_offset = timedelta(seconds=601)
    vendor.tenant.save()
    from agent_api.use_cases import known_callers

    known_callers.forget_all()

    answer = AgentDoor(child["key"]).post("/validate")
    assert (answer["valid"], answer["code"], answer["agent"]["status"]) == (False, "agent_expired", "expired")
    assert door.post("/agents", {"name": "next"}).status == 201
    assert door.post("/agents", {"name": "no place"})["code"] == "agent_limit_reached"


@pytest.mark.django_db(transaction=True)
def test_narrowed_parent__the_child_has_less_at_once_though_nothing_of_it_is_written() -> None:
    vendor = Vendor()
    parent = vendor.agent(vendor.license())
    door = AgentDoor(parent.key_text)
    child = AgentDoor(door.post("/agents", {"name": "worker", "features": ["web_search", "models"]})["key"])
    assert child.post("/validate")["features"] == {"web_search": True, "max_tools": 0, "models": ["small", "large"]}

    names: dict[str, Any] = {"tenant": vendor.tenant, "agent_id": parent.agent.id, "actor": ACTOR}
    update_agent(**names, features=["web_search"], rate_limits=[{"limit": 1, "window": 3600}])

    assert child.post("/validate")["features"] == {"web_search": True, "max_tools": 0, "models": []}
    limited = child.post("/validate")
    assert (limited.status, limited["level"]) == (429, "agent")
    assert Agent.objects.get(name="worker").features == ["web_search", "models"]


@pytest.mark.django_db(transaction=True)
def test_spawn__many_at_once__exactly_the_plans_number() -> None:
    vendor = Vendor()
    license = vendor.license(agent_limit=9)
    doors = [AgentDoor(vendor.agent(license).key_text) for _ in range(3)]
    quotas = [{**BUDGET, "limit": "10"}]

    answers = at_once(
        [
            partial(doors[n % 3].post, "/agents", {"name": f"w-{n}", "quotas": quotas if n % 2 else []})
            for n in range(24)
        ]
    )

    assert sorted(answer.status for answer in answers) == [201] * 6 + [403] * 18  # type: ignore[union-attr]
    assert {answer["code"] for answer in answers if answer.status == 403} == {"agent_limit_reached"}  # type: ignore[index, union-attr]
    assert Agent.objects.count() == AgentKey.objects.count() == 9


def _spawn_in_process(key: str, number: int, queue: Any) -> None:
    connections.close_all()
    door = AgentDoor(key)
    queue.put([door.post("/agents", {"name": f"worker-{number}-{place}"}).status for place in range(6)])
    connections.close_all()


@pytest.mark.django_db(transaction=True)
def test_spawn__from_many_processes__exactly_the_plans_number_live() -> None:
    vendor = Vendor()
    parent = vendor.agent(vendor.license(agent_limit=10))
    connections.close_all()
    forked = multiprocessing.get_context("fork")
    queue = forked.Queue()
    processes = [
        forked.Process(target=_spawn_in_process, args=(parent.key_text, number, queue), daemon=True)
        for number in range(4)
    ]
    for process in processes:
        process.start()
    statuses = [status for _ in processes for status in queue.get(timeout=60)]
    for process in processes:
        process.join(60)

    # The parent has a place itself.
    assert sorted(statuses) == [201] * 9 + [403] * 15
    assert Agent.objects.count() == 10
