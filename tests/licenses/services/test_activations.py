"""Places are never too many and never lost: under threads, processes, lapses and heartbeats at once."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.db import connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.clock import FixedClock
from common.errors import Forbidden
from licenses.domain.activations import ActivationStatus, activation_status, lease_end, tells_of_limit
from licenses.domain.enums import AgentStatus
from licenses.models import Activation, Agent
from licenses.services.activations import Activated, Holder, activate, give_up, heartbeat
from licenses.services.lapsing import lapse_activations
from tenants.models import OutboxEvent
from tests.factories import ACTOR, Shop, make_agent, make_shop
from tests.parallel import at_once

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)


def holder(shop: Shop, clock: FixedClock | None = None) -> Holder:
    return Holder(shop.tenant.id, shop.license.id, shop.agent.id, clock or FixedClock(AT))


def places(outcomes: list[Any]) -> list[bool]:
    """Whether each call got a place; anything but a place or a full licence fails the test."""
    for each in outcomes:
        assert isinstance(each, Activated) or (
            isinstance(each, Forbidden) and each.code == "activation_limit_reached"
        ), each
    return [isinstance(each, Activated) for each in outcomes]


@pytest.mark.django_db(transaction=True)
def test_activate__many_threads_at_once__exactly_the_limit_get_a_place() -> None:
    shop = make_shop(plan={"activation_limit": 5})
    calls = [partial(activate, holder=holder(shop), actor=ACTOR, fingerprint=f"host-{n}") for n in range(24)]

    outcomes = at_once(calls)

    assert sum(places(outcomes)) == 5
    assert Activation.objects.count() == 5
    refusals = [each.extra for each in outcomes if isinstance(each, Forbidden)]
    assert refusals == [{"limit": 5, "current": 5}] * 19
    assert OutboxEvent.objects.filter(type="activation.created").count() == 5


@pytest.mark.django_db
@pytest.mark.parametrize("gone", [{"archived_at": AT}, {"status": AgentStatus.REVOKED}])
def test_activate__copies_of_agents_that_are_gone__hold_no_place_but_machines_do(gone: dict[str, Any]) -> None:
    shop = make_shop(plan={"activation_limit": 2})
    child = make_agent(shop.license, parent_id=shop.agent).agent
    of_child = Holder(shop.tenant.id, shop.license.id, child.id, FixedClock(AT))
    activate(holder=of_child, actor=ACTOR, instance="copy")
    activate(holder=of_child, actor=ACTOR, fingerprint="machine")
    Agent.objects.filter(pk=child.pk).update(**gone)

    assert activate(holder=holder(shop), actor=ACTOR, instance="copy").created
    with pytest.raises(Forbidden, match="2 hold a place"):
        activate(holder=holder(shop), actor=ACTOR, instance="another")


@pytest.mark.django_db(transaction=True)
def test_activate__same_machine_from_many_threads__is_one_activation_made_once() -> None:
    shop = make_shop(plan={"activation_limit": 1})

    outcomes = at_once([partial(activate, holder=holder(shop), actor=ACTOR, fingerprint="host") for _ in range(16)])

    assert places(outcomes) == [True] * 16
    assert sorted(each.created for each in outcomes if isinstance(each, Activated)) == [False] * 15 + [True]
    assert Activation.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_activate__while_others_give_up__no_place_is_lost_and_none_too_many() -> None:
    shop = make_shop(plan={"activation_limit": 4})
    held = [activate(holder=holder(shop), actor=ACTOR, fingerprint=f"old-{n}").activation for n in range(4)]
    leaving = [partial(give_up, holder=holder(shop), activation_id=each.id, actor=ACTOR) for each in held]
    coming: list[Any] = [partial(activate, holder=holder(shop), actor=ACTOR, fingerprint=f"new-{n}") for n in range(8)]

    at_once([*leaving, *coming])
    assert Activation.objects.filter(released_at__isnull=True).count() <= 4
    at_once(coming)

    assert Activation.objects.filter(released_at__isnull=True).count() == 4


@pytest.mark.django_db(transaction=True)
def test_heartbeat__of_the_lapsed__races_with_newcomers_for_the_places() -> None:
    shop = make_shop(plan={"activation_limit": 3, "activation_lease": 60})
    old = [activate(holder=holder(shop), actor=ACTOR, fingerprint=f"old-{n}").activation for n in range(3)]
    later = holder(shop, FixedClock(AT + timedelta(seconds=60)))
    calls: list[Any] = [partial(heartbeat, holder=later, activation_id=each.id, actor=ACTOR, lease=60) for each in old]
    calls += [partial(activate, holder=later, actor=ACTOR, fingerprint=f"new-{n}") for n in range(6)]

    outcomes = at_once(calls)

    refused = [each for each in outcomes if isinstance(each, Exception)]
    assert [(each.code if isinstance(each, Forbidden) else each) for each in refused] == [
        "activation_limit_reached"
    ] * 6
    assert Activation.objects.filter(expires_at__gt=later.clock.now()).count() == 3


def _activate_in_process(tenant_id: UUID, license_id: UUID, agent_id: UUID, number: int, queue: Any) -> None:
    connections.close_all()
    held = Holder(tenant_id, license_id, agent_id, FixedClock(AT))
    got = 0
    for place in range(8):
        try:
            activate(holder=held, actor=ACTOR, fingerprint=f"host-{number}-{place}")
            got += 1
        except Forbidden:
            pass
    queue.put(got)
    connections.close_all()


@pytest.mark.django_db(transaction=True)
def test_activate__from_many_processes__exactly_the_limit_get_a_place() -> None:
    shop = make_shop(plan={"activation_limit": 10})
    connections.close_all()
    forked = multiprocessing.get_context("fork")
    queue = forked.Queue()
    processes = [
        forked.Process(
            target=_activate_in_process,
            args=(shop.tenant.id, shop.license.id, shop.agent.id, number, queue),
            daemon=True,
        )
        for number in range(4)
    ]
    for process in processes:
        process.start()
    got = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)

    assert sum(got) == 10
    assert Activation.objects.count() == 10


@pytest.mark.django_db(transaction=True)
def test_lapse_activations__notes_each_once__at_its_very_end_and_not_before() -> None:
    shop = make_shop(plan={"activation_lease": 60})
    made = activate(holder=holder(shop), actor=ACTOR, fingerprint="host").activation
    activate(holder=holder(shop, FixedClock(AT + timedelta(seconds=30))), actor=ACTOR, fingerprint="later")
    assert lapse_activations(AT + timedelta(seconds=60) - timedelta(microseconds=1)) == 0
    assert [lapse_activations(AT + timedelta(seconds=60)) for _ in range(2)] == [1, 0]
    [told] = OutboxEvent.objects.filter(type="activation.lapsed")
    assert told.data["activation"] == made.public_id
    # Revived and lapsed again: told again.
    again = holder(shop, FixedClock(AT + timedelta(seconds=70)))
    heartbeat(holder=again, activation_id=made.id, actor=ACTOR, lease=60)
    assert lapse_activations(AT + timedelta(seconds=130)) == 2
    give_up(holder=again, activation_id=made.id, actor=ACTOR)
    assert lapse_activations(AT + timedelta(days=9)) == 0


@pytest.mark.django_db
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.integers(0, 3),
    steps=st.lists(st.tuples(st.sampled_from(["activate", "beat", "give up", "wait"]), st.integers(0, 4)), max_size=25),
)
def test_any_sequence__never_holds_more_places_than_there_are(limit: int, steps: list[tuple[str, int]]) -> None:
    shop = make_shop(plan={"activation_limit": limit, "activation_lease": 60})
    clock = FixedClock(AT)
    here = holder(shop, clock)
    known: dict[int, UUID] = {}
    for action, number in steps:
        before = held_at(shop, clock.now())
        refusal: Forbidden | None = None
        try:
            if action == "wait":
                clock.advance(timedelta(seconds=25 * number))
            elif action == "activate":
                known[number] = activate(holder=here, actor=ACTOR, fingerprint=f"host-{number}").activation.id
            elif number in known and action == "beat":
                heartbeat(holder=here, activation_id=known[number], actor=ACTOR, lease=60)
            elif number in known:
                give_up(holder=here, activation_id=known.pop(number), actor=ACTOR)
        except Forbidden as refused:
            refusal = refused
        # Nobody is refused while there is room.
        assert refusal is None or (refusal.extra == {"limit": limit, "current": limit} and len(before) == limit)
        assert len(held_at(shop, clock.now())) <= limit


def held_at(shop: Shop, at: datetime) -> list[UUID]:
    rows = Activation.objects.filter(license=shop.license)
    return [
        row.id
        for row in rows
        if activation_status(expires_at=row.expires_at, released_at=row.released_at, at=at) is ActivationStatus.ACTIVE
    ]


@pytest.mark.parametrize(
    ("expires", "released", "status"),
    [
        (None, None, "active"),
        (timedelta(microseconds=1), None, "active"),
        (timedelta(0), None, "lapsed"),
        (timedelta(hours=1), timedelta(0), "released"),
        (timedelta(-1), timedelta(0), "released"),
    ],
)
def test_activation_status__follows_the_clock(expires: Any, released: Any, status: str) -> None:
    ends = None if expires is None else AT + expires
    assert activation_status(expires_at=ends, released_at=None if released is None else AT, at=AT) == status


def test_lease_end__beyond_the_calendar__is_its_last_day() -> None:
    assert lease_end(AT, None) is None
    assert lease_end(AT, 60) == AT + timedelta(seconds=60)
    assert lease_end(datetime(9999, 12, 30, tzinfo=UTC), 10**9) == datetime(9999, 12, 31, tzinfo=UTC)


@pytest.mark.parametrize(("since", "told"), [(None, True), (3599, False), (3600, True)])
def test_tells_of_limit__at_once_and_again_after_an_hour(since: int | None, told: bool) -> None:
    assert tells_of_limit(None if since is None else AT - timedelta(seconds=since), AT) is told
