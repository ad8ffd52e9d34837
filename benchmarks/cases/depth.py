"""The hot path by the depth of the tree: an agent counts on its own quota and on that of each agent above it."""

from collections.abc import Iterator
from typing import Any

from benchmarks import pace
from benchmarks.cases.doors import AGENTS
from benchmarks.hot_path import HotPath
from benchmarks.stack import BenchStack
from benchmarks.world import THREE_LEVELS, make_shop

DEPTHS = (1, 8) if pace.QUICK else (1, 2, 4, 8)


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """64 trees that are chains; the lowest agent of each asks. Eight deep, a call counts on ten balances."""
    stack.django()
    hot = HotPath(stack, "levels", ["unused"])
    for depth in DEPTHS:
        shop = make_shop(agents=AGENTS, licenses=AGENTS, levels=THREE_LEVELS, depth=depth)
        yield from hot.points(depth, shop.keys)
