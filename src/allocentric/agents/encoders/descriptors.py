"""Colour and texture of each patch: nothing trained, the same on every machine.

Per patch, on a grid: mean and standard deviation of the three channels of CIELAB, and a histogram of gradient
directions weighted by their strength (Dalal and Triggs 2005, without blocks). The picture as a whole is the mean of
its patches. Knows no words.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from allocentric.agents.encoders.contract import Encoder, Features, pixels
from allocentric.core import config
from allocentric.core.types import FloatArray, View

_PATCH_PX = 12
"""Pictures are brought to this edge length per patch, so that the cost does not grow with the picture."""


class Settings(config.Settings):
    """The grid."""

    rows: int = Field(default=8, ge=1, le=64)
    """Rows of patches."""
    columns: int = Field(default=8, ge=1, le=64)
    """Columns of patches."""
    directions: int = Field(default=8, ge=2, le=32)
    """Bins of the histogram, over half a turn."""


def build(settings: Settings) -> Encoder:
    """The encoder."""
    return _Descriptors(settings)


class _Descriptors(Encoder):
    name = "descriptors"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.width = 6 + settings.directions

    def encode(self, view: View) -> Features:
        """Patches and their mean."""
        import cv2

        rows, columns = self._settings.rows, self._settings.columns
        small = cv2.resize(pixels(view), (columns * _PATCH_PX, rows * _PATCH_PX), interpolation=cv2.INTER_AREA)
        lab_HWC = cv2.cvtColor(small.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB) / 100.0
        patches = [*_moments(lab_HWC, rows, columns), _directions(lab_HWC[..., 0], self._settings)]
        patches_PD = np.concatenate(patches, axis=-1).reshape(rows * columns, self.width).astype(np.float32)
        return Features(patches_PD=patches_PD, pooled_D=patches_PD.mean(axis=0), grid=(rows, columns))


def _moments(lab_HWC: FloatArray, rows: int, columns: int) -> tuple[FloatArray, FloatArray]:
    cells = lab_HWC.reshape(rows, _PATCH_PX, columns, _PATCH_PX, 3)
    return cells.mean(axis=(1, 3)), cells.std(axis=(1, 3))


def _directions(light_HW: FloatArray, settings: Settings) -> FloatArray:
    """(rows, columns, directions): mean gradient strength by direction, opposite directions being one."""
    import cv2

    across_HW = cv2.Sobel(light_HW, cv2.CV_32F, 1, 0, ksize=3)
    down_HW = cv2.Sobel(light_HW, cv2.CV_32F, 0, 1, ksize=3)
    share_HW = (np.arctan2(down_HW, across_HW) % np.pi) / np.pi
    bin_HW = np.minimum((share_HW * settings.directions).astype(int), settings.directions - 1)
    row_H = np.arange(light_HW.shape[0]) // _PATCH_PX
    column_W = np.arange(light_HW.shape[1]) // _PATCH_PX
    cell_HW = row_H[:, None] * settings.columns + column_W
    strength_HW = np.hypot(across_HW, down_HW)
    counts = np.bincount(
        (cell_HW * settings.directions + bin_HW).ravel(),
        weights=strength_HW.ravel(),
        minlength=settings.rows * settings.columns * settings.directions,
    )
    return (counts / _PATCH_PX**2).reshape(settings.rows, settings.columns, settings.directions)
