"""How long everything takes: at full length for figures to compare, in short for a look."""

import os

#: Options that the processes of the groups have to know of, by their environment.
CHOICES = ("quick", "large", "profile")
QUICK, LARGE, PROFILE = (os.environ.get(f"PERMETER_BENCH_{name.upper()}") == "1" for name in CHOICES)

#: Rounds that count; one more before them warms up.
ROUNDS = 2 if QUICK else 5
#: Seconds of load in a round, and in a warm-up.
SECONDS = 2 if QUICK else 3
WARM_UP = 1
CLIENTS = 64


def pick(full: int, quick: int) -> int:
    """One of two sizes."""
    return quick if QUICK else full
