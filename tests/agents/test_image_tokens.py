"""Planned tokens are those of the real processors; a plan that does not fit says what to change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocentric.agents.image_tokens import (
    FAMILIES,
    EpisodeShape,
    MeasuredTokens,
    PatchTokens,
    cost_of_processor,
    plan,
)
from allocentric.core.errors import DataError, UserError

edges = st.integers(1, 700)


@pytest.mark.parametrize("family", FAMILIES)
def test_grids_are_those_of_the_processor(family: str) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    published = FAMILIES[family]
    small = PatchTokens(patch_px=published.patch_px, fewest_px=40_000, most_px=90_000)  # both limits within reach
    rng = np.random.default_rng(0)
    for rule in (published, small):
        processor = Qwen2VLImageProcessorPil(
            size={"shortest_edge": rule.fewest_px, "longest_edge": rule.most_px},
            patch_size=rule.patch_px,
            merge_size=rule.merge,
        )
        for width, height in rng.integers(20, 500, size=(12, 2)):
            picture = np.zeros((height, width, 3), dtype=np.uint8)
            _, rows, columns = processor(images=[picture], return_tensors="np")["image_grid_thw"][0]
            assert rule.grid(int(width), int(height)) == (rows, columns), (width, height)


@settings(deadline=None)  # the machine may be busy
@given(st.sampled_from(sorted(FAMILIES)), st.integers(1, 9000), st.integers(1, 9000))
def test_grids_are_those_of_the_published_resize(family: str, width: int, height: int) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    rule = FAMILIES[family]
    if max(width, height) > 200 * min(width, height):
        with pytest.raises(DataError, match="aspect ratio of at most 200"):
            rule.grid(width, height)
        return
    edge = rule.patch_px * rule.merge
    rows, columns = smart_resize(height, width, edge, rule.fewest_px, rule.most_px)
    assert rule.grid(width, height) == (rows // rule.patch_px, columns // rule.patch_px)


@pytest.mark.parametrize(
    ("size", "qwen2_5", "qwen3"),
    [
        ((448, 448), 256, 196),
        ((512, 384), 252, 192),
        ((640, 480), 391, 300),
        ((1280, 720), 1196, 880),
        ((1920, 1080), 2691, 2040),
        ((2048, 1024), 2701, 2048),
    ],
)
def test_known_views_cost_what_was_measured(size: tuple[int, int], qwen2_5: int, qwen3: int) -> None:
    assert FAMILIES["qwen2_5_vl"].tokens(*size) == qwen2_5 + 2
    assert FAMILIES["qwen3_vl"].tokens(*size) == qwen3 + 2


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def processor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    pytest.importorskip("torch")
    from allocentric.agents.models import _checkpoint
    from allocentric.train.tiny import build

    folder: Path = build(tmp_path_factory.mktemp("tiny") / request.param, request.param)
    return _checkpoint.load(str(folder), revision=None, dtype="auto", device="cpu", attn_implementation=None).processor


def test_the_formula_of_a_checkpoint_is_what_its_prompts_grow_by(processor) -> None:
    formula = cost_of_processor(processor)
    assert isinstance(formula, PatchTokens)
    counted = MeasuredTokens(processor)
    for size in ((64, 64), (333, 111), (30, 400), (500, 420)):
        assert formula.tokens(*size) == counted.tokens(*size)


def test_a_checkpoint_says_its_context_and_cost(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from allocentric.agents.models import hf
    from allocentric.train.tiny import build

    folder = build(tmp_path / "tiny", "qwen3_vl")
    model = hf.build(hf.Settings(path=str(folder), max_pixels=32 * 32 * 9), items={})
    cost, context_tokens = model.picture_budget()
    assert (context_tokens, cost.tokens(1000, 1000)) == (65536, 9 + 2)


SHAPE = EpisodeShape(
    width_px=1920, height_px=1080, turns=10, window=None, system_tokens=300, round_tokens=60, new_tokens=512
)


def test_ten_turns_at_benchmark_size_with_and_without_a_window() -> None:
    whole = plan(SHAPE, FAMILIES["qwen2_5_vl"], 32768)
    assert (whole.pictures, whole.picture_tokens) == (10, 2693)
    assert whole.prompt_tokens == 300 + 10 * (2693 + 60)
    assert whole.fits
    whole.require(FAMILIES["qwen2_5_vl"])
    chat = EpisodeShape(**{key: getattr(SHAPE, key) for key in SHAPE.__slots__} | {"replies_stay": True})
    assert plan(chat, FAMILIES["qwen2_5_vl"], 32768).prompt_tokens == whole.prompt_tokens + 9 * 512
    windowed = EpisodeShape(**{key: getattr(SHAPE, key) for key in SHAPE.__slots__} | {"window": 2})
    assert plan(windowed, FAMILIES["qwen2_5_vl"], 32768).pictures == 3


def test_what_does_not_fit_is_refused_with_numbers_and_ways_out() -> None:
    cost = FAMILIES["qwen2_5_vl"]
    tight = plan(SHAPE, cost, 8192)
    assert not tight.fits
    with pytest.raises(UserError) as caught:
        tight.require(cost)
    said = str(caught.value)
    assert "10 pictures of 1920x1080 at 2693 tokens" in said
    assert "28342 of 8192" in said
    rounds = int(said.split("at most ")[1].split(" pictures")[0])
    size = said.split("pictures of at most ")[1].split(",")[0]
    width, height = map(int, size.split("x"))
    values = {key: getattr(SHAPE, key) for key in SHAPE.__slots__}
    # both ways out that it names are ways out
    assert plan(EpisodeShape(**values | {"window": rounds - 1}), cost, 8192).fits
    assert plan(EpisodeShape(**values | {"width_px": width, "height_px": height}), cost, 8192).fits


def test_advice_is_left_out_where_it_would_not_help() -> None:
    cost = FAMILIES["qwen3_vl"]
    hopeless = plan(SHAPE, cost, 600)
    with pytest.raises(UserError) as caught:
        hopeless.require(cost)
    assert "window:" not in str(caught.value)
    assert "pictures of at most" not in str(caught.value)
    assert "context of" in str(caught.value)
