"""SIGKILL in the middle of a run, then the same command: the curve of an undisturbed run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl")

from allocentric.core.config import resolved
from allocentric.core.errors import DataError, UserError
from allocentric.core.runlog import read_samples, run_folder
from allocentric.train.run import train
from allocentric.train.work import plan

GROUP = {"name": "grpo", "generations": 4, "max_new_tokens": 6, "rewards": {"format": 0.5, "length": 0.1,
         "free_tokens": 1, "most_tokens": 6}}  # fmt: skip

TAUGHT = {"name": "distill", "convert": {"mixers": [{"mixer": "gated_deltanet"}]}, "layers": {"steps": 6}}
"""Killed after step 7, so it continues where its second phase begins."""


def curve(folder: Path) -> list[tuple[float, ...]]:
    rows = [row for key, row in sorted(read_samples(folder).items()) if key.startswith("metrics/")]
    return [(row["loss"], row["grad_norm"], row.get("reward", 0.0)) for row in rows]


def kill_after_step(recipe: Any, runs: Path, step: int) -> Path:
    """Run the recipe in a process of its own and kill it once the metrics of a step are on the disk."""
    file = runs.parent / "recipe.json"
    file.write_text(json.dumps(resolved(recipe)))
    folder = run_folder(runs, recipe.name, plan(recipe).settings)
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "crash_child.py"), str(file), str(runs)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 200
    while f"metrics/{step:08d}" not in read_samples(folder):
        assert child.poll() is None, "the child ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "grpo", "distill"])
def test_a_killed_run_continues_as_if_undisturbed(stage: str, recipe_of: Any, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    settings: dict[str, Any] = {"steps": 12, "save_every": 3, "batch_size": 8 if stage == "grpo" else 2}
    recipe = recipe_of({"sft": stage, "grpo": GROUP, "distill": TAUGHT}[stage], **settings)
    undisturbed = train(recipe, tmp_path / "calm")
    killed = kill_after_step(recipe, tmp_path / "killed", 7)
    assert not (killed / "results.json").exists()
    assert (killed / "checkpoints").exists()
    continued = train(recipe, tmp_path / "killed")
    assert 0 < continued.steps < 12
    assert curve(continued.folder) == [pytest.approx(row, rel=1e-5, abs=1e-7) for row in curve(undisturbed.folder)]


@pytest.mark.slow
def test_checkpoints_that_are_cut_short_or_from_elsewhere(recipe_of: Any, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    recipe = recipe_of("sft", steps=4, save_every=1)
    folder = train(recipe, tmp_path).folder
    last = folder / "checkpoints" / "checkpoint-4"
    (folder / "results.json").unlink()
    (last / "allocentric.json").unlink()
    (last / "model.safetensors").write_bytes(b"half")
    again = train(recipe, tmp_path)
    assert again.steps == 1
    assert "removed checkpoint-4, whose writing was interrupted" in (folder / "log.txt").read_text()
    (folder / "results.json").unlink()
    (last / "allocentric.json").write_text('{"recipe": "0123456789", "step": 4}')
    with pytest.raises(DataError, match="checkpoint-4 was made by another recipe"):
        train(recipe, tmp_path)


@pytest.mark.slow
def test_a_disk_that_fills_during_a_save_keeps_the_last_checkpoint(
    recipe_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    recipe = recipe_of("sft", steps=4, save_every=1)
    real = torch.save

    def full(value: Any, file: Any, *rest: Any, **more: Any) -> None:
        if "checkpoint-3" in str(file):
            raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
        real(value, file, *rest, **more)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match="the disk is full"):
        train(recipe, tmp_path)
    monkeypatch.undo()
    folder = run_folder(tmp_path, recipe.name, plan(recipe).settings)
    complete = sorted(path.parent.name for path in folder.glob("checkpoints/*/allocentric.json"))
    assert complete[-1] == "checkpoint-2"
    assert train(recipe, tmp_path).steps == 2


@pytest.mark.slow
def test_a_real_disk_that_fills_keeps_the_last_checkpoint(recipe_of: Any, tmp_path: Path) -> None:
    """A small file system of its own; where mounting isn't allowed the test above stands for it."""
    torch.set_num_threads(1)
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(*options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(disk)]
        return shutil.which("mount") is not None and subprocess.run(command, capture_output=True).returncode == 0

    if not mount("size=7m"):
        pytest.skip("mounting a tmpfs needs root")
    try:
        recipe = recipe_of("sft", steps=4, save_every=1)  # a checkpoint takes 2.8 MB
        with pytest.raises(UserError, match=r"the disk is full .* the last complete checkpoint is kept"):
            train(recipe, disk)
        folder = run_folder(disk, recipe.name, plan(recipe).settings)
        complete = {path.parent.name for path in folder.glob("checkpoints/*/allocentric.json")}
        assert complete == {"checkpoint-1", "checkpoint-2"}
        assert mount("remount", "size=40m")
        assert train(recipe, disk).steps == 2
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)  # weights may still be mapped
