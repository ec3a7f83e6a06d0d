"""Is a run folder what it says? Everything that can be recomputed from its answers and the benchmark is.

No model and no picture is needed: the key of an answer is a digest of the item, the wording, the frames, the sampling
and the model, so a setting that was edited afterwards no longer gives the keys that are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from allocentric.core.errors import DataError
from allocentric.core.runlog import read_json, scan_samples
from allocentric.eval.frames import FramesPolicy
from allocentric.eval.recipe import item_digest, items_digest
from allocentric.eval.results import failed
from allocentric.eval.scored import ScoredRun, load_run
from allocentric.eval.work.questions import answer_key, asked_digest, common_digest

_TOLERANCE = 1e-6  # percent points; results.json is rounded to nine digits


def accepted(folder: Path) -> ScoredRun:
    """A run folder read back and checked.

    Raises:
        DataError: in one line that names the row, the setting or the score: no results.json, an answer to other
            content, wording or settings than config.yaml stands for, more frames than allowed, a missing or failed
            row, other items than the benchmark holds, or scores that the answers do not give.
    """
    run = load_run(folder)
    results = read_json(folder, "results.json")
    if results is None:
        raise DataError(f"{folder} has no results.json; finish the run with `allocentric eval {folder}/config.yaml`")
    identities = _identities(run, results)
    _check_answers(run, identities)
    _check_complete(run)
    _check_items(run, results)
    _check_scores(run, results)
    return run


def _identities(run: ScoredRun, results: Mapping[str, Any]) -> dict[str, str]:
    """Identity of every model by label, as the run recorded it."""
    recorded = {model["model"]: model for model in results["models"]}
    for contestant in run.plan.contestants:
        model = recorded.get(contestant.label)
        if model is None:
            raise DataError(f"{run.folder}: config.yaml names the model {contestant.label!r}, results.json does not")
        for key, value in contestant.record().items():
            if model["settings"].get(key) != value:
                raise DataError(
                    f"{run.folder}: config.yaml sets {key} of {contestant.label!r} to {value!r}, "
                    f"the run had {model['settings'].get(key)!r}; edited settings are not accepted"
                )
    return {label: model["identity"] for label, model in recorded.items()}


def _check_answers(run: ScoredRun, identities: Mapping[str, str]) -> None:
    job = run.plan
    items = {item.id: item for item in job.items}
    rows = {item.id: item_digest(item) for item in job.items}
    common = common_digest(job)
    for key, record in scan_samples(run.folder):
        item_id, label, shown = record["item"], record["model"], record["frames"]
        if rows.get(item_id) != record["row"] or label not in identities:
            continue  # of an earlier state of the data; whether the row is answered now is checked below
        where = f"{run.folder}: row {item_id} of {label}"
        prompt = job.benchmark.prompt_text(items[item_id], job.profile)
        if record["prompt"] != prompt:
            raise DataError(f"{where} was asked in other words than the profile {job.profile} has")
        if len(shown["indices"]) > _most_frames(job.recipe.frames):
            raise DataError(
                f"{where} was shown {len(shown['indices'])} frames; "
                f"config.yaml allows {_most_frames(job.recipe.frames)}"
            )
        if key != answer_key(asked_digest(common, record["row"], shown["digest"], prompt), identities[label]):
            raise DataError(
                f"{where} was not asked with the settings in config.yaml (its content key differs); "
                "edited settings are not accepted"
            )


def _most_frames(frames: FramesPolicy) -> int:
    return (frames.count + (frames.tail and frames.count > 0)) * frames.repeat


def _check_complete(run: ScoredRun) -> None:
    """Every model has answered every row. Baselines may have none where none is defined."""
    for contestant in run.plan.contestants:
        if contestant.baseline:
            continue
        answers = run.answers[contestant.label]
        for item in run.plan.items:
            response = answers.get(item.id)
            if response is None:
                raise DataError(
                    f"{run.folder}: row {item.id} has no answer by {contestant.label} "
                    f"({len(answers)} of {len(run.plan.items)} rows do); repeat the evaluation to finish it"
                )
            if failed(response):
                raise DataError(
                    f"{run.folder}: row {item.id} failed for {contestant.label} ({response.error}); "
                    "repeat the evaluation to ask it again"
                )


def _check_items(run: ScoredRun, results: Mapping[str, Any]) -> None:
    fingerprint = run.plan.benchmark.fingerprint()
    expected = {
        "rows of the benchmark": (results["benchmark"]["row_count"], fingerprint["row_count"]),
        "sha256 of the benchmark": (results["benchmark"]["sha256"], fingerprint["sha256"]),
        "rows asked": (results["items"]["count"], len(run.plan.items)),
        "sha256 of the rows asked": (results["items"]["sha256"], items_digest(run.plan.items)),
    }
    for what, (said, found) in expected.items():
        if said != found:
            raise DataError(f"{run.folder}: results.json gives {said} as the {what}, the benchmark has {found}")


def _check_scores(run: ScoredRun, results: Mapping[str, Any]) -> None:
    said = {model["model"]: model["profiles"] for model in results["models"]}
    for model in run.results["models"]:
        for profile, summary in model["profiles"].items():
            claimed = said[model["model"]].get(profile)
            if claimed is None:
                raise DataError(f"{run.folder}: results.json lacks the profile {profile} of {model['model']}")
            for name, cell in {"overall": summary["overall"], **summary["cells"]}.items():
                other = claimed["overall"] if name == "overall" else claimed["cells"].get(name, {"score": None})
                if not _equal(cell["score"], other["score"]):
                    raise DataError(
                        f"{run.folder}: results.json says {other['score']} for {name} of {model['model']} under "
                        f"{profile}, its answers give {cell['score']}"
                    )


def _equal(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return first is second
    return abs(first - second) <= _TOLERANCE
