"""Which pictures of an item a model is shown, and their digest.

The policy is a setting of the run: never chosen by the model, always stored with the answer. Frames are evenly spaced
over the item's pictures or over its video, first and last included.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from allocentric.agents.models._pictures import picture
from allocentric.core import config
from allocentric.core.errors import DataError
from allocentric.core.types import Image, Item, View
from allocentric.scenes.trajectory import sample_frames

_SAMPLED_BYTES = 1 << 20
_CONTAINER_TICKS_PER_S = 1_000_000
"""FFmpeg gives a container's duration in microseconds."""
_LOST_TAIL_S = 1.0
"""A video track may end this much before its sound."""


class FramesPolicy(config.Settings):
    """How many pictures, and in which form."""

    count: int = Field(default=32, ge=0)
    """At most this many, evenly spaced; 0 asks without pictures (a blind run)."""
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
    """At most `count` different indices below `total`, first and last included (the only one is the first)."""
    if total <= count:
        return tuple(range(total))
    return tuple(sample_frames(count, total)) if count else ()


def choose_frames(item: Item, policy: FramesPolicy) -> FrameChoice:
    """The frames of `item` under `policy`. DataError where a picture or the video is missing or damaged."""
    if item.video is not None and not item.views:
        indices = evenly_spaced(_video_length(item.video), policy.count) if policy.count else ()
        digests = [_video_digest(item.video)] if indices else []
    else:
        indices = evenly_spaced(len(item.views), policy.count)
        digests = [_view_digest(item.views[index]) for index in indices]
    text = "\n".join([*digests, *map(str, indices)])
    return FrameChoice(indices=indices, digest=hashlib.sha256(text.encode()).hexdigest())


def load_views(item: Item, indices: tuple[int, ...]) -> tuple[View, ...]:
    """The chosen views; frames of a video are decoded now, everything else stays as lazy as it is."""
    if item.video is not None and not item.views:
        return _video_views(item.video, indices)
    return tuple(item.views[index] for index in indices)


def _view_digest(view: View) -> str:
    if view.image is None:
        return "no picture"
    if isinstance(view.image, Path):
        return _file_digest(view.image)
    pixels = np.asarray(picture(view))
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()


def _file_digest(path: Path) -> str:
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(f"can't read the picture {path}: {error.strerror}") from None
    return _cached_file_digest(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=100_000)
def _cached_file_digest(path: Path, size: int, mtime_ns: int) -> str:
    """Keyed by size and time too, so that a picture replaced during the run is read again."""
    del size, mtime_ns
    return hashlib.sha256(path.read_bytes()).hexdigest()


@lru_cache(maxsize=10_000)
def _video_digest(path: Path) -> str:
    """Size and both ends: a whole benchmark's videos are gigabytes, and re-encoding changes all three."""
    return sampled_digest(path)


def sampled_digest(path: Path) -> str:
    """SHA-256 of a file's size, first and last megabyte."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_SAMPLED_BYTES)
        file.seek(max(0, size - _SAMPLED_BYTES))
        return hashlib.sha256(str(size).encode() + head + file.read()).hexdigest()


# ----------------------------------------------------------------------------------------------------------- videos


@lru_cache(maxsize=10_000)
def _video_length(path: Path) -> int:
    with _open_video(path) as container:
        length = int(container.streams.video[0].frames) or _counted_frames(path, container)
    if length == 0:
        raise DataError(f"{path} has no video frames; replace the file")
    return length


def _counted_frames(path: Path, container: Any) -> int:
    """Number of frames of a container that does not say, checked against the duration that it does say."""
    stream = container.streams.video[0]
    times_s = [float(p.pts * stream.time_base) for p in container.demux(stream) if p.size and p.pts is not None]
    if not times_s or container.duration is None:
        return len(times_s)
    declared_s = container.duration / _CONTAINER_TICKS_PER_S
    if max(times_s) + _LOST_TAIL_S < declared_s:
        raise DataError(f"{path} is truncated: {max(times_s):.1f} of {declared_s:.1f} s are there; replace the file")
    return len(times_s)


@lru_cache(maxsize=2)
def _video_views(path: Path, indices: tuple[int, ...]) -> tuple[View, ...]:
    """Cached because the items of one scene follow each other."""
    wanted = set(indices)
    views = {number: View(image=pixels, time_s=time_s) for number, pixels, time_s in _decode(path, wanted)}
    missing = sorted(wanted - set(views))
    if missing:
        raise DataError(f"{path} is truncated: frame {missing[0]} can't be decoded; replace the file")
    return tuple(views[index] for index in indices)


def _decode(path: Path, wanted: set[int]) -> Iterator[tuple[int, Image, float | None]]:
    import av

    with _open_video(path) as container:
        container.streams.video[0].thread_type = "AUTO"
        frames = container.decode(video=0)
        number = -1
        while number < max(wanted, default=-1):
            try:
                frame = next(frames)
            except (StopIteration, av.error.FFmpegError):
                return
            number += 1
            if number in wanted:
                yield number, frame.to_ndarray(format="rgb24"), frame.time


def _open_video(path: Path) -> Any:
    import av

    if not path.is_file():
        raise DataError(f"no such video: {path}")
    try:
        container = av.open(str(path))
    except av.error.FFmpegError as error:
        raise DataError(f"{path} can't be opened as a video ({error.strerror}); it may be truncated") from None
    if not container.streams.video:
        container.close()
        raise DataError(f"{path} holds no video stream")
    return container
