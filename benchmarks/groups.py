"""The groups of cases, in the order in which they run."""

from collections.abc import Iterable
from typing import NamedTuple


class Group(NamedTuple):
    """A module of `benchmarks.cases`, and about how many seconds it takes on a stack that runs.

    Each has a stack of its own; one that `shares` runs on that of the group before it, as neither leaves anything
    that the other would notice.
    """

    name: str
    seconds: int
    shares: bool = False


#: About how many seconds a stack takes to start and to stop.
STACK = 14

#: They yield the contract's names, in this order.
FIRST = (
    Group("doors", 119),
    Group("peers", 80),
    Group("ingest", 25),
    Group("singles", 42),
    Group("imports", 42),
    Group("hot", 40),
    Group("rollup", 18),
    Group("offline", 8, shares=True),
)
#: They run while there is time.
THEN = (
    Group("memory", 4),
    Group("ledger", 10, shares=True),
    Group("decisions", 8, shares=True),
    Group("views", 34),
    Group("journeys", 27, shares=True),
    Group("floors", 45),
    Group("activations", 18),
    Group("agents", 25, shares=True),
    Group("ledger_proof", 66),
    Group("revocations", 58),
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


def seconds_of(portion: Iterable[Group]) -> int:
    """About how long one stack's groups take, with its start and stop."""
    return STACK + sum(group.seconds for group in portion)
