"""Usage: posted on behalf of agents and licences, and asked for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from common.clock import real_clock
from metering.models import UsageEvent
from tests.vendor_api.door import Door
from tests.vendor_api.shop import Shop


def event(shop: Shop, id: str, quantity: Any = "5", **more: Any) -> dict[str, Any]:
    return {"id": id, "meter": "tokens", "quantity": quantity, "agent": shop.agent["id"], **more}


def test_record__lone_event_of_an_agent__counts_and_tells_what_is_left(shop: Shop) -> None:
    answer = shop.door.post("/usage", event(shop, "call-1", "1532", dimensions={"model": "large"}))

    assert answer.status == 200
    [result] = answer["results"]
    assert result == {"id": "call-1", "status": "recorded", "event_id": result["event_id"]}
    assert result["event_id"].startswith("evt_")
    assert {name: answer[name] for name in ("recorded", "duplicates", "conflicts", "rejected")} == {
        "recorded": 1,
        "duplicates": 0,
        "conflicts": 0,
        "rejected": 0,
    }
    assert [(row["scope"], row["used"], row["remaining"], row["state"]) for row in answer["quotas"]] == [
        ("license", "1532", "998468", "ok")
    ]


def test_record__same_id_again__is_a_duplicate_or_a_conflict_and_counts_once(shop: Shop) -> None:
    first = shop.door.post("/usage", event(shop, "call-1", 5))
    again = shop.door.post("/usage", event(shop, "call-1", "5.0"))
    other = shop.door.post("/usage", event(shop, "call-1", "6"))
    for_the_license = {"id": "call-1", "meter": "tokens", "quantity": "5", "license": shop.license["id"]}
    of_the_license = shop.door.post("/usage", for_the_license)

    assert (again["duplicates"], again["results"][0]["event_id"]) == (1, first["results"][0]["event_id"])
    assert (other.status, other.code) == (409, "id_conflict")
    assert of_the_license["duplicates"] == 1  # ids are unique per licence, whoever of it they come from
    assert UsageEvent.objects.for_tenant(shop.door.tenant).count() == 1


def test_record__batch_with_bad_neighbours__keeps_the_good_ones(shop: Shop) -> None:
    stranger = Shop(Door())
    old = (real_clock().now() - timedelta(days=3000)).isoformat()
    future = (real_clock().now() + timedelta(days=1)).isoformat()
    events = [
        {"id": "good-1", "meter": "tokens", "quantity": "1"},
        {"id": "bad-1", "meter": "nope", "quantity": "1"},
        {"id": "bad-2", "meter": "tokens", "quantity": "-1"},
        {"id": "bad-3", "meter": "tokens", "quantity": "1", "occurred_at": old},
        {"id": "bad-4", "meter": "tokens", "quantity": "1", "occurred_at": future},
        {"id": "bad-5", "meter": "tokens", "quantity": "1", "dimensions": {"shade": "red"}},
        {"id": "bad-6", "meter": "tokens", "quantity": "1", "agent": stranger.agent["id"]},
        {"id": "bad-7", "meter": "tokens", "quantity": "1", "agent": "nonsense"},
        {"id": "bad-8", "meter": "tokens", "quantity": "1", "colour": "red"},
        {"id": "bad-9", "meter": "tokens"},
        {"id": "bad\u0000", "meter": "tokens", "quantity": "1"},
        "nonsense",
        {"id": "good-2", "meter": shop.meter["id"], "quantity": 2.5, "license": shop.license["id"]},
    ]

    answer = shop.door.post("/usage", {"agent": shop.agent["id"], "events": events})

    assert (answer.status, answer["recorded"], answer["rejected"]) == (200, 2, 11)
    assert [result.get("code") for result in answer["results"]] == [
        None,
        "unknown_meter",
        "quantity_negative",
        "event_too_old",
        "event_in_future",
        "dimension_unknown",
        "unknown_agent",
        "unknown_agent",
        "event_invalid",
        "quantity_required",
        "event_invalid",
        "event_invalid",
        None,
    ]
    assert [row["used"] for row in answer["quotas"]] == ["3.5"]


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"quantity": "-1"}, 422, "quantity_negative"),
        ({"meter": "nope"}, 422, "unknown_meter"),
        ({"agent": None}, 422, "event_invalid"),
        ({"license": "lic_" + "0" * 26}, 422, "event_invalid"),
        ({"agent": "agt_" + "0" * 26}, 422, "unknown_agent"),
        ({"colour": "red"}, 422, "invalid"),
        ({"id": "x" * 256}, 422, "invalid"),
    ],
)
def test_record__lone_event_does_not_hold__is_refused_with_its_code(
    shop: Shop, more: dict[str, Any], status: int, code: str
) -> None:
    answer = shop.door.post("/usage", event(shop, "call-1") | more)

    assert (answer.status, answer.code) == (status, code)
    assert not UsageEvent.objects.for_tenant(shop.door.tenant).exists()


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"events": [], "nonsense": 1}, {"nonsense": "unknown_field"}),
        ({"events": "x"}, {"events": "wrong_type"}),
        ({"events": [], "agent": 5}, {"agent": "wrong_type"}),
        ({"events": [{}] * 1001}, {"events": "too_many"}),
    ],
)
def test_record__envelope_is_broken__is_refused_as_a_whole(
    shop: Shop, body: dict[str, Any], fields: dict[str, str]
) -> None:
    answer = shop.door.post("/usage", body)

    assert (answer.status, answer.fields) == (422, fields)


def test_record__agent_is_revoked_and_license_suspended__facts_are_recorded_all_the_same(shop: Shop) -> None:
    shop.door.post(f"/agents/{shop.agent['id']}/revoke")
    shop.door.post(f"/licenses/{shop.license['id']}/suspend")

    assert shop.door.post("/usage", event(shop, "call-1"))["recorded"] == 1


def test_record__with_idempotency_key__replays(shop: Shop) -> None:
    first = shop.door.post("/usage", event(shop, "call-1"), Idempotency_Key="k-1")
    again = shop.door.post("/usage", event(shop, "call-1"), Idempotency_Key="k-1")

    assert (again.headers["Idempotency-Replayed"], again.json) == ("true", first.json)


def test_query__by_window_and_group__adds_up(shop: Shop) -> None:
    now = real_clock().now()
    for number, (model, quantity) in enumerate([("large", "3"), ("small", "4"), ("large", "5")]):
        body = event(shop, f"call-{number}", quantity, dimensions={"model": model}, occurred_at=now.isoformat())
        assert shop.door.post("/usage", body).status == 200
    start = (now - timedelta(hours=2)).replace(minute=0, second=0, microsecond=0)

    answer = shop.door.get(
        "/usage", meter="tokens", window="day", group_by="agent,model", **{"from": start.isoformat()}
    )

    assert (answer["total"], answer["next_cursor"]) == ("12", None)
    assert sorted((row["group"]["model"], row["value"]) for row in answer["data"]) == [("large", "8"), ("small", "4")]
    assert {row["group"]["agent"] for row in answer["data"]} == {shop.agent["id"]}
    for narrowed, total in (
        ({"license": shop.license["id"]}, "12"),
        ({"customer": "acme"}, "12"),
        ({"customer": shop.customer["id"]}, "12"),
        ({"agent": shop.agent["id"]}, "12"),
        ({"agent": "agt_" + "0" * 26}, "0"),
        ({"customer": "nobody"}, "0"),
        ({"license": Shop(Door()).license["id"]}, "0"),
    ):
        assert shop.door.get("/usage", meter="tokens", **{"from": start.isoformat()}, **narrowed)["total"] == total
