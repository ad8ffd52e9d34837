"""Undoing what the guard did, whatever has happened since."""

from datetime import timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import connections

from common.errors import NotFound
from licenses.domain.enums import AgentStatus
from licenses.services.agent_groups import Whom, resume_agents, throttle_agents
from licenses.services.agent_states import archive_agent, resume_agent, revoke_agent, suspend_agent
from licenses.services.throttles import read_throttle
from metering.models import RunawayIncident
from metering.services.runaway_incidents import HOLD_OFF, undo_incident
from tenants.models import AuditEntry, OutboxEvent
from tests.factories import ACTOR, make_shop
from tests.metering.runaway_world import MINUTE, NOW, TO_TEN, World, calls_rule, look, share_rule

pytestmark = pytest.mark.django_db(transaction=True)

THROTTLE: dict[str, Any] = {"action": "throttle", "throttle_to": TO_TEN}


@pytest.fixture
def world() -> World:
    return World()


def fired(world: World, **rule: Any) -> RunawayIncident:
    """An agent that ran away, and what the guard did."""
    world.plan_rules(calls_rule(100, **rule))
    world.called(101)
    look()
    return world.incident


def undo(world: World, incident: RunawayIncident, reason: str = "a planned run") -> RunawayIncident:
    return undo_incident(tenant=world.tenant, incident_id=incident.pk, actor=ACTOR, reason=reason)


def throttle_by_hand(world: World, limit: int) -> dict[str, Any]:
    wanted = read_throttle(world.tenant, limit=limit, window=60)
    whom = Whom(agent_id=world.agent.pk)
    throttle_agents(tenant=world.tenant, whom=whom, actor=ACTOR, throttle=wanted, reason="by hand")
    return dict(world.fresh().throttle or {})


def lifted(world: World) -> str:
    entry = AuditEntry.objects.filter(action="runaway_incident.undone").latest("at")
    assert (entry.target_id, entry.actor_name) == (world.incidents()[0].public_id, ACTOR.name)
    return str(entry.changes["lifted"][1])


def test_undo__of_a_suspension__resumes_and_says_who(world: World) -> None:
    undone = undo(world, fired(world, action="suspend"))

    assert world.fresh().status == AgentStatus.ACTIVE
    assert (undone.undone_by, undone.undo_reason) == (ACTOR.name, "a planned run")
    assert undone.undone_at is not None
    assert undone.held_off_until == undone.undone_at + HOLD_OFF
    assert lifted(world) == "suspended"
    assert OutboxEvent.objects.filter(type="agent.resumed").count() == 1


def test_undo__twice__is_the_same_as_once(world: World) -> None:
    incident = fired(world, action="suspend")
    first = undo(world, incident)
    suspend_agent(tenant=world.tenant, agent_id=world.agent.pk, actor=ACTOR, reason="by hand")

    second = undo(world, incident, "again")

    assert (second.undone_at, second.undo_reason) == (first.undone_at, "a planned run")
    assert world.fresh().status == AgentStatus.SUSPENDED
    assert AuditEntry.objects.filter(action="runaway_incident.undone").count() == 1


def test_undo__of_a_throttle__lifts_it(world: World) -> None:
    undo(world, fired(world, **THROTTLE))

    assert (world.fresh().throttle, lifted(world)) == (None, "throttled")


def test_undo__of_a_throttle_over_a_looser_one__brings_that_back(world: World) -> None:
    before = throttle_by_hand(world, 50)
    incident = fired(world, **THROTTLE)
    assert world.fresh().throttle == incident.throttle != before

    undo(world, incident)

    assert world.fresh().throttle == before


def test_undo__of_a_notice__lifts_nothing(world: World) -> None:
    undone = undo(world, fired(world))

    assert (lifted(world), undone.ended_at == undone.held_off_until) == ("none", False)
    assert not OutboxEvent.objects.filter(type="agent.resumed").exists()


def test_undo__resumed_and_suspended_by_hand_since__stays_suspended(world: World) -> None:
    incident = fired(world, action="suspend")
    resume_agent(tenant=world.tenant, agent_id=world.agent.pk, actor=ACTOR)
    suspend_agent(tenant=world.tenant, agent_id=world.agent.pk, actor=ACTOR, reason="by hand")

    undo(world, incident)

    agent = world.fresh()
    assert (agent.status, agent.status_reason, lifted(world)) == (AgentStatus.SUSPENDED, "by hand", "none")


def test_undo__throttled_by_hand_since__keeps_that(world: World) -> None:
    incident = fired(world, **THROTTLE)
    since = throttle_by_hand(world, 3)

    undo(world, incident)

    assert (world.fresh().throttle, lifted(world)) == (since, "none")


