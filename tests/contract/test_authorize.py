"""`POST /agent/v1/authorize`, as the contract promises it."""

from __future__ import annotations

from typing import Any

import pytest

from licenses.services.license_states import revoke_license, suspend_license
from metering.models import EventId, Hold, UsageEvent
from tests.agent_door import AgentDoor, Vendor
from tests.factories import ACTOR

pytestmark = pytest.mark.django_db


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


def tokens(quantity: object, **more: Any) -> dict[str, Any]:
    return {"usage": [{"meter": "tokens", "quantity": quantity}], **more}


def test_authorize__consume__counts_and_says_what_is_left(vendor: Vendor) -> None:
    door = vendor.door({"limit": "2000"})
    asked = {
        "id": "step-42",
        "feature": "models",
        "value": "large",
        "usage": [{"meter": "tokens", "quantity": "1200", "dimensions": {"model": "large"}}],
        "mode": "consume",
    }

    answer = door.post("/authorize", asked)

    event = UsageEvent.objects.get()
    [quota] = answer.json.pop("quotas")
    assert (answer.status, answer.json) == (
        200,
        {
            "allowed": True,
            "code": "allowed",
            "codes": [],
            "hold": None,
            "event_ids": [event.public_id],
            "replayed": False,
        },
    )
    assert (quota["used"], quota["remaining"], quota["state"]) == ("1200", "800", "ok")
    assert (event.client_id, event.quantity, event.dimensions, event.kind) == (
        "step-42",
        1200,
        {"model": "large"},
        "consume",
    )


def test_authorize__no_room__is_a_200_with_every_number_and_writes_nothing(vendor: Vendor) -> None:
    door = vendor.door({"limit": "50"}, {"limit": "10", "scope": "agent", "period": "lifetime"})
    door.post("/authorize", tokens("8"))

    answer = door.post("/authorize", tokens("60", id="big"))

    by_agent, by_license = answer["codes"]
    assert (answer.status, answer["allowed"], answer["code"]) == (200, False, "quota_exceeded")
    assert (by_agent["retryable"], by_agent["until"], by_agent["resets_at"], by_agent["remaining"]) == (
        False,
        None,
        None,
        "2",
    )
    assert by_agent["message"]
    del by_license["message"]
    resets_at = answer["quotas"][1]["resets_at"]
    assert by_license == {
        "code": "quota_exceeded",
        "blocks": True,
        "retryable": True,
        "until": resets_at,
        "meter": "tokens",
        "scope": "license",
        "quota": answer["quotas"][1]["id"],
        "limit": "50",
        "used": "8",
        "held": "0",
        "asked": "60",
        "remaining": "42",
        "resets_at": resets_at,
    }
    assert (answer["event_ids"], answer["hold"], UsageEvent.objects.count(), EventId.objects.count()) == (
        [],
        None,
        1,
        1,
    )


def test_authorize__refused_id__was_not_remembered(vendor: Vendor) -> None:
    door = vendor.door({"limit": "10"})
    assert door.post("/authorize", tokens("11", id="x"))["allowed"] is False
    assert door.post("/authorize", tokens("10", id="x"))["allowed"] is True


def test_authorize__same_id_again__is_the_same_answer_even_when_nothing_is_left(vendor: Vendor) -> None:
    door = vendor.door({"limit": "10"})
    first = door.post("/authorize", tokens("10", id="x"))
    again = door.post("/authorize", tokens(10.0, id="x"))
    by_header = door.post("/authorize", tokens("1e1"), headers={"Idempotency-Key": '"x"'})
    assert [first["replayed"], again["replayed"], by_header["replayed"]] == [False, True, True]
    assert first["event_ids"] == again["event_ids"] == by_header["event_ids"]
    assert (again["allowed"], again["quotas"][0]["used"], UsageEvent.objects.count()) == (True, "10", 1)


def test_authorize__same_id_for_something_else__is_409(vendor: Vendor) -> None:
    door = vendor.door({"limit": "10"})
    door.post("/authorize", tokens("1", id="x"))
    answers = [
        door.post("/authorize", tokens("2", id="x")),
        door.post("/authorize", tokens("1", id="x", feature="web_search")),
        door.post("/authorize", tokens("1", id="x", mode="hold")),
    ]
    assert [(answer.status, answer["code"]) for answer in answers] == [(409, "id_conflict")] * 3
    assert door.post("/validate")["quotas"][0]["used"] == "1"


