"""What the leaderboard says about one model on one benchmark, as JSON values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from allocentric.core.config import settings_hash
from allocentric.core.errors import DataError
from allocentric.core.stats import Array, Interval, bootstrap, chance_adjusted, cluster_count, percentile_interval
from allocentric.core.types import Item
from allocentric.eval.aggregation import OVERALL, aggregate
from allocentric.eval.by_scene import average_by_scene
from allocentric.eval.honesty.rows import read_checks
from allocentric.eval.leaderboard.levels import levels_of
from allocentric.eval.protocol import Benchmark
from allocentric.eval.results import ALL_ITEMS, PERCENT, ScoredRow, cell_names
from allocentric.eval.scored import ScoredRun
from allocentric.eval.suites import groups_of

_TOLERANCE = 1e-6


def entries(run: ScoredRun) -> list[dict[str, Any]]:
    """One entry per model of an accepted run under its primary profile.

    Returns:
        `{"benchmark", "title", "groups", "profile", "items", "benchmark_sha256", "scenes", "settings_hash",
        "samples_sha256", "run", "frames", "check", "model", "baseline", "model_settings", "identity", "failed",
        "unreadable", "left_out", "overall", "all_items", "cells", "kinds", "others", "levels", "recomputed",
        "checks"}`. A cell is `{"score", "low", "high", "n", "unreadable", "chance", "adjusted"}` in percent, adjusted
        being on the scale where chance is 0; "recomputed" is the overall score made again from the cells, None where
        the average is no function of them (F1).

    Raises:
        DataError: the overall score is not what the cells give.
    """
    results = run.results
    name = run.plan.settings["benchmark"]["name"]
    shared = {
        "benchmark": name,
        "title": results["benchmark"]["title"],
        "groups": groups_of(name),
        "profile": run.plan.profile,
        "items": results["items"],
        "benchmark_sha256": results["benchmark"]["sha256"],
        "scenes": results["scenes"],
        "settings_hash": settings_hash(run.plan.settings),
        "samples_sha256": _file_sha256(run.folder / "samples.jsonl"),
        "run": run.folder.name,
        "frames": results["frames"],
        "check": run.plan.recipe.check,
        "interval": results["interval"],
    }
    checks = read_checks(run.folder)
    return [shared | _entry(run, name, model, checks) for model in results["models"]]


def _entry(run: ScoredRun, name: str, model: Mapping[str, Any], checks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    summary = model["profiles"][run.plan.profile]
    row = run.row(model["model"], run.plan.profile)
    others = dict(summary["others"])
    every = others.pop(ALL_ITEMS, None)
    return {
        "model": model["model"],
        "baseline": model["baseline"],
        "model_settings": model["settings"],
        "identity": model["identity"],
        "failed": model["failed"],
        "unreadable": summary["unreadable"],
        "left_out": summary["left_out"],
        "overall": _adjusted(summary["overall"]),
        "all_items": every,
        "cells": {cell: _adjusted(value) for cell, value in summary["cells"].items()},
        "kinds": summary["kinds"],
        "others": others,
        "levels": _levels(run, name, row),
        "recomputed": _checked_overall(run, model["model"], row, summary),
        "checks": [check for check in checks if check.get("model") == model["model"]],
    }


def _adjusted(cell: Mapping[str, Any]) -> dict[str, Any]:
    value = None
    if cell["score"] is not None and cell["chance"] is not None:
        found = chance_adjusted(cell["score"] / PERCENT, cell["chance"] / PERCENT)
        value = PERCENT * found if np.isfinite(found) else None
    return {**cell, "adjusted": value}


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ------------------------------------------------------------------------------------------- overall from the cells


def _checked_overall(run: ScoredRun, label: str, row: ScoredRow, summary: Mapping[str, Any]) -> float | None:
    items = [item for item, counted in zip(run.plan.items, row.counted.tolist(), strict=True) if counted]
    found = overall_from_cells(run.plan.benchmark, items, summary)
    said = summary["overall"]["score"]
    if found is not None and said is not None and abs(found - said) > _TOLERANCE:
        raise DataError(f"{run.folder}: the overall score of {label} is {said}, its cells give {found}")
    return found


def overall_from_cells(benchmark: Benchmark, items: Sequence[Item], summary: Mapping[str, Any]) -> float | None:
    """The published overall score from the scores of the question types alone, in percent.

    Every item gets the one value that gives its type the printed score; the average is then taken as published.

    Args:
        benchmark: Whose average it is.
        items: Those that count.
        summary: `{"cells", "kinds"}` as in results.json.

    Returns:
        None where there is nothing to average, or where equal values do not give a type its score (F1).
    """
    if not items:
        return None
    printed = {**summary["cells"], **summary["kinds"]}
    nothing, everything = (aggregate(benchmark.composite, items, np.full(len(items), end)) for end in (0.0, 1.0))
    wanted = {}
    for kind in {item.kind for item in items}:
        score, low, high = printed[kind]["score"], nothing.get(kind), everything.get(kind)
        if score is None or low is None or high is None or not high > low:
            return None
        wanted[kind] = (score / PERCENT - low) / (high - low)
    made = aggregate(benchmark.composite, items, np.array([wanted[item.kind] for item in items]))
    if any(abs(PERCENT * made[kind] - printed[kind]["score"]) > _TOLERANCE for kind in wanted):
        return None
    return PERCENT * made[OVERALL] if np.isfinite(made[OVERALL]) else None


# ---------------------------------------------------------------------------------------------------------- levels


def _levels(run: ScoredRun, name: str, row: ScoredRow) -> dict[str, dict[str, Any]]:
    """By level, the plain mean of its cells with the interval of exactly that."""
    job = run.plan
    cell_of = [job.benchmark.cells.get(item.kind, item.kind) for item in job.items]
    levels = levels_of(name, cell_names(job.benchmark, [item.kind for item in job.items]))
    scenes = list(dict.fromkeys(item.scene_id for item in job.items))
    average = average_by_scene(job, row, scenes)
    if average is None or not levels:
        return {}

    def statistic(weights: Array) -> dict[str, Array]:
        values = average(weights)
        return {level: _mean([values[cell] for cell in cells if cell in values]) for level, cells in levels.items()}

    point = statistic(np.ones((1, len(scenes))))
    recipe = job.recipe
    replicated = bootstrap(statistic, scenes, replicates=recipe.replicates, seed=recipe.seed)
    found = {}
    for level, cells in levels.items():
        interval = percentile_interval(replicated[level], clusters=cluster_count(scenes), level=recipe.level)
        count = sum(cell in cells for cell in cell_of)
        found[level] = {"n": count, "cells": cells, **_figures(float(point[level][0]), interval)}
    return found


def _mean(parts: Sequence[Array]) -> Array:
    stacked = np.stack(parts)
    known = np.isfinite(stacked)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Array = np.where(known, stacked, 0.0).sum(axis=0) / known.sum(axis=0)
    return mean


def _figures(score: float, interval: Interval) -> dict[str, float | None]:
    values = {"score": score, "low": interval.low, "high": interval.high}
    return {key: round(PERCENT * value, 9) if np.isfinite(value) else None for key, value in values.items()}
