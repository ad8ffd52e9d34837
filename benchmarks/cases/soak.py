"""Memory of the web processes over a million requests."""

from collections.abc import Iterator
from typing import Any

from benchmarks import load, pace
from benchmarks.cases.doors import AGENTS, CONSUME
from benchmarks.curves import Curve
from benchmarks.load import Question
from benchmarks.processes import memory_mb
from benchmarks.report import line
from benchmarks.stack import BenchStack
from benchmarks.world import THREE_LEVELS, make_shop

REQUESTS = pace.pick(1_000_000, 20_000)
#: Pools, caches and interned texts have filled up after so many.
WARM = REQUESTS // 10
PORTIONS = 5


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """Validate and authorize in turn, from 64 agents."""
    stack.django()
    shop = make_shop(agents=AGENTS, licenses=AGENTS, levels=THREE_LEVELS)
    questions = [
        Question(f"{stack.base_url}/agent/v1/validate", "{}", shop.keys),
        Question(f"{stack.base_url}/agent/v1/authorize", CONSUME, shop.keys),
    ]
    curve = Curve("web_memory", "MB, the largest web process", "requests")
    done = 0
    sizes: list[float] = []
    for until in (WARM, *(WARM + REQUESTS * portion // PORTIONS for portion in range(1, PORTIONS + 1))):
        while done < until:
            for question in questions:
                figures = load.post(question)
                if figures.errors:
                    raise RuntimeError(f"{figures.errors} errors at {question.url}")
                done += round(figures.rate * figures.seconds)
        sizes.append(max(size for kind, size in memory_mb(stack.pid) if kind == "web"))
        yield curve.point(done, sizes[-1])
    yield line(
        "web_memory_after_a_million_requests", sizes[-1], "MB", f"after {WARM:,} requests", sizes[0], requests=done
    )
