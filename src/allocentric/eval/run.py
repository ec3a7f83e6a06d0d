"""Ask models, score their answers, and leave a run folder that says everything.

The answers are the only thing that costs money or hours, so each is on its way to the disk when it comes and counts
when it is there; all else (scores, intervals, the page) is recomputed from them. Repeating a command continues where
the last one died, on any number of workers, asks failed items again, and asks nothing when nothing is missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from allocentric.core.bulk import many_records
from allocentric.core.config import load_recipe, resolved
from allocentric.core.errors import DataError
from allocentric.core.progress import Progress, SilentProgress
from allocentric.core.runlog import GroupCommit, RunLog, read_json, run_folder
from allocentric.core.types import Response
from allocentric.eval.recipe import EvalRecipe, Plan, items_digest, plan
from allocentric.eval.results import Bootstrap, failed, score_row, summaries
from allocentric.eval.work.asker import DEPTH
from allocentric.eval.work.crew import Crew, Workers, crew_of
from allocentric.eval.work.driver import Driver, parcels_in_order
from allocentric.eval.work.questions import Answered, Inquiry, Question, same_pictures
from allocentric.eval.work.queue import WorkQueue
from allocentric.eval.work.status import RunningScore
from allocentric.eval.work.times import TimesLog

FINISHED = "finished"
FINISHED_WITH_FAILURES = "finished-with-failures"

_ALONE = Workers()


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


def evaluate(
    recipe: EvalRecipe, runs_dir: Path, progress: Progress | None = None, *, workers: Workers = _ALONE
) -> RunResult:
    """Run `recipe`, or continue it, in its folder below `runs_dir`.

    Args:
        recipe: What is asked.
        runs_dir: Folder of run folders.
        progress: Advances by one for every answer that has reached the disk.
        workers: Who asks. The run folder is the same for all of them.

    Raises:
        UserError: Wrong settings, a broken picture, a full disk, a model that keeps failing, or a folder in use. All
            answers up to there are kept.
    """
    progress = progress or SilentProgress()
    with ExitStack() as stack:
        reading = stack.enter_context(ExitStack())
        reading.enter_context(many_records())
        job = plan(recipe)
        folder = run_folder(runs_dir, recipe.name, job.settings)
        log = stack.enter_context(RunLog(folder, job.settings))
        inquiry = Inquiry(job, log)
        done = _finished_results(log, inquiry)
        if done is not None:
            return RunResult(folder=folder, results=done, asked=0)
        work = _Work(inquiry, log, progress)
        try:
            rounds = work.rounds()
            first = next(rounds, None)  # reads all that is known
            reading.close()
            if first is not None:
                work.ask_all(workers, chain([first], rounds))
        finally:
            progress.stop()
        results = results_of(job, work.answers, items_sha256=inquiry.items_sha256)
        log.write("results.json", json.dumps(results, indent=2) + "\n")
        log.say(f"{results['state']}: {work.asked} prompts asked")
    return RunResult(folder=folder, results=results, asked=work.asked)


@many_records()
def results_of(
    job: Plan, answers: Mapping[str, Mapping[str, Response]], *, items_sha256: str | None = None
) -> dict[str, Any]:
    """results.json of the answers by model label and item id. A pure function: no clock, no machine.

    `items_sha256` is the digest of all items where it is known already.
    """
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
        "published": [asdict(row) for row in getattr(benchmark, "published", ())],
        "items": {"count": len(job.items), "sha256": items_sha256 or items_digest(job.items)},
        "scenes": len({item.scene_id for item in job.items}),
        "profile": job.profile,
        "profiles": list(benchmark.profiles),
        "frames": None if job.settings["frames"] is None else resolved(recipe.frames),
        "check": recipe.check,
        "interval": {
            "method": "scenes resampled with replacement, expanded percentiles",
            "replicates": recipe.replicates,
            "seed": recipe.seed,
            "level": recipe.level,
        },
        "models": models,
    }


def _finished_results(log: RunLog, inquiry: Inquiry) -> dict[str, Any] | None:
    """The results of a finished run if questions, pictures and local weights are still the same."""
    results = read_json(log.folder, "results.json")
    if results is None or results.get("state") != FINISHED:
        return None
    same_items = results["items"]["sha256"] == inquiry.items_sha256
    same_models = [model["identity"] for model in results["models"]] == list(inquiry.identities)
    return results if same_items and same_models and _same_pictures(log, inquiry) else None


def _same_pictures(log: RunLog, inquiry: Inquiry) -> bool:
    """Pictures that are gone can't be compared; a finished run needs them no more."""
    try:
        return same_pictures(inquiry.job.items, inquiry.logged.frames, inquiry.job)
    except DataError as error:
        log.say(f"finished; pictures not compared: {error}")
        return True


