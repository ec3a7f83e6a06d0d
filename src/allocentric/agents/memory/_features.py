"""Blocks of patch features for the store of Cambrian-S."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from allocentric.agents.encoders.contract import Features
from allocentric.agents.memory.contract import RECORD_BYTES, Block, Frame
from allocentric.core.types import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class FeatureBlock:
    """One frame's patches in half precision; see `_blocks.StoredBlock`."""

    index: int
    """Place of its first frame in the stream."""
    times_s: tuple[float, ...]
    """Times of its frames."""
    patches_PD: FloatArray
    """(P, D) float16."""
    grid: tuple[int, int]
    """Rows and columns."""
    resolution: float
    """1, or 0.5 after pooling."""
    surprise: float
    """See `_prediction`."""

    @classmethod
    def of(cls, frame: Frame, surprise: float) -> Self:
        """The block of a frame."""
        features = frame.encoded
        half_PD = features.patches_PD.astype(np.float16)
        return cls(frame.index, (frame.time_s,), half_PD, features.grid, 1.0, surprise)

    @property
    def nbytes(self) -> int:
        """Patches, record, and the time of every frame."""
        return int(self.patches_PD.nbytes) + RECORD_BYTES + 8 * len(self.times_s)

    def pooled(self) -> Self:
        """Means of 2x2 patches; an odd last row or column is left out, as average pooling does.

        A grid of a single row or column stays as it is.
        """
        rows, columns = self.grid[0] // 2, self.grid[1] // 2
        if not rows or not columns:
            return self
        grid_RCD = self.patches_PD.astype(np.float32).reshape(*self.grid, -1)[: 2 * rows, : 2 * columns]
        mean_RCD = grid_RCD.reshape(rows, 2, columns, 2, -1).mean(axis=(1, 3))
        half_PD = mean_RCD.reshape(rows * columns, -1).astype(np.float16)
        return type(self)(self.index, self.times_s, half_PD, (rows, columns), self.resolution / 2, self.surprise)

    def merged(self, later: Self) -> Self:
        """The mean of both."""
        assert self.grid == later.grid, "blocks of different sizes can't be merged"
        mean_PD = (self.patches_PD.astype(np.float32) + later.patches_PD) / 2
        times_s = self.times_s + later.times_s
        surprise = (self.surprise + later.surprise) / 2
        half_PD = mean_PD.astype(np.float16)
        return type(self)(self.index, times_s, half_PD, self.grid, self.resolution, surprise)

    def block(self, score: float | None = None) -> Block:
        """As it is recalled."""
        patches_PD = self.patches_PD.astype(np.float32)
        return Block(
            times_s=self.times_s,
            resolution=self.resolution,
            position=self.index,
            features=Features(patches_PD=patches_PD, pooled_D=patches_PD.mean(axis=0), grid=self.grid),
            surprise=self.surprise,
            score=score,
        )
