"""Copies of an agent, told apart by the label that they send."""

from __future__ import annotations

from datetime import timedelta

import pytest

from common.clock import real_clock
from licenses.services import instances
from tests.agent_door import AgentDoor, Vendor
from tests.vendor_api.door import Door

pytestmark = pytest.mark.django_db


def test_instances__each_label_counted__seen_when_and_how_often() -> None:
    vendor = Vendor()
    made = vendor.agent(vendor.license(), kind="fleet")
    lone = vendor.agent(made.agent.license)
    agent, door = AgentDoor(made.key_text), Door(vendor.tenant)
    before = real_clock().now()

    for label in ("pod-1", "pod-2", "pod-1"):
        assert agent.post("/validate", headers={"Permeter-Instance": label}).status == 200
    agent.get("/self", headers={"Permeter-Instance": "pod-2"})
    agent.post("/validate")

    listed = door.get(f"/agents/{made.agent.public_id}/instances")
    assert [(each["label"], each["calls"]) for each in listed["data"]] == [("pod-2", 2), ("pod-1", 2)]
    assert all(each["last_seen_at"] >= before.isoformat()[:19] for each in listed["data"])
    assert door.get(f"/agents/{made.agent.public_id}")["instances"] == {"active": 2}
    shown = {each["id"]: each["instances"] for each in door.get("/agents")["data"]}
    assert shown == {made.agent.public_id: {"active": 2}, lone.agent.public_id: {"active": 0}}
    assert door.get(f"/agents/{lone.agent.public_id}/instances").json == {"data": [], "next_cursor": None}


@pytest.mark.parametrize("label", ["x" * 129, "caf\u00e9", " a\tb"])
def test_instances__no_label__named_and_nothing_counted(label: str) -> None:
    vendor = Vendor()
    made = vendor.agent(vendor.license())

    refused = AgentDoor(made.key_text).post("/validate", headers={"Permeter-Instance": label})

    assert (refused.status, refused["errors"][0]["field"]) == (422, "Permeter-Instance")
    assert refused["errors"][0]["code"] == "instance_invalid"
    assert instances.read_instances(vendor.tenant.id, made.agent.id) == []
    assert AgentDoor("pm_ak_none").post("/validate", headers={"Permeter-Instance": label}).status == 401


def test_instances__five_minutes_and_a_day__active_then_known_then_swept() -> None:
    vendor = Vendor()
    made = vendor.agent(vendor.license())
    AgentDoor(made.key_text).post("/validate", headers={"Permeter-Instance": "x" * 128})
    [found] = instances.read_instances(vendor.tenant.id, made.agent.id)
    names = (vendor.tenant.id, made.agent.id)

    for later, active in ((instances.ACTIVE, 1), (instances.ACTIVE + timedelta(milliseconds=1), 0)):
        assert instances.count_active(names[0], [names[1]], now=found.last_seen_at + later) == {names[1]: active}
    assert instances.read_instances(*names, now=found.last_seen_at + timedelta(days=1)) == [found]
    assert instances.read_instances(*names, now=found.last_seen_at + timedelta(days=1, milliseconds=1)) == []
    assert instances.read_instances(*names) == []


def test_instances__more_than_are_kept__the_oldest_makes_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instances, "MOST", 3)
    vendor = Vendor()
    made = vendor.agent(vendor.license())
    for number in range(5):
        AgentDoor(made.key_text).post("/validate", headers={"Permeter-Instance": f"pod-{number}"})

    found = instances.read_instances(vendor.tenant.id, made.agent.id)

    assert [(each.label, each.calls) for each in found] == [("pod-4", 1), ("pod-3", 1), ("pod-2", 1)]
