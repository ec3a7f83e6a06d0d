"""Supervised fine-tuning: what is learnt from, what is kept, and what wrong input does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl")

from allocentric.core.errors import DataError, SettingsError, UserError
from allocentric.core.runlog import read_samples
from allocentric.train import sft
from allocentric.train.run import train
from allocentric.train.work import Work, part_of, plan


def losses(folder: Path) -> list[float]:
    return [row["loss"] for key, row in sorted(read_samples(folder).items()) if key.startswith("metrics/")]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_a_run_leaves_a_checkpoint_curves_and_answers(recipe_of: Any, items_file: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText

    learnt = {"items": str(items_file), "frames": {"count": 2}, "kinds": ["color"]}
    kept_apart = {"data": {**learnt, "kinds": ["counting"]}, "every": 3, "max_new_tokens": 3}
    recipe = recipe_of("sft", steps=4, save_every=2, data=learnt, held_out=kept_apart, learning_rate=5e-3)
    result = train(recipe, tmp_path)
    curve = losses(result.folder)
    assert len(curve) == 4
    assert curve[-1] < curve[0] - 0.3
    # Held-out questions before the first step, every third, and after the last; each answer with its score.
    assert [row["step"] for row in result.results["held_out"]] == [0, 3, 4]
    kept = read_samples(result.folder)
    answers = [key for key in kept if key.startswith("held_out/") and key.count("/") == 2]
    assert len(answers) == 3 * 4
    assert {kept[key]["kind"] for key in answers} == {"counting"}
    assert {"config.yaml", "env.json", "data.json", "metrics.csv"} <= {path.name for path in result.folder.iterdir()}
    versions = json.loads((result.folder / "env.json").read_text())["environments"][0]["packages"]
    assert {"trl", "transformers", "torch", "peft"} <= set(versions)
    # Plain transformers loads the checkpoints and the final model, which are the same after the last step.
    last = AutoModelForImageTextToText.from_pretrained(result.folder / "checkpoints" / "checkpoint-4")
    final = AutoModelForImageTextToText.from_pretrained(result.folder / "model")
    for ours, theirs in zip(last.parameters(), final.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    # The same command again does nothing and gives the same results.
    again = train(recipe, tmp_path)
    assert again.steps == 0
    assert again.results == result.results


def test_passes_of_an_update_weigh_by_their_tokens(recipe_of: Any, unlike_answers: Path, tmp_path: Path) -> None:
    """One pass over two answers of unlike lengths is two passes over one each."""
    settings = {"steps": 2, "shuffle": False, "data": {"items": str(unlike_answers)}}
    curves = []
    for passes in (1, 2):
        recipe = recipe_of("sft", batch_size=2 // passes, accumulate=passes, **settings)
        kept = read_samples(train(recipe, tmp_path).folder)
        curves.append([(row["loss"], row["grad_norm"]) for key, row in sorted(kept.items()) if "metrics/" in key])
    assert len(curves[0]) == 2
    assert curves[1] == [pytest.approx(row, rel=1e-5) for row in curves[0]]


@pytest.mark.slow
def test_frozen_parts_stay_and_the_rest_moves(recipe_of: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText

    recipe = recipe_of("sft", model={"freeze": ["vision", "merger", "embeddings"]}, steps=2)
    result = train(recipe, tmp_path)
    before = dict(AutoModelForImageTextToText.from_pretrained(recipe.model.path).named_parameters())
    after = dict(AutoModelForImageTextToText.from_pretrained(result.folder / "model").named_parameters())
    moved = {part_of(name) for name, value in after.items() if not torch.equal(value, before[name])}
    assert "language" in moved
    assert not moved & {"vision", "merger", "embeddings"}


@pytest.mark.slow
def test_adapters_are_merged_into_a_plain_checkpoint(recipe_of: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText

    lora = {"rank": 4, "alpha": 8, "parts": ["language"]}
    recipe = recipe_of("sft", model={"lora": lora}, steps=2, save_every=1)
    result = train(recipe, tmp_path)
    assert (result.folder / "checkpoints" / "checkpoint-2" / "adapter_model.safetensors").exists()
    before = dict(AutoModelForImageTextToText.from_pretrained(recipe.model.path).named_parameters())
    after = dict(AutoModelForImageTextToText.from_pretrained(result.folder / "model").named_parameters())
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved
    assert {part_of(name) for name in moved} == {"language"}
    assert all("proj" in name for name in moved)


def test_a_picture_that_cannot_be_read_stops_or_is_counted(recipe_of: Any, items_file: Path, tmp_path: Path) -> None:
    """In the middle of an epoch: the file goes bad after the run began."""
    folder = tmp_path / "items"
    folder.mkdir()
    for path in items_file.parent.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "5_1.png").write_bytes(b"not a picture")
    data = {"items": str(folder / "items.jsonl"), "frames": {"count": 2}}
    with pytest.raises(DataError, match=r"item-5.*5_1.png is not a picture"):
        train(recipe_of("sft", data=data, steps=4, save_every=1), tmp_path / "runs")
    result = train(recipe_of("sft", data=data, steps=4, on_bad_sample="skip"), tmp_path / "runs")
    assert result.results["skipped"] == ["item-5"]
    assert "skipped item item-5" in (result.folder / "log.txt").read_text()


def test_a_prompt_longer_than_the_context_names_the_item(recipe_of: Any, tmp_path: Path) -> None:
    work = Work(plan(recipe_of("sft")), tmp_path, None)
    work.checkpoint.model.config.get_text_config().max_position_embeddings = 40
    asked = work.questions
    with pytest.raises(DataError, match=r"item item-0: a prompt of \d+ tokens and 2 of the answer exceed"):
        work.encoder.example(asked.prompt(asked.items[0]), asked.answer(asked.items[0]))


@pytest.mark.slow
def test_a_loss_that_is_no_number_ends_the_run(recipe_of: Any, tmp_path: Path) -> None:
    recipe = recipe_of("sft", learning_rate=1e30, max_grad_norm=1e30, schedule="constant", steps=4, save_every=1)
    with pytest.raises(UserError, match=r"the loss is (nan|inf) at step [23] \(item-"):
        train(recipe, tmp_path)


def test_wrong_settings_are_named(recipe_of: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown training stage 'stf'; did you mean 'sft'"):
        plan(recipe_of("stf"))
    with pytest.raises(SettingsError, match="processes: 2, 1 were launched"):
        train(recipe_of("sft", processes=2), tmp_path)
    with pytest.raises(SettingsError, match="exactly one of benchmark, set, items and episodes"):
        recipe_of("sft", data={"set": "x"})
    work = Work(plan(recipe_of("sft", trainer={"optimm": "sgd"})), tmp_path, None)
    with pytest.raises(SettingsError, match="no field 'optimm'; did you mean 'optim'"):
        sft.trainer(work, sft.Settings())
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="device 'cuda' was asked for, but torch sees no GPU"):
            train(recipe_of("sft", device="cuda"), tmp_path)


def test_held_out_items_are_not_trained_on(recipe_of: Any, items_file: Path) -> None:
    held_out = {"data": {"items": str(items_file)}, "every": 1}
    with pytest.raises(SettingsError, match="8 held-out items are trained on, item-0 among them"):
        plan(recipe_of("sft", held_out=held_out))


@pytest.mark.slow
def test_changed_data_are_refused(recipe_of: Any, items_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    lines = items_file.read_text().splitlines()
    file.write_text("\n".join(lines))
    recipe = recipe_of("sft", data={"items": str(file), "frames": {"count": 0}})
    train(recipe, tmp_path)
    file.write_text("\n".join(lines[1:]))
    with pytest.raises(DataError, match="changed since it began"):
        train(recipe, tmp_path)
