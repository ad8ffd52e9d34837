"""Receipts: usage from offline, reported against the lease that a token carried."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from common.clock import real_clock
from metering.models import Hold, HoldLine, UsageEvent
from metering.services.verification import verify_ledger
from tests.agent_door import AgentDoor, Vendor
from tests.parallel import at_once

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


def leased(door: AgentDoor, quantity: str = "400", **line: Any) -> str:
    answer = door.post("/tokens", {"lease": [{"meter": "tokens", "quantity": quantity, **line}]})
    assert answer.status == 201, answer
    return str(answer["hold_id"])


def receipt(hold: str, id: str, quantity: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "meter": "tokens", "quantity": quantity, "hold_id": hold, **more}


def standing(door: AgentDoor) -> tuple[str, str]:
    [quota] = [quota for quota in door.get("/quotas")["data"] if quota["meter"] == "tokens"]
    return quota["used"], quota["held"]


def is_proven() -> bool:
    return not verify_ledger().differences


def test_receipt__of_a_lease__counts_and_gives_back_as_much(vendor: Vendor) -> None:
    door = vendor.door({"limit": "1000"})
    hold = leased(door)
    assert standing(door) == ("0", "400")

    answer = door.post("/usage", receipt(hold, "r-1", "150"))

    assert (answer.status, answer["recorded"]) == (200, 1)
    assert standing(door) == ("150", "250")
    [open_hold] = door.get("/holds")["data"]
    assert (open_hold["status"], open_hold["settled"]) == ("open", ["150"])
    assert is_proven()


def test_receipt__sent_again__counts_and_gives_back_once(vendor: Vendor) -> None:
    door = vendor.door({"limit": "1000"})
    hold = leased(door)
    events = [receipt(hold, "r-1", "100"), receipt(hold, "r-2", "50"), receipt(hold, "r-1", "100.0")]

    first = door.post("/usage", {"events": events})
    second = door.post("/usage", {"events": events})
    conflict = door.post("/usage", receipt(hold, "r-1", "101"))

    assert [result["status"] for result in first["results"]] == ["recorded", "recorded", "duplicate"]
    assert second["duplicates"] == 3
    assert (conflict.status, conflict["code"]) == (409, "id_conflict")
    assert standing(door) == ("150", "250")
    assert UsageEvent.objects.count() == 2
    assert is_proven()


def test_receipts__in_any_order_and_over_several_days__come_to_the_same(vendor: Vendor) -> None:
    now = real_clock().now()
    seen = set()
    for order in permutations([("a", "100", 0), ("b", "30", 2), ("c", "70", 1)]):
        door = vendor.door({"limit": "100000"})
        hold = leased(door)
        for id, quantity, days in order:
            at = (now - timedelta(days=days)).isoformat()
            assert door.post("/usage", receipt(hold, id, quantity, occurred_at=at))["recorded"] == 1
        [open_hold] = door.get("/holds")["data"]
        seen.add((open_hold["settled"][0], standing(door)[1]))

    assert seen == {("200", "200")}
    assert is_proven()


def test_receipts__more_than_was_set_aside__all_count(vendor: Vendor) -> None:
    door = vendor.door({"limit": "1000"})
    hold = leased(door, "100")

    answer = door.post("/usage", {"events": [receipt(hold, f"r-{number}", "60") for number in range(3)]})

    assert answer["recorded"] == 3
    assert standing(door) == ("180", "0")
    assert is_proven()


def test_receipt__lease_expired_or_given_back__is_plain_usage(vendor: Vendor) -> None:
    door = vendor.door({"limit": "1000"})
    expired, released = leased(door, "100"), leased(door, "200")
    Hold.objects.filter(usage__0__quantity="100").update(expires_at=real_clock().now())
    HoldLine.objects.filter(quantity=100).update(expires_at=real_clock().now())
    door.post(f"/holds/{released}/release")

    for number, hold in enumerate((expired, released)):
        assert door.post("/usage", receipt(hold, f"r-{number}", "30"))["recorded"] == 1

    assert standing(door) == ("60", "0")
    assert is_proven()


def test_receipt__of_another_meter_or_dimensions__leaves_the_lease_alone(vendor: Vendor) -> None:
    door = vendor.door({"limit": "1000"})
    hold = leased(door, "100", dimensions={"model": "large"})

    door.post("/usage", {"id": "r-1", "meter": "calls", "hold_id": hold})
    door.post("/usage", receipt(hold, "r-2", "5", dimensions={"model": "small"}))
    door.post("/usage", receipt(hold, "r-3", "10", dimensions={"model": "large"}))

    assert standing(door) == ("15", "90")
    assert is_proven()


@pytest.mark.parametrize("whose", ["nobody's", "malformed", "another agent's", "another workspace's"])
def test_receipt__hold_that_is_not_ones_own__is_rejected_alone(vendor: Vendor, whose: str) -> None:
    license = vendor.license({"limit": "1000"})
    door, sibling = (AgentDoor(vendor.agent(license).key_text) for _ in range(2))
    other = Vendor().door({"limit": "1000"})
    hold = {
        "nobody's": "hld_01kaqj5k8hf4e9w8zq5m0x3d7e",
        "malformed": "hold-1",
        "another agent's": leased(sibling),
        "another workspace's": leased(other),
    }[whose]

    batch = door.post(
        "/usage", {"events": [receipt(hold, "r-1", "5"), {"id": "e-1", "meter": "tokens", "quantity": "7"}]}
    )
    lone = door.post("/usage", receipt(hold, "r-2", "5"))

    assert [(result["status"], result.get("code")) for result in batch["results"]] == [
        ("rejected", "unknown_hold"),
        ("recorded", None),
    ]
    assert (lone.status, lone["code"]) == (422, "unknown_hold")
    assert standing(door)[0] == "7"


def test_receipts__then_settled__gives_the_rest_back(vendor: Vendor) -> None:
    door = vendor.door({"limit": "1000"})
    hold = leased(door, "400")
    door.post("/usage", receipt(hold, "r-1", "150"))

    settled = door.post(f"/holds/{hold}/settle", {"usage": [{"meter": "tokens", "quantity": "20"}]})

    assert settled["hold"]["status"] == "settled"
    assert standing(door) == ("170", "0")
    assert door.post("/usage", receipt(hold, "r-2", "5"))["recorded"] == 1
    assert standing(door) == ("175", "0")
    assert is_proven()


def test_receipts__from_many_at_once__add_up_and_never_give_back_twice(vendor: Vendor) -> None:
    door = vendor.door({"limit": "10000"})
    hold = leased(door, "400")

    def send(number: int) -> Any:
        return door.post("/usage", {"events": [receipt(hold, f"r-{each}", "20") for each in range(number, number + 4)]})

    answers = at_once([lambda number=number: send(number) for number in (0, 2, 4, 6, 0, 2)])  # type: ignore[misc]

    assert all(not isinstance(answer, Exception) and answer.status == 200 for answer in answers), answers
    assert standing(door) == ("200", "200")
    assert is_proven()


def test_receipt__of_a_revoked_licence__is_a_fact_all_the_same(vendor: Vendor) -> None:
    from licenses.services.license_states import suspend_license
    from tests.factories import ACTOR

    license = vendor.license({"limit": "1000"})
    door = AgentDoor(vendor.agent(license).key_text)
    hold = leased(door)
    suspend_license(tenant=vendor.tenant, license_id=license.id, actor=ACTOR)

    assert door.post("/usage", receipt(hold, "r-1", "150"))["recorded"] == 1
    assert standing(door) == ("150", "250")
