"""The report that is written from kept lines, and its charts."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks import page
from benchmarks.charts import Bar, Series, bar_chart, line_chart
from benchmarks.curves import Curve
from benchmarks.groups import ALL
from benchmarks.report import Load, Rounds, line
from benchmarks.results import GroupFile, Measured, read_results

SVG = "{http://www.w3.org/2000/svg}"


def _load(rate: float, web: float) -> Load:
    return Load(
        Rounds([rate]), Rounds([2.0]), Rounds([7.0]), seconds=10, cpu={"web": web, "postgres": 4.0, "other": 9.0}
    )


@pytest.fixture
def lines() -> list[dict[str, Any]]:
    curve = Curve("authorize_p50", "ms", "events")
    return [
        line("authorize_vs_bare_django", _load(7000, 15), "requests/s", "a view", _load(14000, 18)),
        line("validate_plain_vs_bare_django", _load(7000, 15), "requests/s", "a view", _load(14000, 18)),
        line("idle_stack_memory", 640.4, "MB", "limit", 800),
        line("late", 0, "acceptances", "calls", 0),
        curve.point(0, 2.0),
        curve.point(1000, 2.5),
    ]


def test_table__lines__figures_ratio_spread_and_goal_in_a_row(lines: list[dict[str, Any]]) -> None:
    first, memory = (page.table([lines[place]]).splitlines()[2] for place in (0, 2))
    assert first == (
        "| `authorize_vs_bare_django` | 7,000 requests/s | 14,000 | a view | **0.5** |  | ≥ 0.35: reached |"
    )
    assert memory == "| `idle_stack_memory` | 640 MB | 800 | limit | **0.8** |  | ≤ 1: reached |"


def test_table__goal_is_missed__says_so(lines: list[dict[str, Any]]) -> None:
    assert page.table([lines[1]]).endswith("| ≥ 0.8: **missed** |\n")


def test_table__no_lines__says_that_nothing_was_measured() -> None:
    assert page.table([]) == "Not measured in this run.\n"


def test_process_table__load__cores_by_kind_of_process_for_both_sides(lines: list[dict[str, Any]]) -> None:
    rows = page.process_table(lines).splitlines()[2:]
    assert rows[:2] == [
        "| authorize_vs_bare_django | 2.0 | 7.0 | 1.50 | 0.40 | 0.00 | 0.00 | 0.00 |",
        "| authorize_vs_bare_django: baseline | 2.0 | 7.0 | 1.80 | 0.40 | 0.00 | 0.00 | 0.00 |",
    ]
    assert len(rows) == 4


def test_write_page__twice__measured_parts_are_replaced_and_prose_stays(
    tmp_path: Path, lines: list[dict[str, Any]]
) -> None:
    names = ("settings", "charts", "contract", "more", "processes", "growth")
    path = tmp_path / "performance.md"
    path.write_text(
        "# Prose\n" + "".join(f"<!-- measured: {name} -->\nold\n<!-- end -->\nAfter {name}.\n" for name in names)
    )
    charts = tmp_path / "performance"
    charts.mkdir()
    (charts / "gone.svg").write_text("<svg/>")
    measured = [Measured("doors", "2026-11-24T08:00:00+00:00", {"python": "3.11", "load_client": "wrk"}, lines)]
    page.write_page(path, charts, measured)
    once = path.read_text()
    page.write_page(path, charts, measured)
    assert path.read_text() == once
    assert "old" not in once
    assert all(f"After {name}.\n" in once for name in names)
    assert "| load_client | wrk |" in once
    # In the contract's order, whatever the order of the lines.
    assert once.index("`validate_plain_vs_bare_django`") < once.index("`authorize_vs_bare_django`")
    shown = {part.partition(")")[0] for part in once.split("](performance/")[1:]}
    assert shown == {path.name for path in charts.glob("*.svg")} == {
        "contract.svg", "rates.svg", "cores.svg", "growth-01.svg"
    }  # fmt: skip


def test_replaced__no_such_part__is_an_error() -> None:
    with pytest.raises(ValueError, match="0 parts are marked as growth"):
        page.replaced("<!-- measured: more -->\n<!-- end -->", "growth", "x")


def test_page__of_the_documentation__has_every_part_once() -> None:
    text = page.PAGE.read_text()
    for name in ("settings", "charts", "contract", "more", "processes", "growth"):
        assert page.replaced(text, name, "x\n").count(f"<!-- measured: {name} -->\nx\n<!-- end -->") == 1


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (0.0123, "0.0123"), (9.876, "9.88"), (99.94, "99.9"), (100, "100"), (12345.6, "12,346")],
)
def test_figure__four_figures_at_most(number: float, text: str) -> None:
    assert page.figure(number) == text


def test_results__group_measured_again__its_lines_are_replaced(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    for number in (1, 2):
        kept = GroupFile("doors", {"python": "3.11"}, tmp_path)
        for each in lines[:number]:
            kept.add(each)
    GroupFile("peers", {}, tmp_path)
    [found] = read_results(tmp_path, [group.name for group in ALL])
    assert (found.group, found.notes, found.lines) == ("doors", {"python": "3.11"}, lines[:2])


def test_bar_chart__bars_and_marks__lengths_on_one_scale() -> None:
    drawn = ET.fromstring(bar_chart("<Title>", [Bar("a & b", 2, "2/s", mark=4), Bar("c", 1, "1/s")]))
    widths = [float(bar.attrib["width"]) for bar in drawn.iter(f"{SVG}rect") if "rx" in bar.attrib]
    assert widths == [165, 82.5]
    assert "a & b" in [text.text for text in drawn.iter(f"{SVG}text")]
    assert len(list(drawn.iter(f"{SVG}path"))) == 1


def test_line_chart__nought_and_tens__equal_steps_on_the_logarithmic_scale() -> None:
    drawn = ET.fromstring(line_chart("t", "events", "ms", [Series("a", [(0, 1), (10, 2), (100, 4)])]))
    [points] = [each.attrib["points"] for each in drawn.iter(f"{SVG}polyline")]
    at = [tuple(map(float, pair.split(","))) for pair in points.split()]
    assert at[1][0] - at[0][0] == at[2][0] - at[1][0] == 243
    # From the bottom line: a quarter, a half and all of the height.
    assert [round((276 - y) / (276 - 60), 3) for _, y in at] == [0.25, 0.5, 1]


def test_line_chart__one_point__is_drawn() -> None:
    assert ET.fromstring(line_chart("t", "events", "ms", [Series("a", [(10, 0)])])).tag == f"{SVG}svg"
