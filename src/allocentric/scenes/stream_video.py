"""Streams as H.264 video files: frames are encoded as they come, a few at a time in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from pydantic import Field

from allocentric.core.config import Settings
from allocentric.core.errors import DataError, MissingPackageError, UserError
from allocentric.core.progress import Progress, SilentProgress
from allocentric.core.types import View
from allocentric.scenes import stream as streams

_RATE_DENOMINATOR = 1001
_KEY_FRAMES_S = 10
"""A key frame at least this often, so that single frames of a long video are found quickly."""


class Recipe(Settings):
    """One video of a stream."""

    stream: streams.Settings = streams.Settings()
    """Houses, walks, camera, frames a second."""
    start_s: float = Field(default=0.0, ge=0.0)
    """Where in the stream the video begins; what lies before is not built."""
    duration_s: float = Field(default=600.0, gt=0.0)
    """Length of the video."""
    crf: int = Field(default=23, ge=0, le=51)
    """Quality of x264: 0 is lossless, 51 the worst."""


def film(recipe: Recipe, path: Path, *, progress: Progress | None = None) -> int:
    """Write the video of a recipe and say how many frames it has. UserError and DataError as `write_video`."""
    told, fps = progress or SilentProgress(), recipe.stream.walk.fps
    with streams.Stream(recipe.stream) as stream:
        first = stream.index_at(recipe.start_s)
        count = max(1, round(recipe.duration_s * fps))
        told.start(count, "frames")
        try:
            return write_video(_told(stream.views(first, first + count), told), path, fps=fps, crf=recipe.crf)
        finally:
            told.stop()


def write_video(views: Iterable[View], path: Path, *, fps: float, crf: int = 23) -> int:
    """Encode views to an MP4 file and say how many there were. `path` appears when the video is complete.

    Args:
        views: Each with an image or a function that renders it; all of one size with even edges.
        path: The file; its folder is made.
        fps: Frames a second, the views' own.
        crf: Quality of x264 from 0 (lossless) to 51.

    Raises:
        DataError: no views, one without a picture, or sizes that differ or are odd.
        UserError: the file can't be written.
    """
    try:
        import av
    except ImportError:
        raise MissingPackageError("av", needed_for="writing video") from None

    rate = Fraction(fps).limit_denominator(_RATE_DENOMINATOR)
    part = path.with_name(path.name + ".part")
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(part), "w", format="mp4") as container:
            track = container.add_stream("libx264", rate=rate)
            track.pix_fmt = "yuv420p"
            track.options = {"crf": str(crf), "g": str(max(1, round(fps * _KEY_FRAMES_S))), "threads": "1"}
            size: tuple[int, int] | None = None
            for view in views:
                picture = _picture(view)
                if size is None:
                    size = track.height, track.width = picture.shape[0], picture.shape[1]
                    _check_size(size)
                if picture.shape[:2] != size:
                    raise DataError(f"frame {count} is {picture.shape[:2]}, the first one {size} (rows, columns)")
                for packet in track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                    container.mux(packet)
                count += 1
            if not count:
                raise DataError("there are no frames to write")
            for packet in track.encode():
                container.mux(packet)
        part.replace(path)
    except OSError as error:
        raise UserError(f"cannot write the video {path}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
    return count


def _told(views: Iterable[View], progress: Progress) -> Iterator[View]:
    for view in views:
        yield view
        progress.advance()


def _picture(view: View) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    image = view.image() if callable(view.image) else view.image
    if not isinstance(image, np.ndarray):
        raise DataError(f"the view of {view.time_s} s has no picture to write")
    return np.ascontiguousarray(image)


def _check_size(size: tuple[int, int]) -> None:
    if size[0] % 2 or size[1] % 2:
        raise DataError(f"H.264 wants even edges, got {size[1]} x {size[0]}; change walk.width_px or walk.height_px")
