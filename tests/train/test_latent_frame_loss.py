"""Next-latent-frame prediction: the loss of a direct transcription, and a head that travels with its model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("trl")

from allocentric.core.errors import DataError
from allocentric.core.runlog import read_samples
from allocentric.train import latent_frame_loss
from allocentric.train.data import batch_of
from allocentric.train.latent_frame_loss import FILE, LatentFrame, resized, token_features
from allocentric.train.run import train
from allocentric.train.work import Work, plan

STAGE: dict[str, Any] = {"name": "sft", "latent_frame": {"weight": 0.1}}
SLOW_FAMILIES = [pytest.param(family, marks=pytest.mark.slow) for family in ("qwen3_vl", "qwen3_5")]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def curve(folder: Path, name: str) -> list[float]:
    return [row[name] for key, row in sorted(read_samples(folder).items()) if key.startswith("metrics/")]


@pytest.mark.parametrize("family", ["qwen2_5_vl", *SLOW_FAMILIES])
def test_features_stand_in_the_order_of_the_tokens(family: str, recipe_of: Any, tmp_path: Path) -> None:
    """The merger's own outputs, put through the same reordering, are the features the language model gets."""
    work = Work(plan(recipe_of("sft", family)), tmp_path, None)
    tower = work.checkpoint.model.model.visual
    grid_thw = torch.tensor([[1, 10, 6], [2, 4, 8]])
    torch.manual_seed(0)
    width = tower.patch_embed.proj.weight[0].numel()
    with torch.no_grad():
        out = tower(torch.randn(int(grid_thw.prod(1).sum()), width), grid_thw=grid_thw)
        merged_ND = tower.merger(out.last_hidden_state)
    patches = merged_ND.repeat_interleave(4, dim=0)
    torch.testing.assert_close(token_features(tower, patches, grid_thw), out.pooler_output)


