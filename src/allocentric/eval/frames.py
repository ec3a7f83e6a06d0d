"""Which pictures of an item a model is shown, and their digest.

The policy is a setting of the run: never chosen by the model, always stored with the answer. Frames are evenly spaced
over the item's pictures or over its video, taken at a rate, or picked among such candidates by what they show.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from allocentric.core import config
from allocentric.core.errors import DataError
from allocentric.core.pictures import picture, sample_frames
from allocentric.core.types import Item, View
from allocentric.eval.video import sampled_digest, video_frames, video_index

_SLACK = 1e-6  # seconds by which a picture may be late and still be on time
_NO_FRAMES = hashlib.sha256(b"").hexdigest()
_CANDIDATE_SIDE_PX = 448
"""Of frames that are only looked at to choose: as large as the encoders' inputs."""


class FramesPolicy(config.Settings):
    """How many pictures, which ones, and in which form."""

    policy: Literal["uniform", "space_aware", "similarity"] = "uniform"
    """uniform: evenly spaced, or at `rate_hz`. space_aware: the candidates that together see most of the space
    (`eval.space_aware`). similarity: the candidates that look least alike, or, with an `encoder`, that also fit the
    question best (`eval.similarity`). The last two are shown in the order of the video."""
    count: int = Field(default=32, ge=0)
    """At most this many; 0 asks without pictures (a blind run)."""
    candidates: int = Field(default=128, ge=1)
    """Evenly spaced pictures that space_aware and similarity choose among."""
    geometry: Path | None = None
    """Folder with <video name or scene id>.npz of depths and camera poses for space_aware; None takes the cameras of
    the item's pictures."""
    encoder: str | None = None
    """Folder or hub id of a CLIP or SigLIP checkpoint for similarity; None compares thumbnails."""
    max_side_px: int | None = Field(default=None, ge=16)
    """Shrink larger frames of videos to this as they are decoded, which bounds memory; None keeps their size."""
    rate_hz: float | None = Field(default=None, gt=0)
    """Pictures per second of the video, thinned evenly where that makes more than `count`; None takes `count`."""
    tail: bool = False
    """Add the last picture where it is not among them ("uniform_tail" of VLMEvalKit): up to `count` + 1 pictures."""
    repeat: int = Field(default=1, ge=1)
    """Show the chosen pictures this many times in a row; more than once only to see whether the answer stays."""
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
            pictures without times are to be taken at a rate, or there is no geometry for space_aware.
    """
    if policy.count and item.video is None and not item.views:
        raise DataError(f"item {item.id} has no pictures; ask without them (frames.count: 0) or name its videos")
    if policy.count == 0:
        indices: tuple[int, ...] = ()
    elif policy.policy == "uniform":
        indices = _indices(_times(item, policy), policy)
    else:
        indices = _picked(item, policy)
    indices *= policy.repeat
    return FrameChoice(indices=indices, digest=frames_digest(item, indices, policy))


def frames_digest(item: Item, indices: Sequence[int], policy: FramesPolicy) -> str:
    """`FrameChoice.digest` of chosen frames. DataError where a picture or the video is missing or damaged."""
    if not indices:
        return _NO_FRAMES
    if shown_from_video(item):
        digests = [_file_digest(_video_of(item), sampled=True)]
    else:
        digests = [_view_digest(item.views[index]) for index in indices]
    if policy.policy == "space_aware" and policy.geometry is not None:
        digests.append(_file_digest(geometry_file(item, policy.geometry), sampled=True))
    text = "\n".join([*digests, *map(str, indices)])
    return hashlib.sha256(text.encode()).hexdigest()


def load_views(item: Item, indices: tuple[int, ...], policy: FramesPolicy | None = None) -> tuple[View, ...]:
    """The chosen views; frames of a video are decoded now, everything else stays as lazy as it is."""
    if shown_from_video(item):
        return _video_views(_video_of(item), indices, None if policy is None else policy.max_side_px)
    return tuple(item.views[index] for index in indices)


def shown_from_video(item: Item) -> bool:
    """Whether an item's pictures are decoded from its video."""
    return item.video is not None and not item.views


