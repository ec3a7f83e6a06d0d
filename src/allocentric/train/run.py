"""`allocentric train`: one recipe, one run folder, and the same command to continue it.

    runs/<name>-<hash of the settings>/
        config.yaml env.json   every setting in force; versions, commit, hardware
        data.json              number and digests of the items
        samples.jsonl          by key: metrics/<step>, held_out/<step>, held_out/<step>/<item>, skipped/<item> ...
        checkpoints/           the newest complete ones: weights as transformers loads them, and the optimiser
        model/                 the final weights and the processor, a checkpoint like any other
        results.json metrics.csv log.txt

A key that comes again replaces what was said before, so steps that are repeated after a crash count once.
"""

from __future__ import annotations

import csv
import errno
import importlib.util
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allocentric.core.catalog import STAGES
from allocentric.core.errors import DataError, MissingPackageError, SettingsError, UserError
from allocentric.core.progress import Progress, SilentProgress
from allocentric.core.runlog import RunLog, read_json, read_samples, run_folder
from allocentric.train.episodes import Episodes
from allocentric.train.recipe import TrackerSettings, TrainRecipe
from allocentric.train.sharded import require_spread
from allocentric.train.work import Job, Work, plan, require_trl, world


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a call of `train` leaves."""

    folder: Path
    """Of the run."""
    results: dict[str, Any]
    """Of results.json."""
    steps: int
    """Updates this call made."""


def train(recipe: TrainRecipe, runs_dir: Path, progress: Progress | None = None) -> TrainResult:
    """Run `recipe`, or continue it, in its folder below `runs_dir`; a finished run is left as it is.

    Raises:
        UserError: wrong settings, data that can't be read or changed since the run began, an absent device, a loss
            that is no number, a full disk, a folder in use. The last complete checkpoint is kept.
    """
    rank, processes = world()
    if processes != recipe.processes:
        raise SettingsError(
            f"the recipe says processes: {recipe.processes}, {processes} were launched; launch it with "
            f"accelerate launch --num_processes {recipe.processes} -m allocentric.cli train RECIPE"
        )
    job = plan(recipe)
    folder = run_folder(runs_dir, recipe.name, job.settings)
    done = read_json(folder, "results.json")
    if done is not None:
        _check_data(folder, job)
        return TrainResult(folder=folder, results=done, steps=0)
    require_trl()
    _require_tracker(recipe.tracker)
    progress = progress if progress is not None and rank == 0 else SilentProgress()
    with RunLog(folder, job.settings) if rank == 0 else nullcontext() as log:
        work = Work(job, folder, log)
        if log is not None:
            _check_data(folder, job)
            log.write("data.json", json.dumps(_data_record(job), indent=2) + "\n")
        with _tracking(recipe.tracker, folder), _one_line_errors(folder):
            steps = _steps(work, progress)
    results = read_json(folder, "results.json") or {}
    return TrainResult(folder=folder, results=results, steps=steps)


def _steps(work: Work, progress: Progress) -> int:
    """Train from the last complete checkpoint to the end and save the model; returns the updates made."""
    from transformers import PrinterCallback

    from allocentric.train.callbacks import HeldOut, Recorder, last_complete, remove_cut_short
    from allocentric.train.playing import HeldOutEpisodes

    checkpoints = work.folder / "checkpoints"
    begin = last_complete(checkpoints, work.job.settings)
    if work.log is not None:
        for path in remove_cut_short(checkpoints):
            work.say(f"removed {path.name}, whose writing was interrupted")
    work.callbacks = [Recorder(work, progress)]
    if isinstance(work.job.held_out, Episodes):
        work.callbacks.append(HeldOutEpisodes(work, work.job.held_out))
    elif work.job.held_out is not None:
        work.callbacks.append(HeldOut(work, work.job.held_out))
    trainer = STAGES.load(work.job.stage).trainer(work, work.job.stage_settings)
    require_spread(trainer)
    trainer.remove_callback(PrinterCallback)  # standard output is for results
    _ = work.check  # from here on every forward pass is watched
    for callback in work.callbacks:
        callback.trainer = trainer
    work.say("begin" if begin is None else f"continue from {begin.name}")
    try:
        trainer.train(resume_from_checkpoint=None if begin is None else str(begin))
    finally:
        progress.stop()
    _save_model(work, trainer)
    if work.log is not None:
        _write_results(work, work.log)
    trainer.accelerator.wait_for_everyone()  # every process returns the same results
    return int(trainer.state.global_step) - (0 if begin is None else int(begin.name.partition("-")[2]))


def _save_model(work: Work, trainer: Any) -> None:
    """The final weights and the processor; adapters merged. Complete or not there."""
    from transformers import PreTrainedModel

    made, final = work.folder / ".model", work.folder / "model"
    if work.log is not None:
        shutil.rmtree(made, ignore_errors=True)
    model = trainer.accelerator.unwrap_model(trainer.model)
    if isinstance(model, PreTrainedModel):
        trainer.save_model(str(made))  # gathers what is spread over processes
    elif work.log is not None:
        model.merge_and_unload().save_pretrained(made)
        getattr(trainer, "save_beside", lambda _: None)(made)
    trainer.accelerator.wait_for_everyone()
    if work.log is None:
        return
    work.checkpoint.processor.save_pretrained(made)
    shutil.rmtree(final, ignore_errors=True)
    made.replace(final)


def _write_results(work: Work, log: RunLog) -> None:
    """metrics.csv, then results.json, whose presence means the run is finished."""
    kept = read_samples(work.folder)
    metrics = {int(key.partition("/")[2]): row for key, row in kept.items() if key.startswith("metrics/")}
    log.write("metrics.csv", _csv(metrics))
    held_out = [row for key, row in kept.items() if key.startswith("held_out/") and key.count("/") == 1]
    last = metrics[max(metrics)] if metrics else {}
    results = {
        "state": "finished",
        "recipe": work.recipe.name,
        "stage": work.job.stage,
        "steps": work.recipe.steps,
        "data": _data_record(work.job),
        "loss": last.get("loss"),
        "held_out": sorted(held_out, key=lambda row: row["step"]),
        "skipped": sorted(key.partition("/")[2] for key in kept if key.startswith("skipped/")),
        "model": "model",
    }
    log.write("results.json", json.dumps(results, indent=2) + "\n")
    log.say("finished")


def _csv(metrics: Mapping[int, Mapping[str, Any]]) -> str:
    names = sorted({name for row in metrics.values() for name in row})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", *names])
    writer.writerows([step, *(row.get(name, "") for name in names)] for step, row in sorted(metrics.items()))
    return text.getvalue()


def _data_record(job: Job) -> dict[str, Any]:
    parts = {"train": job.questions or job.demonstrations or job.played, "held_out": job.held_out}
    return {name: part.record() for name, part in parts.items() if part is not None}


def _check_data(folder: Path, job: Job) -> None:
    known = read_json(folder, "data.json")
    if known is not None and known != _data_record(job):
        raise DataError(f"the data of {folder} changed since it began; restore them, or give the recipe another name")


def _require_tracker(tracker: TrackerSettings | None) -> None:
    """MissingPackageError where the tracker's package is absent, before anything is loaded."""
    if tracker is not None and importlib.util.find_spec(tracker.name) is None:
        raise MissingPackageError(tracker.name, needed_for=f"tracker: {{name: {tracker.name}}}")


