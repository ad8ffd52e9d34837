import pytest

from licenses.models import Agent
from licenses.services.agent_groups import Whom, resume_agents, revoke_agents, throttle_agents
from licenses.services.agents import revoke_agent
from licenses.services.throttles import read_throttle
from tests.factories import ACTOR, make_agent, make_shop
from tests.trail import actions

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("in_a_group", [False, True])
def test_resume_agents__revoked_while_throttled__stays_revoked(in_a_group):
    shop = make_shop()
    among = {"tenant": shop.tenant, "actor": ACTOR}
    below = make_agent(shop.license, parent_id=shop.agent).agent
    all_of_it = Whom(license_id=shop.license.id)
    throttle_agents(**among, whom=all_of_it, throttle=read_throttle(shop.tenant, limit=1, window=60))
    if in_a_group:
        revoke_agents(**among, whom=Whom(agent_id=below.id))
    else:
        revoke_agent(**among, agent_id=below.id)

    assert resume_agents(**among, whom=all_of_it) == 1
    assert resume_agents(**among, whom=Whom(customer_id=shop.license.customer_id)) == 0
    assert resume_agents(**among, whom=Whom(agent_id=shop.agent.id, subtree=True)) == 0

    assert Agent.objects.get(pk=below.pk).status == "revoked"
    assert Agent.objects.get(pk=shop.agent.pk).throttle is None
    assert actions(shop.tenant, "agent.resumed") == ["agent.resumed"]
