"""Frames of a video file by number: exact, also with variable frame rates, without decoding what is not wanted.

The packets are read once without decoding; their presentation times number the frames. A wanted frame is then decoded
from the key frame before it, so 32 frames of an hour cost 32 short stretches, and one frame at a time is in memory.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from allocentric.core.errors import DataError
from allocentric.core.types import Image, View

_SAMPLED_BYTES = 1 << 20
_CONTAINER_TICKS_PER_S = 1_000_000
"""FFmpeg gives a container's duration in microseconds."""
_LOST_TAIL_S = 1.0
"""A video track may end this much before its sound."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoIndex:
    """What the packets of a video say."""

    ticks: tuple[int, ...]
    """(N,) presentation time of every frame, ascending, in units of `tick_s`."""
    key_ticks: tuple[int, ...]
    """Those of the key frames."""
    tick_s: float
    """Length of a tick in seconds."""
    rate_hz: float
    """Average frames per second."""


def video_index(path: Path) -> VideoIndex:
    """Number the frames of a video.

    Raises:
        DataError: no such file, no video, no frames, or fewer than the file says there are.
    """
    return _video_index(path, *_state(path))


def video_frames(path: Path, numbers: Sequence[int], *, max_side_px: int | None = None) -> Iterator[View]:
    """The frames with these numbers (ascending, from 0), decoded one at a time, with their times.

    Args:
        path: The video.
        numbers: Which frames.
        max_side_px: Larger frames are shrunk to this by averaging areas; None keeps their size.

    Raises:
        DataError: as `video_index`, or a frame can't be decoded.
    """
    index = video_index(path)
    wanted = [index.ticks[number] for number in numbers]
    decoded = _decode(path, index, wanted, max_side_px)
    for number, tick in zip(numbers, wanted, strict=True):
        pixels = next(decoded, None)
        if pixels is None:
            raise DataError(f"{path} is truncated: frame {number} can't be decoded; replace the file")
        yield View(image=pixels, time_s=(tick - index.ticks[0]) * index.tick_s)


def sampled_digest(path: Path) -> str:
    """SHA-256 of a file's size, first and last megabyte."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_SAMPLED_BYTES)
        file.seek(max(0, size - _SAMPLED_BYTES))
        return hashlib.sha256(str(size).encode() + head + file.read()).hexdigest()


def _state(path: Path) -> tuple[int, int]:
    """Size and time of change, so that a file replaced during the run is read again."""
    if not path.is_file():
        raise DataError(f"no such video: {path}")
    state = path.stat()
    return state.st_size, state.st_mtime_ns


@lru_cache(maxsize=512)
def _video_index(path: Path, size: int, mtime_ns: int) -> VideoIndex:
    del size, mtime_ns
    import av

    with _open_video(path) as container:
        stream = container.streams.video[0]
        ticks, keys, packets = [], [], 0
        try:
            for packet in container.demux(stream):
                if packet.size and packet.pts is not None:
                    packets += 1
                    if not packet.is_discard:
                        ticks.append(packet.pts)
                        keys += [packet.pts] if packet.is_keyframe else []
        except av.error.FFmpegError:
            pass  # counted below against what the file promises
        _check_complete(path, container, packets, ticks)
        return VideoIndex(
            ticks=tuple(sorted(ticks)),
            key_ticks=tuple(sorted(keys)),
            tick_s=float(stream.time_base),
            rate_hz=float(stream.average_rate or stream.guessed_rate or 0),
        )


def _check_complete(path: Path, container: Any, packets: int, ticks: Sequence[int]) -> None:
    stream = container.streams.video[0]
    if not ticks:
        raise DataError(f"{path} has no video frames; replace the file")
    promised = int(stream.frames)
    if promised > packets:
        raise DataError(f"{path} is truncated: {packets} of {promised} frames are there; replace the file")
    if promised or container.duration is None:
        return
    end_s, promised_s = float(max(ticks) * stream.time_base), container.duration / _CONTAINER_TICKS_PER_S
    if end_s + _LOST_TAIL_S < promised_s:
        raise DataError(f"{path} is truncated: {end_s:.1f} of {promised_s:.1f} s are there; replace the file")


def _decode(path: Path, index: VideoIndex, wanted: Sequence[int], max_side_px: int | None) -> Iterator[Image]:
    """Pixels at ascending ticks; stops at the first that can't be decoded."""
    import av

    with _open_video(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        frames = container.decode(stream)
        reached, started = index.ticks[0], False
        for tick in wanted:
            key = _key_before(index, tick)
            if key > reached or not started:
                container.seek(key, stream=stream)
                frames, started = container.decode(stream), True
            frame = None
            while frame is None or frame.pts < tick:
                try:
                    frame = next(frames)
                except (StopIteration, av.error.FFmpegError):
                    return
            reached = frame.pts
            if frame.pts != tick:
                return
            yield _pixels(frame, max_side_px)


def _pixels(frame: Any, max_side_px: int | None) -> Image:
    longest = max(frame.width, frame.height)
    if max_side_px is not None and longest > max_side_px:
        size = [max(1, round(side * max_side_px / longest)) for side in (frame.width, frame.height)]
        frame = frame.reformat(width=size[0], height=size[1], format="rgb24", interpolation="AREA")
    pixels: Image = frame.to_ndarray(format="rgb24")
    return pixels


def _key_before(index: VideoIndex, tick: int) -> int:
    position = bisect_right(index.key_ticks, tick) - 1
    return index.key_ticks[position] if position >= 0 else index.ticks[0]


def _open_video(path: Path) -> Any:
    import av

    try:
        container = av.open(str(path))
    except av.error.FFmpegError as error:
        raise DataError(f"{path} can't be opened as a video ({error.strerror}); it may be truncated") from None
    if not container.streams.video:
        container.close()
        raise DataError(f"{path} holds no video stream")
    return container
