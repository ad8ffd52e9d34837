"""Memory of the idle stack, in proportional set sizes: pages that processes share count once."""

import time
from collections.abc import Iterator
from typing import Any

from benchmarks.processes import memory_mb
from benchmarks.report import line
from benchmarks.stack import BenchStack

WEB_LIMIT_MB = 120
STACK_LIMIT_MB = 800


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """The largest web process, and everything together."""
    time.sleep(3)
    processes = list(memory_mb(stack.pid))
    largest = max(size for kind, size in processes if kind == "web")
    yield line("web_process_memory", largest, "MB", "limit", WEB_LIMIT_MB)
    yield line("idle_stack_memory", sum(size for _, size in processes), "MB", "limit", STACK_LIMIT_MB)
