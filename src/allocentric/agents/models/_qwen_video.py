"""Native video for the Qwen-VL families where torchvision is absent.

transformers has no video processor without torchvision, though the vision towers need none. This module makes the same
tensors from the checkpoint's own video settings with NumPy and Pillow: the grid follows the published formulas
(transformers 5.23, `Qwen2VLVideoProcessor` and `Qwen3VLVideoProcessor`), the patches have the same layout, and pixels
differ from theirs only where Pillow's bicubic filter and torchvision's round differently. Placeholders, time stamps
and `second_per_grid_ts` are the work of the checkpoint's own processor class, which calls this in place of its video
processor.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from allocentric.core.errors import UserError
from allocentric.core.types import Image

_MAX_ASPECT = 200
_CLIP_BUDGET = "Qwen3VLVideoProcessor"
_DEFAULTS: dict[str, dict[str, Any]] = {
    "Qwen2VLVideoProcessor": {
        "patch_size": 14,
        "size": {"shortest_edge": 128 * 28 * 28, "longest_edge": 768 * 28 * 28},
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "max_video_tokens": 128000,
    },
    _CLIP_BUDGET: {
        "patch_size": 16,
        "size": {"shortest_edge": 128 * 32 * 32, "longest_edge": 768 * 32 * 32},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "max_video_tokens": 768,
    },
}
"""What the two classes assume where a checkpoint's file is silent."""
_CLASS_OF_FAMILY = {
    "qwen2_vl": "Qwen2VLVideoProcessor",
    "qwen2_5_vl": "Qwen2VLVideoProcessor",
    "qwen3_vl": _CLIP_BUDGET,
    "qwen3_vl_moe": _CLIP_BUDGET,
    "qwen3_5": _CLIP_BUDGET,
    "qwen3_5_moe": _CLIP_BUDGET,
}
FAMILIES = frozenset(_CLASS_OF_FAMILY)
"""Model types (`config.model_type`) this module prepares videos for."""


