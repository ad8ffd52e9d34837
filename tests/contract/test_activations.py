"""Activations at the agents' door: taken, kept and given back, and what `validate` and `authorize` say of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from common.ids import Prefix, encode_id, new_id
from licenses.models import Activation, License
from licenses.services.activations import release_activation
from licenses.services.license_states import suspend_license
from licenses.services.plans import update_plan
from tenants.models import AuditEntry, OutboxEvent
from tests import factories
from tests.agent_door import AgentDoor, Answer, Vendor
from tests.factories import ACTOR

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def vendor() -> Vendor:
    return Vendor(factories.make_test_workspace())


def move(vendor: Vendor, **by: float) -> None:
    """Set the workspace's clock ahead; callers' snapshots are read anew."""
    from common.epochs import EpochKey
    from tenants.domain.enums import EpochKind
    from tenants.services.epochs import bump_epochs

    vendor.tenant.clock_offset = (vendor.tenant.clock_offset or timedelta(0)) + timedelta(**by)
    vendor.tenant.save(update_fields=["clock_offset"])
    bump_epochs(vendor.tenant.id, EpochKey(EpochKind.TENANT, vendor.tenant.id))


def activate(door: AgentDoor, fingerprint: str, **more: Any) -> Answer:
    return door.post("/activations", {"fingerprint": fingerprint, **more})


def events(type: str) -> list[dict[str, Any]]:
    return list(OutboxEvent.objects.filter(type=type).order_by("id").values_list("data", flat=True))


def test_activate__new__201__again__200_and_the_same(vendor: Vendor) -> None:
    door = vendor.door(activation_limit=3)
    first = activate(door, "host-7", label="edge box")
    again = activate(door, "host-7")
    assert (first.status, again.status) == (201, 200)
    assert first.json == again.json
    assert first.json == {
        "id": first["id"],
        "fingerprint": "host-7",
        "instance": None,
        "label": "edge box",
        "expires_at": None,
    }
    assert Activation.objects.count() == 1
    [told] = events("activation.created")
    assert (told["activation"], told["fingerprint"], told["revived"]) == (first["id"], "host-7", False)


def test_activate__over_the_limit__403_with_numbers_and_nothing_made(vendor: Vendor) -> None:
    door = vendor.door(activation_limit=2)
    assert [activate(door, f"host-{number}").status for number in range(2)] == [201, 201]
    refused = activate(door, "host-3")
    assert (refused.status, refused["code"], refused["limit"], refused["current"]) == (
        403,
        "activation_limit_reached",
        2,
        2,
    )
    assert activate(door, "host-1").status == 200
    assert Activation.objects.count() == 2


def test_activate__add_ons__add_up(vendor: Vendor) -> None:
    add_on = factories.make_plan(vendor.product, activation_limit=1)
    license = vendor.license(activation_limit=1, add_ons=[add_on])
    door = AgentDoor(vendor.agent(license).key_text)
    assert [activate(door, f"host-{number}").status for number in range(3)] == [201, 201, 403]


def test_limit_reached__storm__is_told_once_until_a_place_was_taken_again(vendor: Vendor) -> None:
    door = vendor.door(activation_limit=1)
    first = activate(door, "host-1")
    assert {activate(door, "host-2").status for _ in range(5)} == {403}
    assert [(each["limit"], each["current"]) for each in events("activation.limit_reached")] == [(1, 1)]
    assert door.call("DELETE", f"/activations/{first['id']}").status == 204
    assert activate(door, "host-2").status == 201
    assert activate(door, "host-3").status == 403
    assert len(events("activation.limit_reached")) == 2


def test_delete__frees_the_place_at_once__twice_is_the_same(vendor: Vendor) -> None:
    door = vendor.door(activation_limit=1)
    first = activate(door, "host-1")
    path = f"/activations/{first['id']}"
    assert [door.call("DELETE", path).status for _ in range(2)] == [204, 204]
    assert len(events("activation.released")) == 1
    second = activate(door, "host-1")
    assert (second.status, second["id"] == first["id"]) == (201, False)
    beat = door.post(f"{path}/heartbeat")
    assert (beat.status, beat["code"]) == (409, "activation_released")


def test_lease__heartbeats_put_off_its_end__and_at_its_very_end_it_has_lapsed(vendor: Vendor) -> None:
    door = vendor.door(activation_limit=1, activation_lease=3600, activation_required=True)
    first = activate(door, "host-1")
    move(vendor, minutes=59)
    beat = door.post(f"/activations/{first['id']}/heartbeat")
    assert (beat.status, beat["id"]) == (200, first["id"])
    assert beat["expires_at"] > first["expires_at"]
    move(vendor, minutes=59)
    valid = door.post("/validate", {"fingerprint": "host-1"})
    assert (valid["valid"], valid["activation"]["expires_at"], valid["valid_until"]) == (
        True,
        beat["expires_at"],
        beat["expires_at"],
    )
    move(vendor, minutes=1)
    lapsed = door.post("/validate", {"fingerprint": "host-1"})
    assert (lapsed["valid"], lapsed["code"]) == (False, "activation_lapsed")
    assert lapsed["codes"][0]["activation"] == first["id"]
    allowed = door.post("/authorize", {"fingerprint": "host-1"})
    assert (allowed["allowed"], allowed["code"]) == (False, "activation_lapsed")


def test_lapsed__its_place_is_free_for_another__and_its_own_heartbeat_needs_a_place(vendor: Vendor) -> None:
    door = vendor.door(activation_limit=1, activation_lease=60)
    first = activate(door, "host-1")
    assert activate(door, "host-2").status == 403
    move(vendor, seconds=60)
    second = activate(door, "host-2")
    assert second.status == 201
    beat = door.post(f"/activations/{first['id']}/heartbeat")
    assert (beat.status, beat["code"], beat["limit"], beat["current"]) == (403, "activation_limit_reached", 1, 1)
    assert activate(door, "host-1").status == 403
    assert door.call("DELETE", f"/activations/{second['id']}").status == 204
    revived = door.post(f"/activations/{first['id']}/heartbeat")
    assert (revived.status, revived["id"]) == (200, first["id"])
    assert [each["activation"] for each in events("activation.lapsed")] == [first["id"]]
    assert [each["revived"] for each in events("activation.created")] == [False, False, True]


def test_lapse_policy__warn__is_valid_with_a_warning(vendor: Vendor) -> None:
    door = vendor.door(activation_lease=60, activation_required=True, lapse_policy="warn")
    activate(door, "host-1")
    move(vendor, seconds=61)
    answer = door.post("/validate", {"fingerprint": "host-1"})
    assert (answer["valid"], answer["code"]) == (True, "valid")
    assert [(code["code"], code["blocks"]) for code in answer["codes"]] == [("activation_lapsed", False)]


@pytest.mark.parametrize(("path", "verdict"), [("/validate", "valid"), ("/authorize", "allowed")])
def test_required__each_code_and_the_way_out(vendor: Vendor, path: str, verdict: str) -> None:
    door = vendor.door(activation_required=True, activation_limit=1)
    missing = door.post(path, {})
    unknown = door.post(path, {"fingerprint": "host-1"})
    made = activate(door, "host-1")
    fine = door.post(path, {"fingerprint": "host-1"})
    other = door.post(path, {"fingerprint": "host-2"})
    assert [answer["code"] for answer in (missing, unknown, other)] == [
        "fingerprint_required",
        "not_activated",
        "not_activated",
    ]
    assert (fine[verdict], missing[verdict], unknown[verdict]) == (True, False, False)
    door.call("DELETE", f"/activations/{made['id']}")
    assert door.post(path, {"fingerprint": "host-1"})["code"] == "not_activated"


def test_required__consume_without_activation__counts_nothing(vendor: Vendor) -> None:
    door = vendor.door({"limit": "10"}, activation_required=True)
    usage = {"usage": [{"meter": "tokens", "quantity": "4"}], "fingerprint": "host-1"}
    refused = door.post("/authorize", usage)
    assert (refused["allowed"], refused["code"]) == (False, "not_activated")
    assert [quota["used"] for quota in refused["quotas"]] == ["0"]
    activate(door, "host-1")
    allowed = door.post("/authorize", usage)
    assert (allowed["allowed"], [quota["used"] for quota in allowed["quotas"]]) == (True, ["4"])
    held = door.post("/authorize", {**usage, "mode": "hold", "ttl": 60})
    assert door.post(f"/holds/{held['hold']['id']}/extend", {"ttl": 90}).status == 200


def test_required__by_a_plan_that_changes__is_felt_at_once(vendor: Vendor) -> None:
    license = vendor.license()
    door = AgentDoor(vendor.agent(license).key_text)
    assert door.post("/validate")["valid"] is True
    plan = license.carried_plans.get().plan
    update_plan(tenant=vendor.tenant, plan_id=plan.id, actor=ACTOR, activation_required=True)
    assert door.post("/validate")["code"] == "fingerprint_required"


def test_released_by_the_vendor__is_not_activated_from_then_on(vendor: Vendor) -> None:
    door = vendor.door(activation_required=True)
    made = activate(door, "host-1")
    assert door.post("/validate", {"fingerprint": "host-1"})["activation"]["id"] == made["id"]
    release_activation(
        tenant=vendor.tenant, activation_id=Activation.objects.get().id, actor=ACTOR, reason="Machine was sold."
    )
    gone = door.post("/validate", {"fingerprint": "host-1"})
    assert (gone["code"], gone["activation"]) == ("not_activated", None)
    assert AuditEntry.objects.get(action="activation.released").reason == "Machine was sold."


def test_instances__copies_of_one_agent_are_told_apart__other_agents_have_their_own(vendor: Vendor) -> None:
    license = vendor.license(activation_required=True, activation_limit=3)
    door, other = (AgentDoor(vendor.agent(license).key_text) for _ in range(2))
    made = [each.post("/activations", {"instance": "copy-1"}) for each in (door, door, other)]
    assert [answer.status for answer in made] == [201, 200, 201]
    assert made[0]["instance"] == "copy-1"
    assert made[0]["id"] == made[1]["id"] != made[2]["id"]
    assert door.post("/validate", {"instance": "copy-1"})["activation"]["id"] == made[0]["id"]
    assert door.post("/validate", {"fingerprint": "copy-1"})["code"] == "not_activated"
    # A copy is its agent's own: another agent of the licence can do nothing with it.
    assert other.post(f"/activations/{made[0]['id']}/heartbeat").status == 404
    assert other.call("DELETE", f"/activations/{made[0]['id']}").status == 404
    assert door.post("/activations", {"instance": "copy-2"}).status == 201
    assert door.post("/activations", {"instance": "copy-3"}).status == 403


def test_instances__of_a_revoked_agent__hold_no_place(vendor: Vendor) -> None:
    from licenses.services.agent_states import revoke_agent

    license = vendor.license(activation_limit=1)
    made, other = vendor.agent(license), vendor.agent(license)
    assert AgentDoor(made.key_text).post("/activations", {"instance": "copy-1"}).status == 201
    revoke_agent(tenant=vendor.tenant, agent_id=made.agent.id, actor=ACTOR)
    assert AgentDoor(other.key_text).post("/activations", {"instance": "copy-1"}).status == 201


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "fingerprint", "required"),
        ({"fingerprint": ""}, "fingerprint", "blank"),
        ({"fingerprint": "  "}, "fingerprint", "blank"),
        ({"fingerprint": "a\nb"}, "fingerprint", "invalid"),
        ({"fingerprint": "a\x00b"}, "fingerprint", "invalid"),
        ({"instance": ""}, "instance", "blank"),
        ({"fingerprint": "a", "instance": "b"}, "instance", "one_of"),
        ({"fingerprint": "a", "label": "\x07"}, "label", "invalid"),
        ({"fingerprint": "a", "colour": "red"}, "colour", "unknown_field"),
    ],
)
def test_activate__bad_names__422_and_nothing_made(vendor: Vendor, body: Any, field: str, code: str) -> None:
    refused = vendor.door().post("/activations", body)
    assert (refused.status, [(each["field"], each["code"]) for each in refused["errors"]]) == (422, [(field, code)])
    assert Activation.objects.count() == 0


@pytest.mark.parametrize(("length", "status"), [(256, 201), (257, 422)])
@pytest.mark.parametrize("name", ["fingerprint", "instance"])
def test_activate__names__are_at_most_256_characters(vendor: Vendor, name: str, length: int, status: int) -> None:
    assert vendor.door().post("/activations", {name: "ü" * length}).status == status


def test_activate__where_the_licence_does_not_hold__403_with_its_code(vendor: Vendor) -> None:
    license = vendor.license(activation_lease=60)
    door = AgentDoor(vendor.agent(license).key_text)
    made = activate(door, "host-1")
    suspend_license(tenant=vendor.tenant, license_id=license.id, actor=ACTOR)
    refused = activate(door, "host-2")
    assert (refused.status, refused["code"]) == (403, "license_suspended")
    # A sign of life keeps the place; whether the licence holds is another question.
    assert door.post(f"/activations/{made['id']}/heartbeat").status == 200
    move(vendor, seconds=60)
    late = door.post(f"/activations/{made['id']}/heartbeat")
    assert (late.status, late["code"]) == (403, "license_suspended")


def test_ids__malformed_foreign_or_unknown__are_404(vendor: Vendor) -> None:
    mine, foreign = vendor.door(), Vendor().door()
    theirs = activate(foreign, "host-1")["id"]
    for id in ("act_1", theirs, encode_id(Prefix.ACTIVATION, new_id()), "%00"):
        assert mine.post(f"/activations/{id}/heartbeat").status == 404
        assert mine.call("DELETE", f"/activations/{id}").status == 404
    assert Activation.objects.get().released_at is None


def test_idempotency_key__replays_the_first_answer__also_a_refusal(vendor: Vendor) -> None:
    door = vendor.door(activation_limit=1)
    headers = {"Idempotency-Key": "k-1"}
    first = door.post("/activations", {"fingerprint": "host-1"}, headers=headers)
    again = door.post("/activations", {"fingerprint": "host-1"}, headers=headers)
    assert (first.status, again.status, again.headers["Idempotency-Replayed"]) == (201, 201, "true")
    assert first.json == again.json
    other = door.post("/activations", {"fingerprint": "host-2"}, headers=headers)
    assert (other.status, other["code"]) == (422, "idempotency_key_reused")
    full = [door.post("/activations", {"fingerprint": "h"}, headers={"Idempotency-Key": "k-2"}) for _ in range(2)]
    assert [(each.status, each["code"], each["limit"]) for each in full] == [(403, "activation_limit_reached", 1)] * 2
    assert full[1].headers["Idempotency-Replayed"] == "true"
    assert len(events("activation.limit_reached")) == 1


def test_publishable_key__with_the_licence_key_in_body_or_field(vendor: Vendor) -> None:
    issued = factories.issue(factories.make_plan(vendor.product, activation_required=True))
    key, text = vendor.publishable_key(), issued.license_key
    door = AgentDoor(key)
    made = door.post("/activations", {"fingerprint": "browser-1", "license_key": text})
    assert made.status == 201
    assert Activation.objects.get().agent_id is None
    valid = door.post("/validate", {"fingerprint": "browser-1", "license_key": text})
    assert (valid["valid"], valid["activation"]["id"]) == (True, made["id"])
    path = f"/activations/{made['id']}"
    field = {"X-License-Key": str(text)}
    assert door.post(f"{path}/heartbeat", {"license_key": text}).status == 200
    assert door.post(f"{path}/heartbeat", headers=field).status == 200
    twice = door.post(f"{path}/heartbeat", {"license_key": "other"}, headers=field)
    assert (twice.status, twice["errors"][0]["code"]) == (422, "license_key_mismatch")
    missing = door.post(f"{path}/heartbeat")
    assert (missing.status, missing["errors"][0]["field"]) == (422, "license_key")
    copy = door.post("/activations", {"instance": "copy-1", "license_key": text})
    assert (copy.status, copy["errors"][0]["code"]) == (422, "only_for_agents")
    assert door.call("DELETE", path, headers=field).status == 204
    entry = AuditEntry.objects.get(action="activation.created")
    assert (entry.actor_kind, entry.actor_id[:4]) == ("api_key", "key_")


def test_agent_key__with_a_licence_key__is_refused(vendor: Vendor) -> None:
    refused = vendor.door().post("/activations", {"fingerprint": "a", "license_key": "x"})
    assert (refused.status, refused["errors"][0]["code"]) == (422, "not_with_this_key")


def test_licence__without_activations__has_nothing_to_be_told_of(vendor: Vendor) -> None:
    license = vendor.license()
    door = AgentDoor(vendor.agent(license).key_text)
    assert door.post("/validate", {"fingerprint": "host-1"})["activation"] is None
    made = activate(door, "host-1")
    assert door.post("/validate", {"fingerprint": "host-1"})["activation"] == {
        "id": made["id"],
        "fingerprint": "host-1",
        "instance": None,
        "expires_at": None,
    }
    assert door.post("/validate")["activation"] is None
    assert License.objects.get().activation_limit_noted_at is None
