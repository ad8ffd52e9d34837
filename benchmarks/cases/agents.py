"""Agents: how many can be spawned a second on one licence, and what a crowd beside it costs one of them."""

import json
from collections.abc import Iterator
from typing import Any

from benchmarks.filling import fill_agents
from benchmarks.load import Question
from benchmarks.measuring import side_by_side
from benchmarks.report import line
from benchmarks.stack import BenchStack
from benchmarks.world import make_shop

PARENTS = 16
CROWD = 100_000


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """Spawning on one licence beside spawning on as many as parents; validate beside 100,000 other agents and alone."""
    stack.django()
    one, many = make_shop(agents=PARENTS), make_shop(agents=PARENTS, licenses=PARENTS)
    spawn, body = f"{stack.base_url}/agent/v1/agents", json.dumps({"name": "@id@", "ttl": 600})
    contended, spread = side_by_side(
        Question(spawn, body, one.keys), Question(spawn, body, many.keys), clients=PARENTS, rounds=3
    )
    yield line("spawn_one_license", contended, "agents/s", f"{PARENTS} parents with a license each", spread)

    alone, crowded = make_shop(), make_shop()
    fill_agents(crowded.tenant_id, crowded.agents[0], CROWD)
    validate = f"{stack.base_url}/agent/v1/validate"
    among, single = side_by_side(
        Question(validate, "{}", crowded.keys), Question(validate, "{}", alone.keys), clients=1, rounds=3
    )
    yield line("validate_among_100000_agents", among.p50, "ms, median", "one agent in the workspace", single.p50)
