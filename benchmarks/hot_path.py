"""The hot path at growing sizes: validate and authorize as shares of what a bare Django view does meanwhile."""

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.cases.doors import AGENTS, CONSUME
from benchmarks.curves import Curve
from benchmarks.load import Question
from benchmarks.measuring import side_by_side
from benchmarks.processes import memory_mb
from benchmarks.report import Load, Rounds
from benchmarks.stack import BenchStack
from benchmarks.world import THREE_LEVELS, make_shop


class HotPath:
    """Curves over the number of `axis`. A share says more than requests a second: a noisy neighbour slows both down."""

    def __init__(self, stack: BenchStack, axis: str, keys: Sequence[str] = ()) -> None:
        self.stack = stack
        self.keys = keys or make_shop(agents=AGENTS, licenses=AGENTS, levels=THREE_LEVELS).keys
        unit = "of a bare Django view's requests/s"
        self.curves = {name: Curve(f"{name}_share", unit, axis) for name in ("validate", "authorize")}
        self.p50 = Curve("authorize_p50", "ms at 64 clients", axis)
        self.memory = Curve("web_process_memory", "MB, the largest web process", axis)

    def points(self, x: int, keys: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
        """All curves at this size; `keys`: who asks, where it is not always the same."""
        asked = {"validate": "{}", "authorize": CONSUME}
        with self.stack.bare_django() as base:
            bare, *loads = side_by_side(
                Question(f"{base}/"),
                *(
                    Question(f"{self.stack.base_url}/agent/v1/{path}", body, keys or self.keys)
                    for path, body in asked.items()
                ),
                rounds=3,
            )
        for name, load in zip(asked, loads, strict=True):
            yield self.curves[name].point(x, _share(load, bare), requests_per_second=round(load.rates.median))
        yield self.p50.point(x, loads[1].p50.median)
        yield self.memory.point(x, max(size for kind, size in memory_mb(self.stack.pid) if kind == "web"))


def _share(load: Load, bare: Load) -> float:
    return Rounds(mine / other for mine, other in zip(load.rates, bare.rates, strict=True)).median
