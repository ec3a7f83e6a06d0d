"""Videos prepared without torchvision equal what the families' own processors define."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from allocentric.agents.models import _qwen_video, hf
from allocentric.agents.models._qwen_video import QwenVideo
from allocentric.core.errors import DataError, UserError
from allocentric.core.types import Prompt, View

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

FAMILIES = ["qwen2_5_vl", "qwen3_vl", "qwen3_5"]
Checkpoints = Callable[[str], Path]


def video(patch: int, *, clip_budget: bool, fewest_px: int = 4 * 28 * 28, most_px: int = 64 * 28 * 28) -> QwenVideo:
    return QwenVideo(
        patch_size=patch, temporal_patch_size=2, merge_size=2, fewest_px=fewest_px, most_px=most_px,
        clip_budget=clip_budget, capped=False, max_video_tokens=768, mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.3, 0.4), settings={},
    )  # fmt: skip


sizes = st.tuples(st.integers(2, 64), st.integers(3, 900), st.integers(3, 900))


@settings(deadline=None)
@given(sizes, st.integers(10_000, 2_000_000))
def test_frames_of_qwen2_vl_are_resized_like_its_pictures(size: tuple[int, int, int], most_px: int) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    frames, height, width = size
    assume(max(height, width) <= 200 * min(height, width))
    ours = video(14, clip_budget=False, most_px=most_px).frame_size(frames, height, width)
    assert ours == smart_resize(height, width, factor=28, min_pixels=4 * 28 * 28, max_pixels=most_px)


@settings(deadline=None)
@given(sizes, st.floats(0.6, 1.6))
def test_frames_of_qwen3_vl_share_the_pixels_of_the_clip(size: tuple[int, int, int], share: float) -> None:
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import smart_resize

    frames, height, width = size
    assume(max(height, width) <= 200 * min(height, width))
    most_px = int(share * max(frames * height * width, 150_000))  # close to the limit, where odd lengths matter
    ours = video(16, clip_budget=True, fewest_px=90_000, most_px=most_px).frame_size(frames, height, width)
    limits = {"min_pixels": 90_000, "max_pixels": most_px}
    assert ours == smart_resize(frames, height, width, temporal_factor=2, factor=32, **limits)


def test_impossible_clips_are_refused() -> None:
    with pytest.raises(ValueError, match="aspect ratio of at most 200, got 900 x 3"):
        video(14, clip_budget=False).frame_size(2, 3, 900)
    with pytest.raises(ValueError, match="at least 2 frames, got 1"):
        video(16, clip_budget=True).frame_size(1, 64, 64)


def test_the_cap_limits_a_frame() -> None:
    capped = dataclasses.replace(video(16, clip_budget=True, most_px=10**9), capped=True, max_video_tokens=6)
    rows, columns = capped.frame_size(8, 600, 800)
    assert rows * columns <= 6 * 32 * 32 < (rows + 32) * (columns + 32)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_still_video_has_the_patches_of_the_picture(family: str, checkpoints: Checkpoints, views: Any) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    prepare = _qwen_video.load(str(checkpoints(family)), None, family)
    prepare.fewest_px, prepare.most_px, prepare.clip_budget = 4 * 32 * 32, 64 * 32 * 32, False
    pictures = [view.image for view in views(3, 70, 130)]
    clip = np.repeat(np.stack(pictures), 2, axis=0)
    made = prepare([[clip]])
    size = {"shortest_edge": prepare.fewest_px, "longest_edge": prepare.most_px}
    still = Qwen2VLImageProcessorPil.from_pretrained(checkpoints(family), size=size)
    expected = still([PillowImage.fromarray(picture) for picture in pictures], return_tensors="pt")
    grid = expected["image_grid_thw"][0].tolist()
    assert made["video_grid_thw"].tolist() == [[3, *grid[1:]]]
    assert torch.allclose(made["pixel_values_videos"], expected["pixel_values"], atol=1e-5)


def test_every_pixel_lies_where_the_vision_tower_looks_for_it() -> None:
    rng = np.random.default_rng(0)
    clip = rng.integers(0, 256, (3, 56, 84, 3), dtype=np.uint8)  # an odd frame: the last one is shown twice
    patches, grid = video(14, clip_budget=False).patches(clip)
    assert grid == (2, 4, 6)
    assert patches.shape == (2 * 4 * 6, 3 * 2 * 14 * 14)
    values = patches.reshape(len(patches), 3, 2, 14, 14)
    for frame, y, x, channel in rng.integers(0, [4, 56, 84, 3], (400, 4)):
        row, column = y // 14, x // 14
        block = (frame // 2) * 6 + (row // 2) * 3 + column // 2  # blocks of 2 x 2 patches, row by row
        index = 4 * block + 2 * (row % 2) + column % 2
        value = clip[min(frame, 2), y, x, channel] / 255
        expected = (value - (0.5, 0.4, 0.3)[channel]) / (0.2, 0.3, 0.4)[channel]
        assert values[index, channel, frame % 2, y % 14, x % 14] == pytest.approx(expected, abs=1e-5)


def encoded(folder: Path, views: tuple[View, ...], **settings: Any) -> tuple[Any, str]:
    model = hf.build(hf.Settings(path=str(folder), as_video=True, **settings), items={})
    inputs = model.encode([model._prepare(Prompt(item_id="a", text="?", views=views))])
    return inputs, model._processor.tokenizer.decode(inputs["input_ids"][0])


def test_frame_times_reach_the_text_of_qwen3_vl(checkpoints: Checkpoints, views: Any) -> None:
    times_s = [0.0, 1.0, 1.5, 4.5, 10.0]  # uneven, and an odd number: the last frame is its own pair
    uneven = tuple(dataclasses.replace(view, time_s=time) for view, time in zip(views(5), times_s, strict=True))
    inputs, text = encoded(checkpoints("qwen3_vl"), uneven)
    assert [part.split(" seconds>")[0] for part in text.split("<")[1:] if " seconds>" in part] == [
        "0.5",
        "3.0",
        "10.0",
    ]
    grid = inputs["video_grid_thw"][0]
    assert grid[0] == 3
    assert text.count("<|video_pad|>") == int(grid.prod()) // 4


def test_frame_rate_reaches_the_positions_of_qwen2_5_vl(checkpoints: Checkpoints, views: Any) -> None:
    slow = tuple(dataclasses.replace(view, time_s=7 + 2.5 * k) for k, view in enumerate(views(6)))
    inputs, text = encoded(checkpoints("qwen2_5_vl"), slow)
    assert inputs["second_per_grid_ts"].tolist() == pytest.approx([5.0])
    assert text.count("<|video_pad|>") == int(inputs["video_grid_thw"][0].prod()) // 4
    without = tuple(dataclasses.replace(view, time_s=None) for view in slow)
    inputs, _ = encoded(checkpoints("qwen2_5_vl"), without, video_fps=4.0)
    assert inputs["second_per_grid_ts"].tolist() == pytest.approx([0.5])


def test_videos_without_usable_times_are_refused(views: Any) -> None:
    timed = views(3)
    without = tuple(dataclasses.replace(view, time_s=None) for view in timed)
    for wrong in (without, (*timed, without[0]), timed[::-1]):
        with pytest.raises(DataError, match="time"):
            hf.video_metadata(wrong, None)


def test_frames_of_different_sizes_are_no_video(checkpoints: Checkpoints, views: Any) -> None:
    model = hf.build(hf.Settings(path=str(checkpoints("qwen3_vl"))), items={})
    mixed = (*views(2, 60, 90), *(dataclasses.replace(view, time_s=2.0) for view in views(1, 64, 64)))
    clip, pictures = (Prompt(item_id="a", text="?", views=mixed, as_video=as_video) for as_video in (True, False))
    refused, shown = model.generate([clip, pictures])
    assert refused.error == "the frames of a video have different sizes: (64, 64) and (90, 60)"
    assert shown.error is None


def test_unusual_video_settings_are_refused(checkpoints: Checkpoints, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text('{"do_resize": false}')
    with pytest.raises(UserError, match="do_resize = False needs torchvision for videos"):
        _qwen_video.load(str(tmp_path), None, "qwen2_vl")
    (tmp_path / "processor_config.json").write_text('{"video_processor": {"video_processor_type": "Other"}}')
    with pytest.raises(UserError, match="Other, which needs torchvision"):
        _qwen_video.load(str(tmp_path), None, "qwen2_vl")
    (tmp_path / "processor_config.json").write_text("{}")
    (tmp_path / "preprocessor_config.json").write_text('{"min_pixels": 3136, "max_pixels": 12845056}')
    old = _qwen_video.load(str(tmp_path), None, "qwen2_5_vl")  # how the published Qwen2.5-VL spells it
    assert (old.fewest_px, old.most_px, old.clip_budget, old.patch_size) == (3136, 12845056, False, 14)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_checkpoints_own_processor_agrees(family: str, checkpoints: Checkpoints, views: Any) -> None:
    from transformers.utils import is_torchvision_available

    if not is_torchvision_available():
        pytest.skip("torchvision is not installed")
    folder = checkpoints(family)
    model = hf.build(hf.Settings(path=str(folder)), items={})
    assert model.video_preparation == "checkpoint"
    for clip in (views(2, 56, 84), views(5), views(8, 31, 29), views(7, 200, 300)):
        theirs = model.encode([model._prepare(Prompt(item_id="a", text="?", views=clip, as_video=True))])
        ours = _qwen_video.load(str(folder), None, family)([[np.stack([view.image for view in clip])]])
        assert ours["video_grid_thw"].tolist() == theirs["video_grid_thw"].tolist()
        difference = (ours["pixel_values_videos"] - theirs["pixel_values_videos"]).abs()
        assert difference.max() < 2.5 / 255 / 0.26  # two grey levels of rounding in the bicubic filter
        assert difference.mean() < 0.05 / 255 / 0.26
