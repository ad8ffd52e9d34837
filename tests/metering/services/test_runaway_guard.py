"""The guard fires on what breaks a rule, once, and on nothing else."""

from datetime import timedelta
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
from django.db import connections
from pytest_django.fixtures import Settings

from common.valkey import valkey
from licenses.domain.enums import AgentStatus
from licenses.services.agent_groups import Whom, throttle_agents
from licenses.services.agent_states import resume_agent, revoke_agent, suspend_agent
from licenses.services.call_counts import counts_key
from licenses.services.gate import GateCommand, check_gate, note_refusal, write_refusals
from licenses.services.throttles import read_throttle
from metering.domain.runaway import Reading
from metering.models import RunawayIncident
from metering.selectors.runaway import Policies, all_policies
from metering.services import runaway_guard
from metering.services.runaway_guard import watch_agents
from metering.services.runaway_policies import set_agent_policy
from tenants.models import AuditEntry, OutboxEvent
from tenants.services.each_workspace import WorkspacesFailedError
from tests.factories import ACTOR, make_shop
from tests.metering.runaway_world import MINUTE, NOW, TO_TEN, World, calls_rule, look, multiple_rule, share_rule

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world() -> World:
    return World()


def test_guard__above_calls_a_minute__tells_the_vendor_and_the_trail(world: World) -> None:
    world.plan_rules(calls_rule(100))
    world.called(101)

    watch = look()

    incident = world.incident
    assert watch.opened == [incident.public_id]
    assert (incident.rule, incident.observed, incident.threshold, incident.effect) == (
        "calls_per_minute",
        101,
        100,
        "none",
    )
    event = OutboxEvent.objects.get(type="agent.runaway_detected")
    assert event.subject == world.agent.public_id
    assert event.data == {
        "incident": incident.public_id,
        "agent": world.agent.public_id,
        "license": world.shop.license.public_id,
        "customer": world.shop.customer.public_id,
        "rule": "calls_per_minute",
        "observed": "101",
        "limit": "100",
        "window": 60,
        "meter": None,
        "plan": world.shop.plan.public_id,
        "calls": 101,
        "refusals": 0,
        "baseline": None,
        "action": "notify",
        "effect": "none",
        "detected_at": "2026-11-24T10:30:05Z",
    }
    entry = AuditEntry.objects.get(action="agent.runaway_detected")
    assert (entry.actor_kind, entry.actor_name, entry.target_id) == (
        "worker",
        "metering.watch_agents",
        world.agent.public_id,
    )
    assert world.fresh().status == AgentStatus.ACTIVE


def test_guard__exactly_at_the_limit__does_nothing(world: World) -> None:
    world.plan_rules(calls_rule(100))
    world.called(100)
    world.called(100, at=NOW - MINUTE)

    assert look().opened == []
    assert not OutboxEvent.objects.filter(type="agent.runaway_detected").exists()


def test_guard__without_a_policy__does_nothing(world: World) -> None:
    world.called(1_000_000, 1_000_000)

    assert (look().opened, world.incidents()) == ([], [])
    assert world.fresh().status == AgentStatus.ACTIVE


def test_guard__what_was_counted_at_the_end_of_a_minute__is_seen_in_the_next(world: World) -> None:
    world.plan_rules(calls_rule(100))
    world.called(101, at=NOW - MINUTE)

    assert len(look().opened) == 1


def test_guard__two_minutes_ago__is_too_long_ago(world: World) -> None:
    world.plan_rules(calls_rule(100))
    world.called(101, at=NOW - 2 * MINUTE)

    assert look().opened == []


def test_guard__suspend__answers_so_and_leaves_the_others_alone(world: World) -> None:
    other = world.another()
    world.plan_rules(calls_rule(100, "suspend"))
    world.called(101)
    world.called(99, agent=other)

    look()

    agent = world.fresh()
    assert (agent.status, agent.status_reason) == (AgentStatus.SUSPENDED, world.incident.mark)
    assert world.incident.mark == (f"Runaway guard ({world.incident.public_id}): 101 calls in a minute, over 100.")
    assert world.fresh(other).status == AgentStatus.ACTIVE
    assert OutboxEvent.objects.filter(type="agent.suspended").count() == 1


def test_guard__throttle__holds_for_its_time(world: World) -> None:
    world.plan_rules(calls_rule(100, "throttle", throttle_to=TO_TEN, **{"for": 600}))
    world.called(101)

    look()

    throttle = world.fresh().throttle
    assert throttle is not None
    assert (throttle["limit"], throttle["window"], throttle["burst"]) == (10, 60, 10)
    assert (throttle["reason"], throttle) == (world.incident.mark, world.incident.throttle)


