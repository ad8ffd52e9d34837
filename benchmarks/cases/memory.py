"""Memory of the idle stack, in proportional set sizes: pages that processes share count once."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.report import line
from benchmarks.stack import BenchStack

WEB_LIMIT_MB = 150
STACK_LIMIT_MB = 800


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """The largest web process, and everything together."""
    time.sleep(3)
    tree = _descendants(stack.supervisor().pid)
    web = [pid for pid in tree if "granian" in _command(pid)]
    largest = max(_proportional_mb(pid) for pid in web)
    total = sum(_proportional_mb(pid) for pid in tree)
    yield line("web_process_memory", largest, "MB", "limit", WEB_LIMIT_MB)
    yield line("idle_stack_memory", total, "MB", "limit", STACK_LIMIT_MB)


def _descendants(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found, waiting = [], [pid]
    while waiting:
        each = waiting.pop()
        found.append(each)
        waiting += parents.get(each, [])
    return found


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def _proportional_mb(pid: int) -> float:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return next(int(row.split()[1]) / 1024 for row in rollup.splitlines() if row.startswith("Pss:"))
