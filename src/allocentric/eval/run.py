"""Ask models, score their answers, and leave a run folder that says everything.

The answers are the only thing that costs money or hours, so each is on the disk before the next batch is asked; all
else (scores, intervals, the page) is recomputed from them. Repeating a command continues where the last one died, asks
failed items again, and asks nothing when nothing is missing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from allocentric.core.config import load_recipe
from allocentric.core.errors import DataError, UserError
from allocentric.core.progress import Progress, SilentProgress
from allocentric.core.records import digest, response_from_record, response_to_record
from allocentric.core.runlog import RunLog, read_json, run_folder
from allocentric.core.types import Item, Model, Prompt, Response, Sampling
from allocentric.eval.frames import FrameChoice, choose_frames, frames_digest, load_views
from allocentric.eval.recipe import Contestant, EvalRecipe, Plan, item_digest, plan
from allocentric.eval.results import Bootstrap, failed, score_row, summaries

FINISHED = "finished"
FINISHED_WITH_FAILURES = "finished-with-failures"

_STATUS_EVERY_S = 2.0
_STATUS_REPLICATES = 200


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What an evaluation left behind."""

    folder: Path
    """The run folder."""
    results: dict[str, Any]
    """Content of results.json."""
    asked: int
    """Prompts sent to models by this call; 0 where everything was there."""

    @property
    def exit_code(self) -> int:
        """0 where every item has an answer, 2 where some failed."""
        return 0 if self.results["state"] == FINISHED else 2


def load_eval_recipe(path: Path, overrides: Sequence[str] = ()) -> EvalRecipe:
    """Read a recipe YAML with overrides ("frames.count=8"). A run folder's config.yaml is a recipe too."""
    return load_recipe(path, EvalRecipe, overrides)


def evaluate(recipe: EvalRecipe, runs_dir: Path, progress: Progress | None = None) -> RunResult:
    """Run `recipe`, or continue it, in its folder below `runs_dir`.

    Raises:
        UserError: Wrong settings, a broken picture, a full disk, a model that keeps failing, or a folder in use. All
            answers up to there are kept.
    """
    job = plan(recipe)
    folder = run_folder(runs_dir, recipe.name, job.settings)
    with RunLog(folder, job.settings) as log:
        done = _finished_results(log, job)
        if done is not None:
            return RunResult(folder=folder, results=done, asked=0)
        work = _Work(job, log, progress or SilentProgress())
        try:
            answers = {contestant.label: work.answers(contestant) for contestant in job.contestants}
        finally:
            work.progress.stop()
        results = results_of(job, answers)
        log.write("results.json", json.dumps(results, indent=2) + "\n")
        log.say(f"{results['state']}: {work.asked} prompts asked")
    return RunResult(folder=folder, results=results, asked=work.asked)


def results_of(job: Plan, answers: Mapping[str, Mapping[str, Response]]) -> dict[str, Any]:
    """results.json of the answers by model label and item id. A pure function: no clock, no machine."""
    benchmark, recipe = job.benchmark, job.recipe
    rows = {
        (label, profile): score_row(benchmark, job.items, responses, profile)
        for label, responses in answers.items()
        for profile in benchmark.profiles
    }
    settings = Bootstrap(replicates=recipe.replicates, seed=recipe.seed, level=recipe.level)
    scored = summaries(benchmark, job.items, rows, settings)
    models = [
        {
            "model": contestant.label,
            "baseline": contestant.baseline,
            "settings": contestant.record(),
            "identity": contestant.identity(),
            "items": len(job.items),
            "failed": sum(failed(response) for response in answers[contestant.label].values()),
            "profiles": {profile: scored[contestant.label, profile] for profile in benchmark.profiles},
        }
        for contestant in job.contestants
        if contestant.label in answers
    ]
    asked = [response for responses in answers.values() for response in responses.values()]
    missing = len(asked) < len(job.items) * len(models) or any(failed(response) for response in asked)
    return {
        "state": FINISHED_WITH_FAILURES if missing else FINISHED,
        "recipe": recipe.name,
        "unit": "percent",
        "benchmark": {**job.settings["benchmark"], "title": benchmark.name, **benchmark.fingerprint()},
        "items": {"count": len(job.items), "sha256": _items_digest(job)},
        "scenes": len({item.scene_id for item in job.items}),
        "profile": job.profile,
        "profiles": list(benchmark.profiles),
        "frames": job.settings["frames"],
        "interval": {
            "method": "scenes resampled with replacement, expanded percentiles",
            "replicates": recipe.replicates,
            "seed": recipe.seed,
            "level": recipe.level,
        },
        "models": models,
    }


