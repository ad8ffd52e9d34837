"""Single usage events from 64 clients: batched across callers by the door, beside one transaction for each."""

import json
from collections.abc import Iterator
from typing import Any

from benchmarks.load import Question
from benchmarks.measuring import side_by_side
from benchmarks.report import line
from benchmarks.stack import BenchStack
from benchmarks.world import METER, THREE_LEVELS, make_shop

AGENTS = 64
_EVENT = json.dumps({"events": [{"id": "@id@", "meter": METER, "quantity": "3", "dimensions": {"model": "large"}}]})


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """The same events, keys and stores; the baseline is served by Django's views, each call in its own transaction."""
    stack.django()
    shop = make_shop(agents=AGENTS, licenses=AGENTS, levels=THREE_LEVELS)
    with stack.views() as base:
        ours, theirs = side_by_side(
            Question(f"{stack.base_url}/agent/v1/usage", _EVENT, shop.keys),
            Question(f"{base}/agent/v1/usage", _EVENT, shop.keys),
        )
    yield line(
        "ingest_single_vs_one_transaction", ours, "events/s", "the same calls, each in a transaction of its own", theirs
    )
