"""Mixed journeys of 32 agents by Locust: through the door, and through Django's views without it."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import pace
from benchmarks.report import Rounds, line
from benchmarks.servers import ROOT
from benchmarks.stack import BenchStack
from benchmarks.world import THREE_LEVELS, make_shop

USERS = 32
SECONDS = pace.pick(4, 3)


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """Locust is Python on the same cores, so it takes its part: these figures say how a mix behaves, not the most."""
    stack.django()
    shop = make_shop(agents=USERS, licenses=USERS, levels=THREE_LEVELS)
    doors, views = [], []
    with stack.views() as base:
        for _ in range(pace.pick(2, 1)):
            doors.append(_swarm(stack.base_url, shop.keys))
            views.append(_swarm(base, shop.keys))
    yield line(
        "mixed_journeys_vs_views",
        Rounds(_rate(each) for each in doors),
        "requests/s",
        "the same journeys through the views, a transaction for each call",
        Rounds(_rate(each) for each in views),
        steps={
            step["name"]: {
                "p50_ms": round(_percentile(step, 0.5), 1),
                "p99_ms": round(_percentile(step, 0.99), 1),
                "requests": step["num_requests"],
            }
            for step in doors[-1]
        },
    )
    yield line(
        "mixed_journeys_p50",
        median(_percentile(step, 0.5) for step in doors[-1]),
        "ms, the median of the steps' medians",
        "through the views",
        median(_percentile(step, 0.5) for step in views[-1]),
    )


def _swarm(base_url: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Locust's figures by step. Raises `RuntimeError` where any call failed."""
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder) / "keys"
        known.write_text("\n".join(keys))
        command = [sys.executable, "-m", "locust", "-f", str(ROOT / "benchmarks" / "journeys.py"), "--headless"]
        command += ["--users", str(USERS), "--spawn-rate", str(USERS), "--run-time", f"{SECONDS}s", "--json"]
        command += ["--host", base_url, "--only-summary", "--stop-timeout", "5"]
        env = {**os.environ, "PERMETER_BENCH_KEYS": str(known)}
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    steps: list[dict[str, Any]] = json.loads(done.stdout)
    return steps


def _rate(steps: Sequence[dict[str, Any]]) -> float:
    begun = min(step["start_time"] for step in steps)
    return sum(step["num_requests"] for step in steps) / (max(step["last_request_timestamp"] for step in steps) - begun)


def _percentile(step: dict[str, Any], share: float) -> float:
    """From Locust's counts by milliseconds."""
    left = share * step["num_requests"]
    for milliseconds, times in sorted((float(key), count) for key, count in step["response_times"].items()):
        left -= times
        if left <= 0:
            return milliseconds
    return 0.0
