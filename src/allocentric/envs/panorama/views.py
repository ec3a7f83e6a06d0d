"""Perspective views of an equirectangular panorama.

A panorama is decoded once and kept while memory allows, twice as wide as it is, so that every yaw is a window of its
columns. Sampling positions then depend on the pitch and on the yaw's fraction of a pixel alone: they are computed once
per pitch, kept in fixed point (1/32 px) for each fraction that occurs, and a view is one lookup and one bilinear
sampling.

Two sampling conventions exist. `half_pixel`: pixel centres lie at +0.5 in view and panorama, columns wrap round the
seam, rows continue over the poles on the opposite meridian. `corner`: a pixel is sampled at its upper left corner in
both, and below the last row comes the first one again, as humanoid-vstar/hstar @7a52247 samples.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

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
_YAW_STEPS_PER_PX = {"half_pixel": _COARSE, "corner": _FINE}
"""Fractions of a pixel that a yaw is rounded to. `corner` keeps them all: whole degrees have 45 at most in common
widths, and positions stay within 1/64 px of the original's."""
_ROWS_BEYOND = {"half_pixel": (1, 1), "corner": (0, 2)}
_MORE_COLUMNS = 2  # behind the second turn: a position may be rounded up to the border, and has a neighbour

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
    """A decoded panorama, ready for windows at any yaw."""

    unrolled: Image
    """Two turns side by side, with the rows above and below that the sampling convention continues it by."""
    width_px: int
    """Columns of one turn."""
    sampling: Sampling
    """Which convention `unrolled` follows."""


def panorama_from_image(image: Image, sampling: Sampling, *, name: str = "the panorama") -> Panorama:
    """Unroll an equirectangular picture (H, 2H, 3). DataError where the shape is another one."""
    height, width = image.shape[:2]
    require_equirectangular(width, height, name)
    above, below = _ROWS_BEYOND[sampling]
    unrolled = np.empty((above + height + below, 2 * width + _MORE_COLUMNS, 3), dtype=np.uint8)
    one_turn = unrolled[:, :width]
    one_turn[above : above + height] = image
    if sampling == "corner":
        one_turn[height:] = image[:below]
    else:
        one_turn[0], one_turn[-1] = np.roll(image[[0, -1]], width // 2, axis=1)
    unrolled[:, width : 2 * width] = one_turn
    unrolled[:, 2 * width :] = one_turn[:, :_MORE_COLUMNS]
    return Panorama(unrolled, width, sampling)


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

    def __init__(self, capacity_bytes: int = 1 << 30) -> None:
        self._held: ByteCache[Panorama] = ByteCache(capacity_bytes)

    def get(self, path: Path, sampling: Sampling) -> Panorama:
        """The panorama in a file. DataError where it can't be read or is not 2:1."""
        return self._held.get(
            (path, sampling),
            lambda: panorama_from_image(read_image(path), sampling, name=str(path)),
            lambda panorama: panorama.unrolled.nbytes,
        )


class _PitchMap(NamedTuple):
    columns: NDArray[np.int32]  # from the window's left edge, in 1/_FINE px
    rows: NDArray[np.int32]  # of the unrolled panorama, in 1/_COARSE px


class _FixedMap(NamedTuple):
    positions: NDArray[np.int16]  # (H, W, 2) column and row
    fractions: NDArray[np.uint16]  # (H, W) fraction of the row, fraction of the column, five bits each


class ViewEngine:
    """Cuts views out of panoramas."""

    def __init__(self, view: ViewGeometry, *, map_capacity_bytes: int = 1 << 28) -> None:
        """`map_capacity_bytes` bounds the maps that are kept, half for pitches, half for fractions of a pixel."""
        self.geometry = view
        self._pitch_maps: ByteCache[_PitchMap] = ByteCache(map_capacity_bytes // 2)
        self._fixed_maps: ByteCache[_FixedMap] = ByteCache(map_capacity_bytes // 2)

    def view(self, panorama: Panorama, yaw_rad: float, pitch_rad: float) -> Image:
        """(H, W, 3) picture in a direction; a new array every time."""
        assert panorama.sampling == self.geometry.sampling, "panorama and view follow one sampling convention"
        left, fixed = self._fixed_map(panorama.width_px, yaw_rad, pitch_rad)
        window = panorama.unrolled[:, left : left + panorama.width_px + _MORE_COLUMNS]
        picture = cv2.remap(window, *fixed, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(picture, dtype=np.uint8)

    def sampled_px(
        self, panorama_width_px: int, yaw_rad: float, pitch_rad: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(H, W) columns and rows that `view` really samples, rounding included; coordinates as in `source_px`."""
        left, (positions, fractions) = self._fixed_map(panorama_width_px, yaw_rad, pitch_rad)
        columns = left + positions[..., 0] + (fractions % _COARSE) / _COARSE
        rows = positions[..., 1] + (fractions // _COARSE) / _COARSE - _ROWS_BEYOND[self.geometry.sampling][0]
        return np.mod(columns, panorama_width_px), rows

    def _fixed_map(self, panorama_width_px: int, yaw_rad: float, pitch_rad: float) -> tuple[int, _FixedMap]:
        """Left edge of the window, and the map inside it."""
        steps = _YAW_STEPS_PER_PX[self.geometry.sampling]
        column = round(_column_of_yaw(self.geometry, panorama_width_px, yaw_rad) * steps) % (panorama_width_px * steps)
        left, fraction = divmod(column, steps)
        fixed = self._fixed_maps.get(
            (panorama_width_px, pitch_rad, fraction),
            lambda: _shifted(self._pitch_map(panorama_width_px, pitch_rad), fraction * (_FINE // steps)),
            _nbytes,
        )
        return left, fixed

    def _pitch_map(self, panorama_width_px: int, pitch_rad: float) -> _PitchMap:
        def made() -> _PitchMap:
            columns, rows = _relative_source_px(self.geometry, panorama_width_px, pitch_rad)
            fine = np.rint(np.mod(columns, panorama_width_px) * _FINE).astype(np.int32)
            above = _ROWS_BEYOND[self.geometry.sampling][0]
            return _PitchMap(fine, np.rint((rows + above) * _COARSE).astype(np.int32))

        return self._pitch_maps.get((panorama_width_px, pitch_rad), made, _nbytes)


def _shifted(base: _PitchMap, fraction: int) -> _FixedMap:
    """The map for a window whose left edge lies `fraction` / _FINE px to the left of the heading's column."""
    columns = base.columns + (fraction + _FINE // _COARSE // 2)
    columns //= _FINE // _COARSE
    fractions = (base.rows & 31) << 5
    fractions |= columns & 31
    # A column in the lower and a row in the upper half of 32 bits are OpenCV's pair (x, y) of 16 bits.
    packed = (base.rows >> 5) << 16
    packed |= columns >> 5
    return _FixedMap(packed.view(np.int16).reshape(*packed.shape, 2), fractions.astype(np.uint16))


def _nbytes(arrays: tuple[NDArray[np.integer[Any]], ...]) -> int:
    return sum(array.nbytes for array in arrays)
