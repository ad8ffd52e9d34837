"""The same work where each call has a thread and a transaction of its own: Django's views without the door."""

from collections.abc import Iterator
from typing import Any

from benchmarks.cases.doors import AGENTS, CONSUME, VIEW
from benchmarks.load import Question
from benchmarks.measuring import side_by_side
from benchmarks.report import line
from benchmarks.stack import BenchStack
from benchmarks.world import THREE_LEVELS, make_shop


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """validate without quotas and authorize over three levels through WSGI."""
    stack.django()
    plain = make_shop(agents=AGENTS)
    three = make_shop(agents=AGENTS, licenses=AGENTS, levels=THREE_LEVELS)
    with stack.bare_django() as bare_base, stack.views() as base:
        bare, validate, authorize = side_by_side(
            Question(f"{bare_base}/"),
            Question(f"{base}/agent/v1/validate", "{}", plain.keys),
            Question(f"{base}/agent/v1/authorize", CONSUME, three.keys),
            rounds=3,
        )
    yield line("validate_plain_through_views_vs_bare_django", validate, "requests/s", VIEW, bare)
    yield line("authorize_through_views_vs_bare_django", authorize, "requests/s", VIEW, bare)
