"""Two processes over gloo learn what one learns of the same batch, under the accelerate files that ship."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl")

from allocentric.core.config import resolved
from allocentric.core.errors import SettingsError
from allocentric.core.runlog import read_samples, run_folder
from allocentric.train.run import train
from allocentric.train.sharded import require_spread
from allocentric.train.work import plan

SPREAD = Path(__file__).parent / "spread_child.py"
GROUPS = {"name": "grpo", "generations": 4, "max_new_tokens": 4, "rewards": {"format": 0.5}}
TAUGHT = {"name": "distill", "convert": {"mixers": [{"mixer": "gated_deltanet"}]}, "layers": {"steps": 2}}

pytestmark = pytest.mark.slow


def launched(kind: str, *program: str) -> subprocess.CompletedProcess[str]:
    """`accelerate launch` as the docs say it, with two processes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    settings = Path(__file__).parents[2] / "configs" / "accelerate" / f"{kind}.yaml"
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(settings)]
    launch += ["--num_processes", "2", "--main_process_port", port, *program]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(launch, env=environment, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


def written(recipe: Any, folder: Path) -> str:
    file = folder / f"{recipe.stage['name']}.json"
    file.write_text(json.dumps(resolved(recipe)))
    return str(file)


def folder_of(recipe: Any, runs: Path) -> Path:
    return run_folder(runs, recipe.name, plan(recipe).settings)


def curve(folder: Path, *names: str) -> list[list[float]]:
    kept = read_samples(folder)
    return [[row[name] for name in names if name in row] for key, row in sorted(kept.items()) if "metrics/" in key]


def alone(recipe_of: Any, stage: Any, runs: Path, **settings: Any) -> Path:
    torch.set_num_threads(1)
    return train(recipe_of(stage, batch_size=2, **settings), runs).folder


def test_copies_of_the_model_learn_what_one_learns(recipe_of: Any, unlike_answers: Path, tmp_path: Path) -> None:
    settings = {"steps": 3, "save_every": 2, "shuffle": False, "data": {"items": str(unlike_answers)}}
    wanted = curve(alone(recipe_of, "sft", tmp_path, **settings), "loss", "grad_norm")
    recipe = recipe_of("sft", batch_size=1, processes=2, **settings)
    done = launched("ddp", "-m", "allocentric.cli", "train", written(recipe, tmp_path), "--runs", str(tmp_path))
    assert done.stdout.count("model: ") == 1  # one process speaks
    assert curve(folder_of(recipe, tmp_path), "loss", "grad_norm") == [pytest.approx(row, rel=1e-5) for row in wanted]


def test_a_model_spread_over_processes_learns_what_one_learns_and_resumes(recipe_of: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText

    settings = {"steps": 3, "save_every": 2}
    single = alone(recipe_of, "sft", tmp_path, **settings)
    wanted = [pytest.approx(row, rel=1e-5) for row in curve(single, "loss", "grad_norm")]
    recipe = recipe_of("sft", batch_size=1, processes=2, **settings)
    launched("fsdp2", str(SPREAD), written(recipe, tmp_path), str(tmp_path))
    folder = folder_of(recipe, tmp_path)
    assert (folder / "checkpoints" / "checkpoint-2" / "pytorch_model_fsdp.bin").exists()  # it was spread
    assert curve(folder, "loss", "grad_norm") == wanted
    ours, theirs = (AutoModelForImageTextToText.from_pretrained(path / "model") for path in (folder, single))
    for (name, weight), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(weight, other, atol=1e-5, rtol=0, msg=name)
    (folder / "results.json").unlink()
    (folder / "checkpoints" / "checkpoint-3" / "allocentric.json").unlink()
    launched("fsdp2", str(SPREAD), written(recipe, tmp_path), str(tmp_path))
    assert "continue from checkpoint-2" in (folder / "log.txt").read_text()
    assert curve(folder, "loss", "grad_norm") == wanted


def test_groups_of_answers_and_hybrids_over_processes(recipe_of: Any, tmp_path: Path) -> None:
    settings = {"steps": 4, "data": {"kinds": ["color"]}}  # rows of one length, whose means are the mean of all
    names = ("loss", "distill/layer_00", "distill/layer_01", "distill/kl")
    wanted = curve(alone(recipe_of, TAUGHT, tmp_path, **settings), *names)
    taught = recipe_of(TAUGHT, batch_size=1, processes=2, **settings)
    groups = recipe_of(GROUPS, batch_size=2, accumulate=2, processes=2, steps=2)
    launched("ddp", str(SPREAD), written(taught, tmp_path), written(groups, tmp_path), str(tmp_path))
    assert curve(folder_of(taught, tmp_path), *names) == [pytest.approx(row, rel=1e-4) for row in wanted]
    rows = curve(folder_of(groups, tmp_path), "loss", "reward", "groups/equal")
    assert len(rows) == 2
    assert all(len(row) == 3 and all(math.isfinite(value) for value in row) for row in rows)


def test_groups_of_answers_by_a_model_that_is_spread(recipe_of: Any, tmp_path: Path) -> None:
    groups = recipe_of(GROUPS, batch_size=2, accumulate=2, processes=2, steps=2)
    launched("fsdp2", str(SPREAD), written(groups, tmp_path), str(tmp_path))
    rows = curve(folder_of(groups, tmp_path), "loss", "reward", "groups/equal")
    assert len(rows) == 2
    assert all(len(row) == 3 and all(math.isfinite(value) for value in row) for row in rows)


def test_questions_are_shared_where_answers_are_sampled_first(recipe_of: Any, tmp_path: Path) -> None:
    measured = {**GROUPS, "curriculum": {"samples": 2, "order": "as_given"}}
    single = alone(recipe_of, measured, tmp_path, accumulate=2, steps=1)
    recipe = recipe_of(measured, batch_size=2, processes=2, steps=1)
    launched("ddp", "-m", "allocentric.cli", "train", written(recipe, tmp_path), "--runs", str(tmp_path))
    ours, wanted = (
        {key: row for key, row in read_samples(folder).items() if key.startswith("sampled/")}
        for folder in (folder_of(recipe, tmp_path), single)
    )
    assert len(wanted) == 8
    assert ours == wanted


@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_preferences_over_processes(recipe_of: Any, given_answers: Any, tmp_path: Path, kind: str) -> None:
    stage = {"name": "dpo", "samples": 2, "max_new_tokens": 3}
    names = ("loss", "grad_norm", "rewards/margins")
    given_answers(recipe_of(stage, batch_size=2), tmp_path)
    wanted = curve(alone(recipe_of, stage, tmp_path), *names)
    recipe = recipe_of(stage, batch_size=1, processes=2)
    given_answers(recipe, tmp_path)
    launched(kind, str(SPREAD), written(recipe, tmp_path), str(tmp_path))
    assert len(wanted) == 3
    assert curve(folder_of(recipe, tmp_path), *names) == [pytest.approx(row, rel=1e-4, abs=1e-6) for row in wanted]


def test_spreading_over_cpus_is_not_silently_copying(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from accelerate.utils import DistributedType

    copies = SimpleNamespace(accelerator=SimpleNamespace(distributed_type=DistributedType.MULTI_CPU))
    require_spread(copies)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    require_spread(SimpleNamespace(accelerator=SimpleNamespace(distributed_type=DistributedType.FSDP)))
    with pytest.raises(SettingsError, match=r"accelerate spreads weights \(FSDP\) over GPUs only"):
        require_spread(copies)
