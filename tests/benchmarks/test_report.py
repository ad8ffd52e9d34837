"""Medians, ratios and spreads of lines."""

from __future__ import annotations

import pytest

from benchmarks.curves import Curve
from benchmarks.report import Load, Rounds, interleaved, line


def test_line__rounds_of_both__medians_their_ratio_and_the_range_of_the_ratios() -> None:
    written = line("a_vs_b", Rounds([100, 300, 200]), "events/s", "b", Rounds([400, 400, 500]))
    # Ratios by round: 0.25, 0.75, 0.4; their range over their median is 0.5 / 0.4.
    assert written == {
        "bench": "a_vs_b",
        "value": 200,
        "unit": "events/s",
        "baseline": "b",
        "baseline_value": 400,
        "ratio": 0.5,
        "spread": 1.25,
    }


def test_line__six_fields_come_first_in_the_order_of_the_contract() -> None:
    written = line("a", 1, "s", "b", 2, extra=3)
    assert list(written)[:6] == ["bench", "value", "unit", "baseline", "baseline_value", "ratio"]
    assert written["extra"] == 3


def test_line__one_round__no_spread() -> None:
    assert line("a", Rounds([3.0]), "s", "b", Rounds([2.0]))["spread"] is None
    assert line("a", 3.0, "s", "b", 2.0)["spread"] is None


def test_line__baseline_is_a_limit__spread_of_the_rounds_alone() -> None:
    assert line("a", Rounds([90, 100, 110]), "MB", "limit", 50)["spread"] == 0.2


def test_line__baseline_of_nought__no_ratio() -> None:
    written = line("late_acceptances", 0, "acceptances", "calls", 0)
    assert (written["value"], written["ratio"]) == (0, None)


def test_line__load_from_outside__latencies_and_seconds_by_kind_of_process() -> None:
    ours = Load(
        rates=Rounds([10, 30]), p50=Rounds([1.0, 2.0]), p99=Rounds([5.0, 9.0]), seconds=8.04, cpu={"web": 4.004, "a": 1}
    )
    theirs = Load(rates=Rounds([20, 20]), p50=Rounds([1.0, 1.0]), p99=Rounds([2.0, 2.0]), seconds=8, cpu={})
    written = line("a", ours, "requests/s", "b", theirs)
    assert (written["value"], written["baseline_value"], written["ratio"]) == (20, 20, 1)
    assert written["rounds"] == [10, 30]
    assert (written["p50_ms"], written["p99_ms"], written["seconds"]) == (1.5, 7.0, 8.0)
    assert written["cpu_seconds"] == {"a": 1, "web": 4.0}
    assert written["of_baseline"]["p50_ms"] == 1.0


def test_interleaved__two_subjects__turns_are_taken_and_the_first_round_does_not_count() -> None:
    turns: list[str] = []

    def subject(name: str) -> float:
        turns.append(name)
        return float(len(turns))

    first, second = interleaved(lambda: subject("a"), lambda: subject("b"), rounds=2)
    assert turns == ["a", "b"] * 3
    assert (first, second) == ([3, 5], [4, 6])


def test_rounds__even_number__median_is_the_mean_of_the_middle() -> None:
    assert Rounds([1, 10, 2, 4]).median == 3


def test_curve__later_points__stand_beside_the_first() -> None:
    curve = Curve("p50", "ms", "events")
    first, second = curve.point(0, 2.0), curve.point(1_000_000, 3.0, note="x")
    assert (first["bench"], first["ratio"]) == ("p50_at_0_events", 1)
    assert (second["bench"], second["baseline"], second["baseline_value"]) == (
        "p50_at_1000000_events",
        "with 0 events",
        2,
    )
    assert (second["ratio"], second["curve"], second["axis"], second["x"]) == (1.5, "p50", "events", 1_000_000)
    assert second["note"] == "x"


@pytest.mark.parametrize(("number", "quick"), [(5, False), (2, True)])
def test_pick__quick_or_not__one_of_the_two(monkeypatch: pytest.MonkeyPatch, number: int, quick: bool) -> None:
    from benchmarks import pace

    monkeypatch.setattr(pace, "QUICK", quick)
    assert pace.pick(5, 2) == number
