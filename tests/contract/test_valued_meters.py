"""Meters that do not add up, filters, types and limits of dimensions at the agents' door."""

from __future__ import annotations

import pytest

from tests.agent_door import Vendor

pytestmark = pytest.mark.django_db


@pytest.fixture
def vendor() -> Vendor:
    vendor = Vendor()
    vendor.meter("users", aggregation="unique", dimensions=["user"], value_from="user")
    vendor.meter("seats", aggregation="latest")
    vendor.meter("longest", aggregation="max", dimensions=[{"name": "seconds", "type": "number"}], value_from="seconds")
    vendor.meter("outcomes", aggregation="count", dimensions=["status"], filter={"status": "succeeded"})
    vendor.meter(
        "typed",
        dimensions=[
            {"name": "text", "type": "string"},
            {"name": "number", "type": "number"},
            {"name": "truth", "type": "boolean"},
            {"name": "few", "max_values": 1},
        ],
    )
    return vendor


def test_unique__check_and_consume__agree(vendor: Vendor) -> None:
    door = vendor.door({"meter": "users", "limit": "1"})
    ann, bob = ({"meter": "users", "dimensions": {"user": user}} for user in ("ann", "bob"))
    assert door.post("/authorize", {"usage": [ann]})["allowed"] is True
    for mode in ("check", "consume"):
        assert door.post("/authorize", {"usage": [bob], "mode": mode})["code"] == "quota_exceeded"
        assert door.post("/authorize", {"usage": [ann], "mode": mode})["allowed"] is True
    assert door.post("/validate", {})["quotas"][0]["used"] == "1"
    missing = door.post("/usage", {"id": "a", "meter": "users"})
    assert (missing.status, missing["code"]) == (422, "dimension_required")


@pytest.mark.parametrize("meter", ["users", "seats", "longest"])
def test_hold__on_a_meter_that_does_not_add_up__is_422(vendor: Vendor, meter: str) -> None:
    answer = vendor.door().post("/authorize", {"usage": [{"meter": meter, "quantity": "1"}], "mode": "hold"})
    assert (answer.status, answer["errors"][0]["code"]) == (422, "aggregation_unsupported")


def test_latest__check_asks_what_the_value_would_be(vendor: Vendor) -> None:
    door = vendor.door({"meter": "seats", "limit": "10"})
    door.post("/usage", {"id": "a", "meter": "seats", "quantity": "9"})
    for quantity, allowed in (("11", False), ("10", True), ("1", True)):
        asked = {"usage": [{"meter": "seats", "quantity": quantity}], "mode": "check"}
        assert door.post("/authorize", asked)["allowed"] is allowed
    assert door.post("/authorize", {"usage": [{"meter": "seats", "quantity": "1"}]})["quotas"][0]["used"] == "1"


def test_max__of_a_dimension__takes_numbers_only(vendor: Vendor) -> None:
    door = vendor.door({"meter": "longest", "limit": "60"})
    events = [{"id": str(n), "meter": "longest", "dimensions": {"seconds": s}} for n, s in enumerate([3.5, "7", 2])]
    events += [{"id": "bad", "meter": "longest", "dimensions": {"seconds": "long"}}]
    answer = door.post("/usage", {"events": events})
    assert [result["status"] for result in answer["results"]] == ["recorded"] * 3 + ["rejected"]
    assert answer["results"][3]["code"] == "dimension_invalid"
    assert answer["quotas"][0]["used"] == "7"


def test_filter__what_does_not_match__is_recorded_and_flagged(vendor: Vendor) -> None:
    door = vendor.door({"meter": "outcomes", "limit": "5"})
    events = [
        {"id": status, "meter": "outcomes", "dimensions": {"status": status}} for status in ("failed", "succeeded")
    ]
    answer = door.post("/usage", {"events": events})
    assert [result["status"] for result in answer["results"]] == ["recorded", "recorded"]
    assert [result.get("flags") for result in answer["results"]] == [["not_counted"], None]
    assert answer["quotas"][0]["used"] == "1"


@pytest.mark.parametrize(
    ("dimensions", "fault"),
    [
        ({"text": "x", "number": 1.50, "truth": True}, None),
        ({"number": "1.5", "truth": "false"}, None),
        ({"text": 5}, "text"),
        ({"number": "five"}, "number"),
        ({"number": True}, "number"),
        ({"truth": "yes"}, "truth"),
        ({"truth": 1}, "truth"),
    ],
)
def test_types__of_dimensions__are_checked_by_event(vendor: Vendor, dimensions: object, fault: str | None) -> None:
    answer = vendor.door().post("/usage", {"id": "a", "meter": "typed", "quantity": 1, "dimensions": dimensions})
    if fault is None:
        assert answer.status == 200, answer
    else:
        assert (answer.status, answer["code"], answer["errors"][0]["field"]) == (
            *(422, "dimension_invalid"),
            f"dimensions.{fault}",
        )


def test_values__beyond_the_limit__count_elsewhere_and_a_repeat_is_the_same_payload(vendor: Vendor) -> None:
    door = vendor.door()
    for id, few, flags in (("1", "a", None), ("2", "b", ["dimension_overflow"]), ("3", "a", None)):
        event = {"id": id, "meter": "typed", "quantity": 1, "dimensions": {"few": few}}
        assert door.post("/usage", event)["results"][0].get("flags") == flags
        assert door.post("/usage", event)["duplicates"] == 1
    assert door.post("/usage", {"id": "2", "meter": "typed", "quantity": 1, "dimensions": {"few": "c"}}).status == 409
