"""Suspend, resume, revoke and throttle: one agent, a subtree, all of a licence or of a customer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agent_api.use_cases import known_callers
from licenses.models import Agent
from tenants.models import AuditEntry, Epoch
from tests.agent_door import AgentDoor, Vendor
from tests.factories import make_customer, make_test_workspace
from tests.trail import events
from tests.vendor_api.door import Door

pytestmark = pytest.mark.django_db(transaction=True)


class House:
    """A customer with two licences: a tree of four below the first, a lone agent below the second; a neighbour."""

    def __init__(self) -> None:
        self.vendor = Vendor(make_test_workspace())
        self.door = Door(self.vendor.tenant)
        self.customer = make_customer(self.vendor.tenant)
        self.first = self.vendor.license(customer=self.customer)
        self.second = self.vendor.license(customer=self.customer)
        top = self.made("top", self.first)
        left = self.made("left", self.first, top)
        self.made("right", self.first, top)
        self.made("leaf", self.first, left)
        self.made("other", self.second)
        self.made("neighbour", self.vendor.license())

    def made(self, name: str, license: Any, parent: Any = None) -> Agent:
        created = self.vendor.agent(license, parent, name=name)
        self.keys = {**getattr(self, "keys", {}), name: created.key_text}
        self.ids = {**getattr(self, "ids", {}), name: created.agent.public_id}
        return created.agent

    def codes(self) -> dict[str, str]:
        """What each agent is answered: the code, or the status where there is none."""
        answers = {name: AgentDoor(key).post("/validate") for name, key in self.keys.items()}
        return {
            name: answer["code"] if answer.status == 200 else str(answer.status) for name, answer in answers.items()
        }


ALL_VALID = dict.fromkeys(("top", "left", "right", "leaf", "other", "neighbour"), "valid")


def test_suspend__one__those_below_are_refused_with_it__resume__all_back() -> None:
    house = House()
    path = f"/agents/{house.ids['left']}"

    done = house.door.post(f"{path}/suspend", {"reason": "odd"})

    assert (done["agents_changed"], done["status"], done["status_reason"]) == (1, "suspended", "odd")
    assert house.codes() == {**ALL_VALID, "left": "agent_suspended", "leaf": "parent_agent_inactive"}
    assert house.door.post(f"{path}/suspend", {})["agents_changed"] == 0
    assert house.door.post(f"{path}/resume", {})["agents_changed"] == 1
    assert house.codes() == ALL_VALID


def test_suspend__subtree__each_by_itself__the_rest_never_notice() -> None:
    house = House()
    assert house.codes() == ALL_VALID
    known = {name: known_callers.find(_credentials(key)) for name, key in house.keys.items()}
    before = set(Epoch.objects.values_list("kind", "subject_id", "version"))

    done = house.door.post(f"/agents/{house.ids['left']}/suspend", {"subtree": True})

    assert done["agents_changed"] == 2
    assert house.codes() == {**ALL_VALID, "left": "agent_suspended", "leaf": "agent_suspended"}
    left = Agent.objects.get(name="left")
    bumped = set(Epoch.objects.values_list("kind", "subject_id", "version")) - before
    assert bumped == {("agent", left.id, 1)}
    for name in ("top", "right", "other", "neighbour"):
        assert known_callers.find(_credentials(house.keys[name])) is known[name]
    assert [entry.target_id for entry in AuditEntry.objects.filter(action="agent.suspended").order_by("id")] == [
        house.ids["left"],
        house.ids["leaf"],
    ]
    told = [data["agent"] for type, data in events(house.vendor.tenant, "agent.") if type == "agent.suspended"]
    assert told == [house.ids["left"], house.ids["leaf"]]
    assert house.door.post(f"/agents/{house.ids['top']}/resume", {"subtree": True})["agents_changed"] == 2
    assert house.codes() == ALL_VALID


def test_revoke__kills_the_tree__and_nothing_brings_it_back() -> None:
    house = House()

    done = house.door.post(f"/agents/{house.ids['left']}/revoke", {"reason": "stolen"})

    assert (done["agents_changed"], done["status"]) == (2, "revoked")
    assert house.codes() == {**ALL_VALID, "left": "401", "leaf": "401"}
    for path in (f"/licenses/{house.first.public_id}", f"/customers/{house.customer.public_id}"):
        assert house.door.post(f"{path}/agents/resume", {})["agents_changed"] == 0
    for action, body in (("resume", {}), ("suspend", {}), ("throttle", {"limit": 1, "window": 1})):
        refused = house.door.post(f"/agents/{house.ids['leaf']}/{action}", body)
        assert (refused.status, refused.code) == (409, "agent_revoked")
    assert house.codes() == {**ALL_VALID, "left": "401", "leaf": "401"}
    assert house.door.post(f"/agents/{house.ids['left']}/revoke", {})["agents_changed"] == 0


@pytest.mark.parametrize(("of", "others"), [("licenses", ["other", "neighbour"]), ("customers", ["neighbour"])])
def test_all_of_a_licence_or_customer__suspend_resume_revoke__the_others_never_notice(
    of: str, others: list[str]
) -> None:
    house = House()
    mine = [name for name in ALL_VALID if name not in others]
    path = f"/{of}/{house.first.public_id if of == 'licenses' else house.customer.public_id}/agents"
    assert house.codes() == ALL_VALID
    known = {name: known_callers.find(_credentials(house.keys[name])) for name in others}

    assert house.door.post(f"{path}/suspend", {"reason": "audit"}).json == {"agents_changed": len(mine)}
    assert house.codes() == {**ALL_VALID, **dict.fromkeys(mine, "agent_suspended")}
    assert house.door.post(f"{path}/suspend", {}).json == {"agents_changed": 0}
    assert house.door.post(f"{path}/resume", {}).json == {"agents_changed": len(mine)}
    assert house.codes() == ALL_VALID
    assert house.door.post(f"{path}/revoke", {}).json == {"agents_changed": len(mine)}
    assert house.codes() == {**ALL_VALID, **dict.fromkeys(mine, "401")}
    for name in others:
        assert known_callers.find(_credentials(house.keys[name])) is known[name]


def test_throttle__a_lower_rate_for_a_time__ends_by_the_clock() -> None:
    house = House()
    body = {"limit": 2, "window": 3600, "for": 600, "reason": "runs wild"}

    done = house.door.post(f"/agents/{house.ids['left']}/throttle", body)

    assert done["agents_changed"] == 1
    assert {name: done["throttle"][name] for name in ("limit", "window", "burst", "reason")} == {
        "limit": 2,
        "window": 3600,
        "burst": 2,
        "reason": "runs wild",
    }
    left, leaf = AgentDoor(house.keys["left"]), AgentDoor(house.keys["leaf"])
    # What is below counts on it, too.
    assert [left.post("/validate").status, leaf.post("/validate").status] == [200, 200]
    refused = leaf.post("/validate")
    assert (refused.status, refused["level"]) == (429, "agent")
    assert AgentDoor(house.keys["right"]).post("/validate").status == 200
    assert events(house.vendor.tenant, "agent.")[-1][0] == "agent.throttled"

    house.vendor.tenant.clock_offset = timedelta(seconds=601)
    house.vendor.tenant.save()
    known_callers.forget_all()
    assert leaf.post("/validate").status == 200
    assert house.door.get(f"/agents/{house.ids['left']}")["throttle"] is None


@pytest.mark.parametrize(("action", "body"), [("throttle", {"limit": None}), ("resume", {})])
def test_throttle__lifted_or_resumed__calls_pass_again(action: str, body: dict[str, Any]) -> None:
    house = House()
    path = f"/licenses/{house.first.public_id}/agents"
    assert house.door.post(f"{path}/throttle", {"limit": 1, "window": 3600}).json == {"agents_changed": 4}
    right = AgentDoor(house.keys["right"])
    assert [right.post("/validate").status for _ in range(2)] == [200, 429]

    assert house.door.post(f"/agents/{house.ids['top']}/{action}", {**body, "subtree": True})["agents_changed"] == 4

    assert [right.post("/validate").status for _ in range(3)] == [200, 200, 200]
    assert Agent.objects.filter(throttle__isnull=False).count() == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"window": 60}, "limit"),
        ({"limit": 0, "window": 60}, "limit"),
        ({"limit": 5}, "window"),
        ({"limit": 5, "window": 60, "for": 0}, "for"),
        ({"limit": 5, "window": 60, "for": 5, "until": "2999-01-01T00:00:00Z"}, "until"),
        ({"limit": 5, "window": 60, "until": "2020-01-01T00:00:00Z"}, "until"),
        ({"limit": 5, "window": 60, "subtree": "yes"}, "subtree"),
    ],
)
def test_throttle__bad_field__named_and_nothing_changed(body: dict[str, Any], field: str) -> None:
    house = House()

    refused = house.door.post(f"/agents/{house.ids['left']}/throttle", body)

    assert (refused.status, list(refused.fields)) == (422, [field])
    assert Agent.objects.filter(throttle__isnull=False).count() == 0


def test_vendor_child__more_than_its_parent__refused_made_and_changed() -> None:
    vendor = Vendor()
    door = Door(vendor.tenant)
    license = vendor.license()
    parent = vendor.agent(license, features=["web_search"], rate_limits=[{"limit": 10, "window": 60}]).agent
    made = {"license": license.public_id, "parent_id": parent.public_id, "name": "child"}

    for more, field in (
        ({"features": ["models"]}, "features.0"),
        ({"rate_limits": [{"limit": 11, "window": 60}]}, "rate_limits.0.limit"),
    ):
        refused = door.post("/agents", {**made, **more})
        assert (refused.status, refused.code, list(refused.fields)) == (403, "exceeds_parent", [field])
        child = vendor.agent(license, parent).agent
        refused = door.patch(f"/agents/{child.public_id}", more)
        assert (refused.status, refused.code, list(refused.fields)) == (403, "exceeds_parent", [field])


def test_groups__unknown_agent_licence_customer__not_found() -> None:
    stranger, door = House(), Door()
    for path in (
        f"/agents/{stranger.ids['top']}",
        f"/licenses/{stranger.first.public_id}/agents",
        f"/customers/{stranger.customer.public_id}/agents",
    ):
        assert door.post(f"{path}/revoke", {}).status == 404
    assert stranger.codes() == ALL_VALID


def _credentials(key: str) -> known_callers.Credentials:
    return known_callers.Credentials(key)