@pytest.mark.parametrize(("refusals", "fires"), [(11, True), (10, False)])
def test_guard__share_of_refusals__fires_above_it_only(world: World, refusals: int, fires: bool) -> None:
    world.plan_rules(share_rule("0.5"))
    world.called(20, refusals)

    assert bool(look().opened) is fires


def test_guard__share_of_refusals_of_too_few_calls__does_nothing(world: World) -> None:
    world.plan_rules(share_rule("0.5"))
    world.called(19, 19)

    assert look().opened == []


def test_guard__same_episode__is_told_of_once(world: World) -> None:
    world.plan_rules(calls_rule(100))
    for step in range(5):
        world.called(200, at=NOW + step * MINUTE)
        look(NOW + step * MINUTE)

    assert len(world.incidents()) == 1
    assert OutboxEvent.objects.filter(type="agent.runaway_detected").count() == 1


def test_guard__calm_again__ends_and_may_fire_anew(world: World) -> None:
    world.plan_rules(calls_rule(100))
    world.called(101)
    look()
    # Between 80 and 100 per cent the episode goes on.
    world.called(81, at=NOW + 2 * MINUTE)
    assert look(NOW + 2 * MINUTE).ended == []
    world.called(80, at=NOW + 4 * MINUTE)

    assert look(NOW + 4 * MINUTE).ended == [world.incident.public_id]

    world.called(101, at=NOW + 6 * MINUTE)
    assert len(look(NOW + 6 * MINUTE).opened) == 1
    assert [incident.ended_at for incident in world.incidents()] == [NOW + 4 * MINUTE, None]


def test_guard__policy_taken_away_in_an_episode__ends_it_and_leaves_what_was_done(world: World) -> None:
    world.plan_rules(calls_rule(100), calls_rule(150, "suspend"))
    world.called(151)
    look()
    world.plan_rules()

    assert look(NOW + timedelta(seconds=5)).opened == []
    # What is suspended calls no more: lighter rules have nothing to add.
    assert (world.incident.action, world.incident.ended_at) == ("suspend", None)
    assert world.fresh().status == AgentStatus.SUSPENDED


def test_guard__agents_own_rules__stand_instead_of_the_plans(world: World) -> None:
    other = world.another()
    world.plan_rules(calls_rule(100))
    world.agent_rules(calls_rule(500))
    world.agent_rules(agent=other)
    world.called(400)
    world.called(1000, agent=other)

    assert look().opened == []

    set_agent_policy(tenant=world.tenant, agent=world.agent, actor=ACTOR, rules=None)
    assert len(look().opened) == 1


def test_guard__children__count_for_themselves_only(world: World) -> None:
    child = world.another(parent_id=world.agent.pk)
    world.plan_rules(calls_rule(100, "suspend"))
    world.called(60)
    world.called(60, agent=child)

    assert look().opened == []
    world.called(60, agent=child)
    assert len(look().opened) == 1
    assert (world.fresh().status, world.fresh(child).status) == (AgentStatus.ACTIVE, AgentStatus.SUSPENDED)


def test_guard__two_workspaces__never_feel_each_other(world: World) -> None:
    neighbour = World(make_shop())
    world.plan_rules(calls_rule(100, "suspend"))
    neighbour.called(1000)
    world.called(100)

    assert look().opened == []
    neighbour.plan_rules(calls_rule(100, "suspend"))
    look()
    assert (len(neighbour.incidents()), len(world.incidents())) == (1, 0)


