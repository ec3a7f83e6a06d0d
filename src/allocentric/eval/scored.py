"""Answers that already exist, scored again: run folders and response files. No model, no picture, no clock."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from allocentric.core.bulk import many_records
from allocentric.core.config import Settings, settings_from_mapping
from allocentric.core.errors import DataError, SettingsError, UserError, suggestion
from allocentric.core.records import response_from_record
from allocentric.core.runlog import read_config, scan_samples
from allocentric.core.types import Item, Response, Score
from allocentric.eval.differences import profile_differences
from allocentric.eval.recipe import Contestant, EvalRecipe, Plan, item_digest, load_benchmark, plan, rows_digest
from allocentric.eval.results import ScoredRow, failed, score_row
from allocentric.eval.run import results_of
from allocentric.eval.work.times import read_times


@dataclass(frozen=True, kw_only=True)
class ScoredRun:
    """A run folder read back."""

    folder: Path
    """Where it lies."""
    plan: Plan
    """Benchmark, items and models of its config.yaml."""
    answers: Mapping[str, Mapping[str, Response]]
    """By model label and item id; the last answer to the very question the benchmark asks now."""

    items_sha256: str | None = None
    """Digest of all items, where reading the answers took it already."""
    frames: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """By item id, the frames that were asked about."""

    @cached_property
    def results(self) -> dict[str, Any]:
        """As results.json, computed from the answers."""
        return results_of(self.plan, self.answers, items_sha256=self.items_sha256)

    def row(self, label: str, profile: str) -> ScoredRow:
        """Scores of one model, aligned with `plan.items`."""
        return score_row(self.plan.benchmark, self.plan.items, self.answers[label], profile)

    def label(self, wanted: str | None) -> str:
        """The model called `wanted`; None takes the only one that is not a baseline."""
        labels = [contestant.label for contestant in self.plan.contestants]
        if wanted is None:
            models = [contestant.label for contestant in self.plan.contestants if not contestant.baseline]
            if len(models) != 1:
                raise UserError(f"{self.folder} holds several models; say which one: {', '.join(models or labels)}")
            return models[0]
        if wanted not in labels:
            raise UserError(f"{self.folder} holds no model {wanted!r}" + suggestion(wanted, labels))
        return wanted


@many_records()
def load_run(folder: Path) -> ScoredRun:
    """Read a run folder of `allocentric eval`, finished or not. DataError where it is none."""
    config = read_config(folder)
    if "benchmark" not in config:
        raise DataError(f"{folder} is the run of another command: its config.yaml names no benchmark")
    job = plan(settings_from_mapping(EvalRecipe, config, where=str(folder / "config.yaml")))
    rows = {item.id: item_digest(item) for item in job.items}
    answers, frames = _logged_answers(folder, job, rows)
    sha256 = rows_digest(list(rows.values()))
    return ScoredRun(folder=folder, plan=job, answers=answers, items_sha256=sha256, frames=frames)


def score(source: Path, *, profile: str | None = None, benchmark: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Score existing answers under every profile.

    Args:
        source: A run folder, or a JSONL file of `{"id": item id, "response": text}` with optional "model".
        profile: Heads the table; None takes the run's or the benchmark's first.
        benchmark: `name` and settings; needed for a response file, taken from the run for a run folder.

    Returns:
        As results.json, with "disagreements": the items whose score depends on the profile, as
        `{"model", "item", "scores": {profile: percent or None}, "why": text}`.
    """
    if source.is_dir():
        run = load_run(source)
    elif benchmark is None:
        raise UserError(f"{source} is a response file: say which benchmark it answers")
    else:
        run = _run_from_responses(source, benchmark)
    if profile is not None:
        known = run.plan.benchmark.profiles
        if profile not in known:
            raise SettingsError(f"{run.plan.benchmark.name} has no profile {profile!r}" + suggestion(profile, known))
        run = replace(run, plan=replace(run.plan, profile=profile))
    return {**run.results, "disagreements": disagreements(run)}


def disagreements(run: ScoredRun) -> list[dict[str, Any]]:
    """The answers whose score depends on the profile, with what each profile read."""
    found = []
    for label, responses in run.answers.items():
        texts = {item_id: response.text for item_id, response in responses.items() if not failed(response)}
        for difference in profile_differences(run.plan.benchmark, texts):
            scores = {profile: _percent(score) for profile, score in difference.scores.items()}
            found.append({"model": label, "item": difference.item.id, "scores": scores, "why": difference.why})
    return found


def _percent(score: Score) -> float | None:
    return None if score.value is None else round(100 * score.value, 9)


def _logged_answers(
    folder: Path, job: Plan, rows: Mapping[str, str]
) -> tuple[dict[str, dict[str, Response]], dict[str, tuple[int, ...]]]:
    frames: dict[str, tuple[int, ...]] = {}
    shared: dict[str, tuple[int, ...]] = {}
    answers: dict[str, dict[str, Response]] = {contestant.label: {} for contestant in job.contestants}
    times = read_times(folder)
    for key, record in scan_samples(folder):
        if record["model"] in answers and rows.get(record["item"]) == record["row"]:
            response = response_from_record({**record["response"], "seconds": times.get(key)})
            answers[record["model"]][record["item"]] = response
            shown = record["frames"]
            indices = shared.get(shown["digest"])  # a million tuples would be the same few
            if indices is None:
                indices = shared[shown["digest"]] = tuple(shown["indices"])
            frames[record["item"]] = indices
    return answers, frames


# ----------------------------------------------------------------------------------------------------- response files


def _run_from_responses(path: Path, benchmark: Mapping[str, Any]) -> ScoredRun:
    loaded, record = load_benchmark(benchmark)
    answers = _read_responses(path, loaded.items())
    recipe = EvalRecipe(name="score", benchmark=record, baselines=False)
    asked = {item_id for responses in answers.values() for item_id in responses}
    contestants = tuple(
        Contestant(label=label, backend="responses", settings=Settings(), baseline=False) for label in answers
    )
    job = Plan(
        recipe=recipe,
        benchmark=loaded,
        items=tuple(item for item in loaded.items() if item.id in asked),
        contestants=contestants,
        profile=loaded.profiles[0],
        settings={"benchmark": record, "frames": None},
    )
    return ScoredRun(folder=path.parent, plan=job, answers=answers)


def _read_responses(path: Path, items: Sequence[Item]) -> dict[str, dict[str, Response]]:
    known = {item.id for item in items}
    answers: dict[str, dict[str, Response]] = {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(f"can't read the responses {path}: {reason}") from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            model, item_id, text = _parse_response(line, f"{path} line {number}", path.stem)
            if item_id not in known:
                raise DataError(f"{path} line {number}: the benchmark has no item {item_id!r}")
            answers.setdefault(model, {})[item_id] = Response(text=text)
    if not answers:
        raise DataError(f"{path} holds no responses")
    return answers


def _parse_response(line: str, where: str, default_model: str) -> tuple[str, str, str]:
    try:
        record = json.loads(line)
    except ValueError:
        raise DataError(f"{where} is not JSON") from None
    if not isinstance(record, dict) or "id" not in record or not isinstance(record.get("response"), str):
        raise DataError(f'{where}: expected {{"id": ..., "response": "text"}}, got {line[:80]}')
    return str(record.get("model", default_model)), str(record["id"]), record["response"]
