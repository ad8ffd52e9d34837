"""The agents' door over HTTP beside a bare Django view at its best number of threads: 64 clients, durable answers."""

import json
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.load import Question
from benchmarks.measuring import at_part_load, side_by_side
from benchmarks.report import Load, line
from benchmarks.stack import BenchStack
from benchmarks.world import METER, THREE_LEVELS, make_shop

AGENTS = 64
VIEW = "a bare Django view that returns constant JSON"
CONSUME = json.dumps({"id": "@id@", "usage": [{"meter": METER, "quantity": "1"}], "mode": "consume"})


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """validate without and with three quotas, authorize over three levels; then each at 70 % of its load.

    What all agents share, they queue for; so that this is measured apart, every agent has a licence and a customer of
    its own wherever there are quotas.
    """
    stack.django()
    threads, tried = stack.bare_threads()
    print(json.dumps({"bare_django_threads": threads, "tried": tried}), file=sys.stderr, flush=True)
    plain = make_shop(agents=AGENTS)
    three = make_shop(agents=AGENTS, licenses=AGENTS, levels=THREE_LEVELS)
    asked = {
        "validate_plain": Question(f"{stack.base_url}/agent/v1/validate", "{}", plain.keys),
        "validate": Question(f"{stack.base_url}/agent/v1/validate", "{}", three.keys),
        "authorize": Question(f"{stack.base_url}/agent/v1/authorize", CONSUME, three.keys),
    }
    with stack.bare_django() as base:
        bare, *loads = side_by_side(Question(f"{base}/"), *asked.values())
    how = {"threads_of_baseline": threads}
    for name, load in zip(asked, loads, strict=True):
        yield line(f"{name}_vs_bare_django", load, "requests/s", VIEW, bare, **how)
    for (name, question), load in zip(asked.items(), loads, strict=True):
        yield _tail(name, question, load)


def _tail(name: str, question: Question, most: Load) -> dict[str, Any]:
    """How much longer the slowest hundredth takes where the door is busy and not swamped."""
    part = at_part_load(question, most.rates.median)
    reached = part.rates.median / most.rates.median
    return line(
        f"{name}_p99_vs_p50_at_70_percent",
        part.p99.median,
        "ms, 99th percentile, 128 clients that pause between two calls",
        "ms, the median of the same calls",
        part.p50.median,
        share_of_most=round(reached, 2),
        requests_per_second=round(part.rates.median),
        cpu_seconds=part.details()["cpu_seconds"],
    )
