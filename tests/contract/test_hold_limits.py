"""How many holds may be open at once: exact under parallel asks, and healed by time alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from common.clock import real_clock
from licenses.services.agents import update_agent
from licenses.services.plans import update_plan
from metering.models import Hold
from tests.agent_door import AgentDoor, Answer, Vendor
from tests.factories import ACTOR
from tests.parallel import at_once
from tests.vendor_api.door import Door

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    return Vendor()  # type: ignore[return-value]


def ask(door: AgentDoor, **more: Any) -> Answer:
    return door.post("/authorize", {"mode": "hold", "usage": [{"meter": "tokens", "quantity": "1"}], **more})


def allowed(*doors: AgentDoor) -> list[bool]:
    return [ask(door)["allowed"] for door in doors]


def test_authorize__limit_of_open_holds_reached__says_whose_and_when_there_is_room(vendor: Vendor) -> None:
    door = vendor.door(hold_limit=2)
    first, second = ask(door, ttl=100)["hold"], ask(door, ttl=50)["hold"]

    refused = ask(door, id="third")

    assert (refused.status, refused["allowed"], refused["code"]) == (200, False, "concurrency_exceeded")
    [reason] = refused["codes"]
    message = reason.pop("message")
    assert reason == {
        "code": "concurrency_exceeded",
        "blocks": True,
        "retryable": True,
        "until": second["expires_at"],
        "scope": "license",
        "limit": "2",
        "current": 2,
    }
    assert "The license has 2 holds open, and may have 2." in message
    assert Hold.objects.count() == 2
    # What needs no place is not refused, and the id of the refused ask was not remembered.
    assert door.post("/authorize", {"usage": [{"meter": "tokens", "quantity": "1"}]})["allowed"]
    door.post(f"/holds/{first['id']}/release")
    assert ask(door, id="third")["allowed"]
    assert not ask(door)["allowed"]


@pytest.mark.parametrize("end", ["settle", "release"])
def test_hold__settled_or_released__leaves_its_place_at_once(vendor: Vendor, end: str) -> None:
    door = vendor.door(hold_limit=1)
    hold = ask(door)["hold"]
    assert not ask(door)["allowed"]
    body = {"usage": []} if end == "settle" else None
    assert door.post(f"/holds/{hold['id']}/{end}", body).status == 200
    assert allowed(door, door) == [True, False]


def test_hold__settled_in_part__keeps_its_place(vendor: Vendor) -> None:
    door = vendor.door(hold_limit=1)
    hold = ask(door)["hold"]
    assert door.post(f"/holds/{hold['id']}/settle", {"id": "a", "final": False, "usage": []}).status == 200
    assert not ask(door)["allowed"]


def test_hold__expired__leaves_its_place_though_nobody_swept(vendor: Vendor) -> None:
    door = vendor.door(hold_limit=1)
    hold = ask(door)["hold"]
    Hold.objects.update(expires_at=real_clock().now() + timedelta(minutes=1))
    assert not ask(door)["allowed"]
    Hold.objects.update(expires_at=real_clock().now())

    assert allowed(door, door) == [True, False]
    assert door.post(f"/holds/{hold['id']}/extend", {"ttl": 60})["code"] == "hold_expired"
    assert Hold.objects.filter(status="open").count() == 2  # the first is swept when its time comes


def test_hold__repeated_id__is_replayed_however_full_it_is(vendor: Vendor) -> None:
    door = vendor.door(hold_limit=1)
    first = ask(door, id="step")
    again = ask(door, id="step")
    assert (again["allowed"], again["replayed"], again["hold"]["id"]) == (True, True, first["hold"]["id"])


def test_hold_limit__zero_none_and_changes__hold_at_once(vendor: Vendor) -> None:
    license = vendor.license(hold_limit=0)
    door = AgentDoor(vendor.agent(license).key_text)
    plan = license.carried_plans.get().plan
    assert not ask(door)["allowed"]
    update_plan(tenant=vendor.tenant, plan_id=plan.id, actor=ACTOR, hold_limit=1)
    assert allowed(door, door) == [True, False]
    update_plan(tenant=vendor.tenant, plan_id=plan.id, actor=ACTOR, hold_limit=None)
    assert allowed(door, door, door) == [True, True, True]
    update_plan(tenant=vendor.tenant, plan_id=plan.id, actor=ACTOR, hold_limit=2)
    [reason] = ask(door)["codes"]
    assert (reason["limit"], reason["current"]) == ("2", 4)


def test_hold_limit__of_a_license__counts_all_its_agents_and_no_other_license(vendor: Vendor) -> None:
    license, other = vendor.license(hold_limit=2), vendor.license(hold_limit=2)
    one, two = (AgentDoor(vendor.agent(license).key_text) for _ in range(2))
    beside = AgentDoor(vendor.agent(other).key_text)
    assert allowed(one, two, one, two) == [True, True, False, False]
    assert allowed(beside, beside, beside) == [True, True, False]


def test_hold_limit__of_an_agent__counts_those_below_it(vendor: Vendor) -> None:
    license = vendor.license()
    parent = vendor.agent(license)
    child = vendor.agent(license, parent.agent)
    update_agent(tenant=vendor.tenant, agent_id=parent.agent.id, actor=ACTOR, hold_limit=3)
    update_agent(tenant=vendor.tenant, agent_id=child.agent.id, actor=ACTOR, hold_limit=1)
    up, down = AgentDoor(parent.key_text), AgentDoor(child.key_text)
    beside = AgentDoor(vendor.agent(license).key_text)

    assert allowed(down, down, up, up, up) == [True, False, True, True, False]
    assert [(reason["scope"], reason["current"]) for reason in ask(down)["codes"]] == [("agent", 1), ("agent", 3)]
    assert allowed(beside, beside) == [True, True]


def test_hold_limit__set_through_the_vendors_door__is_shown_and_holds(vendor: Vendor) -> None:
    license = vendor.license(hold_limit=3)
    made = vendor.agent(license)
    door, agent_door = Door(vendor.tenant), AgentDoor(made.key_text)
    plan = f"/plans/{license.carried_plans.get().plan.code}"

    assert door.get(plan)["hold_limit"] == 3
    assert door.get(f"/agents/{made.agent.public_id}")["hold_limit"] is None
    assert door.patch(f"/licenses/{license.public_id}", {"hold_limit": 1})["hold_limit"] == 1
    assert allowed(agent_door, agent_door) == [True, False]
    assert door.patch(f"/licenses/{license.public_id}", {"hold_limit": None})["hold_limit"] is None
    assert allowed(agent_door, agent_door, agent_door) == [True, True, False]
    assert door.patch(f"/agents/{made.agent.public_id}", {"hold_limit": 2})["hold_limit"] == 2
    assert [reason["scope"] for reason in ask(agent_door)["codes"]] == ["agent", "license"]
    for path in (plan, f"/licenses/{license.public_id}", f"/agents/{made.agent.public_id}"):
        for value in (-1, 1.5, "two"):
            assert door.patch(path, {"hold_limit": value}).fields.keys() == {"hold_limit"}


def test_hold_limit__many_at_once__is_reached_and_never_passed(vendor: Vendor) -> None:
    license = vendor.license({"limit": "1000"}, hold_limit=7)
    doors = [AgentDoor(vendor.agent(license).key_text) for _ in range(4)]
    assert {door.post("/validate").status for door in doors} == {200}

    answers = at_once([partial(ask, doors[number % 4]) for number in range(24)])

    assert sum(answer["allowed"] for answer in answers) == 7  # type: ignore[index]
    assert Hold.objects.count() == 7


def test_hold_limit__one_id_from_many_threads__is_one_hold_and_no_refusal(vendor: Vendor) -> None:
    door = vendor.door(hold_limit=1)
    assert door.post("/validate").status == 200

    answers = at_once([partial(ask, door, id="step") for _ in range(10)])

    assert {answer["allowed"] for answer in answers} == {True}  # type: ignore[index]
    assert len({answer["hold"]["id"] for answer in answers}) == 1  # type: ignore[index]


def test_hold_limit__asks_and_releases_in_turns__never_more_than_the_limit(vendor: Vendor) -> None:
    license = vendor.license(hold_limit=3)
    doors = [AgentDoor(vendor.agent(license).key_text) for _ in range(6)]

    def work(door: AgentDoor) -> int:
        most = 0
        for _ in range(8):
            answer = ask(door)
            most = max(most, Hold.objects.filter(status="open").count())
            if answer["allowed"]:
                door.post(f"/holds/{answer['hold']['id']}/release")
        return most

    seen = at_once([partial(work, door) for door in doors])

    assert max(seen) <= 3  # type: ignore[type-var]
    assert Hold.objects.filter(status="open").count() == 0
    assert allowed(*doors) == [True] * 3 + [False] * 3
