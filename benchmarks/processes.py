"""What the processes that this one has started use: seconds on a core, and memory, by kind."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil

_KINDS = (("granian", "web"), ("celery", "worker"), ("valkey", "valkey"), ("postgres", "postgres"))


def cpu_seconds() -> Counter[str]:
    """Seconds on a core so far, by kind: those that live, and those of theirs that have ended."""
    used: Counter[str] = Counter()
    for process in psutil.Process(os.getpid()).children(recursive=True):
        try:
            kind = kind_of(process)
            times = process.cpu_times()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        used[kind] += times.user + times.system + times.children_user + times.children_system
    return used


def kind_of(process: psutil.Process) -> str:
    """`web`, `worker` (with its clock), `valkey`, `postgres`, or `other`: the supervisor."""
    command = " ".join(process.cmdline())
    return next((kind for part, kind in _KINDS if part in command), "other")


def memory_mb(root: int) -> Iterator[tuple[str, float]]:
    """Kind and proportional set size of each process below `root`, and of itself: shared pages count once."""
    top = psutil.Process(root)
    for process in (top, *top.children(recursive=True)):
        try:
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            kind = kind_of(process)
        except (OSError, psutil.NoSuchProcess):
            continue
        pss = next((int(row.split()[1]) for row in rollup.splitlines() if row.startswith("Pss:")), 0)
        yield kind, pss / 1024
