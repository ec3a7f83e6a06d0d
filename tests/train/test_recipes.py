"""Every recipe of configs/train resolves and builds its trainer on a tiny model of its family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

pytest.importorskip("trl")

from allocentric.core.catalog import STAGES
from allocentric.core.config import settings_from_mapping
from allocentric.core.runlog import RunLog
from allocentric.train.recipe import TrainRecipe
from allocentric.train.work import Work, plan

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "train"
RECIPES = sorted(FOLDER.glob("*.yaml"))


def shrunk(values: dict[str, Any], items: Path, models: dict[str, Path], panoramas: Path) -> dict[str, Any]:
    """The recipe on this machine: a tiny model of its family, small pictures, one CPU process; all else as it is."""
    name = values["model"]["path"].lower()
    family = "qwen3_vl" if "qwen3-vl" in name or "qwen3_vl" in name else "qwen2_5_vl"
    values["model"] |= {"path": str(models[family]), "attn_implementation": None}
    values |= {"device": "cpu", "processes": 1, "precision": "fp32", "tracker": None, "held_out": None}
    if values["stage"].get("vllm"):
        values["stage"]["vllm"] = "off"
    generations = values["stage"].get("generations", 1)
    values["batch_size"] = max(values.get("batch_size", 1), generations)
    if values["stage"].get("curriculum"):
        values["stage"]["curriculum"]["drop_from"] = 1.01  # of answers drawn by this test, none is left out
    if values["stage"]["name"] == "turns":
        values["stage"] |= {"folder": str(panoramas), "settings": {"width_px": 64, "height_px": 36}}
        values["accumulate"] = 1  # there are few tasks
    if "episodes" in values.get("data", {}):
        small = {"folder": str(panoramas), "settings": {"width_px": 64, "height_px": 36}, "max_turns": 10}
        values["data"]["episodes"] |= small
        values["data"]["episodes"].pop("grid_rad", None)  # steps for wide targets; this test's are narrow
    elif "data" in values:
        values["data"] = {"items": str(items), "answer": values["data"].get("answer", "short"), "frames": {"count": 2}}
    return values


def give_answers(work: Work) -> None:
    """Answers that pairs are made of, as an untrained model would not draw them: a right one and one that is none."""
    asked = work.questions
    with RunLog(work.folder, work.job.settings) as log:
        for item in asked.items:
            texts = [asked.answer(item), "none"]
            scores = [asked.score(item, text).value for text in texts]
            log.append([(f"sampled/{item.id}", {"texts": texts, "scores": scores})])


def test_there_are_recipes() -> None:
    assert len(RECIPES) >= 8


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_valid(path: Path) -> None:
    recipe = settings_from_mapping(TrainRecipe, yaml.safe_load(path.read_text()), where=path.name)
    stage = {key: value for key, value in recipe.stage.items() if key != "name"}
    settings_from_mapping(STAGES.load(recipe.stage["name"]).Settings, stage, where=path.name)


@pytest.mark.slow
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_builds_its_trainer(
    path: Path, items_file: Path, tiny_models: dict[str, Path], panorama_folder: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    values = shrunk(yaml.safe_load(path.read_text()), items_file, tiny_models, panorama_folder)
    work = Work(plan(settings_from_mapping(TrainRecipe, values, where=path.name)), tmp_path / "run", None)
    if work.job.stage == "dpo":
        give_answers(work)
    trainer = STAGES.load(work.job.stage).trainer(work, work.job.stage_settings)
    assert trainer.args.learning_rate == values["learning_rate"]
    assert trainer.args.max_steps == values["steps"]
    assert next(iter(trainer.get_train_dataloader()))
