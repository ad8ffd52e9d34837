"""Activations over HTTP: 64 clients that all take places of one licence, beside 64 with a licence each."""

import json
from collections.abc import Iterator
from typing import Any

from benchmarks import load
from benchmarks.report import interleaved, line
from benchmarks.stack import BenchStack
from benchmarks.world import make_shop

CLIENTS = 64


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """Every call activates a machine of its own, durably, and is counted against the licence's places."""
    stack.django()
    one = make_shop(agents=CLIENTS)
    spread = make_shop(agents=CLIENTS, licenses=CLIENTS)
    url = f"{stack.base_url}/agent/v1/activations"
    body = json.dumps({"fingerprint": "@id@"})

    def rate(keys: list[str]) -> float:
        figures = load.post(url, body=body, keys=keys, clients=CLIENTS)
        if figures.errors:
            raise RuntimeError(f"{figures.errors} errors at {url}")
        return figures.rate

    contended, apart = interleaved(lambda: rate(one.keys), lambda: rate(spread.keys))
    yield line("activations_one_license_vs_spread", contended, "activations/s", "64 licenses, one each", apart)
