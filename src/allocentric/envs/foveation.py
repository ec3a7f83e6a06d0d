"""Views with a fovea: sharp where the head points, coarse around, for any environment whose observation has a picture.

Two wrappers. `NestedCrops` shows several squares around the centre, each brought to one size, as EyeRobot's eye does
(kerrj/eyerobot, CoRL 2025): edges in equal steps from the fovea to the whole, there 320 to 1920 pixels in three levels
of 256. `LogPolar` samples rings whose spacing grows with their radius, as a retina does, on a linear fovea.
"""

from __future__ import annotations

from typing import Any

import cv2
import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from allocentric.core.errors import SettingsError
from allocentric.core.types import Image

Observation = dict[str, Any]
_PICTURES = ("view", "rgb")


class NestedCrops(gymnasium.ObservationWrapper[Observation, Any, Observation], RecordConstructorArgs):
    """The picture becomes (levels, size, size, 3): squares around its centre, smallest first, of one size.

    A square as large as `size_px` is shown as it is; larger ones are averaged over areas, smaller ones are enlarged
    bilinearly.
    """

    def __init__(
        self,
        env: gymnasium.Env[Observation, Any],
        *,
        fovea_px: int = 320,
        sphere_px: int = 1920,
        levels: int = 3,
        size_px: int = 256,
        key: str | None = None,
    ) -> None:
        """Defaults are EyeRobot's.

        Args:
            env: Its observation is a mapping with a picture.
            fovea_px: Edge of the smallest square.
            sphere_px: Edge of the largest square, at most the picture's shorter edge.
            levels: Number of squares.
            size_px: Edge of what is shown of each.
            key: Of the picture; None takes `view` or `rgb`.

        Raises:
            SettingsError: There is no such picture, or a square does not fit into it.
        """
        RecordConstructorArgs.__init__(
            self, fovea_px=fovea_px, sphere_px=sphere_px, levels=levels, size_px=size_px, key=key
        )
        gymnasium.ObservationWrapper.__init__(self, env)
        self._key, space = _picture_space(env, key)
        height, width, _ = space.shape
        if levels < 1 or size_px < 1 or not 1 <= fovea_px <= sphere_px:
            raise SettingsError(
                f"expected 1 <= fovea_px <= sphere_px and levels and size_px of at least 1, "
                f"got {fovea_px}, {sphere_px}, {levels} and {size_px}"
            )
        if sphere_px > min(height, width):
            raise SettingsError(
                f"a square of {sphere_px} px does not fit a picture of {width}x{height}; set sphere_px to "
                f"{min(height, width)} or less, or make the environment's picture larger"
            )
        self.edges_px = tuple(int(edge) for edge in np.rint(np.linspace(fovea_px, sphere_px, levels)))
        """Edge of each square."""
        self._size_px = size_px
        self.observation_space = _replaced(env, self._key, (levels, size_px, size_px, 3))

    def observation(self, observation: Observation) -> Observation:
        """The observation with its picture replaced."""
        crops = nested_crops(observation[self._key], self.edges_px, self._size_px)
        return {**observation, self._key: crops}


