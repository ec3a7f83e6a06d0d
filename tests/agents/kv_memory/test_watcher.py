"""A watching model: as long as all is kept it says what full attention says; what it keeps is bounded; bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from vlm_samples import model_of

from allocentric.agents.kv_memory.watcher import LatentFrameHead, Watcher, surprise_of
from allocentric.agents.memory.errors import (
    BudgetTooSmallError,
    DuplicateTimeError,
    FeatureSizeError,
    FrameOrderError,
    NothingSeenError,
)
from allocentric.core.catalog import KV_MEMORY
from allocentric.core.errors import UserError
from allocentric.core.types import View

CACHES = ["kv_retrieval", "sink_window", "surprise"]
QUESTION = "How many chairs are in this room?"


class Checkpoint:
    """A model whose attention matters, with the processor of its family."""

    def __init__(self, family: str, folder: Any) -> None:
        from allocentric.agents.models import _checkpoint
        from allocentric.train import tiny

        tiny.build(folder, family)
        self.processor = _checkpoint.load(
            str(folder), revision=None, dtype="float32", device="cpu", attn_implementation=None
        ).processor
        self.model = model_of(family)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    base = tmp_path_factory.mktemp("models")
    return {family: Checkpoint(family, base / family) for family in ("qwen2_5_vl", "qwen3_vl")}


def frame(k: int, size: tuple[int, int] = (112, 168)) -> View:
    picture = np.random.default_rng(k).integers(0, 256, (*size, 3), dtype=np.uint8)
    return View(image=picture, time_s=float(k))


def watcher(checkpoint: Any, name: str, **settings: Any) -> Watcher:
    policy = KV_MEMORY.load(name)
    return Watcher(checkpoint, policy, policy.Settings(**settings), system="You watch.")


def conversation(checkpoint: Checkpoint, views: list[View], question: str) -> Any:
    """Inputs of the whole conversation at once."""
    from PIL import Image

    content: list[dict[str, Any]] = [{"type": "image", "image": Image.fromarray(view.image)} for view in views]
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "You watch."}]},
        {"role": "user", "content": [*content, {"type": "text", "text": question}]},
    ]
    return checkpoint.processor.apply_chat_template(
        [messages], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )


@torch.no_grad()
def full(checkpoint: Checkpoint, views: list[View], question: str) -> Any:
    """Logits of one pass over it with eager attention."""
    checkpoint.model.set_attn_implementation("eager")
    out = checkpoint.model(**conversation(checkpoint, views, question)).logits[0]
    checkpoint.model.set_attn_implementation("sdpa")
    return out


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize("name", CACHES)
def test_it_is_full_attention_while_all_is_kept(checkpoints: Any, family: str, name: str) -> None:
    checkpoint = checkpoints[family]
    settings: dict[str, Any] = {"surprise": {"threshold": 0.0}}.get(name, {})
    watching = watcher(checkpoint, name, **settings)
    views = [frame(k) for k in range(5)]
    for view in views:
        watching.observe(view)
    found = watching.logits(QUESTION)
    wanted = full(checkpoint, views, QUESTION)[-len(found) :]
    scale = float(wanted.abs().max())
    assert float((found - wanted).abs().max()) < 2e-5 * scale
    again = watching.logits(QUESTION)  # asking leaves no trace
    assert torch.equal(found, again)
    watching.observe(frame(5))
    wanted = full(checkpoint, [*views, frame(5)], QUESTION)[-len(found) :]
    assert float((watching.logits(QUESTION) - wanted).abs().max()) < 2e-5 * scale


def test_answers_are_those_of_generate(checkpoints: Any) -> None:
    checkpoint = checkpoints["qwen2_5_vl"]
    watching = watcher(checkpoint, "sink_window", text_tokens=0)
    views = [frame(k) for k in range(3)]
    for view in views:
        watching.observe(view)
    said = watching.answer(QUESTION, max_new_tokens=6)
    inputs = conversation(checkpoint, views, QUESTION)
    out = checkpoint.model.generate(**inputs, max_new_tokens=6)[0, inputs["input_ids"].shape[1] :]
    assert said.text == checkpoint.processor.tokenizer.decode(out.tolist(), skip_special_tokens=True)
    assert said.completion_tokens == 6
    assert not said.complete
    assert said.attended_tokens > 3 * 24
    assert watching.answer(QUESTION, max_new_tokens=6).text == said.text


@pytest.mark.parametrize("name", CACHES)
def test_bytes_stay_within_the_budget(checkpoints: Any, name: str) -> None:
    checkpoint = checkpoints["qwen3_vl"]
    probe = watcher(checkpoint, name)
    probe.observe(frame(0))
    one = sum(probe.nbytes().values())
    budget = 5 * one
    settings: dict[str, Any] = {"budget_bytes": budget}
    if name == "surprise":
        settings |= {"window": 2, "top_k": 2, "threshold": 0.9}
    watching = watcher(checkpoint, name, **settings)
    sizes = []
    for k in range(25):
        watching.observe(frame(k))
        sizes.append(sum(watching.nbytes().values()))
        assert (
            sizes[-1]
            == sum(block.nbytes for layer in watching._memory.layers for block in [*layer.first, *layer.blocks()])
            + watching.nbytes()["latent"]
        )
    assert max(sizes) == watching.peak_bytes <= budget
    assert watching.peak_bytes > 0.6 * budget
    assert watching.answer(QUESTION, max_new_tokens=2).completion_tokens <= 2
    watching.reset()
    assert watching.frames_seen == 0
    watching.observe(frame(0))
    assert sum(watching.nbytes().values()) == one


def test_retrieval_bounds_what_an_answer_reads(checkpoints: Any) -> None:
    few, many = (watcher(checkpoints["qwen2_5_vl"], "kv_retrieval", top_k=count, window=3) for count in (2, 50))
    for k in range(8):
        few.observe(frame(k))
        many.observe(frame(k))
    tokens = 24 + 2
    difference = (
        many.answer("A?", max_new_tokens=1).attended_tokens - few.answer("A?", max_new_tokens=1).attended_tokens
    )
    assert difference == 6 * tokens


def test_what_was_said_is_kept_where_the_policy_says_so(checkpoints: Any) -> None:
    watching = watcher(checkpoints["qwen2_5_vl"], "sink_window", text_tokens=200)
    watching.observe(frame(0))
    watching.answer(QUESTION, max_new_tokens=3)
    text = watching.nbytes()["text"]
    assert text > 0
    for k in range(1, 4):
        watching.observe(frame(k))
        watching.answer(QUESTION, max_new_tokens=3)
    kept = [block.tokens for block in watching._memory.layers[0].blocks() if not block.times_s]
    assert sum(kept) <= 200
    watching.observe(frame(30))
    frames = [block.times_s for block in watching._memory.layers[0].blocks() if block.times_s]
    assert frames == [(30.0,)]


def test_surprise_by_the_frame_before_and_by_a_head(checkpoints: Any) -> None:
    checkpoint = checkpoints["qwen2_5_vl"]
    policy = KV_MEMORY.load("surprise")
    plain = watcher(checkpoint, "surprise")
    same = View(image=frame(0).image, time_s=1.0)
    for view in (frame(0), same):
        plain.observe(view)
    assert plain.last_surprise == pytest.approx(0.0, abs=1e-6)
    plain.observe(frame(2))
    assert plain.last_surprise is not None
    assert plain.last_surprise > 1e-3
    torch.manual_seed(0)
    head = LatentFrameHead(64, 64)
    watching = Watcher(checkpoint, policy, policy.Settings(), head=head)
    watching.observe(frame(0))
    assert watching.last_surprise == 1.0
    expected = watching._expected
    watching.observe(frame(1))
    seen = _features(checkpoint, frame(1))
    assert expected is not None
    by_hand = 1 - np.mean([float(a @ b / (a.norm() * b.norm())) for a, b in zip(expected, seen, strict=True)])
    assert watching.last_surprise == pytest.approx(by_hand, abs=1e-5)
    assert surprise_of(-seen, seen) == pytest.approx(2.0, abs=1e-5)


@torch.no_grad()
def _features(checkpoint: Any, view: View) -> Any:
    from PIL import Image

    pixels = checkpoint.processor.image_processor(images=[Image.fromarray(view.image)], return_tensors="pt")
    out = checkpoint.model.model.get_image_features(pixels["pixel_values"], pixels["image_grid_thw"], return_dict=True)
    return torch.cat(list(out.pooler_output))


def test_bad_input_is_said_and_changes_nothing(checkpoints: Any) -> None:
    watching = watcher(checkpoints["qwen2_5_vl"], "kv_retrieval")
    with pytest.raises(NothingSeenError, match="before the first frame"):
        watching.answer(QUESTION)
    watching.observe(frame(3))
    before = watching.logits(QUESTION)
    with pytest.raises(DuplicateTimeError, match="time 3 s"):
        watching.observe(frame(3))
    with pytest.raises(FrameOrderError, match="2 s came after one of 3 s"):
        watching.observe(frame(2))
    with pytest.raises(FrameOrderError, match="time_s=None"):
        watching.observe(View(image=frame(4).image))
    with pytest.raises(FeatureSizeError, match="frames of one size"):
        watching.observe(frame(4, (168, 168)))
    assert torch.equal(watching.logits(QUESTION), before)
    tight = watcher(checkpoints["qwen2_5_vl"], "kv_retrieval", budget_bytes=1000)
    with pytest.raises(BudgetTooSmallError, match="raise budget_bytes"):
        tight.observe(frame(0))


def test_models_without_keys_are_refused() -> None:
    class Other:
        model, processor = model_of("qwen3_5"), None

    policy = KV_MEMORY.load("surprise")
    with pytest.raises(UserError, match="linear_attention, which keep no keys"):
        Watcher(Other(), policy, policy.Settings())


def test_a_head_of_another_model_is_refused(tmp_path: Any) -> None:
    from safetensors.torch import save_file

    save_file(LatentFrameHead(8, 4).state_dict(), tmp_path / "head.safetensors")
    assert isinstance(LatentFrameHead.load(tmp_path / "head.safetensors", 8, 4), LatentFrameHead)
    with pytest.raises(UserError, match="latent-frame head of 16 -> 4"):
        LatentFrameHead.load(tmp_path / "head.safetensors", 16, 4)


# ------------------------------------------------------------------------------------------------------- fast weights


def hybrid(family: str, layers: str = "0:3", **settings: Any) -> Any:
    from allocentric.sparse_attn.convert import become
    from allocentric.sparse_attn.recipe import ConversionRecipe, LayerMixer

    model = model_of(family)
    entry = LayerMixer(layers=layers, mixer="spatial_ttt", settings={"fast_heads": 2, **settings})
    become(model, ConversionRecipe(mixers=[entry]))
    return model.eval()


def test_fast_weights_are_full_attention_within_their_window(checkpoints: Any) -> None:
    class Hybrid:
        processor = checkpoints["qwen3_vl"].processor
        model = hybrid("qwen3_vl", window=512, chunk=512)

    watching = state_watcher(Hybrid())
    views = [frame(k) for k in range(4)]
    for view in views:
        watching.observe(view)
    found = watching.logits(QUESTION)
    wanted = full(checkpoints["qwen3_vl"], views, QUESTION)[-len(found) :]
    assert float((found - wanted).abs().max()) < 1e-4 * float(wanted.abs().max())
    assert torch.equal(watching.logits(QUESTION), found)  # asking leaves no trace
    said = watching.answer(QUESTION, max_new_tokens=4)
    assert said.completion_tokens == 4
    assert torch.equal(watching.logits(QUESTION), found)


def test_states_do_not_grow_and_learn(checkpoints: Any) -> None:
    class Hybrid:
        processor = checkpoints["qwen3_vl"].processor
        model = hybrid("qwen3_vl", window=32, chunk=32)

    watching = state_watcher(Hybrid(), sinks=8, window=64)
    sizes = []
    for k in range(12):
        watching.observe(frame(k))
        sizes.append(sum(watching.nbytes().values()))
    assert max(sizes[6:]) == min(sizes[6:])
    assert watching.peak_bytes == max(sizes) <= watching.budget_bytes
    watching.reset()
    watching.observe(frame(0))
    assert sum(watching.nbytes().values()) == sizes[0]


def test_mixers_see_where_tokens_lie_after_the_anchors_have_evicted(checkpoints: Any) -> None:
    """The first layer reads no anchor, so it must not notice whether they forget; its convolution needs geometry."""

    class Hybrid:
        processor = checkpoints["qwen3_vl"].processor
        model = hybrid("qwen3_vl", window=32, chunk=32)

    for module in Hybrid.model.modules():
        if type(module).__name__ == "PictureConv":
            torch.nn.init.normal_(module.weight, generator=torch.Generator().manual_seed(0))
    short, long = (state_watcher(Hybrid(), sinks=8, window=window) for window in (40, 4096))
    states = []
    for watching in (short, long):
        for k in range(6):
            watching.observe(frame(k))
        states.append(watching._cache.layers[0].state.tensors)
    assert len(states[0]) > 1
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name
    remembered = [watching._cache.allocentric_seen.geometry for watching in (short, long)]
    assert remembered[0].length == 48 < remembered[1].length
    assert len(remembered[0].clips[0]) < len(remembered[1].clips[0]) == 6


def test_a_model_of_mixers_alone_watches(checkpoints: Any) -> None:
    class Hybrid:
        processor = checkpoints["qwen3_vl"].processor
        model = hybrid("qwen3_vl", layers="0::1", window=32, chunk=32)

    watching = state_watcher(Hybrid())
    for k in range(4):
        watching.observe(frame(k))
    assert watching.nbytes()["keys"] == 0
    assert len(watching.logits(QUESTION)) > 0


def state_watcher(checkpoint: Any, **settings: Any) -> Any:
    policy = KV_MEMORY.load("fast_weights")
    return policy.READER(checkpoint, policy, policy.Settings(**settings), system="You watch.")


def test_fast_weights_need_mixers(checkpoints: Any) -> None:
    with pytest.raises(UserError, match="no mixers, so no fast weights"):
        state_watcher(checkpoints["qwen3_vl"])