def _finished_results(log: RunLog, job: Plan) -> dict[str, Any] | None:
    """The results of a finished run if questions, pictures and local weights are still the same."""
    results = read_json(log.folder, "results.json")
    if results is None or results.get("state") != FINISHED:
        return None
    same_items = results["items"]["sha256"] == _items_digest(job)
    same_models = [model["identity"] for model in results["models"]] == [c.identity() for c in job.contestants]
    return results if same_items and same_models and _same_pictures(log, job) else None


def _items_digest(job: Plan) -> str:
    return digest([item_digest(item) for item in job.items])


def _same_pictures(log: RunLog, job: Plan) -> bool:
    """Pictures that are gone can't be compared; a finished run needs them no more."""
    logged = {record["item"]: record["frames"] for record in log.read().values()}
    try:
        return all(item.id in logged and _same_frames(item, logged[item.id]) for item in job.items)
    except DataError as error:
        log.say(f"finished; pictures not compared: {error}")
        return True


def _same_frames(item: Item, logged: Mapping[str, Any]) -> bool:
    indices = logged["indices"]
    if item.video is None and indices and max(indices) >= len(item.views):
        return False
    return bool(frames_digest(item, indices) == logged["digest"])


# ------------------------------------------------------------------------------------------------------------ asking


@dataclass(frozen=True, kw_only=True)
class _Question:
    """One item ready to be asked, but for its pictures."""

    item: Item
    key: str
    text: str
    frames: FrameChoice
    sampling: Sampling


@dataclass
class _Work:
    """The state of one call of `evaluate`."""

    job: Plan
    log: RunLog
    progress: Progress
    asked: int = 0
    _frames: dict[str, FrameChoice] = field(default_factory=dict)
    _failures_in_a_row: int = 0

    def __post_init__(self) -> None:
        self.samples = self.log.read()

    def answers(self, contestant: Contestant) -> dict[str, Response]:
        """Every response of one model by item id, asking for those that are missing or failed."""
        identity = contestant.identity()
        questions = [self._question(item, identity) for item in self.job.items]
        known = {q.item.id: self._logged(q.key) for q in questions}
        answers = {item_id: response for item_id, response in known.items() if response is not None}
        pending = [q for q in questions if q.item.id not in answers or failed(answers[q.item.id])]
        self.progress.start(len(questions), contestant.label)
        self.progress.advance(len(questions) - len(pending))
        if pending:
            self.log.say(f"{contestant.label}: {len(pending)} of {len(questions)} items to ask")
            model = contestant.build({item.id: item for item in self.job.items})
            self._ask(contestant, model, by_scene(pending), answers)
        return answers

    def _ask(
        self, contestant: Contestant, model: Model, pending: Iterator[_Question], answers: dict[str, Response]
    ) -> None:
        status = _RunningScore(self.job, answers)
        self._failures_in_a_row = 0
        while batch := list(islice(pending, self.job.recipe.batch_size)):
            responses = model.generate([self._prompt(question) for question in batch])
            assert len(responses) == len(batch), f"{contestant.backend} answered {len(responses)} of {len(batch)}"
            records = [self._record(contestant, q, r) for q, r in zip(batch, responses, strict=True)]
            self.log.append(records)
            self.asked += len(batch)
            answers.update({q.item.id: r for q, r in zip(batch, responses, strict=True)})
            self.progress.advance(len(batch), status.text())
            self._watch_failures(contestant.label, batch, responses)

    def _watch_failures(self, label: str, batch: Sequence[_Question], responses: Sequence[Response]) -> None:
        for question, response in zip(batch, responses, strict=True):
            self._failures_in_a_row = self._failures_in_a_row + 1 if failed(response) else 0
            if failed(response):
                self.log.say(f"{label}: item {question.item.id} failed: {_reason(response)}")
        if self._failures_in_a_row >= self.job.recipe.stop_after_failures:
            raise UserError(
                f"{label} failed {self._failures_in_a_row} times in a row, last: {_reason(responses[-1])}; "
                f"answers so far are kept in {self.log.folder}: repeat the command to continue"
            )

    def _question(self, item: Item, identity: str) -> _Question:
        job = self.job
        if item.id not in self._frames:
            self._frames[item.id] = choose_frames(item, job.recipe.frames)
        frames = self._frames[item.id]
        text = job.benchmark.prompt_text(item, job.profile)
        sampling = _sampling(job)
        content = {
            "item": item.id,
            "row": item_digest(item),
            "prompt": text,
            "system": job.recipe.system,
            "frames": [frames.digest, list(frames.indices), job.recipe.frames.as_video],
            "model": identity,
            "sampling": [sampling.max_new_tokens, sampling.temperature, sampling.seed],
        }
        return _Question(item=item, key=digest(content), text=text, frames=frames, sampling=sampling)

    def _prompt(self, question: _Question) -> Prompt:
        return Prompt(
            item_id=question.item.id,
            text=question.text,
            views=load_views(question.item, question.frames.indices),
            as_video=self.job.recipe.frames.as_video,
            system=self.job.recipe.system,
            sampling=question.sampling,
        )

    def _record(self, contestant: Contestant, question: _Question, response: Response) -> tuple[str, dict[str, Any]]:
        item = question.item
        return question.key, {
            "model": contestant.label,
            "item": item.id,
            "kind": item.kind,
            "scene": item.scene_id,
            "row": item_digest(item),
            "frames": {"indices": list(question.frames.indices), "digest": question.frames.digest},
            "prompt": question.text,
            "response": response_to_record(response),
        }

    def _logged(self, key: str) -> Response | None:
        record = self.samples.get(key)
        return None if record is None else response_from_record(record["response"])