# ------------------------------------------------------------------------------------------------------------ asking


class _Work:
    """One call of `evaluate`, from what is known to what is asked."""

    def __init__(self, inquiry: Inquiry, log: RunLog, progress: Progress) -> None:
        self._inquiry = inquiry
        self._log = log
        self._progress = progress
        labels = [contestant.label for contestant in inquiry.job.contestants]
        self.answers: dict[str, dict[str, Response]] = {label: {} for label in labels}
        self.asked = 0

    def ask_all(self, workers: Workers, rounds: Iterator[list[list[Question]]]) -> None:
        """Ask what is left in every round. All is on the disk when this returns."""
        job = self._inquiry.job
        first = next(rounds)
        status = RunningScore(job, self.answers)
        with GroupCommit(self._log) as commit, TimesLog(self._log.folder) as times:
            keep = partial(self._keep, commit, times, status)
            with closing(self._crew(workers, first)) as crew:
                for pending in chain([first], rounds):
                    queue = WorkQueue(parcels_in_order(self._inquiry, pending, job.recipe.batch_size))
                    where = str(self._log.folder)
                    Driver(self._inquiry, queue, crew, keep=keep, say=self._log.say, where=where).run(
                        after=lambda: self._advance(commit, status)
                    )
            commit.flush()
            self._advance(commit, status)

    def rounds(self) -> Iterator[list[list[Question]]]:
        """What every model has not answered yet, or failed to: all of it, or in dialogues turn by turn of a model."""
        job = self._inquiry.job
        self._progress.start(len(job.items) * len(job.contestants), job.recipe.name)
        contestants = range(len(self._inquiry.job.contestants))
        for asked, turn in self._inquiry.rounds():
            pending = [self._left(index, turn) if index in asked else [] for index in contestants]
            if any(pending):
                yield pending

    def _left(self, contestant: int, turn: int) -> list[Question]:
        job, label = self._inquiry.job, self._inquiry.job.contestants[contestant].label
        answers = self.answers[label]
        before = _good(answers)
        left = self._inquiry.pending(contestant, answers, turn)
        if left:
            of_turn = f", turn {turn + 1} of dialogues" if job.dialogue else ""
            self._log.say(f"{label}: {len(left)} of {len(job.items)} items to ask{of_turn}")
        self._progress.advance(_good(answers) - before)
        return left

    def _crew(self, workers: Workers, pending: Sequence[Sequence[Question]]) -> Crew:
        job = self._inquiry.job
        busy = [one.in_flight for one, left in zip(job.contestants, pending, strict=True) if left or job.dialogue]
        return crew_of(workers, self._inquiry, max(DEPTH, *busy))

    def _keep(
        self, commit: GroupCommit, times: TimesLog, status: RunningScore, question: Question, answered: Answered
    ) -> None:
        label = self._inquiry.job.contestants[question.contestant].label
        commit.put(question.key, self._inquiry.record(question, answered))
        times.put(question.key, answered.response.seconds)
        self.answers[label][answered.item_id] = answered.response
        status.now = label
        self.asked += 1

    def _advance(self, commit: GroupCommit, status: RunningScore) -> None:
        """Count what has reached the disk, not what was said."""
        count = commit.settled()
        if count:
            self._progress.advance(count, status.text())


def _good(answers: Mapping[str, Response]) -> int:
    return sum(not failed(response) for response in answers.values())
