"""What a focus method is given and gives: attention over pictures, and crops of them.

A method looks at attention alone, so anything that has some can be asked: a checkpoint (`probe.AttentionProbe`), or an
oracle that knows where the target is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from allocentric.core.errors import DataError, SettingsError
from allocentric.core.types import Image

Array: TypeAlias = NDArray[np.float64]

Maps: TypeAlias = tuple[Array, ...]
"""Per picture, (layers, rows, columns): attention of one token to the picture's tokens, averaged over heads."""


class Probe(Protocol):
    """Attention of whatever answers to the pictures it is shown."""

    @property
    def layers(self) -> int:
        """How many layers maps have."""
        ...

    def __call__(self, pictures: Sequence[Image], text: str, *, steps: int = 1) -> tuple[Maps, ...]:
        """Attention of the prompt's last token and of up to `steps - 1` tokens of the answer; at least one entry."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Crop:
    """A part of a picture that is shown again, larger."""

    picture: int
    """Which of the pictures, from 0."""
    name: str
    """What the method calls it ("crop", "focal", "masked" ...)."""
    box_px: tuple[int, int, int, int]
    """(x0, y0, x1, y1) in the picture. In a panorama x1 may exceed the width: the box goes on over the seam."""
    image: Image
    """What is shown."""

    def contains(self, x_px: float, y_px: float, *, wrap_px: int | None = None) -> bool:
        """Whether a point lies in the box; `wrap_px` is the width of a panorama."""
        x0, y0, x1, y1 = self.box_px
        across = (x_px - x0) % wrap_px < x1 - x0 if wrap_px else x0 <= x_px < x1
        return bool(across and y0 <= y_px < y1)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Focused:
    """What a method found."""

    crops: tuple[Crop, ...]
    """In the order they are shown, after the pictures themselves."""
    maps: tuple[Array, ...]
    """Per picture, (rows, columns): the map the crops were chosen from."""
    question: str
    """The question as the method puts it beside the crops."""


class Focus(Protocol):
    """One method with its settings."""

    def look(self, probe: Probe, pictures: Sequence[Image], question: str, *, panorama: bool = False) -> Focused:
        """Ask where to look and crop.

        Args:
            probe: Whose attention.
            pictures: At least one, of any sizes; the crops of several are chosen together.
            question: As the model is asked it.
            panorama: The pictures are equirectangular: their left and right edges meet, and rows near the poles
                count for as much as they cover of the sphere.

        Raises:
            DataError: no pictures, or maps that do not fit them.
            SettingsError: a layer that the probe does not have.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Field:
    """An attention map over a picture."""

    attention_RC: Array
    """(rows, columns), at least 0."""
    width_px: int
    """Columns of the picture."""
    height_px: int
    """Rows of the picture."""
    panorama: bool = False
    """Equirectangular."""

    @property
    def rows(self) -> int:
        """Cells from top to bottom."""
        return int(self.attention_RC.shape[0])

    @property
    def columns(self) -> int:
        """Cells from left to right."""
        return int(self.attention_RC.shape[1])

    @property
    def cell_px(self) -> tuple[float, float]:
        """Width and height of a cell."""
        return self.width_px / self.columns, self.height_px / self.rows

    @property
    def pitch_rad(self) -> Array:
        """Pitch of the rows' centres in radians, + is up; 0 in pictures that are no panoramas."""
        if not self.panorama:
            return np.zeros(self.rows)
        return np.asarray(np.pi / 2 - (np.arange(self.rows) + 0.5) / self.rows * np.pi)

    @property
    def weights(self) -> Array:
        """What a cell counts for: 1, or in a panorama the cosine of its pitch, as its share of the sphere goes."""
        return np.broadcast_to(np.cos(self.pitch_rad)[:, None], self.attention_RC.shape)


def fields_of(maps: Sequence[Array], pictures: Sequence[Image], *, panorama: bool) -> list[Field]:
    """Maps with the sizes of their pictures.

    Raises:
        DataError: not as many maps as pictures, or one that is no map.
    """
    if len(maps) != len(pictures):
        raise DataError(f"attention over {len(pictures)} pictures has {len(maps)} maps")
    for one in maps:
        if one.ndim != 2 or not one.size or not np.isfinite(one).all() or (one < 0).any():
            raise DataError(f"expected a finite attention map (rows, columns) of at least 0, got shape {one.shape}")
    return [
        Field(attention_RC=one, width_px=picture.shape[1], height_px=picture.shape[0], panorama=panorama)
        for one, picture in zip(maps, pictures, strict=True)
    ]


def checked(pictures: Sequence[Image]) -> None:
    """DataError unless these are pictures, at least one."""
    if not pictures:
        raise DataError("focus needs at least one picture")
    for picture in pictures:
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise DataError(f"expected pictures (H, W, 3) of uint8, got {picture.dtype} {picture.shape}")


def layer_of(maps: Maps, layer: int) -> tuple[Array, ...]:
    """One layer of every picture's map.

    Raises:
        SettingsError: there is no such layer.
    """
    count = maps[0].shape[0]
    if not -count <= layer < count:
        raise SettingsError(f"layer {layer} was asked for, and the model has {count}; set a layer below {count}")
    return tuple(one[layer] for one in maps)


def cut(picture: Image, box_px: tuple[int, int, int, int], *, panorama: bool = False) -> Image:
    """The pixels of a box. In a panorama it may go over the seam and is narrowed by the cosine of its pitch, which
    undoes the stretch of equirectangular rows.
    """
    x0, y0, x1, y1 = box_px
    if not panorama:
        return np.ascontiguousarray(picture[y0:y1, x0:x1])
    height, width = picture.shape[:2]
    part: Any = picture[y0:y1, np.arange(x0, x1) % width]
    pitch_rad = (0.5 - (y0 + y1) / 2 / height) * np.pi
    narrow = max(1, round((x1 - x0) * np.cos(pitch_rad)))
    if narrow == x1 - x0:
        return np.ascontiguousarray(part)
    return np.asarray(cv2.resize(part, (narrow, y1 - y0), interpolation=cv2.INTER_AREA))
