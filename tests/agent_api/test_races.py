"""Many threads of one process at the door at once."""

from __future__ import annotations

import threading
from functools import partial

import pytest
from django.db import connections

from licenses.services.agent_states import revoke_agent
from metering.models import Balance, UsageEvent
from tests.agent_door import AgentDoor, Vendor
from tests.factories import ACTOR
from tests.parallel import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def test_authorize__many_at_once__allow_exactly_the_limit_at_every_level() -> None:
    vendor = Vendor()
    license = vendor.license({"limit": "10"}, {"limit": "4", "scope": "agent", "period": "lifetime"})
    doors = [AgentDoor(vendor.agent(license).key_text) for _ in range(4)]
    asked = {"usage": [{"meter": "tokens", "quantity": "1"}]}

    answers = at_once([partial(doors[number % 4].post, "/authorize", asked) for number in range(32)])

    allowed = [[answer["allowed"] for answer in answers[number::4]] for number in range(4)]  # type: ignore[index]
    assert sum(map(sum, allowed)) == 10
    assert max(map(sum, allowed)) <= 4
    assert UsageEvent.objects.count() == 10
    assert Balance.objects.get(scope="license").used == 10


def test_usage__same_ids_from_many_threads__count_once() -> None:
    door = Vendor().door({"limit": "1000"})
    events = [{"id": f"e-{number}", "meter": "tokens", "quantity": "3"} for number in range(50)]
    calls = [partial(door.post, "/usage", {"events": events[turn:] + events[:turn]}) for turn in range(12)]

    answers = at_once(calls)

    assert sum(answer["recorded"] for answer in answers) == 50  # type: ignore[index]
    assert sum(answer["duplicates"] for answer in answers) == 11 * 50  # type: ignore[index]
    assert Balance.objects.get().used == 150


def test_revoke__under_load__no_call_that_starts_after_it_returned_gets_in() -> None:
    vendor = Vendor()
    made = vendor.agent(vendor.license())
    door = AgentDoor(made.key_text)
    revoked = threading.Event()
    late: list[int] = []
    before: list[int] = []

    def call() -> None:
        try:
            for _ in range(40):
                seen = revoked.is_set()
                (late if seen else before).append(door.post("/authorize").status)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    while not before:
        pass
    revoke_agent(tenant=vendor.tenant, agent_id=made.agent.id, actor=ACTOR)
    revoked.set()
    for thread in threads:
        thread.join()

    assert before[0] == 200
    assert set(late) == {401}
