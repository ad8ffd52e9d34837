"""The ledger called straight: 64 commands of 64 agents at once, beside single calls."""

import json
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.cases.ingest import timed
from benchmarks.report import interleaved, line
from benchmarks.stack import BenchStack
from benchmarks.world import METER, THREE_LEVELS, Shop, make_shop
from licensing_site.memory import spare_the_collector

COMMANDS = 64


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """What a batch shares: one flight to Valkey, one transaction, one flush."""
    stack.django()
    spare_the_collector()
    shop = make_shop(agents=COMMANDS, levels=THREE_LEVELS)
    _authorize(shop, COMMANDS)
    analyze()
    at_once, singly = interleaved(lambda: _authorize(shop, COMMANDS), lambda: _authorize(shop, 1))
    yield line(
        "authorize_batch_of_64_vs_singles", at_once, "events/s", "the same use case called with one command", singly
    )


def analyze() -> None:
    """Give the planner its statistics, as autovacuum does within a minute."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _authorize(shop: Shop, at_once: int) -> float:
    """Events a second through `authorize_many`, `at_once` commands of as many agents a call."""
    calls = [shop.keys[start : start + at_once] for start in range(0, len(shop.keys), at_once)] * 10
    return sum(map(len, calls)) / timed(lambda: [authorize_many_of(keys) for keys in calls])


def authorize_many_of(keys: Sequence[str]) -> None:
    """One call with a command of each of these agents, which all are allowed."""
    import msgspec

    from agent_api.use_cases.authorizing import AuthorizeCommand, authorize_many
    from agent_api.use_cases.known_callers import Credentials
    from agent_api.wire.requests import AuthorizeRequest
    from common.errors import Problem

    commands = [AuthorizeCommand(Credentials(key), msgspec.json.decode(_ask(), type=AuthorizeRequest)) for key in keys]
    for answer in authorize_many(commands):
        if isinstance(answer, Problem) or not answer.body.allowed:
            raise RuntimeError(f"not allowed: {answer}")


def _ask() -> bytes:
    usage = [{"meter": METER, "quantity": "1"}]
    return json.dumps({"id": secrets.token_hex(8), "usage": usage, "mode": "consume"}).encode()
