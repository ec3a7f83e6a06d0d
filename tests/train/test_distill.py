"""Distillation: the losses are those of a direct transcription, fall, and leave the teacher alone."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("trl")

from allocentric.core.config import settings_from_mapping
from allocentric.core.errors import SettingsError
from allocentric.core.runlog import read_samples
from allocentric.sparse_attn.recipe import ConversionRecipe
from allocentric.train import distill
from allocentric.train.run import train
from allocentric.train.work import Work, plan

BOTH: dict[str, Any] = {"mixers": [{"mixer": "gated_deltanet", "settings": {"chunk": 16}}]}
SAME: dict[str, Any] = {"mixers": [{"mixer": "sliding_window", "settings": {"window": 4096}}]}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def stage(convert: Any = BOTH, **more: Any) -> dict[str, Any]:
    return {"name": "distill", "convert": convert, **more}


def curves(folder: Path) -> dict[str, list[float]]:
    rows = [row for key, row in sorted(read_samples(folder).items()) if key.startswith("metrics/")]
    names = {name for row in rows for name in row}
    return {name: [row[name] for row in rows if name in row] for name in names}


def test_the_divergence_is_that_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(size=(2, 5, 7))
    wanted = 0.0
    for a, b in zip(ours / 2.0, theirs / 2.0, strict=True):
        p, q = np.exp(b) / np.exp(b).sum(), np.exp(a) / np.exp(a).sum()
        wanted += sum(p[v] * np.log(p[v] / q[v]) for v in range(7))
    got = distill.divergence(torch.tensor(ours), torch.tensor(theirs), 2.0)
    assert got.item() == pytest.approx(4 * wanted / 5, rel=1e-5)
    assert distill.divergence(torch.tensor(ours), torch.tensor(ours), 2.0).item() == pytest.approx(0.0, abs=1e-7)


@pytest.mark.slow
def test_layers_then_answers_come_nearer_to_the_teacher(
    recipe_of: Any, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    from transformers import AutoModelForImageTextToText

    bytes_before = {path: hashlib.sha256(path.read_bytes()).digest() for path in tiny_models["qwen2_5_vl"].iterdir()}
    settings = {"steps": 16, "batch_size": 4, "save_every": 8, "learning_rate": 3e-3, "schedule": "constant"}
    recipe = recipe_of(stage(layers={"steps": 8}, kl={"learning_rate": 1e-3}), **settings)
    result = train(recipe, tmp_path)
    kept = curves(result.folder)
    for name in ("distill/layers", "distill/layer_00", "distill/layer_01"):
        assert len(kept[name]) == 8
        assert kept[name][-1] < 0.7 * kept[name][0], name
    assert len(kept["distill/kl"]) == 8
    assert kept["distill/kl"][-1] < 0.7 * kept["distill/kl"][0]
    assert kept["learning_rate"] == [3e-3] * 8 + [1e-3] * 8
    assert bytes_before == {path: hashlib.sha256(path.read_bytes()).digest() for path in bytes_before}
    # The first phase moved mixers only, and what is left is a hybrid that plain transformers loads.
    teacher = AutoModelForImageTextToText.from_pretrained(recipe.model.path).state_dict()
    early, report = AutoModelForImageTextToText.from_pretrained(
        result.folder / "checkpoints" / "checkpoint-8", output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    shared = {name for name in early.state_dict() if name in teacher}
    assert all(torch.equal(early.state_dict()[name], teacher[name]) for name in shared)
    last = AutoModelForImageTextToText.from_pretrained(result.folder / "model").state_dict()
    assert set(last) - shared
    assert all(".self_attn.mixer." in name for name in set(last) - shared)
    assert any(not torch.equal(last[name], teacher[name]) for name in shared)


@pytest.mark.parametrize("match", ["mixer", pytest.param("hidden", marks=pytest.mark.slow)])
def test_every_layer_is_given_the_hidden_states_of_the_teacher(match: str, recipe_of: Any, tmp_path: Path) -> None:
    """Against teachers in which only the layer in question has been replaced, so that nothing before it differs."""
    from transformers import AutoModelForImageTextToText

    from allocentric.sparse_attn.convert import become
    from allocentric.sparse_attn.register import layers_of, text_tower

    recipe = recipe_of(stage(layers={"steps": 1, "match": match}), steps=1, shuffle=False)
    kept = curves(train(recipe, tmp_path).folder)
    work = Work(plan(recipe), tmp_path, None)
    student = AutoModelForImageTextToText.from_pretrained(recipe.model.path)
    become(student, settings_from_mapping(ConversionRecipe, BOTH, where="test"), seed=recipe.seed)
    asked = work.questions
    errors: dict[int, list[torch.Tensor]] = {0: [], 1: []}
    for item in asked.items[:2]:
        example = work.encoder.example(asked.prompt(item), asked.answer(item))
        example.pop("labels")
        for index in errors:
            said = []
            for replaced in (False, True):
                model = AutoModelForImageTextToText.from_pretrained(recipe.model.path)
                if replaced:
                    one = {"mixers": [{**BOTH["mixers"][0], "layers": [index]}]}
                    become(model, settings_from_mapping(ConversionRecipe, one, where="test"))
                    layers_of(text_tower(model))[index].load_state_dict(
                        layers_of(text_tower(student))[index].state_dict()
                    )
                layer = layers_of(text_tower(model))[index]
                seen: list[Any] = []
                module = layer if match == "hidden" else layer.self_attn
                module.register_forward_hook(lambda _, __, out, seen=seen: seen.append(out))
                with torch.no_grad():
                    model(**example, use_cache=False)
                said.append(seen[0][0] if isinstance(seen[0], tuple) else seen[0])
            errors[index].append((said[0] - said[1]).square()[0])
    for index, rows in errors.items():
        wanted = torch.cat(rows).mean().item()
        assert wanted > 0
        assert kept[f"distill/layer_{index:02d}"][0] == pytest.approx(wanted, rel=1e-3)


def test_a_student_that_equals_its_teacher_has_nothing_to_learn(recipe_of: Any, tmp_path: Path) -> None:
    recipe = recipe_of(stage(SAME, layers={"steps": 1}), steps=2, learning_rate=1e-12)
    kept = curves(train(recipe, tmp_path).folder)
    assert kept["distill/layers"] == [pytest.approx(0.0, abs=1e-9)]
    assert kept["distill/kl"] == [pytest.approx(0.0, abs=1e-6)]
    assert kept["distill/same_token"] == [1.0]
    assert kept["distill/cross_entropy"][0] > 0.1


def test_a_recipe_of_conversion_by_its_path_and_what_does_not_fit(
    recipe_of: Any, repository: Path, tmp_path: Path
) -> None:
    job = plan(recipe_of(stage(str(repository / "configs/convert/titans_mag.yaml"))))
    assert job.settings["stage"]["convert"]["mixers"][0]["mixer"] == "titans"

    def refused(values: dict[str, Any], **more: Any) -> None:
        work = Work(plan(recipe_of(values, **more)), tmp_path, None)
        distill.trainer(work, work.job.stage_settings)  # type: ignore[arg-type]

    with pytest.raises(SettingsError, match=r"layers\.steps 9 is more than the recipe's steps 3"):
        refused(stage(layers={"steps": 9}))
    with pytest.raises(SettingsError, match="name the teacher"):
        refused(stage(None))
    with pytest.raises(SettingsError, match=r"remove model\.lora"):
        refused(stage(), model={"lora": {"rank": 2}})
    plain = {"text": [{"method": "sliding_window", "settings": {"window": 8}}]}
    with pytest.raises(SettingsError, match="no new weights to train"):
        refused(stage(plain, layers={"steps": 1}))
