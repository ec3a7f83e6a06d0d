"""What every renderer takes and gives.

Surfaces are one-sided: a triangle is seen from the side where it is counter-clockwise, by every backend alike, so a
camera inside a box looks out of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from allocentric.core.config import Settings as BaseSettings
from allocentric.core.types import Camera, FloatArray, Image

Channel: TypeAlias = Literal["rgb", "depth", "id", "normal"]
ALL_CHANNELS: tuple[Channel, ...] = ("rgb", "depth", "id", "normal")


class Settings(BaseSettings):
    """What every backend understands."""

    shadows: bool = True
    """Sun and room lights cast shadows."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Frame:
    """One rendered picture; channels that were not asked for are None."""

    rgb: Image | None = None
    """(H, W, 3) uint8 sRGB."""
    depth_m: FloatArray | None = None
    """(H, W) float32: z-depth for pinhole and orthographic cameras, range for panoramas; inf where nothing is."""
    id: NDArray[np.int32] | None = None
    """(H, W): k is scene.objects[k], len(objects) + j is scene.structure[j], -1 nothing."""
    normal: FloatArray | None = None
    """(H, W, 3) float32 world unit normal of the triangle, facing the camera; 0 where nothing is."""


class Renderer(Protocol):
    """Draws one scene. Use it as a context manager, from the thread that built it."""

    def render(self, camera: Camera, channels: Sequence[Channel] = ALL_CHANNELS) -> Frame:
        """Draw what `camera` sees. The same camera gives the same bytes; arrays belong to the caller."""
        ...

    def silhouette_px(self, camera: Camera, object_indices: Sequence[int]) -> NDArray[np.int64]:
        """(K,) pixels of this frame that each object (index into scene.objects) would cover if drawn alone."""
        ...

    def close(self) -> None:
        """Release everything; closing twice is fine."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def checked_channels(channels: Sequence[Channel]) -> frozenset[Channel]:
    """The channels as a set; ValueError where one is unknown or none is asked for."""
    unknown = [name for name in channels if name not in ALL_CHANNELS]
    if unknown or not channels:
        raise ValueError(f"expected channels out of {', '.join(ALL_CHANNELS)}, got {list(channels)}")
    return frozenset(channels)


def check_object(index: int, object_count: int) -> None:
    """IndexError where `index` is no index into scene.objects."""
    if not 0 <= index < object_count:
        raise IndexError(f"expected an index into the scene's {object_count} objects, got {index}")
