"""What agents usually do is kept by hour, and compared with what they do."""

from datetime import timedelta
from decimal import Decimal

import pytest
from pytest_django.fixtures import Settings

from metering.models import CallProfile
from metering.selectors.runaway import baselines
from metering.services.call_profiles import profile_calls
from metering.services.runaway_incidents import undo_incident
from tests.factories import ACTOR
from tests.metering.runaway_world import MINUTE, NOW, World, calls_rule, look, multiple_rule

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)


@pytest.fixture
def world() -> World:
    world = World()
    world.plan_rules(multiple_rule())
    return world


def live(world: World, *, hours: int, busiest: int = 20) -> None:
    """A past of so many hours up to now, with two busy minutes in each."""
    start = NOW.replace(minute=0) - hours * HOUR
    for hour in range(hours):
        world.called(busiest, at=start + hour * HOUR)
        world.called(busiest // 2, at=start + hour * HOUR + 30 * MINUTE)
        profile_calls(now=start + hour * HOUR + 59 * MINUTE)


def peaks(world: World) -> list[int]:
    return list(CallProfile.objects.get(agent=world.agent).peaks.values())


def test_profile__looked_at_again__stays_the_same(world: World) -> None:
    world.called(20, at=NOW - 5 * MINUTE)
    world.called(7, at=NOW - 3 * MINUTE)

    assert (profile_calls(now=NOW), profile_calls(now=NOW)) == (1, 0)
    assert peaks(world) == [20]


def test_profile__present_minute__is_not_over(world: World) -> None:
    world.called(20)

    assert profile_calls(now=NOW) == 0


def test_profile__without_a_rule_that_compares__keeps_nothing(world: World) -> None:
    world.plan_rules(calls_rule(100))
    world.called(20, at=NOW - 5 * MINUTE)

    assert profile_calls(now=NOW) == 0


def test_profile__valkey_away__keeps_what_it_has(world: World, settings: Settings) -> None:
    world.called(20, at=NOW - 5 * MINUTE)
    profile_calls(now=NOW)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    assert profile_calls(now=NOW) == 0
    assert peaks(world) == [20]


@pytest.mark.parametrize(("hours", "known"), [(23, False), (24, True)])
def test_baseline__of_a_day__is_known_after_it(world: World, hours: int, known: bool) -> None:
    live(world, hours=hours)

    assert baselines(world.tenant.pk, [world.agent.pk], at=NOW) == ({world.agent.pk: 20} if known else {})


def test_guard__ten_times_the_usual__fires_above_it_and_tells_the_baseline(world: World) -> None:
    live(world, hours=30)
    world.called(1000)  # five minutes at ten times the busiest
    assert look().opened == []
    world.called(1)

    look()

    incident = world.incident
    assert (incident.observed, incident.threshold) == (Decimal("200.2"), 200)
    assert incident.evidence == {"calls": 1001, "refusals": 0, "baseline": 20}


def test_baseline__hours_of_an_incident__count_only_if_it_was_undone(world: World) -> None:
    live(world, hours=40)
    for hour in range(3):
        at = NOW + hour * HOUR
        world.called(5000, at=at)
        look(at + timedelta(seconds=5))
        profile_calls(now=at + MINUTE)
    later = NOW + 4 * HOUR

    assert baselines(world.tenant.pk, [world.agent.pk], at=later) == {world.agent.pk: 20}
    undo_incident(tenant=world.tenant, incident_id=world.incidents()[0].pk, actor=ACTOR)
    for incident in world.incidents()[1:]:
        undo_incident(tenant=world.tenant, incident_id=incident.pk, actor=ACTOR)
    assert baselines(world.tenant.pk, [world.agent.pk], at=later) == {world.agent.pk: 5000}
