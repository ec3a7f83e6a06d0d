"""Which pictures of an item a model is shown, and their digest.

The policy is a setting of the run: never chosen by the model, always stored with the answer. Frames are evenly spaced
over the item's pictures or over its video, or taken at a rate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from pydantic import Field

from allocentric.core import config
from allocentric.core.errors import DataError
from allocentric.core.pictures import picture
from allocentric.core.types import Item, View
from allocentric.eval.video import sampled_digest, video_frames, video_index
from allocentric.scenes.trajectory import sample_frames

_SLACK = 1e-6  # seconds by which a picture may be late and still be on time


class FramesPolicy(config.Settings):
    """How many pictures, and in which form."""

    count: int = Field(default=32, ge=0)
    """At most this many, evenly spaced; 0 asks without pictures (a blind run)."""
    rate_hz: float | None = Field(default=None, gt=0)
    """Pictures per second of the video, thinned evenly where that makes more than `count`; None takes `count`."""
    tail: bool = False
    """Add the last picture where it is not among them ("uniform_tail" of VLMEvalKit): up to `count` + 1 pictures."""
    as_video: bool = False
    """Hand them over as one native video instead of separate pictures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameChoice:
    """The chosen pictures of one item."""

    indices: tuple[int, ...]
    """Into the item's views, or frame numbers of its video."""
    digest: str
    """SHA-256 over the chosen pictures: file bytes or pixels; for a video its size, ends and the frame numbers."""


def evenly_spaced(total: int, count: int) -> tuple[int, ...]:
    """At most `count` different indices below `total`, first and last included (the only one is the first).

    Fractions are cut off, as lmms-eval@75571cf and VLMEvalKit@e8e78f0 do.
    """
    if total <= count:
        return tuple(range(total))
    return tuple(sample_frames(count, total)) if count else ()


def at_rate(times_s: Sequence[float], rate_hz: float) -> tuple[int, ...]:
    """Index of the last picture at or before every multiple of 1 / `rate_hz` after the first; none twice."""
    times = np.asarray(times_s) - times_s[0]
    wanted = np.arange(int(np.floor(times[-1] * rate_hz + _SLACK)) + 1) / rate_hz
    return tuple(np.unique(np.searchsorted(times, wanted + _SLACK, side="right") - 1).tolist())


def choose_frames(item: Item, policy: FramesPolicy) -> FrameChoice:
    """The frames of `item` under `policy`.

    Raises:
        DataError: the item has no pictures though some are to be shown, a picture or the video is missing or damaged,
            or pictures without times are to be taken at a rate.
    """
    if policy.count and item.video is None and not item.views:
        raise DataError(f"item {item.id} has no pictures; ask without them (frames.count: 0) or name its videos")
    if policy.count == 0:
        indices: tuple[int, ...] = ()
    elif item.video is not None and not item.views:
        index = video_index(item.video)
        indices = _indices([tick * index.tick_s for tick in index.ticks], policy)
    else:
        indices = _indices([_time(item, view, policy) for view in item.views], policy)
    return FrameChoice(indices=indices, digest=frames_digest(item, indices))


def frames_digest(item: Item, indices: Sequence[int]) -> str:
    """`FrameChoice.digest` of chosen frames. DataError where a picture or the video is missing or damaged."""
    if item.video is not None and not item.views:
        digests = [_file_digest(item.video, sampled=True)] if indices else []
    else:
        digests = [_view_digest(item.views[index]) for index in indices]
    text = "\n".join([*digests, *map(str, indices)])
    return hashlib.sha256(text.encode()).hexdigest()


def load_views(item: Item, indices: tuple[int, ...]) -> tuple[View, ...]:
    """The chosen views; frames of a video are decoded now, everything else stays as lazy as it is."""
    if item.video is not None and not item.views:
        return _video_views(item.video, indices)
    return tuple(item.views[index] for index in indices)


def pixel_digest(views: Iterable[View]) -> str:
    """SHA-256 over the shapes and pixels of pictures, in order. DataError where one is missing or damaged."""
    total = hashlib.sha256()
    for view in views:
        pixels = np.asarray(picture(view))
        total.update(f"{pixels.shape}".encode() + pixels.tobytes())
    return total.hexdigest()


def _indices(times_s: Sequence[float], policy: FramesPolicy) -> tuple[int, ...]:
    if not times_s:
        return ()
    if policy.rate_hz is None:
        chosen = evenly_spaced(len(times_s), policy.count)
    else:
        every = at_rate(times_s, policy.rate_hz)
        chosen = tuple(every[index] for index in evenly_spaced(len(every), policy.count))
    if policy.tail and chosen[-1] != len(times_s) - 1:
        chosen = (*chosen, len(times_s) - 1)
    return chosen


def _time(item: Item, view: View, policy: FramesPolicy) -> float:
    if policy.rate_hz is None:
        return 0.0
    if view.time_s is None:
        raise DataError(f"item {item.id}: its pictures have no times, so frames.rate_hz can't be kept; leave it out")
    return view.time_s


@lru_cache(maxsize=2)
def _video_views(path: Path, indices: tuple[int, ...]) -> tuple[View, ...]:
    """Cached because the items of one scene follow each other."""
    return tuple(video_frames(path, indices))


def _view_digest(view: View) -> str:
    if view.image is None:
        return "no picture"
    if isinstance(view.image, Path):
        return _file_digest(view.image)
    pixels = np.asarray(picture(view))
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()


def _file_digest(path: Path, *, sampled: bool = False) -> str:
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(f"can't read the picture {path}: {error.strerror}") from None
    return _cached_file_digest(path, sampled, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=100_000)
def _cached_file_digest(path: Path, sampled: bool, size: int, mtime_ns: int) -> str:
    """Keyed by size and time too, so that a file replaced during the run is read again."""
    del size, mtime_ns
    return sampled_digest(path) if sampled else hashlib.sha256(path.read_bytes()).hexdigest()
