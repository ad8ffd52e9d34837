"""docs/performance.md: its measured parts are written anew from what is kept; the prose between them stays.

python -m benchmarks.page [--quick]
"""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.charts import Bar, Series, bar_chart, line_chart
from benchmarks.goals import goal_of
from benchmarks.groups import FIRST, GROWTH, THEN
from benchmarks.report import CONTRACT
from benchmarks.results import KEPT, ROOT, Measured, read_results

PAGE = ROOT / "docs" / "performance.md"
CHARTS = ROOT / "docs" / "performance"
_BLOCK = r"(<!-- measured: {name} -->\n).*?(<!-- end -->)"


def main(arguments: Sequence[str]) -> int:
    """Write the page and its charts; 1 where nothing has been measured."""
    folder = KEPT / ("quick" if "--quick" in arguments else "full")
    measured = read_results(folder, [group.name for group in (*FIRST, *THEN, *GROWTH)])
    if not measured:
        print(f"nothing in {folder}: run `make bench` first", file=sys.stderr)
        return 1
    write_page(PAGE, CHARTS, measured)
    print(f"wrote {PAGE}")
    return 0


def write_page(page: Path, charts: Path, measured: Sequence[Measured]) -> None:
    """Replace each measured part of `page`, and all SVG files of `charts`."""
    lines = [line for group in measured for line in group.lines]
    drawn = draw(lines)
    charts.mkdir(parents=True, exist_ok=True)
    for old in charts.glob("*.svg"):
        old.unlink()
    for name, svg in drawn.items():
        (charts / f"{name}.svg").write_text(svg)
    text = page.read_text()
    flat = [line for line in lines if "curve" not in line]
    parts = {
        "settings": settings_table(measured),
        "contract": table(sorted((ln for ln in flat if ln["bench"] in CONTRACT), key=_contract_place)),
        "more": table([line for line in flat if line["bench"] not in CONTRACT]),
        "processes": process_table(flat),
        "charts": images(drawn, charts.name, ("contract", "rates", "cores")),
        "growth": images(drawn, charts.name, [name for name in drawn if name.startswith("growth-")])
        + table([line for line in lines if "curve" in line]),
    }
    for name, content in parts.items():
        text = replaced(text, name, content)
    page.write_text(text)


def replaced(text: str, name: str, content: str) -> str:
    """`text` with what stands between the marks of `name` replaced. Raises `ValueError` where there are none."""
    pattern = _BLOCK.format(name=re.escape(name))
    done, times = re.subn(pattern, lambda found: f"{found[1]}{content}{found[2]}", text, flags=re.DOTALL)
    if times != 1:
        raise ValueError(f"{times} parts are marked as {name}")
    return done


def table(lines: Iterable[Mapping[str, Any]]) -> str:
    """A row for each line; nothing where there is none."""
    rows = [
        f"| `{line['bench']}` | {figure(line['value'])} {line['unit']} | {figure(line['baseline_value'])} |"
        f" {line['baseline']} | {_ratio(line)} | {_spread(line)} | {_goal(line)} |\n"
        for line in lines
    ]
    if not rows:
        return "Not measured in this run.\n"
    head = "| | measured | baseline | what the baseline is | ratio | spread | goal |\n|---|---|---|---|---|---|---|\n"
    return head + "".join(rows)


def process_table(lines: Iterable[Mapping[str, Any]]) -> str:
    """Cores that each kind of process used while the load was on, and the latencies."""
    rows = []
    for line in lines:
        for who, load in ((line["bench"], line), (f"{line['bench']}: baseline", line.get("of_baseline") or {})):
            if "cpu_seconds" not in load or not load.get("seconds"):
                continue
            cores = {kind: used / load["seconds"] for kind, used in load["cpu_seconds"].items()}
            shown = " | ".join(f"{cores.get(kind, 0):.2f}" for kind in KINDS)
            rows.append(f"| {who} | {load['p50_ms']} | {load['p99_ms']} | {shown} |\n")
    if not rows:
        return "Not measured in this run.\n"
    head = f"| | p50 ms | p99 ms | {' | '.join(KINDS.values())} |\n|---|---|---|{'---|' * len(KINDS)}\n"
    return head + "".join(dict.fromkeys(rows))


KINDS = {
    "web": "web",
    "postgres": "PostgreSQL",
    "valkey": "Valkey",
    "worker": "worker",
    "load_client": "load client",
}


