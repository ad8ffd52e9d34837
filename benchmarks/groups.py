"""The groups of cases, in the order in which they run."""

from typing import NamedTuple


class Group(NamedTuple):
    """A module of `benchmarks.cases`, and about how many seconds it takes, its stack's start included."""

    name: str
    seconds: int


#: They yield the contract's names, in this order.
FIRST = (
    Group("doors", 190),
    Group("peers", 110),
    Group("ingest", 60),
    Group("singles", 60),
    Group("imports", 80),
    Group("hot", 50),
    Group("rollup", 35),
    Group("offline", 25),
)
#: They run while there is time.
THEN = (
    Group("floors", 50),
    Group("views", 60),
    Group("journeys", 60),
    Group("memory", 25),
    Group("decisions", 20),
    Group("ledger", 35),
    Group("activations", 50),
    Group("agents", 70),
    Group("ledger_proof", 120),
    Group("revocations", 180),
)
GROWTH = (
    Group("history", 400),
    Group("crowds", 400),
    Group("depth", 120),
    Group("soak", 200),
)
ALL = (*FIRST, *THEN, *GROWTH)
