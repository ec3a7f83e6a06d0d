"""The remark beside the progress bar: the score so far, never at the cost of the asking."""

from __future__ import annotations

import time
from collections.abc import Mapping

from allocentric.core.types import Response
from allocentric.eval.recipe import Plan
from allocentric.eval.results import Bootstrap, failed, interval_text, score_row, summaries

_EVERY_S = 2.0
_FIRST_S = 0.5
_REPLICATES = 200
_SHARE = 0.02
"""Part of the time that goes into remarks at most: long runs get them more rarely."""


class RunningScore:
    """Scores one model's answers every now and then, and, unless that takes long, when it has answered everything."""

    def __init__(self, job: Plan, answers: Mapping[str, Mapping[str, Response]]) -> None:
        self._job = job
        self._answers = answers
        self._text = ""
        self._next_s = time.monotonic() + _FIRST_S
        self._spent_s = 0.0
        self._complete: set[str] = set()
        self.now = ""
        """Label of the model that answered last."""

    def text(self) -> str:
        """Like `tiny 34.2 [30.1, 38.0] · 3 unreadable · 1 failed`."""
        started_s = time.monotonic()
        complete = len(self._answers[self.now]) == len(self._job.items) and self.now not in self._complete
        complete = complete and self._spent_s < _EVERY_S
        if complete or started_s >= self._next_s:
            if complete:
                self._complete.add(self.now)
            self._text = self._compute(self.now)
            self._spent_s = time.monotonic() - started_s
            self._next_s = started_s + max(_EVERY_S, self._spent_s / _SHARE)
        return self._text

    def _compute(self, label: str) -> str:
        job, answers = self._job, dict(self._answers[label])
        items = [item for item in job.items if item.id in answers]
        key = (label, job.profile)
        rows = {key: score_row(job.benchmark, items, answers, job.profile)}
        settings = Bootstrap(replicates=_REPLICATES, seed=job.recipe.seed, level=job.recipe.level)
        summary = summaries(job.benchmark, items, rows, settings)[key]
        failures = sum(failed(response) for response in answers.values())
        score = interval_text(summary["overall"])
        return f"{label} {score} · {summary['unreadable']} unreadable · {failures} failed"
