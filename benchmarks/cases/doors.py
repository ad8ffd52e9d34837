"""The agents' door over HTTP beside a bare Django view on the same Granian settings: 64 clients, durable answers."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks import load
from benchmarks.report import interleaved, line
from benchmarks.stack import BenchStack
from benchmarks.world import METER, THREE_LEVELS, make_shop

AGENTS = 64


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """validate without and with three quotas, authorize over three levels, one hot balance beside many.

    What all agents share, they queue for; so that this is measured apart, every other agent has a customer of its own.
    """
    stack.django()
    plain = make_shop(agents=AGENTS)
    three = make_shop(agents=AGENTS, licenses=AGENTS, levels=THREE_LEVELS)
    validate, authorize = f"{stack.base_url}/agent/v1/validate", f"{stack.base_url}/agent/v1/authorize"
    consume = json.dumps({"id": "@id@", "usage": [{"meter": METER, "quantity": "1"}], "mode": "consume"})

    bare, validate_plain, validate_three, authorize_three = interleaved(
        lambda: _rate(stack.bare_url, "{}", ()),
        lambda: _rate(validate, "{}", plain.keys),
        lambda: _rate(validate, "{}", three.keys),
        lambda: _rate(authorize, consume, three.keys),
    )
    view = "a bare Django view that returns constant JSON"
    yield line("validate_plain_vs_bare_django", validate_plain, "requests/s", view, bare)
    yield line("validate_vs_bare_django", validate_three, "requests/s", view, bare)
    yield line("authorize_vs_bare_django", authorize_three, "requests/s", view, bare)
    yield from _through_views(stack, plain.keys, three.keys, consume)

    hot, spread = make_shop(agents=AGENTS, levels=("license",)), make_shop(agents=AGENTS, levels=("agent",))
    shared, separate = interleaved(
        lambda: _rate(authorize, consume, hot.keys), lambda: _rate(authorize, consume, spread.keys)
    )
    yield line("hot_balance_vs_spread", shared, "requests/s", "64 agents with a balance each", separate)


def _through_views(
    stack: BenchStack, plain: Sequence[str], three: Sequence[str], consume: str
) -> Iterator[dict[str, Any]]:
    """The same work where each call has a thread and a transaction of its own."""
    with stack.views() as base:
        bare, validate, authorize = interleaved(
            lambda: _rate(stack.bare_url, "{}", ()),
            lambda: _rate(f"{base}/agent/v1/validate", "{}", plain),
            lambda: _rate(f"{base}/agent/v1/authorize", consume, three),
        )
    view = "a bare Django view that returns constant JSON"
    yield line("validate_plain_through_views_vs_bare_django", validate, "requests/s", view, bare)
    yield line("authorize_through_views_vs_bare_django", authorize, "requests/s", view, bare)


def _rate(url: str, body: str, keys: Sequence[str]) -> float:
    figures = load.post(url, body=body, keys=keys)
    if figures.errors:
        raise RuntimeError(f"{figures.errors} errors at {url}")
    return figures.rate
