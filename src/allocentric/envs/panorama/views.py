"""Perspective views of an equirectangular panorama.

A panorama is decoded once and kept while memory allows. A view's sampling positions depend on yaw only by a shift of
columns, so the positions of one pitch are computed once in fixed point; a view adds the yaw to their columns in
integer arithmetic (exact to 1/64 px) and samples bilinearly.

Two sampling conventions exist. `half_pixel`: pixel centres lie at +0.5 in view and panorama, columns wrap round the
seam, rows continue over the poles on the opposite meridian. `corner`: a pixel is sampled at its upper left corner in
both, and below the last row comes the first one again, as humanoid-vstar/hstar @7a52247 samples.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, NamedTuple, TypeAlias, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from allocentric.core.errors import DataError
from allocentric.core.types import Image

Sampling: TypeAlias = Literal["half_pixel", "corner"]

MAX_WIDTH_PX = 32_000
"""Fixed-point maps hold columns in 16 bits."""
_FINE = 1024  # units per pixel of the cached columns
_COARSE = 32  # units per pixel of OpenCV's fixed-point maps
_ROWS_PER_BLOCK = 48  # rows that are shifted at a time, so that the work stays in the processor's cache
_PADDED_COLUMNS = 2

Value = TypeVar("Value")


class ByteCache(Generic[Value]):
    """Keeps the most recently used values up to a number of bytes, and always the last one."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.held_bytes = 0
        self._entries: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable, make: Callable[[], Value], nbytes: Callable[[Value], int]) -> Value:
        """The value under `key`, made where it is not held."""
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key][0]
        value = make()
        self._entries[key] = (value, nbytes(value))
        self.held_bytes += self._entries[key][1]
        while self.held_bytes > self.capacity_bytes and len(self._entries) > 1:
            self.held_bytes -= self._entries.popitem(last=False)[1][1]
        return value


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewGeometry:
    """What a view looks like, apart from its direction."""

    width_px: int
    """Columns of the view."""
    height_px: int
    """Rows of the view."""
    horizontal_fov_rad: float
    """Angle between the left and the right edge, below pi."""
    sampling: Sampling = "half_pixel"
    """Where pixels lie."""

    @property
    def focal_px(self) -> float:
        """Distance of the picture plane."""
        return float(self.width_px / (2 * np.tan(self.horizontal_fov_rad / 2)))

    def directions(self, pitch_rad: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(H, W) longitude relative to the heading and latitude of every pixel, radians, right and up positive."""
        offset = 0.5 if self.sampling == "half_pixel" else 0.0
        x = (np.arange(self.width_px) + offset - self.width_px / 2) / self.focal_px
        y = (np.arange(self.height_px) + offset - self.height_px / 2)[:, None] / self.focal_px
        down = np.cos(pitch_rad) * y - np.sin(pitch_rad)
        ahead = np.sin(pitch_rad) * y + np.cos(pitch_rad)
        longitude = np.arctan2(x, ahead)
        return longitude, np.arctan2(-down, np.hypot(x, ahead))


def source_px(
    view: ViewGeometry, panorama_width_px: int, yaw_rad: float, pitch_rad: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(H, W) column in [0, width) and row of the panorama that every pixel of a view samples, in double precision.

    Index coordinates: 0 is the first column's (row's) sample. Rows run from -0.5 to height - 0.5 (half_pixel) or from
    0 to height (corner).
    """
    columns, rows = _relative_source_px(view, panorama_width_px, pitch_rad)
    return np.mod(columns + _column_of_yaw(view, panorama_width_px, yaw_rad), panorama_width_px), rows


def _relative_source_px(
    view: ViewGeometry, panorama_width_px: int, pitch_rad: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    longitude, latitude = view.directions(pitch_rad)
    offset = 0.5 if view.sampling == "half_pixel" else 0.0
    rows = (0.5 - latitude / np.pi) * (panorama_width_px / 2) - offset
    return longitude / (2 * np.pi) * panorama_width_px, rows


def _column_of_yaw(view: ViewGeometry, panorama_width_px: int, yaw_rad: float) -> float:
    offset = 0.5 if view.sampling == "half_pixel" else 0.0
    return (yaw_rad / (2 * np.pi) + 0.5) * panorama_width_px - offset


@dataclass(frozen=True, slots=True, eq=False)
class Panorama:
    """A decoded panorama with the neighbours of its border pixels attached."""

    padded: Image
    """Rows and columns beyond the border, as the sampling convention continues them."""
    width_px: int
    """Columns of the panorama itself."""
    sampling: Sampling
    """Which convention `padded` follows."""


def panorama_from_image(image: Image, sampling: Sampling, *, name: str = "the panorama") -> Panorama:
    """Attach borders to an equirectangular picture (H, 2H, 3). DataError where the shape is another one."""
    height, width = image.shape[:2]
    require_equirectangular(width, height, name)
    if sampling == "corner":
        tall = np.concatenate([image, image[:2]])
    else:
        over_the_pole = np.roll(image[[0, -1]], width // 2, axis=1)
        tall = np.concatenate([over_the_pole[:1], image, over_the_pole[1:]])
    padded = np.concatenate([tall, tall[:, :_PADDED_COLUMNS]], axis=1)
    return Panorama(padded, width, sampling)


def require_equirectangular(width_px: int, height_px: int, name: str) -> None:
    """DataError unless a picture of this size can be a full panorama."""
    if width_px != 2 * height_px:
        raise DataError(
            f"{name} is {width_px}x{height_px}; expected a full equirectangular panorama, exactly twice as wide as "
            "high: resize or pad it to 2:1"
        )
    if width_px > MAX_WIDTH_PX:
        raise DataError(f"{name} is {width_px} px wide; at most {MAX_WIDTH_PX} are possible: reduce it")


def read_image(path: Path) -> Image:
    """(H, W, 3) uint8 of a picture file. DataError where it is missing or not a picture."""
    try:
        encoded = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DataError(f"cannot read the picture {path}: {error.strerror}") from None
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB) if encoded.size else None
    if image is None:
        raise DataError(f"{path} is not a complete picture that can be decoded; expected PNG or JPEG")
    return np.asarray(image, dtype=np.uint8)


class PanoramaStore:
    """Decoded panoramas by file, up to a number of bytes; may be shared by environments of one process."""

    def __init__(self, capacity_bytes: int = 1 << 29) -> None:
        self._held: ByteCache[Panorama] = ByteCache(capacity_bytes)

    def get(self, path: Path, sampling: Sampling) -> Panorama:
        """The panorama in a file. DataError where it can't be read or is not 2:1."""
        return self._held.get(
            (path, sampling),
            lambda: panorama_from_image(read_image(path), sampling, name=str(path)),
            lambda panorama: panorama.padded.nbytes,
        )


class _PitchMap(NamedTuple):
    columns: NDArray[np.int32]  # fine units, relative to the heading, in [0, width)
    row_high: NDArray[np.int32]  # whole padded row, in the upper 16 bits
    row_low: NDArray[np.uint16]  # fraction of the row, in OpenCV's place


class ViewEngine:
    """Cuts views out of panoramas. One engine serves one thread."""

    def __init__(self, view: ViewGeometry, *, map_capacity_bytes: int = 1 << 28) -> None:
        self.geometry = view
        self._maps: ByteCache[_PitchMap] = ByteCache(map_capacity_bytes)
        shape = (view.height_px, view.width_px)
        self._positions = np.empty(shape, dtype=np.int32)
        self._fractions = np.empty(shape, dtype=np.uint16)
        self._block = np.empty((_ROWS_PER_BLOCK, view.width_px), dtype=np.int32)

    def view(self, panorama: Panorama, yaw_rad: float, pitch_rad: float) -> Image:
        """(H, W, 3) picture in a direction; a new array every time."""
        assert panorama.sampling == self.geometry.sampling, "panorama and view follow one sampling convention"
        positions, fractions = self._shifted(panorama.width_px, yaw_rad, pitch_rad)
        picture = cv2.remap(panorama.padded, positions, fractions, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(picture, dtype=np.uint8)

    def sampled_px(
        self, panorama_width_px: int, yaw_rad: float, pitch_rad: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(H, W) columns and rows that `view` really samples, fixed-point rounding included; as `source_px`."""
        positions, fractions = self._shifted(panorama_width_px, yaw_rad, pitch_rad)
        columns = positions[..., 0] + (fractions % _COARSE) / _COARSE
        rows = positions[..., 1] + (fractions // _COARSE) / _COARSE - self._padded_rows_above
        return columns, rows

    @property
    def _padded_rows_above(self) -> int:
        return 1 if self.geometry.sampling == "half_pixel" else 0

    def _shifted(
        self, panorama_width_px: int, yaw_rad: float, pitch_rad: float
    ) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
        """Maps for `cv2.remap`, in buffers that the next call overwrites."""
        base = self._maps.get(
            (panorama_width_px, pitch_rad),
            lambda: self._pitch_map(panorama_width_px, pitch_rad),
            lambda made: sum(part.nbytes for part in made),
        )
        turn = panorama_width_px * _FINE
        shift = round(_column_of_yaw(self.geometry, panorama_width_px, yaw_rad) * _FINE) % turn
        for top in range(0, self.geometry.height_px, _ROWS_PER_BLOCK):
            rows = slice(top, min(top + _ROWS_PER_BLOCK, self.geometry.height_px))
            columns = self._block[: rows.stop - top]
            np.add(base.columns[rows], shift, out=columns)
            np.subtract(columns, turn, out=columns, where=columns >= turn)
            columns += _FINE // _COARSE // 2
            columns //= _FINE // _COARSE
            whole = self._positions[rows]
            np.right_shift(columns, 5, out=whole)
            whole |= base.row_high[rows]
            np.bitwise_and(columns, _COARSE - 1, out=columns)
            np.bitwise_or(base.row_low[rows], columns, out=self._fractions[rows], casting="unsafe")
        # A column in the lower half and a row in the upper half of 32 bits are OpenCV's pair (x, y) of 16 bits.
        pairs = self._positions.view(np.int16).reshape(*self._positions.shape, 2)
        return pairs, self._fractions

    def _pitch_map(self, panorama_width_px: int, pitch_rad: float) -> _PitchMap:
        columns, rows = _relative_source_px(self.geometry, panorama_width_px, pitch_rad)
        fine = np.rint(np.mod(columns, panorama_width_px) * _FINE).astype(np.int32) % (panorama_width_px * _FINE)
        coarse = np.rint((rows + self._padded_rows_above) * _COARSE).astype(np.int32)
        low = ((coarse % _COARSE) * _COARSE).astype(np.uint16)
        return _PitchMap(fine, (coarse // _COARSE) << 16, low)
