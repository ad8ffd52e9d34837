"""Quotas of every period, made at the vendors' door and enforced at the agents', in a workspace whose time is moved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from common.clock import rfc3339
from metering.domain.enums import Period
from metering.domain.periods import add_months
from tests.agent_door import AgentDoor
from tests.factories import make_test_workspace
from tests.vendor_api.door import Door
from tests.vendor_api.shop import Shop
from tests.vendor_api.test_test_clock import clock, month_after, move

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def rehearsal() -> Shop:
    """One of each thing, in a test workspace on the tenth of a month at nine, so that no period is about to end."""
    shop = Shop(Door(make_test_workspace()))
    move(shop, month_after(clock(shop)) + 9 * DAY + 9 * HOUR)
    return shop


def ask(shop: Shop, quantity: str, key: str | None = None) -> Any:
    body = {"mode": "consume", "usage": [{"meter": "tokens", "quantity": quantity}]}
    answer = AgentDoor(key or shop.agent_key).post("/authorize", body)
    assert answer.status == 200, answer.json
    return answer


def is_granted(shop: Shop, quantity: str, key: str | None = None) -> bool:
    return bool(ask(shop, quantity, key)["allowed"])


def limit(shop: Shop, period: Any, **more: Any) -> Any:
    on = more.pop("on", {"license": shop.license["id"]})
    return shop.door.made("/quotas", {"on": on, "meter": "tokens", "limit": "10", "period": period} | more)


def standing(shop: Shop, quota: Any, license: str | None = None) -> Any:
    listed = shop.door.listed("/quotas", license=license or shop.license["id"])
    [found] = [each for each in listed if each["id"] == quota["id"]]
    return found


def day_after(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0) + DAY


ENDS = {
    Period.HOUR: lambda at: at.replace(minute=0, second=0, microsecond=0) + HOUR,
    Period.DAY: day_after,
    Period.WEEK: lambda at: day_after(at) + (6 - at.weekday()) * DAY,
    Period.MONTH: month_after,
    Period.YEAR: lambda at: datetime(at.year + 1, 1, 1, tzinfo=UTC),
}


@pytest.mark.parametrize("period", ENDS)
def test_quota__of_each_calendar_period__holds_until_its_end_and_begins_anew(rehearsal: Shop, period: Period) -> None:
    quota = limit(rehearsal, period)
    end = ENDS[period](clock(rehearsal))

    assert is_granted(rehearsal, "10")
    refused = ask(rehearsal, "1")
    assert (refused["allowed"], refused["code"]) == (False, "quota_exceeded")
    assert f"It begins anew at {rfc3339(end)}" in refused["codes"][0]["message"]
    shown = standing(rehearsal, quota)
    assert (shown["used"], shown["remaining"], datetime.fromisoformat(shown["resets_at"])) == ("10", "0", end)
    if end - clock(rehearsal) > timedelta(minutes=2):
        move(rehearsal, end - timedelta(minutes=1))
        assert not is_granted(rehearsal, "1")
    move(rehearsal, end)

    assert is_granted(rehearsal, "10")
    assert not is_granted(rehearsal, "1")


def test_quota__lifetime__never_begins_anew(rehearsal: Shop) -> None:
    quota = limit(rehearsal, "lifetime")

    assert is_granted(rehearsal, "10")
    move(rehearsal, clock(rehearsal) + 200 * DAY)

    refused = ask(rehearsal, "1")
    assert (refused["allowed"], refused["code"]) == (False, "quota_exceeded")
    assert standing(rehearsal, quota)["resets_at"] is None


def test_quota__rolling__comes_back_piece_by_piece(rehearsal: Shop) -> None:
    limit(rehearsal, {"rolling": 6 * 3600})

    assert is_granted(rehearsal, "4")
    move(rehearsal, clock(rehearsal) + 3 * HOUR)
    assert is_granted(rehearsal, "6")
    assert not is_granted(rehearsal, "1")
    move(rehearsal, clock(rehearsal) + 3 * HOUR + timedelta(minutes=10))

    assert not is_granted(rehearsal, "5")
    assert is_granted(rehearsal, "4")
    assert not is_granted(rehearsal, "1")
    move(rehearsal, clock(rehearsal) + 7 * HOUR)
    assert is_granted(rehearsal, "10")


@pytest.mark.parametrize(("period", "months"), [("month", 1), ("year", 12)])
def test_quota__anchored_to_the_license__ends_as_the_license_began(rehearsal: Shop, period: str, months: int) -> None:
    began = clock(rehearsal).replace(microsecond=0) - 5 * DAY
    made = rehearsal.door.made(
        "/licenses",
        {
            "customer": "acme",
            "plan": "pro",
            "starts_at": rfc3339(began),
            "expires_at": rfc3339(began + 800 * DAY),
        },
    )
    license = made["license"]["id"]
    agent = rehearsal.door.made("/agents", {"license": license, "name": "anchored"})["key"]
    quota = limit(rehearsal, period, anchor="license", on={"license": license})
    end = datetime.combine(add_months(began.date(), months), began.time(), UTC)

    assert is_granted(rehearsal, "10", agent)
    assert datetime.fromisoformat(standing(rehearsal, quota, license)["resets_at"]) == end
    move(rehearsal, end - timedelta(minutes=1))
    assert not is_granted(rehearsal, "1", agent)
    move(rehearsal, end)

    assert is_granted(rehearsal, "10", agent)
    assert not is_granted(rehearsal, "1", agent)


def test_spawn__with_a_rolling_budget__is_held_to_it_and_counts_above(rehearsal: Shop) -> None:
    above = limit(rehearsal, "lifetime", on={"agent": rehearsal.agent["id"]}, limit="12")
    budget = {"meter": "tokens", "limit": "5", "period": {"rolling": 3600}}
    made = AgentDoor(rehearsal.agent_key).post("/agents", {"name": "worker", "quotas": [budget]})
    assert made.status == 201, made.json

    assert is_granted(rehearsal, "5", made["key"])
    assert not is_granted(rehearsal, "1", made["key"])
    move(rehearsal, clock(rehearsal) + 2 * HOUR)
    assert is_granted(rehearsal, "5", made["key"])
    move(rehearsal, clock(rehearsal) + 2 * HOUR)

    assert not is_granted(rehearsal, "3", made["key"])
    [seen] = [each for each in AgentDoor(made["key"]).get("/quotas")["data"] if each["limit"] == "12"]
    assert (seen["used"], seen["remaining"]) == ("10", "2")
    assert above["limit"] == "12"


def test_transfer__of_a_license_with_top_ups__they_go_with_it(rehearsal: Shop) -> None:
    quota = limit(rehearsal, "lifetime")
    top_up = rehearsal.door.made(
        "/top-ups", {"quota": quota["id"], "on": {"license": rehearsal.license["id"]}, "amount": "5"}
    )
    assert is_granted(rehearsal, "12")
    rehearsal.door.made("/customers", {"external_id": "globex", "name": "Globex"})

    moved = rehearsal.door.post(f"/licenses/{rehearsal.license['id']}/transfer", {"customer": "globex"})

    assert moved.status == 200, moved
    shown = standing(rehearsal, quota)
    assert (shown["used"], shown["top_ups"], shown["remaining"]) == ("12", "5", "3")
    assert is_granted(rehearsal, "3")
    assert not is_granted(rehearsal, "1")
    kept = rehearsal.door.get(f"/top-ups/{top_up['id']}").json
    assert (kept["used"], kept["remaining"], kept["on"]) == ("5", "0", {"license": rehearsal.license["id"]})


@pytest.mark.parametrize("scope", ["customer", "agent", "license"])
def test_carry_over__of_who_came_after_the_clock_was_moved__begins_then(scope: str) -> None:
    shop = Shop(Door(make_test_workspace()))
    plan = shop.plan_body(
        code="daily",
        quotas=[
            {"meter": "tokens", "limit": "10", "period": "day", "mode": "hard", "scope": scope, "carry_over": True}
        ],
        prices=[],
    )
    shop.door.made("/plans", plan)
    move(shop, day_after(clock(shop)) + 20 * DAY + 9 * HOUR)
    shop.door.made("/customers", {"external_id": "late", "name": "Late"})
    license = shop.door.made("/licenses", {"customer": "late", "plan": "daily"})["license"]
    key = shop.door.made("/agents", {"license": license["id"], "name": "late"})["key"]

    assert is_granted(shop, "4", key)
    assert not is_granted(shop, "7", key)
    move(shop, clock(shop) + DAY)

    [seen] = AgentDoor(key).get("/quotas")["data"]
    assert (seen["carried_over"], seen["remaining"]) == ("6", "16")
    assert is_granted(shop, "16", key)
    assert not is_granted(shop, "1", key)


def test_carry_over__of_a_plan_that_came_after_the_clock_was_moved__begins_then() -> None:
    shop = Shop(Door(make_test_workspace()))
    quotas = [{"meter": "tokens", "limit": "10", "period": "day", "mode": "hard", "carry_over": True}]
    shop.door.made("/plans", shop.plan_body(code="daily", quotas=quotas, prices=[]))
    move(shop, day_after(clock(shop)) + 20 * DAY + 9 * HOUR)

    changed = shop.door.patch(f"/licenses/{shop.license['id']}", {"plan": "daily"})

    assert changed.status == 200, changed
    assert is_granted(shop, "10")
    assert not is_granted(shop, "1")
