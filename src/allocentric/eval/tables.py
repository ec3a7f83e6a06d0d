"""Results as columns and rows of text, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from allocentric.eval.results import interval_text

Table = tuple[list[str], list[tuple[str, ...]]]


def leaderboard(results: Mapping[str, Any]) -> Table:
    """One row per model of results.json under its primary profile, chance last."""
    shown = [(model, model["profiles"][results["profile"]]) for model in results["models"]]
    first = shown[0][1]
    cells = list(first["cells"])
    rows = [
        (
            model["model"] + (" (baseline)" if model["baseline"] else ""),
            interval_text(summary["overall"]),
            *(points(summary["cells"][cell]["score"]) for cell in cells),
            str(summary["unreadable"]),
            str(model["failed"]),
        )
        for model, summary in shown
    ]
    chances = (points(first["cells"][cell]["chance"]) for cell in cells)
    rows.append(("chance", points(first["overall"]["chance"]), *chances, "", ""))
    level = f"{100 * results['interval']['level']:g}"
    return ["model", f"overall [{level} %]", *cells, "unreadable", "failed"], rows


def comparison(result: Mapping[str, Any]) -> Table:
    """One row per cell of what `compare` gives, the overall difference first."""
    columns = ["cell", result["first"], result["second"], "difference", "95 % interval", "p", "p (Holm)"]
    cells = {"overall": result["overall"], **result["cells"]}
    return columns, [_difference(name, row) for name, row in cells.items()]


def points(value: float | None) -> str:
    """Percent points with one digit, "-" where there is no figure."""
    return "-" if value is None else f"{value:.1f}"


def _difference(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    interval = f"[{points(row['low'])}, {points(row['high'])}]"
    p_values = (f"{row[key]:.3f}" if row.get(key) is not None else "" for key in ("p", "p_holm"))
    return (name, points(row["first"]), points(row["second"]), points(row["difference"]), interval, *p_values)