def test_authorize__same_id_after_the_license_was_revoked__is_refused_and_stays_counted(
    vendor: Vendor, django_capture_on_commit_callbacks: Any
) -> None:
    license = vendor.license({"limit": "10"})
    door = AgentDoor(vendor.agent(license).key_text)
    door.post("/authorize", tokens("4", id="x"))
    with django_capture_on_commit_callbacks(execute=True):
        revoke_license(tenant=vendor.tenant, license_id=license.id, actor=ACTOR)

    answer = door.post("/authorize", tokens("4", id="x"))

    assert (answer["allowed"], answer["code"], answer["event_ids"]) == (False, "license_revoked", [])
    assert answer["quotas"][0]["used"] == "4"


def test_authorize__license_and_quota_refuse__both_are_named(vendor: Vendor) -> None:
    license = vendor.license({"limit": "10"})
    suspend_license(tenant=vendor.tenant, license_id=license.id, actor=ACTOR)
    answer = AgentDoor(vendor.agent(license).key_text).post("/authorize", tokens("11", feature="flying"))
    assert answer["code"] == "license_suspended"
    assert [each["code"] for each in answer["codes"]] == [
        "license_suspended",
        "feature_not_granted",
        "quota_exceeded",
    ]
    assert UsageEvent.objects.count() == 0


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"feature": "web_search"}, "allowed"),
        ({"feature": "models", "value": "small"}, "allowed"),
        ({"feature": "models", "value": ["small", "large"]}, "allowed"),
        ({"feature": "models", "value": "medium"}, "feature_value_not_allowed"),
        ({"feature": "models", "value": ["small", "medium"]}, "feature_value_not_allowed"),
        ({"feature": "max_tools", "value": 20}, "allowed"),
        ({"feature": "max_tools", "value": 20.5}, "feature_value_not_allowed"),
        ({"feature": "flying"}, "feature_not_granted"),
        ({}, "allowed"),
    ],
)
def test_authorize__feature_and_value__are_decided(vendor: Vendor, asked: dict[str, Any], code: str) -> None:
    answer = vendor.door().post("/authorize", asked)
    assert (answer.status, answer["allowed"], answer["code"]) == (200, code == "allowed", code)


def test_authorize__check_with_usage__looks_and_writes_nothing(vendor: Vendor) -> None:
    door = vendor.door({"limit": "10"}, {"limit": "5", "filter": {"model": "large"}})
    room = door.post("/authorize", tokens("10", mode="check"))
    none = door.post("/authorize", tokens("11", mode="check"))
    line = {"meter": "tokens", "quantity": "6", "dimensions": {"model": "large"}}
    filtered = door.post("/authorize", {"usage": [line], "mode": "check"})
    assert [answer["allowed"] for answer in (room, none, filtered)] == [True, False, False]
    assert [each["limit"] for each in filtered["codes"]] == ["5"]
    assert UsageEvent.objects.count() == 0


def test_authorize__several_lines__are_all_or_nothing(vendor: Vendor) -> None:
    door = vendor.door({"limit": "10"}, {"meter": "calls", "limit": "2"})
    lines = [{"meter": "tokens", "quantity": "4"}, {"meter": "calls"}, {"meter": "tokens", "quantity": "4"}]
    first = door.post("/authorize", {"usage": lines})
    second = door.post("/authorize", {"usage": lines})
    assert (first["allowed"], len(first["event_ids"]), second["allowed"]) == (True, 3, False)
    assert {quota["meter"]: quota["used"] for quota in second["quotas"]} == {"tokens": "8", "calls": "1"}


def test_authorize__quotas_in_the_answer__are_those_of_the_meters_asked_for(vendor: Vendor) -> None:
    door = vendor.door({"limit": "10"}, {"meter": "calls", "limit": "2"})
    assert [quota["meter"] for quota in door.post("/authorize", tokens("1"))["quotas"]] == ["tokens"]
    assert [quota["meter"] for quota in door.post("/authorize", {})["quotas"]] == ["calls", "tokens"]


