"""Agents: how many can be spawned a second on one licence, and what a crowd beside it costs one of them."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

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
    crowd(crowded.tenant_id, crowded.agents[0], CROWD)
    validate = f"{stack.base_url}/agent/v1/validate"
    among, single = side_by_side(
        Question(validate, "{}", crowded.keys), Question(validate, "{}", alone.keys), clients=1, rounds=3
    )
    yield line("validate_among_100000_agents", among.p50, "ms, median", "one agent in the workspace", single.p50)


def crowd(tenant_id: UUID, agent_id: UUID, number_of_them: int) -> None:
    """Put so many agents beside this one, on its licence."""
    from django.db import connection

    # All columns but these are those of the agent that is there.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns"
            " WHERE table_name = 'licenses_agent' AND is_generated = 'NEVER' AND column_name <> ALL(%s)",
            [["id", "name", "path", "external_id"]],
        )
        [columns] = cursor.fetchone()
        cursor.execute(
            f"INSERT INTO licenses_agent (id, name, path, {columns})"
            f" SELECT new.id, 'crowd-' || new.id, ARRAY[new.id], {columns} FROM licenses_agent AS agent,"
            " (SELECT gen_random_uuid() AS id FROM generate_series(1, %s)) AS new"
            " WHERE agent.id = %s AND agent.tenant_id = %s",
            [number_of_them, agent_id, tenant_id],
        )
        cursor.execute("ANALYZE licenses_agent")
