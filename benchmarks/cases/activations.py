"""Activations over HTTP: 64 clients that all take places of one licence, beside 64 with a licence each."""

import json
from collections.abc import Iterator
from typing import Any

from benchmarks.load import Question
from benchmarks.measuring import side_by_side
from benchmarks.report import line
from benchmarks.stack import BenchStack
from benchmarks.world import make_shop

CLIENTS = 64


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """Every call activates a machine of its own, durably, and is counted against the licence's places."""
    stack.django()
    one = make_shop(agents=CLIENTS)
    spread = make_shop(agents=CLIENTS, licenses=CLIENTS)
    url, body = f"{stack.base_url}/agent/v1/activations", json.dumps({"fingerprint": "@id@"})
    contended, apart = side_by_side(
        Question(url, body, one.keys), Question(url, body, spread.keys), clients=CLIENTS, rounds=3
    )
    yield line("activations_one_license_vs_spread", contended, "activations/s", "64 licenses, one each", apart)
