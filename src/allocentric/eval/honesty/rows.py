"""Every honesty check of a finished run, each as a row beside the plain score.

A check is a run of its own in checks/ of the run folder, so it continues where it stopped and asks nothing twice. An
answer of the plain run to the very same question (an item that the check leaves alone) is taken over, not asked again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from allocentric.core.catalog import HONESTY
from allocentric.core.errors import UserError
from allocentric.core.progress import Progress
from allocentric.core.runlog import RunLog, disk_errors, read_json, run_folder, scan_samples, write_atomically
from allocentric.core.stats import holm, paired_difference
from allocentric.core.types import Response
from allocentric.eval.aggregation import OVERALL
from allocentric.eval.by_scene import average_by_scene
from allocentric.eval.honesty._changed import NotApplicableError
from allocentric.eval.honesty.circular import asked_as
from allocentric.eval.honesty.text_classifier import FOLDS, answers
from allocentric.eval.recipe import EvalRecipe, Plan, item_digest, plan
from allocentric.eval.results import PERCENT, Bootstrap, score_row, summaries
from allocentric.eval.run import RunResult, evaluate
from allocentric.eval.scored import ScoredRun, load_run
from allocentric.eval.wording import worded
from allocentric.eval.work.crew import Workers
from allocentric.eval.work.questions import Inquiry

TEXT_ONLY = "text_only_classifier"
_ALONE = Workers()


def check_run(
    recipe: EvalRecipe,
    folder: Path,
    progress: Progress | None = None,
    *,
    workers: Workers = _ALONE,
    checks: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Ask the models of a finished run the changed questions of every check, and write checks.json.

    Args:
        recipe: Of the run.
        folder: The run folder, with an answer to every question.
        progress: Advances by one for every answer.
        workers: Who asks.
        checks: Names of `allocentric list honesty`; None takes all.

    Returns:
        Rows: for every check and model `{"check", "model", "what", "n", "changed", "failed", "overall", "cells",
        "plain", "difference", "low", "high", "p", "p_holm"}` in percent, check minus plain, paired by scene; for a
        check that would change nothing `{"check", "what", "not_applicable": why}`. The text-only classifier is the
        last row and has no plain score.

    Raises:
        UserError: the recipe names no models, or is itself a check.
    """
    if recipe.check is not None:
        raise UserError(f"the recipe is the check {recipe.check!r} itself; checks are made of plain runs")
    if not recipe.models:
        raise UserError("the recipe names no models; checks ask models, baselines have nothing to hide")
    plain = load_run(folder)
    if plain.plan.dialogue:
        raise UserError("checks change questions that are asked alone; this benchmark is asked as dialogues")
    names = HONESTY.names() if checks is None else [HONESTY.resolve(name) for name in checks]
    rows: list[dict[str, Any]] = []
    for name in names:
        rows += _rows(name, recipe, plain, progress, workers)
    _adjust(rows)
    rows.append(_text_only(plain))
    with disk_errors(folder):
        write_atomically(folder / "checks.json", json.dumps({"checks": rows}, indent=2) + "\n")
    return rows


