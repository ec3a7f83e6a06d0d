"""Reinforcement with one turn: rewards are scores, groups are counted, a bad setting is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl")

from allocentric.core.errors import DataError, SettingsError
from allocentric.core.runlog import read_samples
from allocentric.train.run import train


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


GROUP = {"name": "grpo", "generations": 4, "max_new_tokens": 4, "rewards": {"format": 0.5}}


@pytest.mark.slow
def test_steps_are_made_and_rewards_logged_by_question_type(recipe_of: Any, tmp_path: Path) -> None:
    result = train(recipe_of(GROUP, steps=2, batch_size=8), tmp_path)
    kept = read_samples(result.folder)
    metrics = [row for key, row in kept.items() if key.startswith("metrics/")]
    assert len(metrics) == 2
    for row in metrics:
        assert {"rewards/correct/mean", "rewards/format/mean", "groups/equal", "groups/all_unreadable"} <= set(row)
        assert any(name.startswith("score/") for name in row)
        assert row["reward"] == pytest.approx(row["rewards/correct/mean"] + 0.5 * row["rewards/format/mean"])


@pytest.mark.slow
def test_a_curriculum_is_measured_once_and_orders_the_questions(recipe_of: Any, tmp_path: Path) -> None:
    curriculum: dict[str, Any] = {"samples": 2, "order": "easy_first"}
    with pytest.raises(SettingsError, match="needs shuffle: false"):
        train(recipe_of({**GROUP, "curriculum": curriculum}, batch_size=4), tmp_path)
    recipe = recipe_of({**GROUP, "curriculum": curriculum}, shuffle=False, steps=1, batch_size=4)
    kept = read_samples(train(recipe, tmp_path).folder)
    measured = {key: row for key, row in kept.items() if key.startswith("sampled/")}
    assert len(measured) == 8
    assert all(len(row["texts"]) == len(row["scores"]) == 2 for row in measured.values())
    with pytest.raises(SettingsError, match="no question has a mean score in"):
        train(
            recipe_of({**GROUP, "curriculum": {**curriculum, "drop_below": 1.0}}, shuffle=False, batch_size=4),
            tmp_path,
        )


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_picture_tokens_are_known_as_such_in_prompts_of_every_length(
    family: str, recipe_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trl import GRPOTrainer

    learnt, seen = GRPOTrainer.compute_loss, []

    def compute_loss(self: Any, model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
        ids_BL = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        seen.append((ids_BL == model.config.image_token_id, inputs["mm_token_type_ids"] == 1, inputs["prompt_mask"]))
        return learnt(self, model, inputs, *rest, **more)

    monkeypatch.setattr(GRPOTrainer, "compute_loss", compute_loss)
    train(recipe_of(GROUP, family, steps=1, batch_size=32), tmp_path)
    ((pictures_BL, known_BL, prompt_BL),) = seen
    assert len(set(prompt_BL.sum(dim=1).tolist())) > 1  # some are shorter
    assert pictures_BL.any(dim=1).all()
    assert torch.equal(pictures_BL, known_BL)


def test_what_grpo_cannot_do_is_refused(recipe_of: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"TRL refuses these settings: .*generation"):
        train(recipe_of(GROUP, batch_size=3), tmp_path)
    with pytest.raises(SettingsError, match=r"an update takes 16 prompts .*; there are 8"):
        train(recipe_of(GROUP, batch_size=64), tmp_path)
    with pytest.raises(SettingsError, match="must be a multiple of iterations 2"):
        train(recipe_of({**GROUP, "iterations": 2}, save_every=3, batch_size=4), tmp_path)
    with pytest.raises(SettingsError, match="on_bad_sample: stop"):
        train(recipe_of(GROUP, on_bad_sample="skip", batch_size=4), tmp_path)
    with pytest.raises(SettingsError, match="as_video: false"):
        train(recipe_of(GROUP, data={"frames": {"count": 2, "as_video": True}}, batch_size=4), tmp_path)


def test_a_picture_that_cannot_be_read_names_the_item(recipe_of: Any, items_file: Path, tmp_path: Path) -> None:
    for path in items_file.parent.iterdir():
        (tmp_path / path.name).write_bytes(b"no" if path.name == "0_0.png" else path.read_bytes())
    data = {"items": str(tmp_path / "items.jsonl"), "frames": {"count": 2}}
    with pytest.raises(DataError, match=r"item item-0: .*0_0.png is not a picture"):
        train(recipe_of(GROUP, data=data, batch_size=4, shuffle=False), tmp_path)
