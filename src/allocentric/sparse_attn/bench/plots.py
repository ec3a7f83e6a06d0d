"""Plots of measured rows: time, state and error against length, speed-up against density."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
PANELS = (
    ("time", "length", "total_ms", "tokens", "forward with selection, ms"),
    ("state", "length", "state_bytes", "tokens", "state, bytes"),
    ("steps", "length", "step_p50_ms", "tokens before", "one step, ms (p50)"),
    ("speedup", "density", "speedup", "density", "speed-up over dense"),
)
"""File, x, y and their labels; axes are logarithmic."""


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """One SVG for every panel that has something to show."""
    paths = []
    colours = _colours(rows)
    for name, x, y, x_label, y_label in PANELS:
        # Methods all keep the same keys and values: dense attention's line stands for them.
        shown = [row for row in rows if not (y == "state_bytes" and row["kind"] == "method")]
        lines = _lines(shown, x, y)
        if any(len(points) > 1 for points in lines.values()):
            path = folder / f"attention_{name}.svg"
            _draw(lines, colours, path, x_label, y_label)
            paths.append(path)
    return paths


def _label(row: Row, rows: Sequence[Row]) -> str:
    """Method, and dtype and direction where they differ among the rows."""
    name = str(row["name"]).replace("_", " ") + (" (mixer)" if row["kind"] == "mixer" else "")
    if len({other["dtype"] for other in rows}) > 1:
        name += f" {row['dtype']}"
    if len({other["causal"] for other in rows}) > 1 and not row["causal"]:
        name += " (both ways)"
    return name


def _colours(rows: Sequence[Row]) -> dict[str, str]:
    """The same for a method in every panel; dense attention is black."""
    names = dict.fromkeys(_label(row, rows) for row in rows if row["kind"] != "dense")
    dense = {_label(row, rows): "black" for row in rows if row["kind"] == "dense"}
    return dense | {name: f"C{index % 10}" for index, name in enumerate(names)}


def _lines(rows: Sequence[Row], x: str, y: str) -> dict[str, list[tuple[float, float]]]:
    """Points by method."""
    lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        if row.get(x) and row.get(y):
            lines[_label(row, rows)].append((row[x], row[y]))
    return {name: sorted(points) for name, points in lines.items()}


def _draw(
    lines: dict[str, list[tuple[float, float]]], colours: dict[str, str], path: Path, x_label: str, y_label: str
) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    markers = "osD^vP*X<>"
    for index, (name, points) in enumerate(lines.items()):
        xs, ys = ([point[axis] for point in points] for axis in (0, 1))
        colour = colours.get(name, "black")
        (line,) = axes.plot(
            xs, ys, label=name, color=colour, marker=markers[index % len(markers)], markersize=4, linewidth=1.3
        )
        line.set_linestyle("--" if colour == "black" else "-")
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    if x_label.startswith("tokens"):
        ticks = sorted({x for points in lines.values() for x, _ in points})
        axes.set_xticks(ticks, [f"{int(x) // 1024}K" if x % 1024 == 0 else str(int(x)) for x in ticks])
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, which="major")
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    # A fixed salt and no date: element ids and metadata are otherwise different in every process.
    with mpl.rc_context({"svg.hashsalt": "allocentric", "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