def geometry_file(item: Item, folder: Path) -> Path:
    """Where the depths and camera poses of an item's pictures lie."""
    return folder / f"{item.video.stem if item.video is not None else item.scene_id}.npz"


def pixel_digest(views: Iterable[View]) -> str:
    """SHA-256 over the shapes and pixels of pictures, in order. DataError where one is missing or damaged."""
    total = hashlib.sha256()
    for view in views:
        pixels = np.asarray(picture(view))
        total.update(f"{pixels.shape}".encode() + pixels.tobytes())
    return total.hexdigest()


def _video_of(item: Item) -> Path:
    assert item.video is not None
    return item.video


def _times(item: Item, policy: FramesPolicy) -> list[float]:
    """Time of every picture; zeros where no rate needs them."""
    if shown_from_video(item):
        index = video_index(_video_of(item))
        return [tick * index.tick_s for tick in index.ticks]
    return [_time(item, view, policy) for view in item.views]


def _indices(times_s: Sequence[float], policy: FramesPolicy) -> tuple[int, ...]:
    return _with_tail(_spread(times_s, policy.count, policy.rate_hz), len(times_s), policy)


def _spread(times_s: Sequence[float], count: int, rate_hz: float | None) -> tuple[int, ...]:
    if not times_s:
        return ()
    every = range(len(times_s)) if rate_hz is None else at_rate(times_s, rate_hz)
    return tuple(every[index] for index in evenly_spaced(len(every), count))


def _with_tail(chosen: tuple[int, ...], total: int, policy: FramesPolicy) -> tuple[int, ...]:
    if policy.tail and chosen and chosen[-1] != total - 1:
        return (*chosen, total - 1)
    return chosen


def _picked(item: Item, policy: FramesPolicy) -> tuple[int, ...]:
    """Frames that are chosen by what they show."""
    times_s = _times(item, policy)
    candidates = _spread(times_s, policy.candidates, policy.rate_hz)
    if policy.policy == "space_aware":
        from allocentric.eval.space_aware import cells_seen, cells_seen_by_views, widest

        if policy.geometry is not None:
            candidates, seen = cells_seen(geometry_file(item, policy.geometry), policy.candidates)
        else:
            seen = cells_seen_by_views(item, candidates)
        chosen = widest(seen, policy.count)
    else:
        from allocentric.eval.similarity import least_alike

        chosen = least_alike(item, load_candidates(item, candidates), policy.count, policy.encoder)
    if candidates and candidates[-1] >= len(times_s):
        raise DataError(f"item {item.id}: its geometry speaks of frame {candidates[-1]}, its video has {len(times_s)}")
    return _with_tail(tuple(sorted(candidates[k] for k in chosen)), len(times_s), policy)


def load_candidates(item: Item, indices: Sequence[int]) -> Iterable[View]:
    """Views to choose among, decoded one at a time and small."""
    if shown_from_video(item):
        return video_frames(_video_of(item), indices, max_side_px=_CANDIDATE_SIDE_PX)
    return (item.views[index] for index in indices)


def _time(item: Item, view: View, policy: FramesPolicy) -> float:
    if policy.rate_hz is None:
        return 0.0
    if view.time_s is None:
        raise DataError(f"item {item.id}: its pictures have no times, so frames.rate_hz can't be kept; leave it out")
    return view.time_s


@lru_cache(maxsize=2)
def _video_views(path: Path, indices: tuple[int, ...], max_side_px: int | None) -> tuple[View, ...]:
    """Cached because the items of one scene follow each other. A frame that is shown again is decoded once."""
    wanted = sorted(set(indices))
    views = dict(zip(wanted, video_frames(path, wanted, max_side_px=max_side_px), strict=True))
    return tuple(views[index] for index in indices)


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