def by_scene(questions: Sequence[_Question]) -> Iterator[_Question]:
    """The questions with those of one scene together, scenes in order of appearance: pictures are read once."""
    position: dict[str, int] = {}
    for question in questions:
        position.setdefault(question.item.scene_id, len(position))
    return iter(sorted(questions, key=lambda question: position[question.item.scene_id]))


def _reason(response: Response) -> str:
    return " ".join((response.error or "no reason given").split())


def _sampling(job: Plan) -> Sampling:
    sampling = replace(job.benchmark.sampling(job.profile), seed=job.recipe.seed)
    limit = job.recipe.max_new_tokens
    return sampling if limit is None else replace(sampling, max_new_tokens=limit)


class _RunningScore:
    """The remark beside the progress bar; recomputed every few seconds and when all is answered."""

    def __init__(self, job: Plan, answers: Mapping[str, Response]) -> None:
        self._job = job
        self._answers = answers
        self._text = ""
        self._next_s = 0.0

    def text(self) -> str:
        """Like `34.2 [30.1, 38.0] · 3 unreadable · 1 failed`."""
        if time.monotonic() >= self._next_s or len(self._answers) == len(self._job.items):
            self._text = self._compute()
            self._next_s = time.monotonic() + _STATUS_EVERY_S
        return self._text

    def _compute(self) -> str:
        job = self._job
        items = [item for item in job.items if item.id in self._answers]
        key = ("", job.profile)
        rows = {key: score_row(job.benchmark, items, self._answers, job.profile)}
        settings = Bootstrap(replicates=_STATUS_REPLICATES, seed=job.recipe.seed, level=job.recipe.level)
        summary = summaries(job.benchmark, items, rows, settings)[key]
        failures = sum(failed(response) for response in self._answers.values())
        return f"{interval_text(summary['overall'])} · {summary['unreadable']} unreadable · {failures} failed"


def interval_text(cell: Mapping[str, Any]) -> str:
    """Like `34.2 [30.1, 38.0]`; without the bracket where there is no interval, "-" where there is no score."""
    if cell["score"] is None:
        return "-"
    if cell["low"] is None:
        return f"{cell['score']:.1f}"
    return f"{cell['score']:.1f} [{cell['low']:.1f}, {cell['high']:.1f}]"
