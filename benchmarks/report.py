"""One measurement as a line, and rounds that are interleaved so that a noisy neighbour hits both sides."""

from collections.abc import Callable
from statistics import median
from typing import Any

ROUNDS = 3


def line(bench: str, value: float, unit: str, baseline: str, baseline_value: float) -> dict[str, Any]:
    """The JSON line of one measurement."""
    return {
        "bench": bench,
        "value": round(value, 3),
        "unit": unit,
        "baseline": baseline,
        "baseline_value": round(baseline_value, 3),
        "ratio": round(value / baseline_value, 3) if baseline_value else None,
    }


def interleaved(*subjects: Callable[[], float], rounds: int = ROUNDS) -> list[float]:
    """The median of each subject's figure over rounds A B C, A B C, ...; one warm-up round does not count."""
    figures: list[list[float]] = [[] for _ in subjects]
    for number in range(rounds + 1):
        for place, subject in enumerate(subjects):
            figure = subject()
            if number:
                figures[place].append(figure)
    return [median(of_subject) for of_subject in figures]
