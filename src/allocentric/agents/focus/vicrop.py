"""ViCrop: a window where attention to the question stands out from attention to a general description.

arXiv 2502.17422 and its code (saccharomycetes/mllms_know, relative attention). The window has `window_px` times one of
the ratios; the ratio is taken at which the best window stands out most from its four neighbours, per cell.

In panoramas (ours) windows go over the seam, grow by 1 / cos(pitch) in columns, and cells count for the cosine of
their pitch. Of several pictures (ours) those are cropped whose windows hold most attention per cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pydantic import Field as Setting

from allocentric.agents.focus.contract import (
    Array,
    Crop,
    Field,
    Focus,
    Focused,
    Probe,
    checked,
    cut,
    fields_of,
    layer_of,
)
from allocentric.core import config
from allocentric.core.types import Image

GENERAL = "Write a general description of the image."
"""What attention is compared with."""
_TINY = 1e-12


class Settings(config.Settings):
    """Published values, for Qwen2.5-VL."""

    layer: int = 22
    """Whose attention (LLaVA-1.5: 14, InstructBLIP: 15)."""
    window_px: int = Setting(default=336, ge=1)
    """Edge of the smallest window."""
    ratios: tuple[float, ...] = (1.0, 1.2, 1.4, 1.6, 1.8, 2.0)
    """Edges that are tried, in windows."""
    most: int = Setting(default=1, ge=1)
    """Pictures that are cropped, of several."""


def build(settings: Settings) -> Focus:
    """The method."""
    return ViCrop(settings)


class ViCrop:
    """Implements `contract.Focus`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def look(self, probe: Probe, pictures: Sequence[Image], question: str, *, panorama: bool = False) -> Focused:
        """One window per cropped picture."""
        checked(pictures)
        asked, general = (layer_of(probe(pictures, text)[0], self._settings.layer) for text in (question, GENERAL))
        maps = tuple(ours / np.maximum(theirs, _TINY) for ours, theirs in zip(asked, general, strict=True))
        fields = fields_of(maps, pictures, panorama=panorama)
        found = [best_window(field, self._settings.window_px, self._settings.ratios) for field in fields]
        order = sorted(range(len(found)), key=lambda index: (-found[index].density, index))
        crops = [
            Crop(
                picture=index,
                name="crop",
                box_px=found[index].box_px,
                image=cut(pictures[index], found[index].box_px, panorama=panorama),
            )
            for index in order[: self._settings.most]
        ]
        return Focused(crops=tuple(crops), maps=maps, question=question)


class Window(NamedTuple):
    """A chosen window."""

    box_px: tuple[int, int, int, int]
    """As `contract.Crop.box_px`."""
    density: float
    """Attention per cell."""
    sharpness: float
    """How much more a cell of it holds than one of its neighbours'."""


def best_window(field: Field, window_px: float, ratios: Sequence[float]) -> Window:
    """The window that stands out most; the whole picture where the smallest window covers it."""
    best: Window | None = None
    for ratio in ratios:
        size_px = window_px * ratio
        columns, rows = (min(int(size_px / cell), count) for cell, count in _axes(field))
        if columns >= field.columns and rows >= field.rows:
            if best is None and ratio == ratios[0]:
                return Window((0, 0, field.width_px, field.height_px), float(field.attention_RC.mean()), 0.0)
            continue
        window = _at_ratio(field, max(columns, 1), max(rows, 1), size_px)
        if best is None or window.sharpness > best.sharpness:
            best = window
    assert best is not None
    return best


def _axes(field: Field) -> tuple[tuple[float, int], tuple[float, int]]:
    width_px, height_px = field.cell_px
    return (width_px, field.columns), (height_px, field.rows)


def _at_ratio(field: Field, columns: int, rows: int, size_px: float) -> Window:
    sums, counts, widths = _window_sums(field, columns, rows)
    top, left = np.unravel_index(int(np.argmax(np.where(np.isfinite(sums), sums, -np.inf))), sums.shape)
    peak, count, width = float(sums[top, left]), float(counts[top]), int(widths[top])
    if field.panorama:
        beside = [sums[top, (left + step) % field.columns] for step in (-1, 1) if width < field.columns]
    else:
        beside = [sums[top, left + step] for step in (-1, 1) if 0 <= left + step < sums.shape[1]]
    above = [sums[top + step, left] for step in (-1, 1) if 0 <= top + step < sums.shape[0]]
    around = [float(value) for value in (*beside, *above)]
    sharpness = (peak - float(np.mean(around))) / count if around else 0.0
    return Window(_box(field, int(top), int(left), width, rows, size_px), peak / count, sharpness)


def _window_sums(field: Field, columns: int, rows: int) -> tuple[Array, Array, Array]:
    """(tops, lefts) attention in every window, (tops,) what its cells count for, and (tops,) its columns."""
    weighted = field.attention_RC * field.weights
    tops = field.rows - rows + 1
    if not field.panorama:
        sums = _boxed(weighted, rows, columns)
        return sums, np.full(tops, float(rows * columns)), np.full(tops, columns)
    pitch = (field.pitch_rad[:tops] + field.pitch_rad[rows - 1 :]) / 2
    widths = np.minimum(field.columns, np.round(columns / np.maximum(np.cos(pitch), _TINY))).astype(int)
    counts, out = np.empty(tops), np.empty((tops, field.columns))
    for top in range(tops):
        part = weighted[top : top + rows]
        round_ = np.concatenate([part, part[:, : widths[top] - 1]], axis=1)
        out[top] = _boxed(round_, rows, int(widths[top]))[0]
        counts[top] = field.weights[top : top + rows, 0].sum() * widths[top]
    # windows near a pole cover less than others: what they hold is compared per cell
    full = counts.max()
    return out * (full / counts)[:, None], np.full(tops, full), widths


def _boxed(values: Array, rows: int, columns: int) -> Array:
    total = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    total[1:, 1:] = values.cumsum(0).cumsum(1)
    return np.asarray(
        total[rows:, columns:] - total[:-rows, columns:] - total[rows:, :-columns] + total[:-rows, :-columns]
    )


def _box(field: Field, top: int, left: int, columns: int, rows: int, size_px: float) -> tuple[int, int, int, int]:
    cell_w, cell_h = field.cell_px
    half = size_px // 2
    x, y = int((left + columns / 2) * cell_w), int((top + rows / 2) * cell_h)
    y0, y1 = _clamped(y, half, field.height_px)
    if field.panorama:
        width = min(field.width_px, round(columns * cell_w))
        x0 = round(left * cell_w) % field.width_px
        return x0, y0, x0 + width, y1
    x0, x1 = _clamped(x, half, field.width_px)
    return x0, y0, x1, y1


def _clamped(centre: int, half: float, size_px: int) -> tuple[int, int]:
    centre_ = min(max(centre, half), size_px - half)
    return round(max(0, centre_ - half)), round(min(size_px, centre_ + half))