@contextmanager
def _tracking(tracker: TrackerSettings | None, folder: Path) -> Iterator[None]:
    """What trackers read from the environment: their project, where they write, and one curve per run folder."""
    if tracker is None or tracker.name == "tensorboard":
        yield
        return
    values = {"TRACKIO_PROJECT": tracker.project}
    if tracker.name == "wandb":
        values = {
            "WANDB_MODE": "online" if tracker.online else "offline",
            "WANDB_PROJECT": tracker.project,
            "WANDB_DIR": str(folder),
            "WANDB_RUN_ID": folder.name,
            "WANDB_RESUME": "allow",
            "WANDB_SILENT": "true",
        }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        if tracker.name == "wandb":
            import wandb

            wandb.finish()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


_FULL = ("No space left on device", "Disk quota exceeded", "File too large", "PytorchStreamWriter", "inline_container")
"""What a full disk is called; the last two are torch's writer, which names the place in its file and not the disk."""


@contextmanager
def _one_line_errors(folder: Path) -> Iterator[None]:
    """A disk that fills while a checkpoint is written, as one line; torch and safetensors word it differently."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if not full and not any(sign in str(error) for sign in _FULL):
            raise
        raise UserError(
            f"the disk is full ({folder}); the last complete checkpoint is kept: free some space and repeat the same "
            "command to continue"
        ) from None
