"""The order in which lines are printed, and what is left out where time runs out."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence

import pytest

from benchmarks import __main__ as suite
from benchmarks.groups import ALL, FIRST, GROWTH, THEN, Group, portions, seconds_of
from benchmarks.report import CONTRACT
from benchmarks.stack import THREADS_KNOWN


class _Ended:
    """A process that has printed all that its groups have to say, and has ended well."""

    def wait(self, _within: float | None = None) -> int:
        return 0


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS_KNOWN, "1")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What each group prints: bench names by group."""
    lines: dict[str, list[str]] = {}
    begun: list[Sequence[Group]] = []

    def start(portion: Sequence[Group]) -> _Ended:
        begun.append(portion)
        return _Ended()

    def read(_process: subprocess.Popen[str], _within: float) -> Iterator[str]:
        for group in begun[-1]:
            yield from (json.dumps({"bench": name, "threads_of_baseline": 2}) for name in lines.get(group.name, []))

    monkeypatch.setattr(suite, "_start", start)
    monkeypatch.setattr(suite, "_lines", read)
    return lines


def _printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [json.loads(text)["bench"] for text in capsys.readouterr().out.splitlines()]


def test_print_in_order__other_lines_between__come_after_those_of_the_contract(
    said: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = FIRST[0], FIRST[1], THEN[0]
    said |= {first.name: [CONTRACT[0], "other_1"], second.name: [CONTRACT[3]], third.name: ["other_2"]}
    assert suite._print_in_order([[first], [second], [third]]) == 0
    assert _printed(capsys) == [CONTRACT[0], CONTRACT[3], "other_1", "other_2"]


def test_print_in_order__budget_is_short__the_contract_is_measured_and_the_rest_named(
    said: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    first, later = FIRST[0], THEN[0]
    said |= {first.name: [CONTRACT[0]], later.name: ["other"]}
    assert suite._print_in_order([[first], [later]], budget=0.001) == 0
    shown = capsys.readouterr()
    assert [json.loads(text)["bench"] for text in shown.out.splitlines()] == [CONTRACT[0]]
    assert json.loads(shown.err.splitlines()[0])["left_out_for_lack_of_time"] == [later.name]


def test_main__unknown_group__is_refused_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        suite.main(["nothing"])
    assert ended.value.code == 2
    assert "there is no 'nothing': doors, peers" in capsys.readouterr().err


def test_groups__all__fit_into_a_quarter_of_an_hour_and_have_names_of_their_own() -> None:
    assert sum(map(seconds_of, portions((*FIRST, *THEN)))) <= suite.BUDGET < 900
    assert len({group.name for group in ALL}) == len(ALL) == len(FIRST) + len(THEN) + len(GROWTH)


def test_print_in_order__first_group_has_tried_numbers_of_threads__the_next_is_told(
    said: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(THREADS_KNOWN)
    said |= {FIRST[0].name: [CONTRACT[0]]}
    suite._print_in_order([[FIRST[0]]])
    assert os.environ[THREADS_KNOWN] == "2"


def test_portions__group_that_shares__runs_on_the_stack_of_the_one_before() -> None:
    first, second, third = Group("a", 1), Group("b", 1, shares=True), Group("c", 1)
    assert portions([first, second, third]) == [[first, second], [third]]
    assert portions([second, first]) == [[second], [first]]
