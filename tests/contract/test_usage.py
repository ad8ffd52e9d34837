"""`POST /agent/v1/usage`, as the contract promises it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from licenses.services.license_states import suspend_license
from metering.models import UsageEvent
from tests.agent_door import AgentDoor, Vendor
from tests.factories import ACTOR

pytestmark = pytest.mark.django_db

NOW = datetime.now(UTC)


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
def door(vendor: Vendor) -> AgentDoor:
    return vendor.door({"limit": "1000"})


def event(id: str, quantity: object = "1", **more: Any) -> dict[str, Any]:
    return {"id": id, "meter": "tokens", "quantity": quantity, **more}


def used(door: AgentDoor) -> str:
    return str(door.post("/validate", {})["quotas"][0]["used"])


def test_usage__one_event__is_recorded_with_exactly_these_members(door: AgentDoor) -> None:
    at = NOW - timedelta(minutes=5)

    answer = door.post("/usage", event("call-7f3a", "1532", occurred_at=at.isoformat(), dimensions={"model": "large"}))

    stored = UsageEvent.objects.get()
    [quota] = answer.json.pop("quotas")
    assert (answer.status, answer.json) == (
        200,
        {
            "recorded": 1,
            "duplicates": 0,
            "conflicts": 0,
            "rejected": 0,
            "results": [{"id": "call-7f3a", "event_id": stored.public_id, "status": "recorded"}],
        },
    )
    assert (quota["used"], quota["remaining"], quota["state"]) == ("1532", "0", "exceeded")
    assert (stored.quantity, stored.occurred_at, stored.kind) == (1532, at, "usage")


def test_usage__above_a_hard_quota__is_counted_and_the_next_authorize_is_refused(door: AgentDoor) -> None:
    assert door.post("/usage", event("a", "1001"))["recorded"] == 1
    refused = door.post("/authorize", {"usage": [{"meter": "tokens", "quantity": "0.000000000001"}]})
    assert (refused["allowed"], refused["code"]) == (False, "quota_exceeded")


def test_usage__license_suspended__is_recorded_all_the_same(vendor: Vendor) -> None:
    license = vendor.license({"limit": "10"})
    suspend_license(tenant=vendor.tenant, license_id=license.id, actor=ACTOR)
    door = AgentDoor(vendor.agent(license).key_text)
    assert door.post("/usage", event("a", "3"))["recorded"] == 1
    assert used(door) == "3"


def test_usage__retries__are_compared_by_meaning(door: AgentDoor) -> None:
    at = NOW.replace(microsecond=0)
    local = at.astimezone(datetime.now().astimezone().tzinfo)
    first = door.post("/usage", event("a", "5", occurred_at=at.isoformat(), dimensions={"model": "5"}))
    again = [
        door.post("/usage", event("a", 5.0, occurred_at=local.isoformat(), dimensions={"model": 5.0})),
        door.post("/usage", event("a", "5e0", dimensions={"model": "5"})),
    ]
    assert [answer["duplicates"] for answer in again] == [1, 1]
    assert {answer["results"][0]["event_id"] for answer in again} == {first["results"][0]["event_id"]}
    assert used(door) == "5"


@pytest.mark.parametrize("later", [{"quantity": "6"}, {"dimensions": {"model": "large"}}, {"meter": "calls"}])
def test_usage__lone_event_with_a_known_id_and_another_payload__is_409(door: AgentDoor, later: dict[str, Any]) -> None:
    door.post("/usage", event("a", "5"))
    answer = door.post("/usage", {**event("a", "5"), **later})
    assert (answer.status, answer["code"], used(door)) == (409, "id_conflict", "5")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"meter": "no_such_meter"}, "unknown_meter"),
        ({"quantity": "-1"}, "quantity_negative"),
        ({"quantity": "1e19"}, "quantity_out_of_range"),
        ({"quantity": "0.0000000000001"}, "quantity_too_precise"),
        ({"quantity": "NaN"}, "quantity_invalid"),
        ({"quantity": None}, "quantity_required"),
        ({"occurred_at": "2020-01-01T00:00:00Z"}, "event_too_old"),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "event_too_old"),
        ({"occurred_at": "9999-12-31T23:59:59-14:00"}, "event_in_future"),
        ({"dimensions": {"colour": "red"}}, "dimension_unknown"),
        ({"dimensions": {"model": "x" * 201}}, "dimension_too_long"),
        ({"id": "a\u0001"}, "event_invalid"),
    ],
)
def test_usage__fault_in_one_event__is_422_alone_and_its_own_result_among_others(
    door: AgentDoor, fault: dict[str, Any], code: str
) -> None:
    bad = {**event("bad"), **fault}
    alone = door.post("/usage", bad)
    batch = door.post("/usage", {"events": [event("first"), bad, event("last")]})
    assert (alone.status, alone["code"], alone["errors"][0]["code"]) == (422, code, code)
    assert [(each["status"], each.get("code")) for each in batch["results"]] == [
        ("recorded", None),
        ("rejected", code),
        ("recorded", None),
    ]
    assert (batch.status, batch["recorded"], batch["rejected"], batch["results"][1]["id"]) == (200, 2, 1, bad["id"])
    assert used(door) == "2"


@pytest.mark.parametrize(
    "bad",
    [
        '{"id": "bad", "meter": "tokens", "quantity": "1", "colour": "red"}',
        '{"id": "bad", "meter": "tokens", "quantity": "1", "occurred_at": "yesterday"}',
        '{"id": "bad", "meter": "tokens", "quantity": "1", "occurred_at": "2026-11-23T09:00:00"}',
        '{"id": "bad", "quantity": "1"}',
        '{"id": "bad", "meter": 7, "quantity": "1"}',
        '{"id": "bad", "meter": "tokens", "quantity": "1", "dimensions": {"model": "\\u0000"}}',
        '{"id": "bad", "meter": "tokens", "quantity": "1", "dimensions": {"model": "\\ud800"}}',
        '{"id": "bad", "meter": "tokens", "quantity": "1", "quantity": "2"}',
        '{"id": "bad", "meter": "tokens", "quantity": 1e400}',
    ],
)
def test_usage__event_that_cannot_be_read__never_loses_its_neighbours(door: AgentDoor, bad: str) -> None:
    raw = f'{{"events": [{json.dumps(event("first"))}, {bad}, {json.dumps(event("last"))}]}}'.encode()
    answer = door.post("/usage", raw=raw)
    assert (answer.status, answer["recorded"], answer["rejected"]) == (200, 2, 1)
    result = answer["results"][1]
    assert (result["id"], result["status"]) == ("bad", "rejected")
    assert result["code"] in {"event_invalid", "quantity_out_of_range"}
    assert used(door) == "2"


def test_usage__things_that_are_no_events__are_rejected_without_an_id(door: AgentDoor) -> None:
    answer = door.post("/usage", {"events": [event("a"), None, 7, [], {"id": 7}, {"id": ""}]})
    assert answer["recorded"] == 1
    assert [(each["id"], each["code"]) for each in answer["results"][1:]] == [(None, "event_invalid")] * 5


def test_usage__same_id_twice_in_a_batch__counts_once(door: AgentDoor) -> None:
    answer = door.post("/usage", {"events": [event("a", "2"), event("a", "2.0"), event("a", "3")]})
    assert [each["status"] for each in answer["results"]] == ["recorded", "duplicate", "conflict"]
    assert (answer["recorded"], answer["duplicates"], answer["conflicts"], answer["rejected"]) == (1, 1, 1, 0)
    assert used(door) == "2"


def test_usage__id_of_an_authorize__is_the_same_id(door: AgentDoor) -> None:
    door.post("/authorize", {"id": "x", "usage": [{"meter": "tokens", "quantity": "5"}]})
    answer = door.post("/usage", event("x", "5"))
    assert (answer.status, answer["code"], used(door)) == (409, "id_conflict", "5")


def test_usage__count_meter__counts_events_whatever_their_quantity(vendor: Vendor) -> None:
    door = vendor.door({"meter": "calls", "limit": "100"})
    events = [{"id": "a", "meter": "calls"}, {"id": "b", "meter": "calls", "quantity": "7"}]
    answer = door.post("/usage", {"events": events})
    assert (answer["recorded"], answer["quotas"][0]["used"]) == (2, "2")


def test_usage__meter_by_its_id__is_the_same_meter(vendor: Vendor, door: AgentDoor) -> None:
    door.post("/usage", {**event("a"), "meter": vendor.tokens.public_id})
    assert door.post("/usage", event("a"))["duplicates"] == 1


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"events": [], "colour": "red"}, "colour", "unknown_field"),
        ({"events": {}}, "events", "wrong_type"),
        ({"events": [event(str(number)) for number in range(1001)]}, "events", "too_many"),
        ([], "", "wrong_type"),
        ({}, "id", "required"),
    ],
)
def test_usage__broken_envelope__is_422(door: AgentDoor, body: Any, field: str, code: str) -> None:
    answer = door.post("/usage", body)
    assert answer.status == 422
    assert (field, code) in {(each["field"], each["code"]) for each in answer["errors"]}


def test_usage__empty_batch__is_an_empty_answer(door: AgentDoor) -> None:
    answer = door.post("/usage", {"events": []})
    assert (answer.status, answer["recorded"], answer["results"], answer["quotas"]) == (200, 0, [], [])


def cloud_event(id: str = "1", **more: Any) -> dict[str, Any]:
    made_up = {"specversion": "1.0", "id": id, "source": "/agents/7", "type": "tokens", "data": {"quantity": "3"}}
    return {**made_up, **more}


def test_usage__cloud_event__is_an_event_with_source_and_id(door: AgentDoor) -> None:
    body = cloud_event(
        time=NOW.isoformat(), traceparent="00-x", subject="s", datacontenttype="application/json; charset=utf-8"
    )
    answers = [door.post("/usage", body, content_type="application/cloudevents+json") for _ in range(2)]
    assert [answer["results"][0]["id"] for answer in answers] == ["/agents/7 1"] * 2
    assert [answer["recorded"] for answer in answers] == [1, 0]
    assert answers[1]["duplicates"] == 1
    assert used(door) == "3"


def test_usage__batch_of_cloud_events__keeps_the_good_ones(door: AgentDoor) -> None:
    events = [
        cloud_event("1"),
        cloud_event("2", type="nothing.of.ours"),
        cloud_event("3", specversion="0.3"),
        cloud_event("4", source="/" + "x" * 255),
        cloud_event("5", datacontenttype="text/xml"),
        cloud_event("6", data=None),
        cloud_event("7", data={"quantity": "1", "colour": "red"}),
        cloud_event("8", data={"quantity": "4", "dimensions": {"model": "large"}}),
    ]
    answer = door.post("/usage", events, content_type="application/cloudevents-batch+json")
    assert (answer["recorded"], answer["rejected"]) == (2, 6)
    assert [each.get("code") for each in answer["results"]] == [
        None,
        "unknown_meter",
        "event_invalid",
        "event_invalid",
        "event_invalid",
        "quantity_required",
        "event_invalid",
        None,
    ]
    assert answer["results"][2]["id"] == "/agents/7 3"
    assert used(door) == "7"


def test_usage__cloud_event_as_plain_json__is_422(door: AgentDoor) -> None:
    assert door.post("/usage", cloud_event()).status == 422
