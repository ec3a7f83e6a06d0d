"""Eight questions about small pictures, and tiny models that are trained on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from allocentric.core.records import item_to_record
from allocentric.core.types import Choice, Item, Number, View

COLORS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "white": (240, 240, 240)}


@pytest.fixture(scope="session")
def items_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Item records: two frames of one colour each (a choice), or a number of stripes (a count)."""
    folder = tmp_path_factory.mktemp("items")
    items = []
    for index in range(8):
        name = list(COLORS)[index % 4]
        views = []
        for frame in range(2):
            picture = np.zeros((56, 56, 3), np.uint8) + np.uint8(COLORS[name])
            picture[:: 4 + index + frame] = 0
            path = Path(f"{index}_{frame}.png")
            PillowImage.fromarray(picture).save(folder / path)
            views.append(View(image=path, time_s=0.5 * frame))
        counted = index >= 4
        items.append(
            Item(
                id=f"item-{index}",
                kind="counting" if counted else "color",
                prompt="How many stripes are there?" if counted else "Which color is the wall?",
                choices=() if counted else tuple(COLORS),
                gold=Number(index, "") if counted else Choice(index % 4),
                views=tuple(views),
                scene_id=f"scene-{index}",
                source="test",
            )
        )
    file = folder / "items.jsonl"
    file.write_text("".join(json.dumps(item_to_record(item)) + "\n" for item in items))
    return file


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By family, the folder of a tiny checkpoint."""
    from allocentric.train import tiny

    folder = tmp_path_factory.mktemp("tiny")
    return {family: tiny.build(folder / family, family) for family in tiny.FAMILIES}


@pytest.fixture
def recipe_of(items_file: Path, tiny_models: dict[str, Path]) -> Any:
    """The function that makes recipes: (stage, family="qwen2_5_vl", **settings) -> TrainRecipe."""
    from allocentric.core.config import settings_from_mapping
    from allocentric.train.recipe import TrainRecipe

    def make(stage: str | dict[str, Any], family: str = "qwen2_5_vl", **settings: Any) -> TrainRecipe:
        values: dict[str, Any] = {
            "name": "test",
            "stage": {"name": stage} if isinstance(stage, str) else stage,
            "model": {"path": str(tiny_models[family])},
            "data": {"items": str(items_file), "frames": {"count": 2}},
            "steps": 3,
            "batch_size": 2,
            "learning_rate": 1e-3,
        }
        for key, value in settings.items():
            values[key] = {**values[key], **value} if isinstance(values.get(key), dict) else value
        return settings_from_mapping(TrainRecipe, values, where="test")

    return make


@pytest.fixture
def unlike_answers(items_file: Path) -> Path:
    """The same questions with answers in words, of one and of many tokens by turns."""
    records = [json.loads(line) for line in items_file.read_text().splitlines()]
    for index, record in enumerate(records):
        text = "it is a wall with a long row of stripes" if index % 2 else "red"
        record |= {"choices": [], "gold": {"type": "text", "text": text}}
    file = items_file.parent / "unlike.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


@pytest.fixture
def given_answers() -> Any:
    """The function that makes a run folder of a recipe in which answers are drawn already: (recipe, runs) -> folder.

    Right and wrong ones for colours, both wrong for counts.
    """
    from allocentric.core.runlog import RunLog, run_folder
    from allocentric.train.work import plan

    def make(recipe: Any, runs: Path) -> Path:
        job = plan(recipe)
        folder = run_folder(runs, recipe.name, job.settings)
        assert job.questions is not None
        with RunLog(folder, job.settings) as log:
            for item in job.questions.items:
                right = job.questions.answer(item) if item.kind == "color" else "none"
                texts = ["not a letter", right]
                scores = [job.questions.score(item, text).value for text in texts]
                log.append([(f"sampled/{item.id}", {"texts": texts, "scores": scores})])
        return folder

    return make
