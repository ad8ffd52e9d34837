"""Agents: how many can be spawned a second on one licence, and what a crowd beside it costs one of them."""

import json
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from benchmarks import load
from benchmarks.report import interleaved, line
from benchmarks.stack import BenchStack
from benchmarks.world import make_shop

PARENTS = 16
CROWD = 100_000
_BATCH = 5_000


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """Spawning on one licence beside spawning on as many as parents; validate beside 100,000 other agents and alone."""
    stack.django()
    one, many = make_shop(agents=PARENTS), make_shop(agents=PARENTS, licenses=PARENTS)
    spawn = f"{stack.base_url}/agent/v1/agents"
    contended, spread = interleaved(lambda: _spawns(spawn, one.keys), lambda: _spawns(spawn, many.keys))
    yield line("spawn_one_license", contended, "agents/s", f"{PARENTS} parents with a license each", spread)

    alone, crowded = make_shop(), make_shop()
    _crowd(crowded.tenant_id, crowded.agents[0])
    validate = f"{stack.base_url}/agent/v1/validate"
    among, single = interleaved(lambda: _latency(validate, crowded.keys), lambda: _latency(validate, alone.keys))
    yield line("validate_among_100000_agents", among, "ms, median", "one agent in the workspace", single)


def _spawns(url: str, keys: Sequence[str]) -> float:
    figures = load.post(url, body=json.dumps({"name": "@id@", "ttl": 600}), keys=keys, clients=PARENTS)
    if figures.errors:
        raise RuntimeError(f"{figures.errors} errors at {url}")
    return figures.rate


def _latency(url: str, keys: Sequence[str]) -> float:
    figures = load.post(url, body="{}", keys=keys, clients=1, seconds=3)
    if figures.errors:
        raise RuntimeError(f"{figures.errors} errors at {url}")
    return figures.p50


def _crowd(tenant_id: UUID, agent_id: UUID) -> None:
    """Put 100,000 agents beside this one, in a few inserts."""
    from common.ids import new_id
    from licenses.models import Agent

    license_id = Agent.objects.get(pk=agent_id).license_id
    rows = []
    for number in range(CROWD):
        each = new_id()
        rows.append(Agent(id=each, tenant_id=tenant_id, license_id=license_id, name=f"crowd-{number}", path=[each]))
    Agent.objects.bulk_create(rows, batch_size=_BATCH)
