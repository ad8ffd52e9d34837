"""`make bench`: a fresh stack of its own, every case beside its baseline in the same run, one JSON line each.

A line is `{"bench", "value", "unit", "baseline", "baseline_value", "ratio"}`; `ratio` is value over baseline. Memory
has a limit as its baseline. Nothing here passes or fails: numbers are for people.
"""

import json
import os
import sys
import traceback
from importlib import import_module

from benchmarks.stack import BenchStack

CASES = ("doors", "ledger", "ledger_proof", "imports", "memory", "decisions", "signing", "activations", "agents")
#: Take longer, and run only when they are named: `make bench-growth`.
GROWTH = ("history",)


def main(names: list[str]) -> int:
    """Run the named groups of cases, or all of them."""
    unknown = [name for name in names if name not in (*CASES, *GROWTH)]
    if unknown:
        print(f"There is no {unknown[0]!r}: {', '.join((*CASES, *GROWTH))}.", file=sys.stderr)
        return 2
    failed = False
    stack = BenchStack()
    try:
        stack.start()
        print(
            json.dumps({"machine": {"cores": os.cpu_count(), "load": os.getloadavg()[0]}, **stack.settings()}),
            flush=True,
        )
        for name in names or CASES:
            try:
                for line in import_module(f"benchmarks.cases.{name}").run(stack):
                    print(json.dumps(line), flush=True)
            except Exception:  # noqa: BLE001 - one broken case must not hide the others
                traceback.print_exc()
                failed = True
    finally:
        stack.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
