"""One measurement as a line, and rounds that are interleaved so that a noisy neighbour hits both sides."""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks import pace

#: The names that come first, in this order; whatever else is measured follows.
CONTRACT = (
    "validate_plain_vs_bare_django",
    "validate_vs_bare_django",
    "authorize_vs_bare_django",
    "authorize_vs_diy_django",
    "authorize_vs_diy_fastapi",
    "ingest_batch_vs_copy",
    "ingest_single_vs_one_transaction",
    "import_vs_copy",
    "hot_balance_vs_spread",
    "rollup_vs_group_by",
    "offline_verify_vs_ed25519",
)


class Rounds(list[float]):
    """The figure of each round that counts."""

    @property
    def median(self) -> float:
        return median(self)


@dataclass(slots=True)
class Load:
    """What rounds of load from outside came to: requests a second, milliseconds, seconds on a core by process kind."""

    rates: Rounds = field(default_factory=Rounds)
    p50: Rounds = field(default_factory=Rounds)
    p99: Rounds = field(default_factory=Rounds)
    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)

    def details(self) -> dict[str, Any]:
        """Medians of the latencies, and what each kind of process used while the load was on."""
        return {
            "rounds": [round(rate) for rate in self.rates],
            "p50_ms": round(self.p50.median, 2),
            "p99_ms": round(self.p99.median, 2),
            "seconds": round(self.seconds, 1),
            "cpu_seconds": {kind: round(seconds, 2) for kind, seconds in sorted(self.cpu.items())},
        }


Measured = float | Rounds | Load


def line(
    bench: str, value: Measured, unit: str, baseline: str, baseline_value: Measured, **more: Any
) -> dict[str, Any]:
    """The JSON line of one measurement; `ratio` is value over baseline, both medians.

    After the six fields come `spread`, the range of the rounds' ratios over their median (None where there was one
    round), and for load from outside what it cost.
    """
    ours, theirs = _median(value), _median(baseline_value)
    written: dict[str, Any] = {
        "bench": bench,
        "value": round(ours, 3),
        "unit": unit,
        "baseline": baseline,
        "baseline_value": round(theirs, 3),
        "ratio": round(ours / theirs, 3) if theirs else None,
        "spread": _spread(value, baseline_value),
    }
    if isinstance(value, Load):
        written |= value.details()
    if isinstance(baseline_value, Load):
        written["of_baseline"] = baseline_value.details()
    return written | more


def interleaved(*subjects: Callable[[], float], rounds: int | None = None) -> list[Rounds]:
    """Each subject's figures of rounds A B C, A B C, ...; one warm-up round does not count."""
    figures = [Rounds() for _ in subjects]
    for number in range((rounds or pace.pick(3, 2)) + 1):
        for place, subject in enumerate(subjects):
            figure = subject()
            if number:
                figures[place].append(figure)
    return figures


def _median(measured: Measured) -> float:
    if isinstance(measured, Load):
        return measured.rates.median
    return measured.median if isinstance(measured, Rounds) else measured


def _rounds(measured: Measured) -> Rounds | None:
    if isinstance(measured, Load):
        return measured.rates
    return measured if isinstance(measured, Rounds) else None


def _spread(value: Measured, baseline: Measured) -> float | None:
    ours, theirs = _rounds(value), _rounds(baseline)
    if ours is None or len(ours) < 2:
        return None
    if theirs is not None and len(theirs) == len(ours) and all(theirs):
        ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    else:
        ratios = list(ours)
    middle = median(ratios)
    return round((max(ratios) - min(ratios)) / middle, 3) if middle else None