def test_guard__valkey_flushed__knows_less_and_does_nothing(world: World) -> None:
    world.plan_rules(calls_rule(100, "suspend"))
    world.called(101)
    valkey().delete(counts_key(world.tenant.pk, int(NOW.timestamp()) // 60))

    assert look().opened == []


def test_guard__valkey_away__does_nothing_and_ends_nothing(world: World, settings: Settings) -> None:
    world.plan_rules(calls_rule(100))
    world.called(101)
    look()
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    watch = look(NOW + 10 * MINUTE)

    assert (watch.opened, watch.ended, world.incident.ended_at) == ([], [], None)


def test_guard__many_workers_at_once__open_one_incident(world: World) -> None:
    world.plan_rules(calls_rule(100, "suspend"))
    world.called(101)

    def run() -> None:
        try:
            look()
        finally:
            connections.close_all()

    threads = [Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert RunawayIncident.objects.count() == 1
    types = list(OutboxEvent.objects.filter(subject=world.agent.public_id).values_list("type", flat=True))
    assert sorted(types) == ["agent.created", "agent.runaway_detected", "agent.suspended"]


def test_guard__suspended_or_revoked_agent__is_left_alone(world: World) -> None:
    other = world.another()
    world.plan_rules(calls_rule(100, "suspend"))
    suspend_agent(tenant=world.tenant, agent_id=world.agent.pk, actor=ACTOR, reason="by hand")
    revoke_agent(tenant=world.tenant, agent_id=other.pk, actor=ACTOR)
    world.called(101)
    world.called(101, agent=other)

    assert look().opened == []
    assert world.fresh().status_reason == "by hand"


def test_guard__resumed_by_hand__holds_off_for_an_hour(world: World) -> None:
    world.plan_rules(calls_rule(100, "suspend"))
    world.called(101)
    look()
    resume_agent(tenant=world.tenant, agent_id=world.agent.pk, actor=ACTOR)

    first = look(NOW + timedelta(seconds=5))
    assert (len(first.ended), first.opened) == (1, [])
    for minutes, fires in ((30, False), (59, False), (61, True)):
        at = NOW + minutes * MINUTE
        world.called(101, at=at)
        assert bool(look(at).opened) is fires


def test_guard__throttle_lasts_out_and_agent_still_runs__fires_anew(world: World) -> None:
    world.plan_rules(calls_rule(100, "throttle", throttle_to=TO_TEN))
    world.called(101)
    look()
    RunawayIncident.objects.update(throttle={**world.incident.throttle, "until": "2026-01-01T00:00:00Z"})
    agent = world.fresh()
    agent.throttle = world.incident.throttle
    agent.save()

    watch = look(NOW + timedelta(seconds=5))

    assert (len(watch.ended), len(watch.opened)) == (1, 1)


def test_guard__lower_throttle_holds_already__is_not_loosened(world: World) -> None:
    throttle = read_throttle(world.tenant, limit=5, window=60)
    throttle_agents(tenant=world.tenant, whom=Whom(agent_id=world.agent.pk), actor=ACTOR, throttle=throttle)
    before = world.fresh().throttle
    world.plan_rules(calls_rule(100, "throttle", throttle_to=TO_TEN))
    world.called(101)

    look()

    assert (world.fresh().throttle, world.incident.effect) == (before, "none")


def test_guard__calls_and_refusals_of_the_gate__are_what_it_sees(world: World) -> None:
    world.plan_rules(calls_rule(29), share_rule("0.3"))
    check_gate([GateCommand(world.tenant.pk, agent_id=world.agent.pk)] * 30)
    for _ in range(10):
        note_refusal(world.tenant.pk, world.agent.pk)

    watch_agents()
    assert [incident.rule for incident in world.incidents()] == ["calls_per_minute"]

    write_refusals()
    watch_agents()
    assert [incident.rule for incident in world.incidents()] == ["calls_per_minute", "refusal_share"]


def test_guard__multiple_of_a_past_that_is_not_there__does_nothing(world: World) -> None:
    world.plan_rules(multiple_rule("2"))
    world.called(100_000)

    assert look().opened == []


def test_guard__notifying_policy_taken_away__ends_its_episode(world: World) -> None:
    world.plan_rules(calls_rule(100))
    world.called(101)
    look()
    world.plan_rules()

    assert look(NOW + timedelta(seconds=5)).ended == [world.incident.public_id]


def test_guard__one_workspace_fails__the_others_are_looked_at_and_it_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = World()
    for each in (world, other):
        each.plan_rules(calls_rule(100))
        each.called(101)
    first, second = sorted(
        (world, other), key=lambda each: [found.tenant for found in all_policies()].index(each.tenant)
    )
    real = runaway_guard.readings_of

    def fail(policies: Policies, *given: Any) -> dict[UUID, Reading]:
        if policies.tenant == first.tenant:
            raise ZeroDivisionError
        return real(policies, *given)

    monkeypatch.setattr(runaway_guard, "readings_of", fail)
    with pytest.raises(WorkspacesFailedError) as told:
        look()
    assert told.value.tenant_ids == (first.tenant.id,)
    assert [incident.tenant_id for incident in RunawayIncident.objects.all()] == [second.tenant.id]