def test_authorize__soft_quota__is_allowed_above_its_limit_up_to_a_ceiling(vendor: Vendor) -> None:
    door = vendor.door({"limit": "10", "mode": "soft", "ceiling": "15"})
    above = door.post("/authorize", tokens("12"))
    too_much = door.post("/authorize", tokens("4"))
    assert (above["allowed"], above["quotas"][0]["state"]) == (True, "overage")
    assert (too_much["allowed"], too_much["codes"][0]["remaining"]) == (False, "3")


def test_authorize__hold__reserves_and_a_repeat_is_the_same_hold(vendor: Vendor) -> None:
    door = vendor.door({"limit": "100"})
    asked = tokens("60", id="plan-1", mode="hold", ttl=60, on_excess="cap")
    answers = [door.post("/authorize", asked), door.post("/authorize", {**asked, "ttl": 90})]
    hold = answers[0]["hold"]
    assert [answer["replayed"] for answer in answers] == [False, True]
    assert answers[0]["hold"] == answers[1]["hold"]
    assert (hold["id"][:4], hold["usage"], hold["status"], hold["on_excess"]) == (
        "hld_",
        [{"meter": "tokens", "quantity": "60", "dimensions": {}}],
        "open",
        "cap",
    )
    assert (answers[1]["quotas"][0]["held"], answers[1]["event_ids"], Hold.objects.count()) == ("60", [], 1)
    assert door.post("/authorize", tokens("41"))["allowed"] is False


@pytest.mark.parametrize(
    ("asked", "field", "code"),
    [
        ({"mode": "consume"}, "usage", "required"),
        ({"mode": "hold", "usage": []}, "usage", "required"),
        ({"value": "large"}, "feature", "required"),
        (tokens("1", ttl=5), "ttl", "only_for_holds"),
        (tokens("1", mode="hold", ttl=0), "ttl", "invalid"),
        (tokens("1", mode="hold", ttl="5"), "ttl", "wrong_type"),
        (tokens("1", mode="hold", on_excess="explode"), "on_excess", "invalid"),
        (tokens("1", mode="drink"), "mode", "invalid"),
        (tokens("-1"), "usage.0.quantity", "quantity_negative"),
        (tokens("1.0000000000001"), "usage.0.quantity", "quantity_too_precise"),
        (tokens("1e19"), "usage.0.quantity", "quantity_out_of_range"),
        (tokens("NaN"), "usage.0.quantity", "quantity_invalid"),
        (tokens(True), "usage.0.quantity", "quantity_invalid"),
        (tokens([1]), "usage.0.quantity", "quantity_invalid"),
        (tokens(None), "usage.0.quantity", "quantity_required"),
        ({"usage": [{"meter": "tokens"}]}, "usage.0.quantity", "quantity_required"),
        ({"usage": [{"meter": "calls", "quantity": "2"}]}, "usage.0.quantity", "quantity_invalid"),
        ({"usage": [{"meter": "nope", "quantity": "2"}]}, "usage.0.meter", "unknown_meter"),
        (
            {"usage": [{"meter": "tokens", "quantity": "1", "dimensions": {"colour": "red"}}]},
            "usage.0.dimensions.colour",
            "dimension_unknown",
        ),
        (
            {"usage": [{"meter": "tokens", "quantity": "1", "dimensions": {"model": []}}]},
            "usage.0.dimensions",
            "dimension_invalid",
        ),
        (tokens("1", id=""), "id", "invalid"),
        (tokens("1", id="x" * 256), "id", "invalid"),
        (tokens("1", id="a\nb"), "id", "invalid"),
        ({"usage": [{"meter": "tokens", "quantity": "1"}] * 101}, "usage", "invalid"),
    ],
)
def test_authorize__fields_that_do_not_hold__are_422_naming_them(
    vendor: Vendor, asked: dict[str, Any], field: str, code: str
) -> None:
    answer = vendor.door().post("/authorize", asked)
    assert (answer.status, answer["code"]) == (422, "invalid")
    assert [(each["field"], each["code"]) for each in answer["errors"]] == [(field, code)]
    assert UsageEvent.objects.count() == 0


def test_authorize__another_id_in_the_header__is_422(vendor: Vendor) -> None:
    answer = vendor.door().post("/authorize", tokens("1", id="a"), headers={"Idempotency-Key": "b"})
    assert (answer.status, answer["errors"][0]["code"]) == (422, "id_mismatch")
