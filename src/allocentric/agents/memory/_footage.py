"""A video kept within a budget: evenly thinned, so that every stretch of the stream keeps its share.

Every `stride`-th frame stays, and the newest. When the budget is reached the stride doubles and every second frame
kept is given up, so that between half the budget and all of it is in use once the stream is longer than what fits.
"""

from __future__ import annotations

import numpy as np

from allocentric.agents.memory._pictures import Kept
from allocentric.core.types import FloatArray


class Footage:
    """Kept frames in order of time."""

    def __init__(self) -> None:
        self.frames: list[Kept] = []
        self.stride = 1
        self._frame_bytes = 0

    def nbytes(self) -> dict[str, int]:
        """By component; kept up to date, not counted anew."""
        return {"frames": self._frame_bytes}

    def vectors(self) -> FloatArray:
        """(N, D) float32 of all frames, which were kept with their vectors."""
        return np.stack([kept.vector() for kept in self.frames])

    def add(self, kept: Kept) -> None:
        """Take the newest frame; the one before it stays only where the stride says so."""
        if self.frames and self.frames[-1].index % self.stride:
            self._frame_bytes -= self.frames.pop().nbytes
        self.frames.append(kept)
        self._frame_bytes += kept.nbytes

    def thin(self) -> bool:
        """Double the stride. False where only the newest frame is left."""
        if len(self.frames) == 1:
            return False
        newest = self.frames[-1]
        before = len(self.frames)
        while len(self.frames) == before:
            self.stride *= 2
            self.frames = [kept for kept in self.frames if kept.index % self.stride == 0 or kept is newest]
            if len(self.frames) == before == 2:  # frame 0 and the newest
                self.frames = [newest]
        self._frame_bytes = sum(kept.nbytes for kept in self.frames)
        return True
