"""Results as columns and rows of text, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from allocentric.core.stats import chance_adjusted
from allocentric.eval.results import ALL_ITEMS, PERCENT, interval_text

Table = tuple[list[str], list[tuple[str, ...]]]


def leaderboard(results: Mapping[str, Any]) -> Table:
    """One row per model of results.json under its primary profile, chance last.

    "chance = 0" is the overall score on the scale where guessing is worth 0; "over all items" counts items that the
    profile leaves out as 0. Each column is there where it says something.
    """
    shown = [(model, model["profiles"][results["profile"]]) for model in results["models"]]
    first = shown[0][1]
    cells = list(first["cells"])
    chance = first["overall"]["chance"]
    left_out = any(summary.get("left_out") for _, summary in shown)
    extra = [*(["chance = 0"] if chance is not None else []), *(["over all items"] if left_out else [])]
    rows = [
        (
            model["model"] + (" (baseline)" if model["baseline"] else ""),
            interval_text(summary["overall"]),
            *([_above(summary["overall"]["score"], chance)] if chance is not None else []),
            *([interval_text(summary["others"].get(ALL_ITEMS, summary["overall"]))] if left_out else []),
            *(points(summary["cells"][cell]["score"]) for cell in cells),
            str(summary["unreadable"]),
            str(model["failed"]),
        )
        for model, summary in shown
    ]
    chances = (points(first["cells"][cell]["chance"]) for cell in cells)
    rows.append(("chance", points(chance), *([""] * len(extra)), *chances, "", ""))
    level = f"{100 * results['interval']['level']:g}"
    return ["model", f"overall [{level} %]", *extra, *cells, "unreadable", "failed"], rows


def _above(score: float | None, chance: float) -> str:
    return "-" if score is None else points(PERCENT * chance_adjusted(score / PERCENT, chance / PERCENT))


def comparison(result: Mapping[str, Any]) -> Table:
    """One row per cell of what `compare` gives, the overall difference first."""
    columns = ["cell", result["first"], result["second"], "difference", "95 % interval", "p", "p (Holm)"]
    cells = {"overall": result["overall"], **result["cells"]}
    return columns, [_difference(name, row) for name, row in cells.items()]


def discordance(result: Mapping[str, Any]) -> Table:
    """One row per cell with options of what `compare` gives: who alone is right, and McNemar's p-values."""
    first, second = f"only {result['first']}", f"only {result['second']}"
    columns = ["cell", "n", "both right", first, second, "neither", "p (exact)", "p (scenes)", "p (scenes, Holm)"]
    counted = ("n", "both", "first_only", "second_only", "neither")
    return columns, [
        (name, *(str(row[key]) for key in counted), *_p_values(row, ("p", "p_clustered", "p_holm")))
        for name, row in result["choices"].items()
    ]


def outlook(result: Mapping[str, Any]) -> Table:
    """One row per cell of what `power.outlook` gives, the overall score first."""
    detectable = f"detectable ({100 * result['power']:g} % power)"
    columns = ["cell", "n", "scenes", "design effect", "one score +-", "difference SE", detectable]
    asked = any(row["power"] is not None for row in result["rows"])
    rows = []
    for row in result["rows"]:
        shown = [row["name"], str(row["n"]), str(row["scenes"]), f"{row['design_effect']:.2f}"]
        shown += [f"{row[key]:.2f}" for key in ("half_width", "standard_error", "detectable")]
        rows.append((*shown, *_planned(row)) if asked else tuple(shown))
    return [*columns, "power", "n needed"] if asked else columns, rows


def _planned(row: Mapping[str, Any]) -> tuple[str, str]:
    return ("-", "-") if row["power"] is None else (f"{row['power']:.2f}", str(row["n_needed"]))


def honesty(checks: Sequence[Mapping[str, Any]]) -> Table:
    """One row per honesty check and model: the score under the check, the plain one, and the paired difference."""
    columns = ["check", "model", "score", "plain", "check - plain", "p (Holm)", "changed", "failed"]
    rows = []
    for row in checks:
        if "not_applicable" in row:
            rows.append((row["check"], f"not applicable: {row['not_applicable']}", *[""] * 6))
            continue
        difference = ""
        if row.get("difference") is not None:
            difference = f"{points(row['difference'])} [{points(row['low'])}, {points(row['high'])}]"
        plain = "" if row["plain"] is None else points(row["plain"])
        counts = f"{row['changed']} of {row['n']}", str(row["failed"])
        score = interval_text(row["overall"])
        rows.append(
            (row["check"], row["model"] or "", score, plain, difference, *_p_values(row, ("p_holm",)), *counts)
        )
    return columns, rows


def points(value: float | None) -> str:
    """Percent points with one digit, "-" where there is no figure."""
    return "-" if value is None else f"{value:.1f}"


def _difference(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    interval = f"[{points(row['low'])}, {points(row['high'])}]"
    p_values = _p_values(row, ("p", "p_holm"))
    return (name, points(row["first"]), points(row["second"]), points(row["difference"]), interval, *p_values)


def _p_values(row: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    return [f"{row[key]:.3f}" if row.get(key) is not None else "" for key in keys]