class LogPolar(gymnasium.ObservationWrapper[Observation, Any, Observation], RecordConstructorArgs):
    """The picture becomes (rings, spokes, 3): row k is a ring, column j the direction 2 pi j / spokes, from the right
    clockwise.

    Rings are one pixel apart within the fovea and grow by a constant factor outside of it. With `unwarped`, the
    picture keeps its size and shows only what those samples hold: the fovea as it is, the rest ever coarser, and
    black beyond the last ring.
    """

    def __init__(
        self,
        env: gymnasium.Env[Observation, Any],
        *,
        rings: int = 64,
        spokes: int = 128,
        fovea_px: float = 16.0,
        unwarped: bool = False,
        key: str | None = None,
    ) -> None:
        """The last ring touches the nearest edge of the picture.

        Args:
            env: Its observation is a mapping with a picture.
            rings: Number of rings, more than `fovea_px`.
            spokes: Samples of each ring.
            fovea_px: Radius of the fovea.
            unwarped: Show the samples in place instead of as a table.
            key: Of the picture; None takes `view` or `rgb`.

        Raises:
            SettingsError: There is no such picture, or the fovea does not fit.
        """
        RecordConstructorArgs.__init__(self, rings=rings, spokes=spokes, fovea_px=fovea_px, unwarped=unwarped, key=key)
        gymnasium.ObservationWrapper.__init__(self, env)
        self._key, space = _picture_space(env, key)
        height, width, _ = space.shape
        self.radii_px = ring_radii_px(rings, fovea_px=fovea_px, outer_px=(min(height, width) - 1) / 2)
        """(rings,) radius of each ring."""
        if spokes < 4:
            raise SettingsError(f"expected at least 4 spokes, got {spokes}")
        self._maps = _sampling_maps(height, width, self.radii_px, spokes)
        self._bands = _blur_bands(self.radii_px)
        self._back = _unwarping_maps(height, width, self.radii_px, spokes) if unwarped else None
        self._fovea = _distance_px(height, width) <= fovea_px
        shape = space.shape if unwarped else (rings, spokes, 3)
        self.observation_space = _replaced(env, self._key, shape)

    def observation(self, observation: Observation) -> Observation:
        """The observation with its picture replaced."""
        picture = observation[self._key]
        table = self._table(np.ascontiguousarray(picture))
        if self._back is None:
            return {**observation, self._key: table}
        turn = np.concatenate([table, table[:, :1]], axis=1)  # the first spoke stands on both sides of the seam
        shown = cv2.remap(turn, *self._back, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        shown[self._fovea] = picture[self._fovea]
        return {**observation, self._key: shown}

    def _table(self, picture: Image) -> Image:
        """Rings far apart are sampled from pictures blurred as much as they are apart, so that nothing flickers."""
        table = np.empty((*self._maps[0].shape, 3), dtype=np.uint8)
        for blur, members in self._bands:
            source = picture if blur == 0 else cv2.GaussianBlur(picture, (0, 0), blur)
            column, row = (part[members] for part in self._maps)
            table[members] = cv2.remap(source, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return table


def nested_crops(picture: Image, edges_px: tuple[int, ...], size_px: int) -> NDArray[np.uint8]:
    """(L, size, size, 3) squares around the middle of a picture (H, W, 3), each brought to one size."""
    height, width = picture.shape[:2]
    shown = np.empty((len(edges_px), size_px, size_px, 3), dtype=np.uint8)
    for level, edge in enumerate(edges_px):
        top, left = (height - edge) // 2, (width - edge) // 2
        square = picture[top : top + edge, left : left + edge]
        if edge == size_px:
            shown[level] = square
        else:
            how = cv2.INTER_AREA if edge > size_px else cv2.INTER_LINEAR
            shown[level] = cv2.resize(square, (size_px, size_px), interpolation=how)
    return shown


def ring_radii_px(rings: int, *, fovea_px: float, outer_px: float) -> NDArray[np.float64]:
    """(rings,) radii: 0, 1, 2 ... up to the fovea's edge, then growing by a constant factor to `outer_px`.

    Raises:
        SettingsError: The fovea is not smaller than the outer radius, or there are too few rings for it.
    """
    inside = int(np.floor(fovea_px)) + 1
    if not 1.0 <= fovea_px < outer_px:
        raise SettingsError(f"expected a fovea of 1 px or more and below {outer_px:g} px, got {fovea_px:g}")
    if rings <= inside:
        raise SettingsError(f"a fovea of {fovea_px:g} px takes {inside} rings; expected more than that, got {rings}")
    outside = np.geomspace(inside - 1, outer_px, rings - inside + 1)[1:]
    return np.concatenate([np.arange(inside, dtype=np.float64), outside])


def _sampling_maps(
    height: int, width: int, radii_px: NDArray[np.float64], spokes: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Columns and rows of the picture that each ring and spoke samples."""
    angle = np.arange(spokes) * (2 * np.pi / spokes)
    column = (width - 1) / 2 + radii_px[:, None] * np.cos(angle)
    row = (height - 1) / 2 + radii_px[:, None] * np.sin(angle)
    return column.astype(np.float32), row.astype(np.float32)


def _unwarping_maps(
    height: int, width: int, radii_px: NDArray[np.float64], spokes: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Spoke and ring that each pixel shows; outside the last ring -2, which is black."""
    y, x = np.indices((height, width)) - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    distance = np.hypot(x, y)
    ring = np.interp(distance, radii_px, np.arange(len(radii_px)))
    ring[distance > radii_px[-1]] = -2.0
    spoke = np.arctan2(y, x) % (2 * np.pi) * (spokes / (2 * np.pi))
    return spoke.astype(np.float32), ring.astype(np.float32)


def _blur_bands(radii_px: NDArray[np.float64]) -> list[tuple[float, slice]]:
    """Standard deviation of the blur in px, and the rings it is for: half their spacing, in powers of two."""
    spacing = np.gradient(radii_px)
    octave = np.maximum(np.floor(np.log2(np.maximum(spacing, 1.0))), 0).astype(int)
    bands = []
    for value in np.unique(octave):
        members = np.flatnonzero(octave == value)
        bands.append((0.0 if value == 0 else 2.0**value / 2, slice(int(members[0]), int(members[-1]) + 1)))
    return bands


def _distance_px(height: int, width: int) -> NDArray[np.float64]:
    y, x = np.indices((height, width)) - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    return np.asarray(np.hypot(x, y))


def _picture_space(env: gymnasium.Env[Observation, Any], key: str | None) -> tuple[str, Any]:
    space = env.observation_space
    known = list(space.spaces) if isinstance(space, spaces.Dict) else []
    wanted = [name for name in known if name in _PICTURES] if key is None else [key]
    chosen = space[wanted[0]] if isinstance(space, spaces.Dict) and wanted and wanted[0] in known else None
    if chosen is None or chosen.dtype != np.uint8 or len(chosen.shape or ()) != 3:
        raise SettingsError(f"expected an observation with a picture {key or ' or '.join(_PICTURES)!r}, got {known}")
    return wanted[0], chosen


def _replaced(env: gymnasium.Env[Observation, Any], key: str, shape: tuple[int, ...]) -> spaces.Dict:
    assert isinstance(env.observation_space, spaces.Dict)
    return spaces.Dict({**env.observation_space.spaces, key: spaces.Box(0, 255, shape, dtype=np.uint8)})
