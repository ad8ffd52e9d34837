"""authorize beside two stacks that one would glue together: the same work, stores, durability and process count.

Key, rate limits on agent and licence, idempotency key, three quotas checked and counted, a durable event. Each has 64
agents with a licence and a customer of their own, so that nobody queues for a row; each is served by as many Granian
processes, the WSGI one at its best number of threads.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks import pace
from benchmarks.cases.doors import AGENTS, CONSUME
from benchmarks.load import Question
from benchmarks.measuring import side_by_side
from benchmarks.report import line
from benchmarks.servers import ROOT, best_threads, serving
from benchmarks.stack import BenchStack
from benchmarks.world import THREE_LEVELS, make_shop

DJANGO = "benchmarks.peers.diy_django.wsgi:application"
FASTAPI = "benchmarks.peers.diy_fastapi:application"


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """Rounds of all three in turn."""
    stack.django()
    shop = make_shop(agents=AGENTS, licenses=AGENTS, levels=THREE_LEVELS, rates=True)
    django_env, django_keys = _prepared(stack, "diy_django", "benchmarks.peers.diy_django.prepare")
    fastapi_env, fastapi_keys = _prepared(stack, "diy_fastapi", "benchmarks.peers.diy_fastapi")

    def asked_of_django(base: str) -> Question:
        return Question(f"{base}/authorize", CONSUME, django_keys, scheme="Api-Key")

    choices = (2, 4) if pace.QUICK else (2, 4, 8)
    threads, tried = best_threads(DJANGO, asked_of_django, choices=choices, env=django_env)
    print(json.dumps({"diy_django_threads": threads, "tried": tried}), file=sys.stderr, flush=True)
    with (
        serving(DJANGO, threads=threads, env=django_env) as django_base,
        serving(FASTAPI, interface="asgi", env=fastapi_env) as fastapi_base,
    ):
        ours, diy_django, diy_fastapi = side_by_side(
            Question(f"{stack.base_url}/agent/v1/authorize", CONSUME, shop.keys),
            asked_of_django(django_base),
            Question(f"{fastapi_base}/authorize", CONSUME, fastapi_keys),
        )
    yield line(
        "authorize_vs_diy_django",
        ours,
        "requests/s",
        "DRF, an API-key package, django-ratelimit and the ORM",
        diy_django,
        threads_of_baseline=threads,
    )
    yield line(
        "authorize_vs_diy_fastapi", ours, "requests/s", "FastAPI, SQLAlchemy on asyncpg and slowapi", diy_fastapi
    )


def _prepared(stack: BenchStack, database: str, module: str) -> tuple[dict[str, str], list[str]]:
    """The peer's environment, with a database of its own, and the keys of its agents."""
    env = {"DIY_DATABASE_URL": stack.database_url(database), "REDIS_URL": stack.redis_url()}
    done = subprocess.run(
        [sys.executable, "-m", module, str(AGENTS)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **env},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return env, done.stdout.split()
