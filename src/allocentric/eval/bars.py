"""Bar charts with intervals as SVG that stands alone and also takes a page's colours, and the same figures as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

_LABEL_PX = 176.0
_PLOT_PX = 280.0
_VALUE_PX = 48.0
_ROW_PX = 21.0
_HEAD_PX = 26.0
_AXIS_PX = 20.0


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar, in percent."""

    name: str
    """Shown left of it."""
    score: float | None
    """Length; None draws no bar."""
    low: float | None
    """Lower end of the interval; None draws no whisker."""
    high: float | None
    """Upper end."""
    color: str
    """CSS colour."""


def bars_svg(title: str, bars: Sequence[Bar], chance: float | None) -> str:
    """A horizontal bar chart from 0 to 100 percent with whiskers and a dashed line at the chance level."""
    width = _LABEL_PX + _PLOT_PX + _VALUE_PX
    height = _HEAD_PX + _ROW_PX * len(bars) + _AXIS_PX
    bottom = _HEAD_PX + _ROW_PX * len(bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="bars" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="12">',
        f'<text x="0" y="15" font-weight="600" font-size="13.5" fill="var(--ink, #222)">{escape(title)}</text>',
    ]
    for tick in (0, 25, 50, 75, 100):
        x = _x(tick)
        parts.append(f'<path d="M{x:g} {_HEAD_PX:g}V{bottom:g}" stroke="var(--grid, #ddd)"/>')
        parts.append(
            f'<text x="{x:g}" y="{bottom + 14:g}" text-anchor="middle" font-size="10.5" '
            f'fill="var(--soft, #666)">{tick}</text>'
        )
    for row, bar in enumerate(bars):
        parts.append(_bar(bar, _HEAD_PX + _ROW_PX * row))
    if chance is not None:
        parts.append(
            f'<path d="M{_x(chance):g} {_HEAD_PX:g}V{bottom:g}" stroke="var(--chance, #b00)" stroke-width="1.4" '
            f'stroke-dasharray="4 3"><title>chance {chance:.1f}</title></path>'
        )
    return "".join([*parts, "</svg>"])


def _bar(bar: Bar, top: float) -> str:
    middle = top + _ROW_PX / 2
    name = bar.name if len(bar.name) <= 22 else bar.name[:21] + "…"
    label = (
        f'<text x="{_LABEL_PX - 8:g}" y="{middle + 4:g}" text-anchor="end" fill="var(--ink, #222)">'
        f"<title>{escape(bar.name)}</title>{escape(name)}</text>"
    )
    if bar.score is None:
        return label
    rect = (
        f'<rect x="{_LABEL_PX:g}" y="{top + 3.5:g}" width="{_PLOT_PX * bar.score / 100:.2f}" height="{_ROW_PX - 7:g}" '
        f'rx="2" fill="{bar.color}"/>'
    )
    value = (
        f'<text x="{_LABEL_PX + _PLOT_PX + 8:g}" y="{middle + 4:g}" fill="var(--ink, #222)" '
        f'style="font-variant-numeric:tabular-nums">{bar.score:.1f}</text>'
    )
    if bar.low is None or bar.high is None:
        return label + rect + value
    low, high = _x(bar.low), _x(bar.high)
    whisker = (
        f'<path d="M{low:g} {middle:g}H{high:g}M{low:g} {middle - 4:g}v8M{high:g} {middle - 4:g}v8" '
        'stroke="var(--ink, #222)" stroke-width="1.3" fill="none">'
        f"<title>{bar.low:.1f} to {bar.high:.1f}</title></path>"
    )
    return label + rect + whisker + value


def _x(percent: float) -> float:
    return round(_LABEL_PX + _PLOT_PX * percent / 100, 2)


def cells_csv(results: Mapping[str, Any]) -> str:
    """model, baseline, profile, cell, score, low, high, n, unreadable, chance: every figure of results.json."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    figures = ("score", "low", "high", "n", "unreadable", "chance")
    writer.writerow(("model", "baseline", "profile", "cell", *figures))
    for model in results["models"]:
        for profile, summary in model["profiles"].items():
            cells = {"overall": summary["overall"], **summary["cells"], **summary["kinds"]}
            for name, cell in cells.items():
                row = ["" if cell[figure] is None else cell[figure] for figure in figures]
                writer.writerow((model["model"], int(model["baseline"]), profile, name, *row))
    return out.getvalue()