def settings_table(measured: Sequence[Measured]) -> str:
    """When each group was measured and on what; settings that all share stand once."""
    first = measured[0].notes
    text = f"Measured from {measured[0].at} to {measured[-1].at} (start of the first and the last group).\n\n"
    rows = [
        f"| {name} | {_shown(value)} |\n"
        for name, value in first.items()
        if all(group.notes.get(name) == value for group in measured) or name in {"machine", "postgresql"}
    ]
    return text + "| | |\n|---|---|\n" + "".join(rows)


def draw(lines: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """SVG texts by name, for what there is."""
    named = {str(line["bench"]): line for line in lines}
    drawn: dict[str, str] = {}
    ratios = [
        Bar(name, named[name]["ratio"] / bound.bound if not bound.at_most else bound.bound / named[name]["ratio"],
            f"{named[name]['ratio']:g} ({bound.text()})", 1)
        for name in CONTRACT
        if name in named and (bound := goal_of(named[name])) and named[name]["ratio"]
    ]  # fmt: skip
    if ratios:
        drawn["contract"] = bar_chart("Times the goal (the mark is the goal; ratio and goal at the end)", ratios)
    rates = _rates(named)
    if rates:
        drawn["rates"] = bar_chart("Requests a second, 64 clients, two web processes", rates)
    cores = [
        Bar(f"{name.removesuffix('_vs_bare_django')}: {KINDS[kind]}", used / line["seconds"],
            f"{used / line['seconds']:.2f} cores")
        for name in CONTRACT[:3]
        if (line := named.get(name)) and line.get("seconds")
        for kind, used in line["cpu_seconds"].items()
        if kind in KINDS and used / line["seconds"] >= 0.01
    ]  # fmt: skip
    if cores:
        drawn["cores"] = bar_chart("Cores in use under full load, by kind of process", cores)
    return drawn | _growth(lines)


def _rates(named: Mapping[str, Mapping[str, Any]]) -> list[Bar]:
    bars: list[Bar] = []
    for name in ("validate_plain_vs_bare_django", "validate_vs_bare_django", "authorize_vs_bare_django"):
        if line := named.get(name):
            if not bars:
                bars.append(_rate("bare Django view", line["baseline_value"]))
            bars.append(_rate(name.removesuffix("_vs_bare_django").replace("_", " "), line["value"]))
    others = (
        ("authorize_through_views_vs_bare_django", "value", "authorize, a transaction each"),
        ("authorize_vs_diy_fastapi", "baseline_value", "authorize, peer: FastAPI"),
        ("authorize_vs_diy_django", "baseline_value", "authorize, peer: Django"),
    )
    return bars + [_rate(label, named[name][field]) for name, field, label in others if name in named]


def _rate(label: str, rate: float) -> Bar:
    return Bar(label, rate, f"{rate:,.0f}/s")


def _growth(lines: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    curves: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for line in lines:
        if "curve" in line:
            curves.setdefault((line["axis"], line["unit"]), []).append(line)
    drawn = {}
    for place, ((axis, unit), points) in enumerate(curves.items()):
        names = dict.fromkeys(str(line["curve"]) for line in points)
        series = [
            Series(name, sorted((line["x"], line["value"]) for line in points if line["curve"] == name))
            for name in names
        ]
        drawn[f"growth-{place + 1:02}"] = line_chart(f"{', '.join(names)} by {axis}", axis, unit, series)
    return drawn


def images(drawn: Mapping[str, str], folder: str, names: Iterable[str]) -> str:
    """Markdown that shows those of the charts that were drawn."""
    shown = [f"![{name}]({folder}/{name}.svg)\n\n" for name in names if name in drawn]
    return "".join(shown)


def figure(number: float) -> str:
    """Four figures at most."""
    if number == 0:
        return "0"
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def _ratio(line: Mapping[str, Any]) -> str:
    return "" if line["ratio"] is None else f"**{line['ratio']:g}**"


def _spread(line: Mapping[str, Any]) -> str:
    return "" if line.get("spread") is None else f"{line['spread']:.0%}"


def _goal(line: Mapping[str, Any]) -> str:
    goal = goal_of(line)
    if goal is None:
        return ""
    reached = goal.reached(line)
    return goal.text() if reached is None else f"{goal.text()}: {'reached' if reached else '**missed**'}"


def _contract_place(line: Mapping[str, Any]) -> int:
    return CONTRACT.index(str(line["bench"]))


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(each)}" for name, each in value.items())
    return str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
