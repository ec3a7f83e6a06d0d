"""Pictures of a data card (matplotlib, SVG). The same figures give the same bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from allocentric.datasets.audit import Figure

_BLUE, _GREY = "#3b6ea5", "#8a8f98"
_BASELINE_COLORS = {"majority": "#b8bec7", "prior": "#7fa3c7", "text": "#2f5d8c"}
_MOST_BARS = 16


def answers(path: Path, values: Mapping[str, Counter[str] | list[float]], units: Mapping[str, str]) -> None:
    """One panel per question type: bars of the answers' meanings, or a histogram of the numbers."""
    figure, panels = _panels(len(values))
    for panel, (kind, of_kind) in zip(panels, values.items(), strict=True):
        if isinstance(of_kind, Counter):
            shown = of_kind.most_common(_MOST_BARS)
            names = [label if len(label) < 28 else f"{label[:26]}…" for label, _ in shown]
            panel.barh(range(len(shown)), [count for _, count in shown], color=_BLUE)
            panel.set_yticks(range(len(shown)), names, fontsize=7)
            panel.invert_yaxis()
            more = len(of_kind) - len(shown)
            panel.set_xlabel("items" + (f" ({more} more answers not shown)" if more else ""), fontsize=8)
        else:
            whole = bool(np.all(np.mod(of_kind, 1) == 0)) and max(of_kind) - min(of_kind) < 40
            bins: Any = np.arange(min(of_kind) - 0.5, max(of_kind) + 1.5) if whole else 24
            panel.hist(of_kind, bins=bins, color=_BLUE)
            panel.set_xlabel(f"answer, {units[kind]}" if units[kind] else "answer", fontsize=8)
            panel.set_ylabel("items", fontsize=8)
        items_axis = panel.xaxis if isinstance(of_kind, Counter) else panel.yaxis
        items_axis.get_major_locator().set_params(integer=True)
        panel.set_title(f"{kind}  (n = {_total(of_kind)})", fontsize=9)
    _save(figure, path)


def letters(path: Path, rows: Sequence[tuple[str, str, int]]) -> None:
    """One panel per choice type: how often each letter is right, with the even share as a line."""
    kinds = sorted({kind for kind, _, _ in rows})
    figure, panels = _panels(len(kinds))
    for panel, kind in zip(panels, kinds, strict=True):
        counts = [(letter, n) for k, letter, n in rows if k == kind]
        panel.bar([letter for letter, _ in counts], [n for _, n in counts], color=_BLUE, width=0.6)
        panel.axhline(sum(n for _, n in counts) / len(counts), color=_GREY, linestyle="--", linewidth=1)
        panel.set_title(kind, fontsize=9)
        panel.set_ylabel("items", fontsize=8)
    _save(figure, path)


def audit(path: Path, figures: Sequence[Figure]) -> None:
    """Blind baselines by question type with 95 % intervals, chance as a mark, the limit as a line."""
    kinds = sorted({figure.kind for figure in figures})
    canvas, (panel,) = _panels(1, width=9.0, height=0.6 * len(kinds) + 1.2)
    for row, kind in enumerate(kinds):
        mine = [figure for figure in figures if figure.kind == kind]
        for place, figure in enumerate(mine):
            y = row + (place - (len(mine) - 1) / 2) * 0.26
            panel.barh(y, 100 * figure.value, height=0.24, color=_BASELINE_COLORS[figure.baseline])
            if figure.low is not None and figure.high is not None:
                panel.plot([100 * figure.low, 100 * figure.high], [y, y], color="#222222", linewidth=1)
        if mine[0].chance is not None:
            panel.plot([100 * mine[0].chance] * 2, [row - 0.42, row + 0.42], color="#c0392b", linewidth=2)
        panel.plot([100 * mine[0].limit] * 2, [row - 0.42, row + 0.42], color="#222222", linestyle=":", linewidth=1.5)
    panel.set_yticks(range(len(kinds)), kinds, fontsize=8)
    panel.invert_yaxis()
    panel.set_xlim(0, 100)
    panel.set_xlabel("score without pictures (accuracy, or mean relative accuracy), %", fontsize=8)
    _audit_legend(panel)
    _save(canvas, path)


def _audit_legend(panel: Any) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    marks: list[Any] = [Patch(color=color, label=name) for name, color in _BASELINE_COLORS.items()]
    marks.append(Line2D([], [], color="#c0392b", linewidth=2, label="chance"))
    marks.append(Line2D([], [], color="#222222", linestyle=":", linewidth=1.5, label="limit"))
    panel.legend(handles=marks, fontsize=7, loc="lower right", ncols=5, bbox_to_anchor=(1.0, 1.0), frameon=False)


def _total(values: Counter[str] | list[float]) -> int:
    return values.total() if isinstance(values, Counter) else len(values)


def _panels(count: int, width: float = 0.0, height: float = 0.0) -> tuple[Canvas, list[Any]]:
    from matplotlib.figure import Figure as Canvas

    columns = min(max(count, 1), 3)
    rows = max(-(-count // columns), 1)
    canvas = Canvas(figsize=(width or 4.2 * columns, height or 3.0 * rows), layout="constrained")
    grid = canvas.subplots(rows, columns, squeeze=False).ravel().tolist()
    for panel in grid[count:]:
        panel.set_axis_off()
    for panel in grid[:count]:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=7)
    return canvas, grid[:count]


def _save(figure: Canvas, path: Path) -> None:
    import matplotlib

    # A fixed salt and no date: element ids and metadata are otherwise different in every process.
    with matplotlib.rc_context({"svg.hashsalt": "allocentric", "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
