from datetime import timedelta

import pytest

from common.clock import real_clock
from common.errors import Conflict
from licenses.models import Agent, AgentKey
from licenses.services.agent_keys import create_agent_key
from licenses.services.agents import resume_agent, update_agent
from licenses.services.ended_agents import archive_ended_agents
from licenses.tasks import archive_ended_agents as task
from tests.factories import ACTOR, make_agent, make_shop, make_test_workspace
from tests.parallel import at_once
from tests.trail import actions, epoch

pytestmark = pytest.mark.django_db


def spawned(shop, ends, parent=None):
    """As its parent would have made it, some time ago."""
    agent = make_agent(shop.license, parent_id=parent or shop.agent).agent
    Agent.objects.filter(pk=agent.pk).update(spawned=True, expires_at=ends)
    agent.refresh_from_db()
    return agent


def archived(*agents):
    return [Agent.objects.get(pk=agent.pk).archived_at is not None for agent in agents]


def test_archive_ended_agents__a_minute_after_the_end__put_away_with_all_below_once():
    shop = make_shop()
    now = real_clock().now()
    ended, living = spawned(shop, now), spawned(shop, now + timedelta(seconds=1))
    below = make_agent(shop.license, parent_id=spawned(shop, None, ended)).agent
    of_vendor = make_agent(shop.license, expires_at=now).agent
    assert archive_ended_agents(now + timedelta(seconds=60) - timedelta(microseconds=1)) == 0
    assert archive_ended_agents(now + timedelta(seconds=60)) == 3
    assert archived(ended, below, living, of_vendor, shop.agent) == [True, True, False, False, False]
    assert (Agent.objects.get(pk=ended.pk).status, AgentKey.objects.count()) == ("active", 6)
    assert actions(shop.tenant, "agent.archived") == ["agent.archived"] * 3
    assert epoch(shop.tenant, ended.id) == 1
    assert archive_ended_agents(now + timedelta(seconds=60)) == 0
    assert task() == 0
    assert actions(shop.tenant, "agent.archived") == ["agent.archived"] * 3


def test_archive_ended_agents__moved_clock__its_own_time_counts():
    tenant = make_test_workspace()
    shop = make_shop(tenant=tenant)
    now = real_clock().now()
    ended = spawned(shop, now + timedelta(days=1))
    assert archive_ended_agents(now) == 0
    tenant.clock_offset = timedelta(days=1, seconds=60)
    tenant.save()
    assert archive_ended_agents(now) == 1
    assert Agent.objects.get(pk=ended.pk).archived_at == now + timedelta(days=1, seconds=60)


def test_archived_agent__change_resume_new_key_new_child__refused():
    shop = make_shop()
    now = real_clock().now()
    ended = spawned(shop, now - timedelta(hours=1))
    archive_ended_agents(now)
    names = {"tenant": shop.tenant, "agent_id": ended.id, "actor": ACTOR}
    for call in (
        lambda: update_agent(**names, expires_at=None),
        lambda: resume_agent(**names),
        lambda: create_agent_key(**names),
        lambda: make_agent(shop.license, parent_id=ended),
    ):
        with pytest.raises(Conflict) as caught:
            call()
        assert caught.value.code == "agent_archived"
    assert archived(ended) == [True]


@pytest.mark.django_db(transaction=True)
def test_archive_ended_agents__many_workers_at_once__each_agent_once():
    shop = make_shop()
    now = real_clock().now()
    for _ in range(12):
        spawned(shop, now - timedelta(hours=1))
    counts = at_once([lambda: archive_ended_agents(now)] * 6)
    assert sum(counts) == 12
    assert actions(shop.tenant, "agent.archived") == ["agent.archived"] * 12
