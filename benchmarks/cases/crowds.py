"""The hot path among many: tenants that all ask, and agents under one tenant of which some ask."""

from collections.abc import Iterator
from typing import Any

from benchmarks import pace
from benchmarks.cases.doors import AGENTS
from benchmarks.filling import fill_agents
from benchmarks.hot_path import HotPath
from benchmarks.stack import BenchStack
from benchmarks.world import THREE_LEVELS, make_shop

TENANTS = (10, 50) if pace.QUICK else (10, 100, 1000, *([10_000] if pace.LARGE else []))
CROWDS = (100, 10_000) if pace.QUICK else (100, 10_000, 100_000, *([1_000_000] if pace.LARGE else []))


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """Agents first, while there are few tenants."""
    stack.django()
    shop = make_shop(agents=AGENTS, licenses=AGENTS, levels=THREE_LEVELS)
    among_agents = HotPath(stack, "agents", shop.keys)
    there = AGENTS
    for agents in CROWDS:
        fill_agents(shop.tenant_id, shop.agents[0], agents - there)
        there = agents
        yield from among_agents.points(agents)
    keys: list[str] = []
    among_tenants = HotPath(stack, "tenants", shop.keys)
    for tenants in TENANTS:
        while len(keys) < tenants:
            keys += make_shop(levels=THREE_LEVELS).keys
        yield from among_tenants.points(tenants, keys)
