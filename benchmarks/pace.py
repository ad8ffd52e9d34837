"""How long everything takes: at full length for figures to compare, in short for a look."""

import os

#: Set by `--quick`, also for the processes of the groups.
QUICK = os.environ.get("PERMETER_BENCH_QUICK") == "1"
#: Set by `--large`: growth up to ten million events and a million agents.
LARGE = os.environ.get("PERMETER_BENCH_LARGE") == "1"

#: Rounds that count; one more before them warms up.
ROUNDS = 2 if QUICK else 5
#: Seconds of load in a round, and in a warm-up.
SECONDS = 2 if QUICK else 4
WARM_UP = 1 if QUICK else 2
CLIENTS = 64


def pick(full: int, quick: int) -> int:
    """One of two sizes."""
    return quick if QUICK else full
