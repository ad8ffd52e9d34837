"""Rules of the runaway guard and its incidents, through the vendors' door."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from common.ids import Prefix, decode_id
from metering.services.runaway_guard import watch_agents
from tenants.models import AuditEntry
from tests.metering.runaway_world import count
from tests.vendor_api.door import Door
from tests.vendor_api.shop import Shop

CALLS = {"rule": "calls_per_minute", "limit": 100, "action": "suspend"}
SHARE = {"rule": "refusal_share", "limit": "0.9", "action": "notify"}
MULTIPLE = {
    "rule": "baseline_multiple",
    "limit": "10",
    "action": "throttle",
    "throttle_to": {"limit": 60, "window": 60},
}
SPEND = {"rule": "spend_per_hour", "limit": "25.5", "action": "notify", "meter": "tokens"}
NOTHING = {"window": 60, "minimum_calls": None, "meter": None, "throttle_to": None, "for": None}


def run_away(shop: Shop, calls: int = 101) -> list[Any]:
    """The incidents after so many calls within a minute."""
    now = datetime.now(UTC)
    count(shop.door.tenant.id, decode_id(Prefix.AGENT, shop.agent["id"]), calls, at=now)
    watch_agents(now=now)
    return shop.door.listed("/runaway-incidents", agent=shop.agent["id"])


def test_plan__rules_set_changed_and_taken_away__are_answered_whole_and_audited(shop: Shop) -> None:
    door = shop.door
    shown = door.patch("/plans/pro", {"runaway": [CALLS, SHARE, MULTIPLE, SPEND]})["runaway"]

    assert shown == [
        {**CALLS, **NOTHING, "limit": "100"},
        {**SHARE, **NOTHING, "window": 300, "minimum_calls": 200},
        {
            **MULTIPLE,
            "window": 300,
            "minimum_calls": 300,
            "meter": None,
            "throttle_to": {"limit": 60, "window": 60, "burst": 60},
            "for": 3600,
        },
        {**SPEND, **NOTHING, "window": 3600, "meter": "tokens"},
    ]
    # What is answered can be sent again as it is.
    assert door.patch("/plans/pro", {"runaway": shown})["runaway"] == shown
    assert door.patch("/plans/pro", {"name": "Pro"})["runaway"] == shown
    assert [plan["runaway"] for plan in door.listed("/plans")] == [shown]
    assert door.patch("/plans/pro", {"runaway": []})["runaway"] == []
    entries = AuditEntry.objects.filter(action="plan.runaway_policy_changed").order_by("id")
    assert [entry.changes["runaway"] for entry in entries] == [[None, shown], [shown, None]]


def test_agent__own_rules__none_empty_and_some(shop: Shop) -> None:
    door, path = shop.door, f"/agents/{shop.agent['id']}"

    assert door.patch(path, {"runaway": [CALLS]})["runaway"][0]["limit"] == "100"
    assert [agent["runaway"] for agent in door.listed("/agents")] == [[{**CALLS, **NOTHING, "limit": "100"}]]
    assert door.patch(path, {"runaway": []})["runaway"] == []
    assert door.patch(path, {"runaway": None})["runaway"] is None


def test_agents__made_with_rules__one_by_one_and_many_at_once(shop: Shop) -> None:
    door, license = shop.door, shop.license["id"]
    made = door.made("/agents", {"license": license, "name": "one", "runaway": [SHARE]})
    assert made["agent"]["runaway"][0]["rule"] == "refusal_share"

    items = [
        {"license": license, "name": "two", "runaway": [CALLS]},
        {"license": license, "name": "three", "runaway": [{**SPEND, "meter": "nonsense"}]},
        {"license": license, "name": "four"},
    ]
    answer = door.post("/agents", {"items": items})

    assert [each["status"] for each in answer["data"]] == [201, 422, 201]
    assert answer["data"][0]["agent"]["runaway"][0]["rule"] == "calls_per_minute"
    assert answer["data"][2]["agent"]["runaway"] is None


@pytest.mark.parametrize(
    ("rule", "field", "code"),
    [
        ({"rule": "mood"}, "rule", "invalid_choice"),
        ({"action": "shout"}, "action", "invalid_choice"),
        ({"limit": "0"}, "limit", "invalid"),
        ({"limit": "1.5"}, "limit", "invalid"),
        ({"limit": -1}, "limit", "quantity_negative"),
        ({"window": 120}, "window", "not_allowed"),
        ({"minimum_calls": 5}, "minimum_calls", "not_allowed"),
        ({"meter": "tokens"}, "meter", "not_allowed"),
        ({"for": 60}, "for", "not_allowed"),
        ({"throttle_to": {"limit": 1, "window": 1}}, "throttle_to", "not_allowed"),
        ({"action": "throttle"}, "throttle_to", "required"),
        ({"action": "throttle", "throttle_to": {"limit": 0, "window": 1}}, "throttle_to.limit", "min_value"),
        ({"action": "throttle", "throttle_to": {"limit": 1, "window": 1}, "for": 5}, "for", "min_value"),
        ({"soon": True}, "soon", "unknown_field"),
        ({"rule": "refusal_share", "limit": "1"}, "limit", "invalid"),
        ({"rule": "refusal_share", "limit": "0.5", "window": 90}, "window", "invalid"),
        ({"rule": "refusal_share", "limit": "0.5", "window": 7200}, "window", "max_value"),
        ({"rule": "baseline_multiple", "limit": "1"}, "limit", "invalid"),
        ({"rule": "spend_per_hour"}, "meter", "required"),
        ({"rule": "spend_per_hour", "meter": "nonsense"}, "meter", "unknown_meter"),
    ],
)
def test_rule__that_does_not_hold__is_422_and_changes_nothing(
    shop: Shop, rule: dict[str, Any], field: str, code: str
) -> None:
    for path in ("/plans/pro", f"/agents/{shop.agent['id']}"):
        before = shop.door.get(path).json
        answer = shop.door.patch(path, {"runaway": [CALLS | rule]})

        assert (answer.status, answer.fields) == (422, {f"runaway.0.{field}": code})
        assert shop.door.get(path).json == before


def test_rules__twice_the_same__are_422(shop: Shop) -> None:
    answer = shop.door.patch("/plans/pro", {"runaway": [CALLS, CALLS | {"limit": 200}]})

    assert answer.fields == {"runaway.1": "duplicate"}


def test_incident__listed_read_and_undone__by_whoever_may(shop: Shop) -> None:
    door = shop.door
    door.patch("/plans/pro", {"runaway": [CALLS]})
    [incident] = run_away(shop)

    assert {name: incident[name] for name in ("agent", "license", "customer", "plan", "status", "effect", "limit")} == {
        "agent": shop.agent["id"],
        "license": shop.license["id"],
        "customer": shop.customer["id"],
        "plan": shop.plan["id"],
        "status": "open",
        "effect": "suspended",
        "limit": "100",
    }
    assert incident["evidence"] == {"calls": 101, "refusals": 0, "baseline": None}
    assert door.get(f"/runaway-incidents/{incident['id']}").json == incident
    reader = Door(door.tenant, scopes=("runaway-incidents:read",))
    path = f"/runaway-incidents/{incident['id']}/undo"
    assert reader.post(path).code == "insufficient_scope"
    assert Door().post(path).status == 404

    undone = door.post(path, {"reason": "planned"})

    assert (undone["status"], undone["undo_reason"], undone["undone_by"]) == ("undone", "planned", "backend")
    assert door.post(path).json == undone.json
    assert door.get(f"/agents/{shop.agent['id']}")["status"] == "active"
    assert [len(door.listed("/runaway-incidents", status=status)) for status in ("open", "ended", "undone")] == [
        0,
        0,
        1,
    ]


def test_standing__of_an_agent__says_what_the_guard_sees_and_does_nothing(shop: Shop) -> None:
    door, path = shop.door, f"/agents/{shop.agent['id']}/runaway"
    assert door.get(path).json == {"data": []}
    door.patch("/plans/pro", {"runaway": [CALLS, MULTIPLE, SPEND]})
    count(door.tenant.id, decode_id(Prefix.AGENT, shop.agent["id"]), 500, at=datetime.now(UTC))

    calls, multiple, spend = door.get(path)["data"]

    assert (calls["terms"]["rule"], calls["observed"], calls["limit"], calls["broken"]) == (
        *("calls_per_minute", "500", "100", True),
    )
    assert calls["evidence"] == {"calls": 500, "refusals": 0, "baseline": None}
    assert (multiple["observed"], multiple["limit"], multiple["broken"]) == ("100", None, False)
    assert (spend["observed"], spend["limit"], spend["plan"]) == ("0", "25.5", shop.plan["id"])
    assert door.listed("/runaway-incidents") == []
    assert Door().get(path).status == 404


def test_plan__rules_in_a_dry_run__are_not_set(shop: Shop) -> None:
    answer = shop.door.call("PATCH", "/plans/pro", {"runaway": [CALLS]}, query={"dry_run": "true"})

    assert answer.status == 200
    assert shop.door.get("/plans/pro")["runaway"] == []
