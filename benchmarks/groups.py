"""The groups of cases, in the order in which they run."""

from collections.abc import Iterable
from typing import NamedTuple


class Group(NamedTuple):
    """A module of `benchmarks.cases`, and about how many seconds it takes.

    Each has a stack of its own, whose start is counted in; one that `shares` runs on that of the group before it, as
    neither leaves anything that the other would notice.
    """

    name: str
    seconds: int
    shares: bool = False


#: They yield the contract's names, in this order.
FIRST = (
    Group("doors", 140),
    Group("peers", 100),
    Group("ingest", 35),
    Group("singles", 55),
    Group("imports", 70),
    Group("hot", 50),
    Group("rollup", 30),
    Group("offline", 8, shares=True),
)
#: They run while there is time.
THEN = (
    Group("memory", 16),
    Group("ledger", 10, shares=True),
    Group("decisions", 8, shares=True),
    Group("views", 45),
    Group("journeys", 35, shares=True),
    Group("floors", 55),
    Group("activations", 28),
    Group("agents", 25, shares=True),
    Group("ledger_proof", 60),
    Group("revocations", 70),
)
GROWTH = (
    Group("history", 600),
    Group("crowds", 600),
    Group("depth", 150),
    Group("soak", 300),
)
ALL = (*FIRST, *THEN, *GROWTH)


def portions(groups: Iterable[Group]) -> list[list[Group]]:
    """Groups that run on one stack together."""
    together: list[list[Group]] = []
    for group in groups:
        if group.shares and together:
            together[-1].append(group)
        else:
            together.append([group])
    return together
