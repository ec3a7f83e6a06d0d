"""Probing a checkpoint: the rows are those of one eager pass over everything, and its attention is put back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

from allocentric.agents.focus import vicrop
from allocentric.agents.focus.probe import AttentionProbe, eager_attention
from allocentric.agents.models import _checkpoint
from allocentric.train import tiny

FAMILIES = ["qwen2_5_vl", "qwen3_vl"]


@pytest.fixture(scope="module", params=FAMILIES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tiny.build(tmp_path_factory.mktemp("tiny") / request.param, request.param)
    return load(folder)


def load(folder: Path, attention: str | None = None) -> Any:
    return _checkpoint.load(str(folder), revision=None, dtype="float32", device="cpu", attn_implementation=attention)


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((112, 168, 3), (128, 128, 3))]


def test_rows_are_those_of_one_pass(checkpoint: Any) -> None:
    import torch

    model = checkpoint.model
    probe = AttentionProbe(model, checkpoint.processor)
    implementation = model.config.text_config._attn_implementation
    assert implementation == "sdpa"
    found = probe(pictures(), "Where?", steps=3)
    towers = (model, model.model.language_model, model.model.visual)
    assert {tower.config._attn_implementation for tower in towers} == {"sdpa"}
    inputs = probe.encode(pictures(), "Where?")
    ids = inputs["input_ids"]
    merge = model.config.vision_config.spatial_merge_size
    shapes = [(int(r) // merge, int(c) // merge) for _, r, c in inputs["image_grid_thw"].tolist()]
    assert [one.shape for one in found[0]] == [(2, *shape) for shape in shapes]
    with torch.no_grad(), eager_attention(model):
        first = model(**inputs, output_attentions=True)
    where = torch.nonzero(ids[0] == model.config.image_token_id).flatten()
    for layer in range(2):
        row = first.attentions[layer][0, :, -1].mean(0)[where].numpy()
        np.testing.assert_allclose(np.concatenate([one[layer].ravel() for one in found[0]]), row, atol=1e-6, rtol=1e-4)
    assert 1 <= len(found) <= 3


def test_later_steps_follow_the_answer(checkpoint: Any) -> None:
    import torch

    model = checkpoint.model
    probe = AttentionProbe(model, checkpoint.processor)
    found = probe(pictures()[:1], "Where?", steps=2)
    inputs = probe.encode(pictures()[:1], "Where?")
    with torch.no_grad(), eager_attention(model):
        said = model(**inputs).logits[:, -1:].argmax(-1)
        grown = dict(inputs)
        grown["input_ids"] = torch.cat([inputs["input_ids"], said], 1)
        for key in ("attention_mask", "mm_token_type_ids"):
            grown[key] = torch.cat([inputs[key], torch.full((1, 1), int(key == "attention_mask"))], 1)
        again = model(**grown, output_attentions=True)
    where = torch.nonzero(inputs["input_ids"][0] == model.config.image_token_id).flatten()
    assert len(found) == 2
    row = again.attentions[1][0, :, -1].mean(0)[where].numpy()
    np.testing.assert_allclose(found[1][0][1].ravel(), row, atol=1e-6, rtol=1e-4)


def test_attention_is_put_back_after_an_error(checkpoint: Any) -> None:
    model = checkpoint.model
    before = model.config.text_config._attn_implementation

    def fail() -> None:
        with eager_attention(model):
            assert model.config.text_config._attn_implementation == "eager"
            raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        fail()
    assert model.config.text_config._attn_implementation == before


def test_a_method_runs_on_a_checkpoint(checkpoint: Any) -> None:
    probe = AttentionProbe(checkpoint.model, checkpoint.processor)
    focus = vicrop.build(vicrop.Settings(layer=1, window_px=56))
    found = focus.look(probe, pictures(), "Where is it?")
    assert len(found.crops) == 1
    again = focus.look(probe, pictures(), "Where is it?")
    assert again.crops[0].box_px == found.crops[0].box_px


def test_maps_are_of_the_layers_that_attend(tmp_path: Path) -> None:
    made = load(tiny.build(tmp_path / "hybrid", "qwen3_5"))
    probe = AttentionProbe(made.model, made.processor)
    assert probe.layers == 1
    assert probe(pictures()[:1], "Where?")[0][0].shape[0] == 1
