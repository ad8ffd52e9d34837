"""A shop whose agents run away: their calls are counted where the gate counts them, at times of the test's choice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from common.valkey import valkey
from licenses.models import Agent
from licenses.services.call_counts import LIFETIME, counts_key, refusals_field
from metering.models import RunawayIncident
from metering.services.runaway_guard import Watch, watch_agents
from metering.services.runaway_policies import set_agent_policy, set_plan_policy
from tests.factories import ACTOR, Shop, make_agent, make_shop

#: A Tuesday, five seconds into a minute.
NOW = datetime(2026, 11, 24, 10, 30, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

TO_TEN = {"limit": 10, "window": 60}


def calls_rule(limit: int | str = 100, action: str = "notify", **more: Any) -> dict[str, Any]:
    return {"rule": "calls_per_minute", "limit": str(limit), "action": action, **more}


def share_rule(limit: str = "0.5", action: str = "notify", **more: Any) -> dict[str, Any]:
    return {"rule": "refusal_share", "limit": limit, "action": action, "window": 120, "minimum_calls": 20, **more}


def multiple_rule(limit: str = "10", action: str = "notify", **more: Any) -> dict[str, Any]:
    return {"rule": "baseline_multiple", "limit": limit, "action": action, **more}


class World:
    """`agent` is the shop's; further ones are made by `another`."""

    def __init__(self, shop: Shop | None = None) -> None:
        self.shop = shop or make_shop()
        self.tenant, self.agent = self.shop.tenant, self.shop.agent

    def plan_rules(self, *rules: dict[str, Any]) -> None:
        set_plan_policy(tenant=self.tenant, plan=self.shop.plan, actor=ACTOR, rules=list(rules))

    def agent_rules(self, *rules: dict[str, Any], agent: Agent | None = None) -> None:
        set_agent_policy(tenant=self.tenant, agent=agent or self.agent, actor=ACTOR, rules=list(rules))

    def another(self, **more: Any) -> Agent:
        return make_agent(self.shop.license, **more).agent

    def called(self, calls: int, refusals: int = 0, *, at: datetime = NOW, agent: Agent | None = None) -> None:
        """So many calls in the minute of `at`."""
        count(self.tenant.pk, (agent or self.agent).pk, calls, refusals, at=at)

    def fresh(self, agent: Agent | None = None) -> Agent:
        return Agent.objects.get(pk=(agent or self.agent).pk)

    def incidents(self) -> list[RunawayIncident]:
        return list(RunawayIncident.objects.for_tenant(self.tenant).order_by("id"))

    @property
    def incident(self) -> RunawayIncident:
        [incident] = self.incidents()
        return incident


def count(tenant_id: UUID, agent_id: UUID, calls: int, refusals: int = 0, *, at: datetime = NOW) -> None:
    """Count calls as the gate does."""
    key = counts_key(tenant_id, int(at.timestamp()) // 60)
    flight = valkey().pipeline(transaction=False)
    flight.hincrby(key, agent_id.hex, calls)
    if refusals:
        flight.hincrby(key, refusals_field(agent_id), refusals)
    flight.expire(key, LIFETIME, nx=True)
    flight.execute()


def look(at: datetime = NOW) -> Watch:
    """One look of the guard."""
    return watch_agents(now=at)
