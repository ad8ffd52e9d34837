"""Rate limits on every level and window, as callers at the agents' door meet them; time is given to the gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from agent_api.use_cases import callers
from licenses.services.gate import check_gate
from tenants.services.workspaces import update_workspace
from tests.agent_door import AgentDoor, Vendor
from tests.factories import ACTOR, make_customer
from tests.parallel import at_once
from tests.vendor_api.door import Door

pytestmark = pytest.mark.django_db(transaction=True)

SECOND = 1_000_000


@dataclass
class Clock:
    """What the gate takes for the time."""

    microseconds: int = 1_800_000_000 * SECOND

    def sleep(self, seconds: float) -> None:
        self.microseconds += int(seconds * SECOND)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(
        callers, "check_gate", lambda commands, **more: check_gate(commands, now=clock.microseconds, **more)
    )
    return clock


@dataclass
class World:
    """Two customers of one vendor; the first has two licences, and the first of these two agents."""

    vendor: Vendor

    def __post_init__(self) -> None:
        self.acme = make_customer(self.vendor.tenant)
        self.license, second = (self.vendor.license(customer=self.acme) for _ in range(2))
        other = self.vendor.license(customer=make_customer(self.vendor.tenant))
        self.agent = self.vendor.agent(self.license)
        agents = [self.agent, *(self.vendor.agent(each) for each in (self.license, second, other))]
        self.doors = [AgentDoor(made.key_text) for made in agents]
        self.stranger = Vendor().door()

    def limit(self, level: str, *limits: dict[str, int]) -> None:
        """Set limits as a vendor or an operator does."""
        door, of_level = Door(self.vendor.tenant), [{"level": level, **each} for each in limits]
        match level:
            case "agent":
                answer = door.patch(f"/agents/{self.agent.agent.public_id}", {"rate_limits": list(limits)})
            case "license":
                answer = door.patch(f"/licenses/{self.license.public_id}", {"rate_limits": of_level})
            case "customer":
                answer = door.patch(f"/customers/{self.acme.public_id}", {"rate_limits": list(limits)})
            case _:
                update_workspace(tenant_id=self.vendor.tenant.id, actor=ACTOR, rate_limits=limits)
                return
        assert answer.status == 200, answer


#: Which of the world's agents share a limit of the level with the first one.
SHARE = {"agent": 1, "license": 2, "customer": 3, "tenant": 4}


@pytest.mark.parametrize("level", SHARE)
def test_rate_limit__of_each_level__is_shared_by_whom_it_is_for_and_by_nobody_else(level: str, clock: Clock) -> None:
    world = World(Vendor())
    assert [door.post("/validate").headers.get("RateLimit") for door in world.doors] == [None] * 4
    world.limit(level, {"limit": 8, "window": 60})
    inside, outside = world.doors[: SHARE[level]], [*world.doors[SHARE[level] :], world.stranger]

    used = [inside[number % len(inside)].post("/authorize") for number in range(8)]
    refused = [door.post("/validate") for door in inside]

    assert [answer.status for answer in used] == [200] * 8
    assert [answer.headers["RateLimit"] for answer in used] == [f'"{level}";r={7 - n};t=8' for n in range(8)]
    assert {answer.headers["RateLimit-Policy"] for answer in (*used, *refused)} == {f'"{level}";q=8;w=60'}
    for answer in refused:
        assert (answer.status, answer["code"], answer["level"]) == (429, "rate_limited", level)
        assert answer["violated-policies"] == [level]
        assert (answer.headers["Retry-After"], answer.headers["RateLimit"]) == ("8", f'"{level}";r=0;t=8')
        assert f"The {level}'s rate limit of 8 in 60 seconds ran out." in answer["detail"]
    assert {door.post("/validate").status for door in outside} == {200}


@pytest.mark.parametrize("window", [1, 60, 3600, 86_400])
def test_rate_limit__refused__passes_when_it_was_told_and_not_before(window: int, clock: Clock) -> None:
    door = Vendor().door(rate_limits=[{"level": "agent", "limit": 2, "window": window}])
    for _ in range(5):
        while (answer := door.post("/validate")).status == 200:
            pass
        wait = int(answer.headers["Retry-After"])
        assert wait == max(1, window // 2)
        if window > 1:
            clock.sleep(wait - 0.001)
            assert door.post("/validate").status == 429
            clock.sleep(0.001)
        else:
            clock.sleep(wait)
        assert door.post("/validate").status == 200


def test_rate_limit__four_windows_at_once__each_refuses_in_its_turn(clock: Clock) -> None:
    limits = [(4, 1), (5, 60), (8, 3600), (10, 86_400)]
    door = Vendor().door(rate_limits=[{"level": "license", "limit": n, "window": w} for n, w in limits])

    def drain() -> tuple[int, list[str], int]:
        passed = 0
        while (answer := door.post("/validate")).status == 200:
            passed += 1
        return passed, answer["violated-policies"], int(answer.headers["Retry-After"])

    assert drain() == (4, ["license"], 1)
    clock.sleep(1)
    assert drain() == (1, ["license-2"], 11)  # five in a minute: the next after 12 seconds, one of which is over
    clock.sleep(60)
    assert drain() == (3, ["license-3"], 450 - 61)
    clock.sleep(3600)
    assert drain() == (2, ["license-4"], 8640 - 3661)
    assert door.post("/validate").headers["RateLimit-Policy"] == (
        '"license";q=4;w=1,"license-2";q=5;w=60,"license-3";q=8;w=3600,"license-4";q=10;w=86400'
    )


def test_rate_limit__burst__is_what_passes_at_once(clock: Clock) -> None:
    """10 in 60 seconds with a burst of 5: five at once, the sixth is told 6 s."""
    door = Vendor().door(rate_limits=[{"level": "agent", "limit": 10, "window": 60, "burst": 5}])
    assert [door.post("/validate").status for _ in range(6)] == [200] * 5 + [429]
    assert door.post("/validate").headers["Retry-After"] == "6"
    clock.sleep(5)
    assert (refused := door.post("/validate")).status == 429
    assert refused.headers["Retry-After"] == "1"
    clock.sleep(1)
    assert door.post("/validate").status == 200
    clock.sleep(54)
    assert door.post("/validate").headers["RateLimit"] == '"agent";r=4;t=6'


def test_rate_limit__batch__costs_what_it_holds_and_at_most_the_burst(clock: Clock) -> None:
    door = Vendor().door(rate_limits=[{"level": "license", "limit": 100, "window": 100, "burst": 10}])

    def record(first: int, count: int) -> Any:
        events = [{"id": f"e-{n}", "meter": "tokens", "quantity": 1} for n in range(first, first + count)]
        return door.post("/usage", {"events": events})

    assert record(0, 4).headers["RateLimit"] == '"license";r=6;t=1'
    refused = record(4, 8)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "2")
    clock.sleep(2)
    assert record(4, 8)["recorded"] == 8
    assert record(20, 500).headers["Retry-After"] == "10"
    clock.sleep(10)
    assert record(20, 500)["recorded"] == 500
    assert door.post("/validate").status == 429


def test_rate_limit__override_of_a_license__takes_the_place_of_its_plans(clock: Clock) -> None:
    world = World(Vendor())
    license = world.vendor.license(rate_limits=[{"level": "license", "limit": 2, "window": 60}])
    door = AgentDoor(world.vendor.agent(license).key_text)
    vendors_door = Door(world.vendor.tenant)
    path = f"/licenses/{license.public_id}"
    assert [door.post("/validate").status for _ in range(3)] == [200, 200, 429]
    assert vendors_door.patch(path, {"rate_limits": [{"level": "license", "limit": 3, "window": 60}]}).status == 200
    assert [door.post("/validate").status for _ in range(4)] == [200, 200, 200, 429]
    assert vendors_door.patch(path, {"rate_limits": []}).status == 200
    # The limiter of the plan's own numbers goes on where it was.
    assert door.post("/validate").status == 429


def test_rate_limit__several_levels_ran_out__the_answer_names_the_one_to_wait_for(clock: Clock) -> None:
    world = World(Vendor())
    world.limit("agent", {"limit": 2, "window": 10})
    world.limit("customer", {"limit": 2, "window": 600})
    door = world.doors[0]
    assert [door.post("/validate").status for _ in range(2)] == [200, 200]
    refused = door.post("/validate")
    assert (refused["level"], refused["violated-policies"]) == ("customer", ["agent", "customer"])
    assert refused.headers["Retry-After"] == "300"
    clock.sleep(300)
    assert door.post("/validate").status == 200


def test_rate_limit__refused_calls__burn_nothing_on_any_level(clock: Clock) -> None:
    world = World(Vendor())
    world.limit("agent", {"limit": 1, "window": 60})
    world.limit("tenant", {"limit": 10, "window": 60})
    assert [world.doors[0].post("/validate").status for _ in range(30)] == [200] + [429] * 29
    assert [world.doors[1].post("/validate").status for _ in range(10)] == [200] * 9 + [429]


def test_rate_limit__flood_of_one_vendor__leaves_the_others_their_answers(clock: Clock) -> None:
    flooded, others = World(Vendor()), [Vendor().door(rate_limits=[{"level": "agent", "limit": 20, "window": 60}])]
    others.append(Vendor().door())
    flooded.limit("tenant", {"limit": 25, "window": 60})

    def calls(door: AgentDoor, count: int) -> list[int]:
        return [door.post("/authorize").status for _ in range(count)]

    work: list[Callable[[], list[int]]] = [partial(calls, door, 40) for door in flooded.doors]
    answers = at_once([*work, *(partial(calls, door, 20) for door in others)])

    of_flood = [status for each in answers[:4] for status in each]  # type: ignore[union-attr]
    assert (of_flood.count(200), of_flood.count(429)) == (25, 135)
    assert answers[4:] == [[200] * 20] * 2


@pytest.mark.parametrize(
    "limits",
    [
        [{"limit": 0, "window": 60}],
        [{"limit": 1, "window": 0}],
        [{"limit": 1, "window": 60, "burst": 0}],
        [{"limit": 1}],
        [{"limit": 1, "window": 60, "level": "planet"}],
        [{"limit": 1, "window": 60}, {"limit": 2, "window": 60}],
        {"limit": 1, "window": 60},
    ],
)
def test_rate_limits__malformed__are_422_and_change_nothing(limits: Any) -> None:
    world = World(Vendor())
    door = Door(world.vendor.tenant)
    for path in (f"/agents/{world.agent.agent.public_id}", f"/customers/{world.acme.public_id}"):
        answer = door.patch(path, {"rate_limits": limits})
        assert answer.status == 422, answer
        assert all(field.startswith("rate_limits") for field in answer.fields)
        assert door.get(path)["rate_limits"] == []