@dataclass(kw_only=True, slots=True)
class QwenVideo:
    """Stands in for the video processor of a Qwen-VL checkpoint."""

    patch_size: int
    """Edge of a patch in pixels."""
    temporal_patch_size: int
    """Frames in a patch."""
    merge_size: int
    """Edge, in patches, of the square that becomes one token."""
    fewest_px: int
    """Enlarge below this: pixels of a frame, or of the clip where `clip_budget`."""
    most_px: int
    """Shrink above this: pixels of a frame, or of the clip where `clip_budget`."""
    clip_budget: bool
    """Qwen3-VL shares its pixels among the frames; Qwen2.5-VL counts each frame alone."""
    capped: bool
    """`cap_pixels_per_frame`: limit a frame's pixels as qwen-vl-utils does."""
    max_video_tokens: int
    """Tokens the cap allows: of a frame where `clip_budget`, else of the video."""
    mean: tuple[float, float, float]
    """Subtracted from sRGB in [0, 1]."""
    std: tuple[float, float, float]
    """Divides the difference."""
    settings: Mapping[str, Any]
    """The checkpoint's own words, with which the processor is saved again."""

    def __call__(self, videos: Any, *, video_metadata: Any = None, **options: Any) -> dict[str, Any]:
        """Tensors of `videos`, each (T, H, W, 3) uint8, nested in lists as the caller's batch is.

        Returns:
            `pixel_values_videos` (patches, 3 * temporal * patch * patch) float32, `video_grid_thw` (videos, 3) int64
            and `video_metadata`, one per video.
        """
        import torch
        from transformers.video_utils import make_batched_metadata

        unknown = set(options) - {"return_metadata", "return_tensors", "do_sample_frames"}
        if unknown or options.get("do_sample_frames"):
            raise UserError(f"without torchvision, videos take no option {sorted(unknown or {'do_sample_frames'})}")
        clips = list(_flat(videos))
        patches, grids = zip(*(self.patches(clip) for clip in clips), strict=True)
        return {
            "pixel_values_videos": torch.from_numpy(np.concatenate(patches)),
            "video_grid_thw": torch.tensor(grids),
            "video_metadata": make_batched_metadata(clips, video_metadata),
        }

    def patches(self, clip: Image) -> tuple[NDArray[np.float32], tuple[int, int, int]]:
        """Patches (t * h * w, 3 * temporal * patch * patch) of one clip (T, H, W, 3), and its grid (t, h, w)."""
        height, width = self.frame_size(*clip.shape[:3])
        frames = np.stack([_resized(frame, height, width) for frame in clip])
        missing = -len(frames) % self.temporal_patch_size
        frames = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
        mean, std = (np.array(values, dtype=np.float32) * np.float32(255) for values in (self.mean, self.std))
        pixels = (frames.astype(np.float32) - mean) / std
        patch, merge, temporal = self.patch_size, self.merge_size, self.temporal_patch_size
        grid = (len(frames) // temporal, height // patch, width // patch)
        blocks = pixels.reshape(
            grid[0], temporal, grid[1] // merge, merge, patch, grid[2] // merge, merge, patch, 3
        )  # t dt H mh ph W mw pw c -> t H W mh mw c dt ph pw
        ordered = blocks.transpose(0, 2, 5, 3, 6, 8, 1, 4, 7)
        return ordered.reshape(math.prod(grid), -1), grid

    def frame_size(self, frames: int, height: int, width: int) -> tuple[int, int]:
        """Height and width every frame of a clip is resized to.

        Raises:
            ValueError: an aspect ratio above 200, or for Qwen3-VL fewer frames than a patch is long.
        """
        if max(height, width) > _MAX_ASPECT * min(height, width):
            raise ValueError(f"expected an aspect ratio of at most {_MAX_ASPECT}, got {width} x {height} pixels")
        factor = self.patch_size * self.merge_size
        most_px = self._most_px(frames)
        shared_by, rounded = 1, 1
        if self.clip_budget:
            if frames < self.temporal_patch_size:
                raise ValueError(f"expected a video of at least {self.temporal_patch_size} frames, got {frames}")
            scale = max(factor / height, factor / width, 1.0)
            height, width = int(height * scale), int(width * scale)
            shared_by = frames
            rounded = round(frames / self.temporal_patch_size) * self.temporal_patch_size
        rows, columns = (round(edge / factor) * factor for edge in (height, width))
        pixels = shared_by * height * width
        if rounded * rows * columns > most_px:
            shrink = math.sqrt(pixels / most_px)
            return _down(height / shrink, factor), _down(width / shrink, factor)
        if rounded * rows * columns < self.fewest_px:
            enlarge = math.sqrt(self.fewest_px / pixels)
            return math.ceil(height * enlarge / factor) * factor, math.ceil(width * enlarge / factor) * factor
        return rows, columns

    def _most_px(self, frames: int) -> int:
        if not self.capped:
            return self.most_px
        token_px = (self.patch_size * self.merge_size) ** 2
        floor = int(self.fewest_px * 1.05)
        if self.clip_budget:
            return frames * max(min(self.max_video_tokens * token_px, self.most_px // frames), floor)
        whole_video = int(self.max_video_tokens * token_px * 0.9) * self.temporal_patch_size
        return max(min(self.most_px, whole_video // frames), floor)


def load(path: str, revision: str | None, model_type: str) -> QwenVideo | None:
    """The video settings of a checkpoint, from the file its own video processor would read; None where there is none.

    Args:
        path: Folder or hub id.
        revision: Of the hub repository.
        model_type: One of `FAMILIES`.

    Raises:
        UserError: the checkpoint switches a step of the preparation off or uses another resize filter.
    """
    found = _video_settings(path, revision)
    if found is None:
        return None
    file, values = found
    name = values.get("video_processor_type", _CLASS_OF_FAMILY[model_type])
    if name not in _DEFAULTS:
        raise UserError(f"videos of {path} need its {name}, which needs torchvision; run: pip install torchvision")
    for key, expected in {"do_resize": True, "do_rescale": True, "do_normalize": True, "resample": 3}.items():
        if values.get(key, expected) != expected:
            raise UserError(
                f"{file}: {key} = {values[key]!r} needs torchvision for videos; run: pip install torchvision"
            )
    chosen = _DEFAULTS[name] | {key: value for key, value in values.items() if value is not None}
    size = chosen["size"]
    return QwenVideo(
        patch_size=chosen["patch_size"],
        temporal_patch_size=chosen.get("temporal_patch_size", 2),
        merge_size=chosen.get("merge_size", 2),
        fewest_px=chosen.get("min_pixels", size["shortest_edge"]),
        most_px=chosen.get("max_pixels", size["longest_edge"]),
        clip_budget=name == _CLIP_BUDGET,
        capped=bool(chosen.get("cap_pixels_per_frame", False)),
        max_video_tokens=chosen["max_video_tokens"],
        mean=tuple(chosen["image_mean"]),
        std=tuple(chosen["image_std"]),
        settings={key: value for key, value in values.items() if key != "image_processor_type"}
        | {"video_processor_type": name},
    )


def _video_settings(path: str, revision: str | None) -> tuple[str, Mapping[str, Any]] | None:
    """The first of the three places where transformers looks for a video processor's settings."""
    from transformers.utils import cached_file

    for name, key in (
        ("processor_config.json", "video_processor"),
        ("video_preprocessor_config.json", None),
        ("preprocessor_config.json", None),
    ):
        file = cached_file(path, name, revision=revision, _raise_exceptions_for_missing_entries=False)
        if file is None:
            continue
        values = json.loads(Path(file).read_text(encoding="utf-8"))
        if key is None or key in values:
            return name, values[key] if key else values
    return None


def _resized(frame: Image, height: int, width: int) -> Image:
    if frame.shape[:2] == (height, width):
        return frame
    return np.asarray(PillowImage.fromarray(frame).resize((width, height), PillowImage.Resampling.BICUBIC))


def _down(edge: float, factor: int) -> int:
    return max(factor, math.floor(edge / factor) * factor)


def _flat(videos: Any) -> Sequence[Any]:
    if isinstance(videos, np.ndarray):
        return [videos]
    return [clip for part in videos for clip in _flat(part)]
