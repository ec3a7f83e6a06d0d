"""What happens beside the steps: metrics to disk, complete checkpoints, held-out questions."""

from __future__ import annotations

import json
import math
import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback

from allocentric.agents.models import _checkpoint, hf
from allocentric.core.config import settings_hash
from allocentric.core.errors import DataError, UserError
from allocentric.core.progress import Progress
from allocentric.core.records import answer_to_record
from allocentric.core.runlog import write_atomically
from allocentric.core.types import Item, Response, Sampling, Score, Unreadable
from allocentric.train.data import Questions
from allocentric.train.work import Work

COMPLETE = "allocentric.json"
"""Written into a checkpoint last; a checkpoint without it was cut short."""
_SHOWN_IN_TRACKER = 32
"""Held-out answers per evaluation that a tracker's table shows; the run folder has all."""


class Recorder(TrainerCallback):  # type: ignore[misc]
    """Metrics into samples.jsonl under `metrics/<step>`, and a mark in every complete checkpoint."""

    def __init__(self, work: Work, progress: Progress) -> None:
        self._work, self._progress = work, progress
        self.trainer: Any = None
        """Set once it is built."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Show how far an earlier process came."""
        del args, control
        self._progress.start(self._work.recipe.steps, self._work.recipe.name)
        self._progress.advance(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count."""
        del args, state, control
        self._progress.advance()

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        """Keep a line of metrics; what is no finite number is kept as null."""
        del args, control
        values = {name: _finite(value) for name, value in (logs or {}).items() if isinstance(value, int | float)}
        if "loss" not in values:  # the summary at the end, and what HeldOut keeps itself
            return
        self._work.keep([(f"metrics/{state.global_step:08d}", values)])
        self._progress.advance(0, f"loss {values['loss']}")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark the checkpoint once every process has written its part."""
        del control
        self.trainer.accelerator.wait_for_everyone()
        if self._work.log is not None:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            mark = {"recipe": settings_hash(self._work.job.settings), "step": state.global_step}
            write_atomically(folder / COMPLETE, json.dumps(mark) + "\n")


def last_complete(folder: Path, settings: Mapping[str, Any]) -> Path | None:
    """The newest complete checkpoint in `folder`.

    Raises:
        DataError: it belongs to another recipe, or its mark is damaged.
    """
    found = [path for path in folder.glob("checkpoint-*") if (path / COMPLETE).is_file()]
    if not found:
        return None
    newest = max(found, key=lambda path: int(path.name.partition("-")[2]))
    try:
        mark = json.loads((newest / COMPLETE).read_text(encoding="utf-8"))
        recipe = mark["recipe"]
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{newest / COMPLETE} is damaged; remove {newest} to continue from the one before") from None
    if recipe != settings_hash(settings):
        raise DataError(f"{newest} was made by another recipe; to start from its weights name it in model.path")
    return newest


def remove_cut_short(folder: Path) -> list[Path]:
    """Remove checkpoints whose writing was interrupted; returns them."""
    cut = [path for path in folder.glob("checkpoint-*") if not (path / COMPLETE).is_file()]
    for path in cut:
        shutil.rmtree(path)
    return cut


class HeldOut(TrainerCallback):  # type: ignore[misc]
    """Asks the held-out questions every n steps, greedily, with the model in training.

    Answers go to samples.jsonl under `held_out/<step>/<item>`, means under `held_out/<step>`; the tracker gets the
    means and a table of answers.
    """

    def __init__(self, work: Work, questions: Questions) -> None:
        assert work.recipe.held_out is not None
        self._work, self._questions, self._settings = work, questions, work.recipe.held_out
        self.trainer: Any = None
        """Set once it is built."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The model as it came."""
        del args, control
        if state.global_step == 0:
            self._ask(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Every n steps, and after the last."""
        del args, control
        if state.global_step % self._settings.every == 0 or state.global_step == state.max_steps:
            self._ask(state.global_step)

    def _ask(self, step: int) -> None:
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        training = model.training
        model.eval()
        try:
            responses = self._responses(model)
        finally:
            model.train(training)
        rows = [
            (item, response, self._questions.score(item, response.text))
            for item, response in zip(self._questions.items, responses, strict=True)
        ]
        self._keep(step, rows)

    def _responses(self, model: Any) -> list[Response]:
        loaded = self._work.checkpoint
        settings = self._work.model_settings.model_copy(update={"batch_size": self._settings.batch_size})
        asked = _checkpoint.Checkpoint(
            model=model, processor=loaded.processor, video=loaded.video, no_video=loaded.no_video
        )
        sampling = Sampling(max_new_tokens=self._settings.max_new_tokens)
        answering = hf.of_checkpoint(settings, asked)
        size, items = self._settings.batch_size, self._questions.items
        responses: list[Response] = []
        for start in range(0, len(items), size):
            batch = [self._questions.prompt(item, sampling) for item in items[start : start + size]]
            responses += answering.generate(batch)
        errors = [response.error for response in responses if response.error is not None]
        if len(errors) == len(responses):
            raise UserError(f"no held-out question could be asked; the last: {errors[-1]}")
        return responses

    def _keep(self, step: int, rows: list[tuple[Item, Response, Score]]) -> None:
        means = summary(rows)
        answers = [
            (
                f"held_out/{step:08d}/{item.id}",
                {
                    "kind": item.kind,
                    "text": response.text,
                    "error": response.error,
                    "answer": answer_to_record(score.answer),
                    "gold": answer_to_record(item.gold),
                    "score": score.value,
                },
            )
            for item, response, score in rows
        ]
        self._work.keep([*answers, (f"held_out/{step:08d}", {"step": step, **means})])
        curves = {f"held_out/{name}": value for name, value in _flat(means).items()}
        due = self.trainer.control.should_log  # which any call of `log` takes as done
        Trainer.log(self.trainer, curves)  # not the stage's own `log`, which empties its running means
        self.trainer.control.should_log = due
        _table_to_tracker(self._work, step, answers)


def summary(rows: list[tuple[Item, Response, Score]]) -> dict[str, Any]:
    """Mean score over all and per question type, and how many answers failed or could not be read."""
    values: dict[str, list[float]] = defaultdict(list)
    for item, response, score in rows:
        if response.error is None and score.value is not None:
            values[item.kind].append(score.value)
    every = [value for kind in values.values() for value in kind]
    return {
        "score": sum(every) / len(every) if every else None,
        "items": len(rows),
        "failed": sum(response.error is not None for _, response, _ in rows),
        "unreadable": sum(isinstance(score.answer, Unreadable) for _, _, score in rows),
        "kinds": {kind: sum(scores) / len(scores) for kind, scores in sorted(values.items())},
    }


def _flat(means: Mapping[str, Any]) -> dict[str, float]:
    kinds = {f"kinds/{kind}": value for kind, value in means["kinds"].items()}
    return {name: value for name, value in {**means, **kinds}.items() if isinstance(value, int | float)}


def _table_to_tracker(work: Work, step: int, answers: list[tuple[str, dict[str, Any]]]) -> None:
    tracker = work.recipe.tracker
    if work.log is None or tracker is None or tracker.name == "tensorboard":
        return
    import importlib

    module = importlib.import_module(tracker.name)
    columns = ["item", "kind", "text", "gold", "score"]
    rows = [
        [key.rpartition("/")[2], row["kind"], row["text"], json.dumps(row["gold"]), row["score"]]
        for key, row in answers[:_SHOWN_IN_TRACKER]
    ]
    if tracker.name == "wandb":
        module.log({"held_out/answers": module.Table(columns=columns, data=rows), "train/global_step": step})
    else:
        import pandas

        module.log({"held_out/answers": module.Table(dataframe=pandas.DataFrame(rows, columns=columns))}, step=step)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
