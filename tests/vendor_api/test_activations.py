"""Activations as the vendor sees them: listed, read, released; and plans that demand them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from common.clock import real_clock
from licenses.models import Activation
from tenants.models import OutboxEvent
from tests.agent_door import AgentDoor
from tests.vendor_api.door import Door
from tests.vendor_api.shop import Shop

pytestmark = pytest.mark.django_db


def activated(shop: Shop, **body: Any) -> Any:
    made = AgentDoor(shop.agent_key).post("/activations", body)
    assert made.status == 201, made
    return made.json


def test_plan__activation_fields__are_kept_and_answered(door: Door) -> None:
    shop = Shop(door)
    fields = {
        "activation_limit": 3,
        "activation_required": True,
        "activation_lease": 3600,
        "lapse_policy": "warn",
    }
    made = door.made("/plans", shop.plan_body(code="strict", **fields))
    assert {name: made[name] for name in fields} == fields
    assert {name: shop.plan[name] for name in fields} == {
        "activation_limit": None,
        "activation_required": False,
        "activation_lease": None,
        "lapse_policy": "refuse",
    }
    changed = door.patch("/plans/strict", {"activation_lease": None, "lapse_policy": "refuse"})
    assert (changed["activation_lease"], changed["lapse_policy"], changed["activation_limit"]) == (None, "refuse", 3)


@pytest.mark.parametrize(
    "body", [{"activation_lease": 0}, {"activation_lease": 1.5}, {"lapse_policy": "shrug"}, {"activation_required": 1}]
)
def test_plan__activation_fields_that_do_not_hold__are_422(door: Door, body: Any) -> None:
    shop = Shop(door)
    refused = door.post("/plans", shop.plan_body(code="strict", **body))
    assert (refused.status, list(refused.fields)) == (422, list(body))


def test_list__filters__find_by_licence_agent_fingerprint_and_state(door: Door) -> None:
    shop = Shop(door)
    first, second, third = (
        activated(shop, fingerprint="host-1", label="one"),
        activated(shop, fingerprint="host-2"),
        activated(shop, instance="copy-3"),
    )
    Activation.objects.filter(fingerprint="host-1").update(expires_at=real_clock().now() - timedelta(seconds=1))
    released = door.post(f"/activations/{second['id']}/release", {"reason": "Sold."})
    assert (released.status, released["status"]) == (200, "released")

    def found(**query: str) -> set[str]:
        return {row["id"] for row in door.listed("/activations", **query)}

    everything = {first["id"], second["id"], third["id"]}
    assert found() == everything
    assert found(license=shop.license["id"]) == found(agent=shop.agent["id"]) == found(customer="acme") == everything
    assert found(fingerprint="host-1") == found(status="lapsed") == {first["id"]}
    assert found(status="released") == {second["id"]}
    assert found(status="active") == found(instance="copy-3") == {third["id"]}
    assert found(fingerprint="host-9") == set()
    assert door.get("/activations", status="gone").status == 422


def test_read__release_and_delete__twice_are_as_once(door: Door) -> None:
    shop = Shop(door)
    made = activated(shop, fingerprint="host-1", label="edge box")
    shown = door.get(f"/activations/{made['id']}")
    assert (shown["status"], shown["license"], shown["agent"], shown["fingerprint"], shown["label"]) == (
        "active",
        shop.license["id"],
        shop.agent["id"],
        "host-1",
        "edge box",
    )
    path = f"/activations/{made['id']}"
    first = door.post(f"{path}/release")
    assert first["released_at"] == door.post(f"{path}/release")["released_at"]
    assert door.delete(path).status == 204
    assert OutboxEvent.objects.filter(type="activation.released").count() == 1
    assert door.get(path)["status"] == "released"


def test_validate__by_the_vendor__finds_the_machine(door: Door) -> None:
    shop = Shop(door)
    made = activated(shop, fingerprint="host-1")
    door.patch("/plans/pro", {"activation_required": True})
    path = f"/licenses/{shop.license['id']}/validate"
    assert door.post(path, {})["code"] == "fingerprint_required"
    assert door.post(path, {"fingerprint": "host-2"})["code"] == "not_activated"
    valid = door.post(path, {"fingerprint": "host-1"})
    assert (valid["valid"], valid["activation"]) == (
        True,
        {"id": made["id"], "fingerprint": "host-1", "expires_at": None},
    )
