"""What becomes of holds, many at once, in the coalescing door's lanes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import transaction

from agent_api.door.answering import Reply
from agent_api.door.lanes import Lanes
from licenses.domain.enums import LimitLevel
from licenses.domain.rate_limits import HoldLimit
from licenses.models import License
from metering.models import Balance, Hold, UsageEvent
from metering.services.open_holds import lock_places
from tests.agent_api.door.test_lanes import call, replies
from tests.agent_door import AgentDoor, Vendor

pytestmark = pytest.mark.django_db(transaction=True)

HOLD = {"mode": "hold", "ttl": 300, "usage": [{"meter": "tokens", "quantity": "10"}]}


def used(quantity: str) -> dict[str, Any]:
    return {"usage": [{"meter": "tokens", "quantity": quantity}]}


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    made = Lanes()
    made.start()
    yield made
    made.stop(30)


def held(door: AgentDoor, number: int) -> list[str]:
    return [str(door.post("/authorize", HOLD)["hold"]["id"]) for _ in range(number)]


def told(found: list[Reply]) -> list[tuple[int, str]]:
    """Status of each, and the hold's state or the refusal's code."""
    bodies = [json.loads(reply.body) for reply in found]
    return [
        (reply.status, body.get("hold", {}).get("status") if reply.status == 200 else body["code"])
        for reply, body in zip(found, bodies, strict=True)
    ]


def test_holds__settled_released_and_extended_at_once__each_as_if_alone(lanes: Lanes) -> None:
    vendor = Vendor()
    first, second = vendor.door({"limit": "100"}), Vendor().door({"limit": "100"})
    ids, [others] = held(first, 4), held(second, 1)
    extend = {"ttl": 600}

    async def ask() -> list[Reply]:
        return await replies(
            lanes,
            [
                call(f"/holds/{ids[0]}/settle", first.key, used("3")),
                call(f"/holds/{ids[0]}/settle", first.key, used("4")),
                call(f"/holds/{ids[0]}/settle", first.key, used("3")),
                call(f"/holds/{ids[1]}/settle", first.key, {**used("2"), "final": False, "id": "part"}),
                call(f"/holds/{ids[2]}/release", first.key),
                call(f"/holds/{ids[3]}/extend", first.key, extend),
                call(f"/holds/{ids[2]}/extend", second.key, extend),
                call(f"/holds/{others}/settle", second.key, used("11")),
            ],
        )

    found = asyncio.run(ask())

    assert told(found) == [
        (200, "settled"),
        (409, "hold_settled"),
        (200, "settled"),
        (200, "open"),
        (200, "released"),
        (200, "open"),
        (404, "not_found"),
        (200, "settled"),
    ]
    assert [json.loads(found[place].body)["replayed"] for place in (0, 2, 3, 7)] == [False, True, False, False]
    assert sorted(UsageEvent.objects.values_list("quantity", flat=True)) == [2, 3, 11]
    # Of 40: 10 settled, 10 released, 2 of 10 settled in part, 10 held on.
    assert sorted(Balance.objects.values_list("used", "held")) == [(5, 18), (11, 0)]


def test_holds__of_a_lease_ended_among_others__are_done_apart_and_the_token_dies(lanes: Lanes) -> None:
    leasing, plain = Vendor().door({"limit": "100"}), Vendor().door({"limit": "100"})
    leased = [str(leasing.post("/tokens", {"lease": used("10")["usage"]})["hold_id"]) for _ in range(2)]
    [id] = held(plain, 1)

    async def ask() -> list[Reply]:
        return await replies(
            lanes,
            [
                call(f"/holds/{leased[0]}/settle", leasing.key, used("3")),
                call(f"/holds/{id}/settle", plain.key, used("3")),
                call(f"/holds/{leased[1]}/release", leasing.key),
            ],
        )

    assert told(asyncio.run(ask())) == [(200, "settled"), (200, "settled"), (200, "released")]
    assert Hold.objects.filter(status="open").count() == 0


def test_holds__places_kept_by_somebody__hold_up_nobody_else(lanes: Lanes) -> None:
    busy = Vendor()
    license = busy.license({"limit": "100"}, hold_limit=5)
    waits, goes_on = AgentDoor(busy.agent(license).key_text), Vendor().door({"limit": "100"})

    async def ask() -> tuple[bool, list[Reply]]:
        await replies(lanes, [call("/authorize", each.key, HOLD) for each in (waits, goes_on)])
        with places_kept(license):
            stuck, other = call("/authorize", waits.key, HOLD), call("/authorize", goes_on.key, HOLD)
            assert lanes.submit(stuck)
            assert lanes.submit(other)
            await asyncio.wait_for(other.reply, 30)
            done = stuck.reply.done()
        return done, [await asyncio.wait_for(each.reply, 30) for each in (stuck, other)]

    done, found = asyncio.run(ask())

    assert not done
    assert [json.loads(reply.body)["allowed"] for reply in found] == [True, True]
    assert Hold.objects.count() == 4


@contextmanager
def places_kept(license: License) -> Iterator[None]:
    """Somebody counts the open holds of this licence, and takes long over it."""
    with transaction.atomic():
        lock_places([HoldLimit(LimitLevel.LICENSE, license.id, 5)])
        yield