def read_checks(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run folder's checks.json; none where there is none."""
    found = read_json(folder, "checks.json") or {"checks": []}
    rows: list[dict[str, Any]] = found["checks"]
    return rows


def _rows(
    name: str, recipe: EvalRecipe, plain: ScoredRun, progress: Progress | None, workers: Workers
) -> list[dict[str, Any]]:
    known = {"check": name, "what": HONESTY.summary(name)}
    checked = recipe.model_copy(update={"check": name, "baselines": False, "name": name})
    try:
        job = plan(checked)
    except NotApplicableError as error:
        return [{**known, "not_applicable": str(error)}]
    runs = plain.folder / "checks"
    _take_over(plain.folder, job, run_folder(runs, checked.name, job.settings))
    result = evaluate(checked, runs, progress, workers=workers)
    return [{**known, **row} for row in _scored(plain, job, result)]


def _take_over(source: Path, job: Plan, folder: Path) -> None:
    """Copy the plain run's answers to questions that the check asks unchanged."""
    with RunLog(folder, job.settings) as log:
        inquiry = Inquiry(job, log)
        wanted = {question.key for index in range(len(job.contestants)) for question in inquiry.pending(index, {})}
        taken = [(key, record) for key, record in scan_samples(source) if key in wanted]
        if taken:
            log.append([(key, {k: v for k, v in record.items() if k != "key"}) for key, record in taken])
            log.say(f"took over {len(taken)} answers to the same questions from {source}")


def _scored(plain: ScoredRun, job: Plan, result: RunResult) -> list[dict[str, Any]]:
    changed = load_run(result.folder)
    published = {item.id: item_digest(item) for item in plain.plan.items}
    moved = {asked_as(item.id) for item in job.items if published.get(item.id) != item_digest(item)}
    cells = [plain.plan.benchmark.cells.get(item.kind, item.kind) for item in plain.plan.items]
    profile = plain.plan.profile
    rows = []
    for model in result.results["models"]:
        summary = model["profiles"][profile]
        before = plain.results["models"][_position(plain, model["model"])]["profiles"][profile]["overall"]["score"]
        rows.append(
            {
                "model": model["model"],
                "n": len(published),
                "asked": len(job.items),
                "changed": len(moved) or len(published),
                "failed": model["failed"],
                # a group of rotations is one item
                "overall": {**summary["overall"], "n": len(published)},
                "cells": {name: {**cell, "n": cells.count(name)} for name, cell in summary["cells"].items()},
                "plain": before,
                **_difference(changed, plain, model["model"], profile),
            }
        )
    return rows


def _position(run: ScoredRun, label: str) -> int:
    return [contestant.label for contestant in run.plan.contestants].index(label)


def _difference(first: ScoredRun, second: ScoredRun, label: str, profile: str) -> dict[str, float | None]:
    """First minus second, both recomputed on the same resampled scenes though their items may differ."""
    scenes = list(dict.fromkeys(item.scene_id for item in second.plan.items))
    sides = [average_by_scene(run.plan, run.row(label, profile), scenes) for run in (first, second)]
    if None in sides:
        return {"difference": None, "low": None, "high": None, "p": None}
    a, b = (side for side in sides if side is not None)
    recipe = second.plan.recipe
    found = paired_difference(a, b, scenes, replicates=recipe.replicates, seed=recipe.seed, level=recipe.level)
    overall = found[OVERALL]
    values = (overall.value, overall.interval.low, overall.interval.high)
    difference, low, high = (PERCENT * value if np.isfinite(value) else None for value in values)
    return {
        "difference": difference,
        "low": low,
        "high": high,
        "p": overall.p_value if np.isfinite(overall.p_value) else None,
    }


def _text_only(plain: ScoredRun) -> dict[str, Any]:
    job = plain.plan
    items = {item.id: item for item in job.items}
    responses = {
        item_id: Response(text=worded(job.benchmark, items[item_id], answer, job.profile))
        for item_id, answer in answers(job.items, seed=job.recipe.seed).items()
    }
    row = score_row(job.benchmark, job.items, responses, job.profile)
    settings = Bootstrap(replicates=job.recipe.replicates, seed=job.recipe.seed, level=job.recipe.level)
    key = (TEXT_ONLY, job.profile)
    summary = summaries(job.benchmark, job.items, {key: row}, settings)[key]
    return {
        "check": TEXT_ONLY,
        "what": f"A linear model on the text alone, trained on the other {FOLDS - 1} of {FOLDS} folds of scenes.",
        "model": None,
        "n": len(job.items),
        "asked": len(responses),
        "changed": len(job.items),
        "failed": len(job.items) - len(responses),
        "overall": summary["overall"],
        "cells": summary["cells"],
        "plain": None,
    }


def _adjust(rows: Sequence[dict[str, Any]]) -> None:
    tested = [row for row in rows if row.get("p") is not None]
    for row, adjusted in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = adjusted
