"""Charts as SVG text: bars beside a mark, and lines over a logarithmic scale. Nothing is fetched from anywhere."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 760
_LEFT, _RIGHT = 300, 130
_ROW = 26
_COLORS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2", "#64748b")
# Readable on light and dark pages alike.
_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
    'role="img" aria-label="{title}" font-family="system-ui, sans-serif" font-size="13">\n'
    '<rect width="100%" height="100%" fill="#ffffff"/>\n'
    '<text x="12" y="22" font-weight="600" fill="#0f172a">{title}</text>\n'
)


@dataclass(frozen=True, slots=True)
class Bar:
    """`mark`: where the goal is; `shown` stands at the end."""

    label: str
    value: float
    shown: str
    mark: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """Points by their x."""

    label: str
    points: Sequence[tuple[float, float]]


def bar_chart(title: str, bars: Sequence[Bar]) -> str:
    """A row for each; all on one scale that begins at nought."""
    height = 40 + _ROW * len(bars) + 12
    room = WIDTH - _LEFT - _RIGHT
    most = max([bar.value for bar in bars] + [bar.mark or 0 for bar in bars]) or 1
    parts = [_HEAD.format(width=WIDTH, height=height, title=escape(title, quote=True))]
    for place, bar in enumerate(bars):
        top = 40 + _ROW * place
        length = room * bar.value / most
        parts.append(
            f'<text x="{_LEFT - 8}" y="{top + 14}" text-anchor="end" fill="#334155">{escape(bar.label)}</text>\n'
            f'<rect x="{_LEFT}" y="{top + 2}" width="{length:.1f}" height="16" rx="2" fill="{_COLORS[0]}"/>\n'
        )
        end = length
        if bar.mark is not None:
            at = _LEFT + room * bar.mark / most
            end = max(end, room * bar.mark / most)
            parts.append(f'<path d="M{at:.1f} {top - 1}v22" stroke="{_COLORS[1]}" stroke-width="3"/>\n')
        parts.append(f'<text x="{_LEFT + end + 8:.1f}" y="{top + 14}" fill="#0f172a">{escape(bar.shown)}</text>\n')
    return "".join(parts) + "</svg>\n"


def line_chart(title: str, axis: str, unit: str, series: Sequence[Series]) -> str:
    """x on a logarithmic scale (nought stands at its left end), y on a linear one that begins at nought."""
    height, top, bottom, left, right = 336, 60, 60, 64, 210
    xs = sorted({x for each in series for x, _ in each.points})
    most = max((y for each in series for _, y in each.points), default=0) or 1
    smallest = next((x for x in xs if x > 0), 1)

    def scaled(x: float) -> float:
        return math.log10(x) if x > 0 else math.log10(smallest) - 1

    low, high = scaled(xs[0]), scaled(xs[-1])

    def across(x: float) -> float:
        return left + (WIDTH - left - right) * ((scaled(x) - low) / (high - low) if high > low else 0.5)

    def down(y: float) -> float:
        return top + (height - top - bottom) * (1 - y / most)

    parts = [_HEAD.format(width=WIDTH, height=height, title=escape(title, quote=True))]
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = down(most * share)
        parts.append(
            f'<path d="M{left} {y:.1f}H{WIDTH - right}" stroke="#e2e8f0"/>\n'
            f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#475569">{most * share:.3g}</text>\n'
        )
    below = height - bottom + 20
    parts += [
        f'<text x="{across(x):.1f}" y="{below}" text-anchor="middle" fill="#475569">{x:,.0f}</text>\n' for x in xs
    ]
    middle = (left + WIDTH - right) / 2
    parts.append(
        f'<text x="{middle:.0f}" y="{height - 14}" text-anchor="middle" fill="#475569">{escape(axis)}</text>\n'
        f'<text x="{left - 8}" y="{top - 14}" fill="#475569">{escape(unit)}</text>\n'
    )
    for place, each in enumerate(series):
        color = _COLORS[place % len(_COLORS)]
        at = [(across(x), down(y)) for x, y in each.points]
        parts.append(
            f'<polyline fill="none" stroke="{color}" stroke-width="2" points="'
            + " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
            + '"/>\n'
            + "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>\n' for x, y in at)
            + f'<rect x="{WIDTH - right + 16}" y="{top + 22 * place}" width="12" height="12" fill="{color}"/>\n'
            + f'<text x="{WIDTH - right + 34}" y="{top + 22 * place + 11}" fill="#334155">{escape(each.label)}</text>\n'
        )
    return "".join(parts) + "</svg>\n"
