"""`make bench`: every case beside its baseline in the same run, one JSON line each on standard output.

A line is `{"bench", "value", "unit", "baseline", "baseline_value", "ratio"}` and, after these, `spread` and what else
was seen. Each group of cases has a stack of its own, started afresh; its settings, and what was left out for lack of
time, go to standard error. Nothing here passes or fails: numbers are for people.

    python -m benchmarks [--quick | --growth [--large]] [--profile] [GROUP ...]

What is printed is kept in `build/bench/` besides, from where `python -m benchmarks.page` writes docs/performance.md.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from benchmarks import pace
from benchmarks.groups import ALL, FIRST, GROWTH, THEN, Group, portions, seconds_of
from benchmarks.profiles import profiling
from benchmarks.report import CONTRACT
from benchmarks.results import GroupFile
from benchmarks.stack import THREADS_KNOWN, BenchStack

#: Seconds for all of it, without growth: a group that would take longer is not begun.
BUDGET = 860
#: Seconds after that in which a group that was begun may come to its end.
GRACE = 30
#: The status of a process that was told to end.
ENDED = 143
#: Times what a group is expected to take: then it hangs, and the others go on without it. Profilers slow down a lot.
PATIENCE, PATIENCE_WITH_PROFILERS = 5, 20


def main(arguments: Sequence[str]) -> int:
    """Run the named groups, or all of a kind. 0 when each has come to its end."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(group.name for group in ALL))
    parser.add_argument("--quick", action="store_true", help="short rounds, all on one stack")
    parser.add_argument("--growth", action="store_true", help="what must not grow")
    parser.add_argument("--large", action="store_true", help="growth up to 10^7 events and 10^6 agents")
    parser.add_argument("--profile", action="store_true", help="where the time goes, into build/bench/profiles")
    parser.add_argument("--here", action="store_true", help="all in this process and on one stack")
    asked = parser.parse_args(arguments)
    known = {group.name: group for group in ALL}
    if unknown := [name for name in asked.groups if name not in known]:
        parser.error(f"there is no {unknown[0]!r}: {', '.join(known)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ENDED))
    named = [known[name] for name in asked.groups]
    if asked.here:
        return _run_here(named)
    os.environ |= {f"PERMETER_BENCH_{name.upper()}": str(int(getattr(asked, name))) for name in pace.CHOICES}
    if asked.quick:
        return _print_in_order([named or list(FIRST)])
    groups = named or list(GROWTH if asked.growth else (*FIRST, *THEN))
    budget = None if named or asked.growth or asked.profile else BUDGET
    return _print_in_order(portions(groups), budget, profiled=asked.profile)


def _print_in_order(planned: Sequence[Sequence[Group]], budget: float | None = None, *, profiled: bool = False) -> int:
    """Run each portion in a process of its own; the contract's names come first, what else comes with them waits."""
    begun = time.monotonic()
    failed, skipped = False, []
    waiting: list[str] = []
    first_left = {group.name for portion in planned for group in portion} & {group.name for group in FIRST}
    for portion in planned:
        needed = seconds_of(portion)
        if budget and not first_left and time.monotonic() - begun + needed > budget:
            skipped += [group.name for group in portion]
            continue
        process = _start(portion)
        patience: float = needed * (PATIENCE_WITH_PROFILERS if profiled else PATIENCE)
        if budget and not first_left:
            patience = min(patience, budget + GRACE - (time.monotonic() - begun))
        for text in _lines(process, patience):
            _remember_threads(text)
            if first_left and _name(text) not in CONTRACT:
                waiting.append(text)
            else:
                print(text, flush=True)
        status = process.wait()
        if status == ENDED:
            _note({"ended_as_it_took_too_long": [group.name for group in portion], "seconds": round(patience)})
        failed |= status != 0
        first_left -= {group.name for group in portion}
        if not first_left:
            while waiting:
                print(waiting.pop(0), flush=True)
    if skipped:
        _note({"left_out_for_lack_of_time": skipped, "how": f'make bench ARGS="{" ".join(skipped)}"'})
    _note({"took_seconds": round(time.monotonic() - begun)})
    return 1 if failed else 0


def _start(portion: Sequence[Group]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks", "--here", *(group.name for group in portion)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _lines(process: subprocess.Popen[str], within: float) -> Iterator[str]:
    """What it prints; it is ended where it takes too long, or where nobody reads on."""
    alarm = threading.Timer(within, process.terminate)
    alarm.start()
    try:
        for text in process.stdout or ():
            yield text.rstrip("\n")
    except BaseException:
        process.terminate()
        raise
    finally:
        alarm.cancel()
        process.wait(90)


def _run_here(groups: Sequence[Group]) -> int:
    """All on one stack, one line after another."""
    failed = False
    stack = BenchStack()
    try:
        stack.start()
        settings = stack.settings()
        _note({"groups": [group.name for group in groups], **settings})
        for group in groups:
            kept, begun = GroupFile(group.name, settings), time.monotonic()
            try:
                with profiling(stack, group.name):
                    for line in import_module(f"benchmarks.cases.{group.name}").run(stack):
                        kept.add(line)
                        print(json.dumps(line), flush=True)
            except Exception:  # noqa: BLE001 - one broken case must not hide the others
                traceback.print_exc()
                failed = True
            _note({"group": group.name, "took_seconds": round(time.monotonic() - begun)})
    finally:
        stack.stop()
    return 1 if failed else 0


def _remember_threads(text: str) -> None:
    """What one group has tried out need not be tried again by the next."""
    if _name(text) == CONTRACT[0]:
        os.environ[THREADS_KNOWN] = str(json.loads(text)["threads_of_baseline"])


def _name(text: str) -> str:
    return str(json.loads(text).get("bench"))


def _note(what: dict[str, Any]) -> None:
    print(json.dumps(what), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
