"""What agents spent within the hour, however far the roll-up has come, and the rule about it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from licenses.domain.enums import AgentStatus
from licenses.models import Agent
from metering.models import RollupCursor, RunawayIncident
from metering.services.rollups import roll_up_usage
from metering.services.runaway_guard import watch_agents
from metering.services.runaway_policies import set_agent_policy, set_plan_policy
from tests.factories import ACTOR
from tests.metering.ledger_rows import Workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def workspace() -> Workspace:
    return Workspace.make()


def now() -> datetime:
    return datetime.now(UTC)


def rule(limit: str = "10", action: str = "suspend", **more: Any) -> dict[str, Any]:
    return {"rule": "spend_per_hour", "meter": "tokens", "limit": limit, "action": action, **more}


def limit(workspace: Workspace, *rules: dict[str, Any]) -> None:
    set_plan_policy(tenant=workspace.tenant, plan=workspace.plan, actor=ACTOR, rules=list(rules))


def spend(workspace: Workspace, quantity: str, *, at: datetime | None = None, agent: Agent | None = None) -> None:
    workspace.use(quantity, at=at or now(), agent=agent or workspace.agent)


def status(agent: Agent) -> str:
    return Agent.objects.get(pk=agent.pk).status


def test_spend__above_an_hours_limit__suspends(workspace: Workspace) -> None:
    limit(workspace, rule("10"))
    spend(workspace, "10")
    assert watch_agents().opened == []
    spend(workspace, "0.000000000001")

    assert len(watch_agents().opened) == 1
    incident = RunawayIncident.objects.get()
    assert (incident.observed, incident.threshold) == (Decimal("10.000000000001"), Decimal(10))
    assert incident.mark.endswith("10.000000000001 on tokens within an hour, over 10.")
    assert status(workspace.agent) == AgentStatus.SUSPENDED


def test_spend__partly_rolled_up__counts_once(workspace: Workspace) -> None:
    limit(workspace, rule("10", "notify"))
    spend(workspace, "6")
    roll_up_usage()
    spend(workspace, "4")
    assert watch_agents().opened == []
    roll_up_usage()
    spend(workspace, "1")

    watch_agents()

    assert RunawayIncident.objects.get().observed == Decimal(11)


def test_spend__rolled_up_before_the_guard_looks__is_not_missed(workspace: Workspace) -> None:
    limit(workspace, rule("10"))
    spend(workspace, "1")
    watch_agents()
    spend(workspace, "11")
    roll_up_usage()

    assert len(watch_agents().opened) == 1


def test_spend__long_ago_or_of_others__does_not_count(workspace: Workspace) -> None:
    limit(workspace, rule("10"))
    spend(workspace, "100", at=now() - timedelta(hours=2))
    spend(workspace, "6")
    spend(workspace, "6", agent=workspace.worker)

    assert watch_agents().opened == []
    roll_up_usage()
    spend(workspace, "1")
    assert watch_agents().opened == []


def test_spend__of_a_child__is_the_childs_own(workspace: Workspace) -> None:
    limit(workspace, rule("10"))
    spend(workspace, "11", agent=workspace.worker)

    watch_agents()

    assert (status(workspace.agent), status(workspace.worker)) == (AgentStatus.ACTIVE, AgentStatus.SUSPENDED)


def test_spend__without_a_rule__is_not_looked_at(workspace: Workspace) -> None:
    limit(workspace, rule("10"))
    set_agent_policy(tenant=workspace.tenant, agent=workspace.agent, actor=ACTOR, rules=[])
    spend(workspace, "1000")

    assert watch_agents().opened == []
    limit(workspace)
    set_agent_policy(tenant=workspace.tenant, agent=workspace.agent, actor=ACTOR, rules=None)
    assert watch_agents().opened == []
    assert not RollupCursor.objects.filter(name__startswith="runaway").filter(watermark=0).exists()


def test_spend__corrected_below_the_limit__is_over(workspace: Workspace) -> None:
    limit(workspace, rule("10", "notify"))
    spend(workspace, "11")
    watch_agents()
    spend(workspace, "-5")

    assert len(watch_agents().ended) == 1


def test_spend__in_another_workspace__does_not_count(workspace: Workspace) -> None:
    limit(workspace, rule("10"))
    other = Workspace.make("other")
    spend(other, "1000")

    assert watch_agents().opened == []
    assert status(other.agent) == AgentStatus.ACTIVE
