"""What becomes of holds, as the contract promises it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from licenses.services.license_states import suspend_license
from metering.models import Hold, HoldLine
from tests.agent_door import AgentDoor, Answer, Vendor
from tests.factories import ACTOR

pytestmark = pytest.mark.django_db


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
def door(vendor: Vendor) -> AgentDoor:
    return vendor.door({"limit": "1000"})


def hold(door: AgentDoor, quantity: str = "900", **more: Any) -> str:
    asked = {"mode": "hold", "ttl": 60, "usage": [{"meter": "tokens", "quantity": quantity}], **more}
    return str(door.post("/authorize", asked)["hold"]["id"])


def settle(door: AgentDoor, hold_id: str, quantity: str, **more: Any) -> Answer:
    return door.post(f"/holds/{hold_id}/settle", {"usage": [{"meter": "tokens", "quantity": quantity}], **more})


def standing(door: AgentDoor) -> tuple[str, str, str]:
    quota = door.post("/validate", {})["quotas"][0]
    return quota["used"], quota["held"], quota["remaining"]


def test_settle__less_than_held__counts_it_and_gives_the_rest_back(door: AgentDoor) -> None:
    id = hold(door)
    first, again = settle(door, id, "870"), settle(door, id, "8.7e2")
    assert (first.status, again.status) == (200, 200)
    assert [first["replayed"], again["replayed"]] == [False, True]
    assert first["event_ids"] == again["event_ids"]
    assert (first["hold"]["status"], first["hold"]["settled"]) == ("settled", ["870"])
    assert (first["quotas"][0]["used"], first["quotas"][0]["held"]) == ("870", "0")
    assert standing(door) == ("870", "0", "130")


def test_settle__another_body_after_the_final_one__is_409(door: AgentDoor) -> None:
    id = hold(door)
    settle(door, id, "870")
    answer = settle(door, id, "871")
    assert (answer.status, answer["code"], answer["hold"]) == (409, "hold_settled", id)
    assert standing(door) == ("870", "0", "130")


def test_settle__in_parts__the_hold_goes_on_until_the_last(door: AgentDoor) -> None:
    id = hold(door)
    part = {"final": False, "id": "chunk-1"}
    assert settle(door, id, "300", **part)["hold"]["status"] == "open"
    assert settle(door, id, "300", **part)["replayed"] is True
    by_header = door.post(
        f"/holds/{id}/settle",
        {"final": False, "usage": [{"meter": "tokens", "quantity": "300"}]},
        headers={"Idempotency-Key": "chunk-1"},
    )
    assert by_header["replayed"] is True
    assert standing(door) == ("300", "600", "100")
    assert settle(door, id, "301", **part).status == 409
    assert settle(door, id, "100")["hold"]["settled"] == ["400"]
    assert standing(door) == ("400", "0", "600")


@pytest.mark.parametrize(
    ("on_excess", "status", "used"), [("count", 200, "950"), ("cap", 200, "900"), ("reject", 422, "0")]
)
def test_settle__more_than_held__goes_by_on_excess(door: AgentDoor, on_excess: str, status: int, used: str) -> None:
    answer = settle(door, hold(door, on_excess=on_excess), "950")
    assert (answer.status, standing(door)[0]) == (status, used)
    assert status == 200 or answer["code"] == "exceeds_hold"


def test_settle__license_suspended_meanwhile__is_a_fact_all_the_same(
    vendor: Vendor, django_capture_on_commit_callbacks: Any
) -> None:
    license = vendor.license({"limit": "1000"})
    door = AgentDoor(vendor.agent(license).key_text)
    id = hold(door)
    with django_capture_on_commit_callbacks(execute=True):
        suspend_license(tenant=vendor.tenant, license_id=license.id, actor=ACTOR)
    extended = door.post(f"/holds/{id}/extend", {"ttl": 60})
    assert (extended.status, extended["code"]) == (403, "license_suspended")
    assert settle(door, id, "870").status == 200
    assert standing(door) == ("870", "0", "130")


def test_settle__expired_hold__still_counts(door: AgentDoor) -> None:
    id = hold(door)
    past = datetime.now(UTC) - timedelta(minutes=1)
    Hold.objects.update(expires_at=past)
    HoldLine.objects.update(expires_at=past)
    assert standing(door) == ("0", "0", "1000")
    assert settle(door, id, "870").status == 200
    assert standing(door) == ("870", "0", "130")


def test_settle__nothing_used__gives_everything_back(vendor: Vendor) -> None:
    door = vendor.door({"meter": "calls", "limit": "5"})
    made = door.post("/authorize", {"mode": "hold", "usage": [{"meter": "calls"}]})["hold"]["id"]
    answer = door.post(f"/holds/{made}/settle", {"usage": [{"meter": "calls", "quantity": 0}]})
    assert (answer.status, answer["event_ids"]) == (200, [])
    assert standing(door) == ("0", "0", "5")


def test_settle__a_meter_that_was_not_held__shows_its_quota_too(vendor: Vendor) -> None:
    door = vendor.door({"limit": "1000"}, {"meter": "calls", "limit": "5"})
    usage = [{"meter": "tokens", "quantity": "870"}, {"meter": "calls"}]
    id = hold(door)
    first = door.post(f"/holds/{id}/settle", {"usage": usage})
    again = door.post(f"/holds/{id}/settle", {"usage": usage})
    shown = [[(quota["meter"], quota["used"]) for quota in answer["quotas"]] for answer in (first, again)]
    assert shown == [[("calls", "1"), ("tokens", "870")]] * 2
    assert (first["replayed"], again["replayed"]) == (False, True)


def test_release__open_hold__gives_all_back_once_and_again(door: AgentDoor) -> None:
    id = hold(door)
    answers = [door.post(f"/holds/{id}/release") for _ in range(2)]
    assert [(answer.status, answer["hold"]["status"]) for answer in answers] == [(200, "released")] * 2
    assert answers[0]["quotas"][0]["remaining"] == "1000"
    assert (settle(door, id, "1")["code"], door.post(f"/holds/{id}/extend", {"ttl": 5})["code"]) == (
        "hold_released",
        "hold_released",
    )


def test_extend__open_hold__ends_so_many_seconds_from_now(door: AgentDoor) -> None:
    answer = door.post(f"/holds/{hold(door)}/extend", {"ttl": 3600})
    left = datetime.fromisoformat(answer["hold"]["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=3590) < left <= timedelta(seconds=3600)
    assert answer["quotas"][0]["held"] == "900"


def test_holds__list__ones_own_open_ones_newest_first(vendor: Vendor) -> None:
    parent = vendor.agent(vendor.license({"limit": "1000"}))
    child = vendor.agent(parent.agent.license, parent.agent)
    door, below = AgentDoor(parent.key_text), AgentDoor(child.key_text)
    first, second, third = hold(door, "1", id="a"), hold(door, "2", id="b"), hold(door, "3", id="c")
    hold(below, "4")
    door.post(f"/holds/{second}/release")
    page = door.get("/holds?limit=1")
    rest = door.get(f"/holds?limit=1&cursor={page['next_cursor']}")
    assert [each["id"] for each in (*page["data"], *rest["data"])] == [third, first]
    assert (rest["next_cursor"], [each["authorize_id"] for each in door.get("/holds")["data"]]) == (None, ["c", "a"])


@pytest.mark.parametrize("action", ["settle", "release", "extend"])
def test_holds__of_somebody_else__cannot_be_told_from_none(vendor: Vendor, action: str) -> None:
    body: dict[str, Any] = {"settle": {"usage": []}, "release": {}, "extend": {"ttl": 5}}[action]
    license = vendor.license({"limit": "1000"})
    mine, sibling = AgentDoor(vendor.agent(license).key_text), AgentDoor(vendor.agent(license).key_text)
    foreign = Vendor().door({"limit": "1000"})
    ids = [hold(mine), hold(foreign), "hld_01h455vb4pex5vsknk084sn02q", "hld_nonsense", license.public_id]
    answers = [sibling.post(f"/holds/{id}/{action}", body) for id in ids]
    bodies = [{**answer.json, "request_id": ""} for answer in answers]
    assert [answer.status for answer in answers] == [404] * 5
    assert all(each == bodies[0] for each in bodies)


def test_holds__of_an_agent_below__can_be_settled_by_its_parent(vendor: Vendor) -> None:
    parent = vendor.agent(vendor.license({"limit": "1000"}))
    child = vendor.agent(parent.agent.license, parent.agent)
    assert settle(AgentDoor(parent.key_text), hold(AgentDoor(child.key_text)), "5").status == 200


@pytest.mark.parametrize(
    ("path", "body", "field", "code"),
    [
        ("settle", {}, "usage", "required"),
        ("settle", {"usage": [], "final": False}, "id", "required"),
        ("settle", {"usage": [{"meter": "nope", "quantity": "1"}]}, "usage.0.meter", "unknown_meter"),
        ("settle", {"usage": [{"meter": "tokens", "quantity": "-1"}]}, "usage.0.quantity", "quantity_negative"),
        ("extend", {}, "ttl", "required"),
        ("extend", {"ttl": 0}, "ttl", "invalid"),
        ("extend", {"ttl": True}, "ttl", "wrong_type"),
        ("release", {"why": "x"}, "why", "unknown_field"),
    ],
)
def test_holds__fields_that_do_not_hold__are_422(
    door: AgentDoor, path: str, body: dict[str, Any], field: str, code: str
) -> None:
    answer = door.post(f"/holds/{hold(door)}/{path}", body)
    assert (answer.status, [(each["field"], each["code"]) for each in answer["errors"]]) == (422, [(field, code)])
    assert standing(door) == ("0", "900", "100")
