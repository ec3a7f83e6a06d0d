"""One static page over several runs, and the same as JSON, CSV and SVG beside it.

Rows of one table answered the same questions under the same scoring; tables of different ones are kept apart. The
overview sets benchmarks side by side, model by model.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from math import hypot
from pathlib import Path
from typing import Any

from allocentric.core.errors import UserError
from allocentric.core.runlog import disk_errors, write_atomically
from allocentric.eval.bars import Bar, bars_svg
from allocentric.eval.leaderboard.entries import entries
from allocentric.eval.leaderboard.levels import LEVELS, levels_of
from allocentric.eval.leaderboard.radar import Trace, radar_svg
from allocentric.eval.leaderboard.submissions import accepted
from allocentric.eval.pages import colors_of, render
from allocentric.eval.tables import honesty

_CELL = ("score", "low", "high", "n", "unreadable", "chance", "adjusted")
_FORMAT = "allocentric-leaderboard-1"


def write_leaderboard(runs: Sequence[Path], page: Path) -> Path:
    """Check several runs and write the page, and beside it NAME.json, NAME.csv and NAME_plots/*.svg.

    Args:
        runs: Run folders; each has to be finished, complete and unedited (`submissions.accepted`).
        page: File to write.

    Raises:
        UserError: no runs, a run that is not accepted (the message names the row), or a full disk.
    """
    if not runs:
        raise UserError("a leaderboard needs at least one run folder")
    found: list[dict[str, Any]] = []
    for folder in runs:
        report = folder / "report.html"
        link = os.path.relpath(report, page.parent) if report.exists() else None
        found += [{**entry, "link": link} for entry in entries(accepted(folder))]
    boards = _boards(found)
    charts = {f"{_slug(board)}-{kind}": svg for board in boards for kind, svg in board["charts"].items()}
    overview = _overview(boards)
    if overview["radar"]:
        charts["levels"] = overview["radar"]
    record = {"format": _FORMAT, "unit": "percent", "entries": [_without(entry, "link") for entry in _rows(boards)]}
    html = render(
        "leaderboard.html.j2",
        scripts=("page.js", "board.js"),
        boards=boards,
        overview=overview,
        groups=list(dict.fromkeys(group for board in boards for group in board["groups"])),
        levels=[level for level in LEVELS if any(level in board["levels"] for board in boards)],
        files={"json": f"{page.stem}.json", "csv": f"{page.stem}.csv", "plots": f"{page.stem}_plots"},
    )
    with disk_errors(page.parent):
        plots = page.with_name(f"{page.stem}_plots")
        plots.mkdir(parents=True, exist_ok=True)
        for name, svg in charts.items():
            write_atomically(plots / f"{name}.svg", svg)
        write_atomically(page.with_suffix(".json"), json.dumps(record, indent=1) + "\n")
        write_atomically(page.with_suffix(".csv"), _csv(_rows(boards)))
        write_atomically(page, html)
    return page


def _boards(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A table for each set of items asked under one profile (and honesty check), models by score, then baselines."""
    boards: dict[tuple[str, str, str | None], list[dict[str, Any]]] = {}
    for entry in found:
        boards.setdefault((entry["items"]["sha256"], entry["profile"], entry["check"]), []).append(entry)
    return [_board(rows) for rows in boards.values()]


def _board(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rows = sorted(_without_repeats(rows), key=lambda row: (row["baseline"], -_score(row["overall"]), row["model"]))
    first = rows[0]
    cells = list(first["cells"])
    of_level = levels_of(first["benchmark"], cells)
    colors = colors_of([(row["model"], row["baseline"]) for row in rows])
    levels = [level for level in LEVELS if any(level in row["levels"] for row in rows)]
    bars = [_bar(row, colors) for row in rows]
    title = first["title"] + (f" ({first['check']})" if first["check"] else "")
    charts = {"overall": bars_svg(f"{title}: overall", bars, first["overall"]["chance"])}
    if len(levels) > 2:
        traces = [_trace(row, colors) for row in rows if not row["baseline"]]
        charts["levels"] = radar_svg(f"{title}: levels", levels, traces)
    checks = [check for row in rows for check in row["checks"]]
    return {
        "first": first,
        "title": title,
        "rows": rows,
        "cells": cells,
        "level_of": {cell: level for level, members in of_level.items() for cell in members},
        "levels": levels,
        "groups": first["groups"],
        "colors": colors,
        "best": {
            cell: max((_score(row["cells"][cell]) for row in rows if not row["baseline"]), default=None)
            for cell in cells
        },
        "full": any(row["all_items"] for row in rows),
        "checks": honesty(checks) if checks else None,
        "charts": charts,
        "percent": f"{100 * first['interval']['level']:g}",
    }


def _bar(row: Mapping[str, Any], colors: Mapping[str, str]) -> Bar:
    whole = row["overall"]
    return Bar(
        name=row["model"], score=whole["score"], low=whole["low"], high=whole["high"], color=colors[row["model"]]
    )


def _best(rows: Sequence[Mapping[str, Any]], cell: str) -> float | None:
    return max((_score(row["cells"][cell]) for row in rows if not row["baseline"]), default=None)


def _trace(row: Mapping[str, Any], colors: Mapping[str, str]) -> Trace:
    return Trace(name=row["model"], values=row["levels"], color=colors[row["model"]])


def _without_repeats(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each baseline once: every run brings the same ones."""
    kept, seen = [], set()
    for row in rows:
        key = (row["model"], row["identity"], row["overall"]["score"])
        if not (row["baseline"] and key in seen):
            kept.append(row)
        seen.add(key)
    return kept


def _overview(boards: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Models against benchmarks, and the levels averaged over the tables that every model is in."""
    plain = [board for board in boards if not board["first"]["check"]]
    scores: dict[str, dict[int, Mapping[str, Any]]] = {}
    baselines: dict[str, bool] = {}
    for place, board in enumerate(plain):
        for row in board["rows"]:
            scores.setdefault(row["model"], {}).setdefault(place, row)
            baselines[row["model"]] = row["baseline"]
    models = [model for model, baseline in baselines.items() if not baseline]
    shared = [place for place in range(len(plain)) if all(place in scores[model] for model in models)]
    levels = {model: _mean_levels([scores[model][place] for place in shared]) for model in models}
    names = [level for level in LEVELS if any(level in found for found in levels.values())]
    colors = colors_of(list(baselines.items()))
    traces = [Trace(name=model, values=levels[model], color=colors[model]) for model in models]
    drawn = len(names) > 2 and len(plain) > 1
    return {
        "boards": plain,
        "rows": [
            {"model": model, "baseline": baselines[model], "by_board": found, "levels": levels.get(model, {})}
            for model, found in scores.items()
        ],
        "levels": names,
        "shared": [plain[place]["title"] for place in shared],
        "radar": radar_svg("Levels over the benchmarks that all models answered", names, traces) if drawn else None,
    }


def _mean_levels(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """By level, the mean over benchmarks; their questions are independent, so half widths add up as squares."""
    found = {}
    for level in LEVELS:
        parts = [row["levels"][level] for row in rows if level in row["levels"]]
        parts = [part for part in parts if part["score"] is not None]
        if parts:
            score = sum(part["score"] for part in parts) / len(parts)
            bounded = all(part["low"] is not None for part in parts)
            half = hypot(*((part["high"] - part["low"]) / 2 for part in parts)) / len(parts) if bounded else None
            low, high = (None, None) if half is None else (max(0.0, score - half), min(100.0, score + half))
            found[level] = {"score": score, "low": low, "high": high, "n": sum(part["n"] for part in parts)}
    return found


def _rows(boards: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [row for board in boards for row in board["rows"]]


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Every figure: overall, over all items, cells and levels."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("benchmark", "profile", "check", "model", "baseline", "what", "name", *_CELL))
    for row in rows:
        figures = [("overall", "overall", row["overall"])]
        figures += [("overall", "all_items", row["all_items"])] if row["all_items"] else []
        figures += [("cell", name, cell) for name, cell in row["cells"].items()]
        figures += [("level", name, cell) for name, cell in row["levels"].items()]
        for what, name, cell in figures:
            values = ["" if cell.get(key) is None else cell[key] for key in _CELL]
            known = (row["benchmark"], row["profile"], row["check"] or "", row["model"], int(row["baseline"]))
            writer.writerow((*known, what, name, *values))
    return out.getvalue()


def _slug(board: Mapping[str, Any]) -> str:
    first = board["first"]
    words = f"{first['benchmark']}-{first['profile']}-{first['items']['sha256'][:8]}-{first['check'] or ''}"
    return re.sub(r"[^A-Za-z0-9.@_-]+", "-", words).strip("-")


def _score(cell: Mapping[str, Any]) -> float:
    return -1.0 if cell["score"] is None else float(cell["score"])


def _without(entry: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != key}