def test_undo__suspension_of_a_throttled_agent__keeps_its_throttle(world: World) -> None:
    before = throttle_by_hand(world, 50)

    undo(world, fired(world, action="suspend"))

    agent = world.fresh()
    assert (agent.status, agent.throttle) == (AgentStatus.ACTIVE, before)


@pytest.mark.parametrize("end", [revoke_agent, archive_agent])
def test_undo__agent_that_is_gone__stays_gone(world: World, end: Any) -> None:
    incident = fired(world, action="suspend")
    end(tenant=world.tenant, agent_id=world.agent.pk, actor=ACTOR)

    undo(world, incident)

    assert (world.fresh().status, lifted(world)) == (AgentStatus.REVOKED, "none")


def test_undo__after_the_policy_is_gone__lifts_all_the_same(world: World) -> None:
    incident = fired(world, action="suspend")
    world.plan_rules()

    undo(world, incident)

    assert world.fresh().status == AgentStatus.ACTIVE


def test_undo__of_one_of_two_throttles__never_brings_back_what_was_undone(world: World) -> None:
    world.plan_rules(calls_rule(100, "throttle", throttle_to={"limit": 50, "window": 60}), share_rule(**THROTTLE))
    world.called(101)
    look()
    world.called(0, 101)
    look(NOW + timedelta(seconds=5))
    by_rule = {incident.rule: incident for incident in world.incidents()}
    first, second = by_rule["calls_per_minute"], by_rule["refusal_share"]
    assert (world.fresh().throttle, second.previous) == (second.throttle, first.throttle)

    undo(world, first)
    assert world.fresh().throttle == second.throttle
    undo(world, second)

    assert world.fresh().throttle is None


def test_undo__same_episode__does_not_fire_again_for_an_hour_nor_do_lighter_rules(world: World) -> None:
    world.plan_rules(calls_rule(50), calls_rule(100, "suspend"))
    world.called(101)
    look()
    undone = undo(world, world.incident)
    assert undone.undone_at is not None
    for after, fires in ((timedelta(0), False), (timedelta(minutes=59), False), (timedelta(minutes=61), True)):
        at = undone.undone_at + after
        world.called(101, at=at)
        assert bool(look(at).opened) is fires


def test_undo__of_a_notice__does_not_keep_a_suspension_away(world: World) -> None:
    undo(world, fired(world))
    world.plan_rules(calls_rule(100), calls_rule(200, "suspend"))
    world.called(100)

    look(NOW + timedelta(seconds=5))

    assert world.fresh().status == AgentStatus.SUSPENDED


def test_undo__in_another_workspace__is_not_found(world: World) -> None:
    incident = fired(world, action="suspend")

    with pytest.raises(NotFound):
        undo_incident(tenant=make_shop().tenant, incident_id=incident.pk, actor=ACTOR)
    assert world.fresh().status == AgentStatus.SUSPENDED


def test_undo__against_looks_and_resumes_side_by_side__leaves_the_agent_active_once(world: World) -> None:
    incident = fired(world, action="suspend")
    start = Barrier(6)

    def run(act: Any) -> None:
        try:
            start.wait()
            act()
        finally:
            connections.close_all()

    acts = [
        *[lambda: undo(world, incident)] * 2,
        *[lambda: look(NOW + timedelta(seconds=5))] * 2,
        lambda: resume_agent(tenant=world.tenant, agent_id=world.agent.pk, actor=ACTOR),
        lambda: resume_agents(tenant=world.tenant, whom=Whom(license_id=world.shop.license.pk), actor=ACTOR),
    ]
    threads = [Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert world.fresh().status == AgentStatus.ACTIVE
    assert len(world.incidents()) == 1
    assert OutboxEvent.objects.filter(type="agent.resumed").count() == 1
    assert world.incident.undone_at is not None


def test_guard__suspended_by_hand_at_the_same_time__never_both(world: World) -> None:
    world.plan_rules(calls_rule(100, "suspend"))
    world.called(101)
    start = Barrier(3)

    def run(act: Any) -> None:
        try:
            start.wait()
            act()
        finally:
            connections.close_all()

    def by_hand() -> None:
        suspend_agent(tenant=world.tenant, agent_id=world.agent.pk, actor=ACTOR, reason="by hand")

    threads = [Thread(target=run, args=(act,)) for act in (look, look, by_hand)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    agent = world.fresh()
    assert agent.status == AgentStatus.SUSPENDED
    assert OutboxEvent.objects.filter(type="agent.suspended").count() == 1
    assert agent.status_reason == ("by hand" if not world.incidents() else world.incident.mark)


def test_incident__ended_by_the_guard__can_still_be_undone(world: World) -> None:
    incident = fired(world)
    look(NOW + 10 * MINUTE)
    assert world.incident.ended_at == NOW + 10 * MINUTE

    assert undo(world, incident).undone_at is not None
    assert world.incident.ended_at == NOW + 10 * MINUTE
