"""Plots of a run of streams, as SVG that stands alone."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from allocentric.core.types import Image
from allocentric.eval.pages import COLORS

STRIP_PICTURES = 12
"""Pictures above a plot of surprise."""
_THUMBNAIL_PX = 96
_WIDTH_PX, _PLOT_PX = 1000.0, 150.0
_LEFT_PX, _RIGHT_PX = 44.0, 10.0

Row = Mapping[str, Any]


def charts(tables: Mapping[str, Sequence[Row]], chance: float | None) -> dict[str, str]:
    """Accuracy, bytes and attended tokens against length, those that there is something to show of.

    Args:
        tables: Rows of accuracy, frames and answers, as `stream_report` makes them.
        chance: Of one question, in [0, 1]; None: not defined.
    """
    colours = _colours([row["policy"] for name in ("accuracy", "frames") for row in tables[name] if not _grey(row)])
    drawn = {
        "accuracy": _figure(tables["accuracy"], colours, "seconds into the stream", "score", _accuracy(chance)),
        "bytes": _figure(tables["frames"], colours, "seconds into the stream", "bytes kept", _lines("bytes")),
        "attended": _figure(
            [row for row in tables["answers"] if row["attended_tokens"] is not None],
            colours,
            "seconds into the stream",
            "tokens attended per answer",
            _lines("attended_tokens", points=True),
        ),
    }
    return {name: svg for name, svg in drawn.items() if svg}


def surprise(rows: Sequence[Row], pictures: Sequence[tuple[float, Image]]) -> str:
    """Surprise over time under the pictures, with a line at every border between segments."""
    start, stop = float(rows[0]["time_s"]), float(rows[-1]["time_s"])
    span = max(stop - start, 1e-9)
    inner = _WIDTH_PX - _LEFT_PX - _RIGHT_PX
    most = max(max(float(row["surprise"]) for row in rows), 1e-6) * 1.05

    def x(time_s: float) -> float:
        return _LEFT_PX + (time_s - start) / span * inner

    tall = _strip_height(pictures, inner)
    top, bottom = tall + 10, tall + 10 + _PLOT_PX

    def y(value: float) -> float:
        return bottom - value / most * _PLOT_PX

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH_PX:g} {bottom + 34:g}" role="img" '
        'aria-label="surprise over time" font-family="system-ui, sans-serif" font-size="12">'
    ]
    parts += _pictures(pictures, inner, tall)
    for k in range(3):
        value = most / 1.05 * k / 2
        parts.append(f'<path d="M{_LEFT_PX:g} {y(value):.1f}h{inner:g}" stroke="var(--grid, #ddd)"/>')
        parts.append(_text(_LEFT_PX - 5, y(value) + 4, f"{value:.2g}", "end"))
    for k in range(6):
        time_s = start + span * k / 5
        parts.append(_text(x(time_s), bottom + 16, f"{time_s:.0f} s", "middle"))
    for row in rows:
        if row["border"]:
            at = x(float(row["time_s"]))
            parts.append(f'<path d="M{at:.1f} {top:g}V{bottom:g}" stroke="#D55E00" stroke-dasharray="3 3"/>')
    line = " ".join(f"{x(float(row['time_s'])):.1f},{y(float(row['surprise'])):.1f}" for row in rows)
    parts.append(f'<polyline points="{line}" fill="none" stroke="#0072B2" stroke-width="1.5"/>')
    return "".join([*parts, "</svg>"])


def _strip_height(pictures: Sequence[tuple[float, Image]], inner: float) -> float:
    if not pictures:
        return 0.0
    height, width = pictures[0][1].shape[:2]
    return float(inner / len(pictures) * height / width)


def _pictures(pictures: Sequence[tuple[float, Image]], inner: float, tall: float) -> list[str]:
    from PIL import Image as PillowImage

    parts = []
    for index, (time_s, picture) in enumerate(pictures):
        small = PillowImage.fromarray(picture)
        small.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
        out = io.BytesIO()
        small.save(out, format="PNG")
        uri = "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
        width = inner / len(pictures)
        parts.append(
            f'<image x="{_LEFT_PX + index * width:.1f}" y="0" width="{width - 2:.1f}" height="{tall:.1f}" '
            f'href="{uri}"><title>{time_s:.0f} s</title></image>'
        )
    return parts


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="var(--soft, #555)">{escape(text)}</text>'


def _grey(row: Row) -> bool:
    return bool(row.get("baseline"))


def _colours(policies: Sequence[str]) -> dict[str, str]:
    return {policy: COLORS[index % len(COLORS)] for index, policy in enumerate(dict.fromkeys(policies))}


Draw = Callable[[Any, str, Sequence[Row], str], None]


def _accuracy(chance: float | None) -> Draw:
    def draw(axes: Any, policy: str, rows: Sequence[Row], colour: str) -> None:
        xs, ys = [row["time_s"] for row in rows], [row["score"] for row in rows]
        gaps = [
            [max(0.0, row["score"] - row["low"]) for row in rows],
            [max(0.0, row["high"] - row["score"]) for row in rows],
        ]
        style = ":" if _grey(rows[0]) else "-"
        axes.errorbar(
            xs, ys, yerr=gaps, label=policy, color=colour, linestyle=style, marker="o", markersize=4, capsize=2
        )
        if chance is not None and not axes.get_lines()[:-1]:
            axes.axhline(chance, color="#b3261e", linewidth=0.8, linestyle="--")

    return draw


def _lines(value: str, *, points: bool = False) -> Draw:
    def draw(axes: Any, policy: str, rows: Sequence[Row], colour: str) -> None:
        label: str | None = policy
        for stream in dict.fromkeys(row["stream"] for row in rows):
            mine = sorted((float(row["time_s"]), float(row[value])) for row in rows if row["stream"] == stream)
            xs, ys = zip(*mine, strict=True)
            style = {"marker": "o", "markersize": 3, "linestyle": ""} if points else {"linewidth": 1.2}
            axes.plot(xs, ys, label=label, color=colour, alpha=0.8, **style)
            label = None  # once in the legend

    return draw


def _figure(rows: Sequence[Row], colours: Mapping[str, str], x_label: str, y_label: str, draw: Draw) -> str:
    """An SVG in which every policy is drawn, from 0 to the most of all; empty where there are no rows."""
    if not rows:
        return ""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 3.6), layout="constrained")
    axes = figure.subplots()
    for policy in dict.fromkeys(row["policy"] for row in rows):
        draw(axes, policy, [row for row in rows if row["policy"] == policy], colours.get(policy, "#9aa0a6"))
    axes.set_ylim(bottom=-0.03 * axes.get_ylim()[1])  # after the last line: earlier, the first would set the top
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    out = io.StringIO()
    # A fixed salt and no metadata: ids and dates are otherwise different in every process.
    with mpl.rc_context({"svg.hashsalt": y_label, "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = out.getvalue()
    return svg[svg.index("<svg") :]