@pytest.mark.parametrize("family", ["qwen2_5_vl", *SLOW_FAMILIES])
def test_the_loss_is_that_of_a_loop_and_reaches_the_model(family: str, recipe_of: Any, tmp_path: Path) -> None:
    work = Work(plan(recipe_of("sft", family)), tmp_path, None)
    model, asked = work.checkpoint.model, work.questions
    items = [asked.items[0], asked.items[5]]  # prompts of different lengths
    examples = [work.encoder.example(asked.prompt(item), asked.answer(item)) for item in items]
    watch = LatentFrame(model, seed=3)
    wanted = []
    model.eval()
    for example in examples:
        with torch.no_grad():
            hidden_LE = model.model(**{k: v for k, v in example.items() if k != "labels"}).last_hidden_state[0]
            vision = model.model.visual(example["pixel_values"], grid_thw=example["image_grid_thw"])
        features_ND = token_features(model.model.visual, vision.last_hidden_state, example["image_grid_thw"]).numpy()
        places = [
            k for k, token in enumerate(example["input_ids"][0].tolist()) if token == model.config.image_token_id
        ]
        count = len(places) // 2
        squares, cosines = [], []
        for k in range(count):
            said_D = watch.head(hidden_LE[places[k]]).detach().numpy()
            next_D = features_ND[count + k]
            squares.append(np.mean((said_D - next_D) ** 2))
            cosines.append(1 - said_D @ next_D / np.sqrt((said_D @ said_D) * (next_D @ next_D)))
        wanted.append((np.mean(squares), np.mean(cosines)))
    model.train()
    batch = batch_of(examples, pad_token_id=work.checkpoint.processor.tokenizer.pad_token_id)
    model(**batch)
    mse, cosine = np.mean(wanted, axis=0)
    assert watch.losses["mse"].item() == pytest.approx(mse, rel=1e-4)
    assert watch.losses["cosine"].item() == pytest.approx(cosine, rel=1e-4)
    assert watch.losses["loss"].item() == pytest.approx(mse + cosine, rel=1e-4)
    watch.losses["loss"].backward()
    reached = {name for name, weight in model.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert any("language_model.layers.0" in name for name in reached)
    assert any("latent_frame_head" in name for name in reached)
    assert not any("lm_head" in name for name in reached)


def test_slices_of_a_video_follow_each_other_and_conversations_do_not(recipe_of: Any, tmp_path: Path) -> None:
    model = Work(plan(recipe_of("sft")), tmp_path, None).checkpoint.model
    watch = LatentFrame(model, seed=0)
    token = model.config.video_token_id
    ids_BL = torch.zeros(2, 20, dtype=torch.long)
    ids_BL[0, 2:14] = token  # three slices of two by two tokens
    ids_BL[1, 5:9] = token  # one slice
    grids = torch.tensor([[3, 4, 4], [1, 4, 4]])
    features_ND = torch.arange(16.0)[:, None].expand(16, 3)
    frames = watch.frames(ids_BL, {"video_grid_thw": grids}, [features_ND])
    assert [(frame.row, frame.sequence, frame.grid) for frame in frames] == [
        (0, ("video", 0), (2, 2)), (0, ("video", 0), (2, 2)), (0, ("video", 0), (2, 2)), (1, ("video", 1), (2, 2)),
    ]  # fmt: skip
    assert [frame.places_P.tolist() for frame in frames[1:]] == [[6, 7, 8, 9], [10, 11, 12, 13], [5, 6, 7, 8]]
    assert frames[3].features_PD[:, 0].tolist() == [12.0, 13.0, 14.0, 15.0]
    assert watch._losses(torch.zeros(2, 20, model.config.get_text_config().hidden_size), frames[2:])["loss"] == 0


def test_features_on_another_grid_are_interpolated_between_centres() -> None:
    ramp_PD = torch.tensor([[0.0], [1.0]])
    assert resized(ramp_PD, (1, 2), (1, 4)).flatten().tolist() == pytest.approx([0.0, 0.25, 0.75, 1.0])
    assert resized(ramp_PD, (2, 1), (4, 2)).reshape(4, 2).tolist() == [[0, 0], [0.25, 0.25], [0.75, 0.75], [1, 1]]


@pytest.mark.slow
def test_a_run_learns_saves_its_head_beside_the_model_and_resumes(recipe_of: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModelForImageTextToText

    settings = {"steps": 6, "save_every": 3, "batch_size": 4, "accumulate": 2, "learning_rate": 3e-3}
    recipe = recipe_of(STAGE, model={"freeze": ["vision"]}, **settings)
    folder = train(recipe, tmp_path).folder
    curves = {name: curve(folder, name) for name in ("loss", "aux/latent_frame", "aux/latent_frame_cosine")}
    assert curves["aux/latent_frame"][-1] < 0.9 * curves["aux/latent_frame"][0]
    _, report = AutoModelForImageTextToText.from_pretrained(folder / "model", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    head = load_file(folder / "model" / FILE)
    assert set(head) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    # From the checkpoint in the middle, as an interrupted run continues.
    (folder / "results.json").unlink()
    shutil.rmtree(folder / "checkpoints" / "checkpoint-6")
    assert train(recipe, tmp_path).steps == 3
    for name, values in curves.items():
        assert curve(folder, name) == [pytest.approx(value, rel=1e-5) for value in values]
    assert all(torch.equal(value, head[name]) for name, value in load_file(folder / "model" / FILE).items())
    # A next run that starts from this model starts from its head.
    work = Work(plan(recipe_of(STAGE, model={"path": str(folder / "model")})), tmp_path, None)
    from allocentric.train import sft

    made = sft.trainer(work, work.job.stage_settings)  # type: ignore[arg-type]
    assert torch.equal(made.latent_frame.head[0].weight, head["0.weight"])
    (tmp_path / FILE).write_bytes(b"no weights")
    with pytest.raises(DataError, match="is no head of this model"):
        made.latent_frame.load(tmp_path)


@pytest.mark.slow
def test_a_head_learns_beside_adapters(recipe_of: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    recipe = recipe_of(STAGE, model={"lora": {"rank": 2}}, steps=2, save_every=1)
    folder = train(recipe, tmp_path).folder
    early, last = (load_file(folder / "checkpoints" / f"checkpoint-{step}" / FILE) for step in (1, 2))
    assert not torch.equal(early["0.weight"], last["0.weight"])
    assert torch.equal(load_file(folder / "model" / FILE)["0.weight"], last["0.weight"])


def test_a_model_without_a_known_encoder_is_refused() -> None:
    from types import SimpleNamespace

    from allocentric.core.errors import SettingsError

    model = torch.nn.Linear(2, 2)
    model.config = SimpleNamespace()  # type: ignore[assignment]
    with pytest.raises(SettingsError, match="needs a picture encoder as Qwen-VL has it; Linear has none"):
        latent_frame_loss.LatentFrame(model, seed=0)
