"""Visual Funnel: three nested crops whose sizes follow the entropy of attention, each centred anew.

jungnerd/Visual-Funnel@b3a8897 (CVPR 2026 Findings). The model is asked where to look; its attention A, summing to 1,
has the entropy H = -sum A log A / log cells. The focal crop is a square of `base_px` around A's centre; the next have
edges (1.2 + 0.6 H) and (1.6 + 1.2 H) of it, centred on the attention inside the crop before.

In panoramas (ours) centres are mean directions on the sphere, cells count for the cosine of their pitch, and crops go
over the seam. Of several pictures (ours) those with most of the attention are funnelled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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

Box = tuple[int, int, int, int]
_TINY = 1e-12
NAMES = ("focal", "alpha1", "alpha2")
"""The crops, smallest first."""


class Settings(config.Settings):
    """Published values, for Qwen2.5-VL."""

    layer: int = 22
    """Whose attention."""
    base_px: float = Setting(default=224.0, gt=0)
    """Edge of the focal crop."""
    alpha1: tuple[float, float] = (1.2, 0.6)
    """Edge of the second crop in focal edges: the first plus the second times H."""
    alpha2: tuple[float, float] = (1.6, 1.2)
    """The same of the third."""
    most: int = Setting(default=1, ge=1)
    """Pictures that are funnelled, of several."""


def build(settings: Settings) -> Focus:
    """The method."""
    return VisualFunnel(settings)


def where_to_look(question: str) -> str:
    """The prompt whose attention is taken."""
    return f"To answer '{question}', where in the image should I look?"


class VisualFunnel:
    """Implements `contract.Focus`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def look(self, probe: Probe, pictures: Sequence[Image], question: str, *, panorama: bool = False) -> Focused:
        """Three crops per funnelled picture, smallest first."""
        checked(pictures)
        maps = layer_of(probe(pictures, where_to_look(question))[0], self._settings.layer)
        fields = fields_of(maps, pictures, panorama=panorama)
        held = [float((field.attention_RC * field.weights).sum()) for field in fields]
        order = sorted(range(len(fields)), key=lambda index: (-held[index], index))
        crops = [
            Crop(picture=index, name=name, box_px=box, image=cut(pictures[index], box, panorama=panorama))
            for index in order[: self._settings.most]
            for name, box in zip(NAMES, portfolio(fields[index], self._settings), strict=True)
        ]
        return Focused(crops=tuple(crops), maps=maps, question=question)


def portfolio(field: Field, settings: Settings) -> tuple[Box, Box, Box]:
    """The boxes of a picture."""
    share_RC = normalised(field)
    entropy = normalised_entropy(share_RC)
    edges = (1.0, *(base + slope * entropy for base, slope in (settings.alpha1, settings.alpha2)))
    boxes: list[Box] = []
    for edge in edges:
        centre = _centre(field, share_RC, boxes[-1] if boxes else None)
        boxes.append(_square(field, centre, edge * settings.base_px))
    return boxes[0], boxes[1], boxes[2]


def normalised(field: Field) -> Array:
    """Attention that sums to 1; uniform where there is none."""
    weighted = field.attention_RC * field.weights
    total = weighted.sum()
    return np.asarray(weighted / total if total > _TINY else field.weights / field.weights.sum())


def normalised_entropy(share_RC: Array) -> float:
    """0 where one cell has all, 1 where all have the same."""
    if share_RC.size < 2:
        return 0.0
    entropy = -float((share_RC * np.log(share_RC + _TINY)).sum()) / math.log(share_RC.size)
    return float(np.clip(entropy, 0.0, 1.0))


def _centre(field: Field, share_RC: Array, box: Box | None) -> tuple[float, float]:
    """(x, y) in pixels of the attention, inside a box where one is given (its middle where it holds none)."""
    cell_w, cell_h = field.cell_px
    xs, ys = np.meshgrid((np.arange(field.columns) + 0.5) * cell_w, (np.arange(field.rows) + 0.5) * cell_h)
    if box is not None:
        x0, y0, x1, y1 = box
        across = (xs - x0) % field.width_px < x1 - x0 if field.panorama else (xs >= x0) & (xs < x1)
        share_RC = np.where(across & (ys >= y0) & (ys < y1), share_RC, 0.0)
        if share_RC.sum() <= _TINY:
            return (x0 + x1) / 2, (y0 + y1) / 2
        share_RC = share_RC / share_RC.sum()
    if not field.panorama:
        return float((xs * share_RC).sum()), float((ys * share_RC).sum())
    return _mean_direction(field, xs, share_RC)


def _mean_direction(field: Field, xs: Array, share_RC: Array) -> tuple[float, float]:
    yaw, pitch = xs / field.width_px * 2 * np.pi, np.broadcast_to(field.pitch_rad[:, None], xs.shape)
    axes = np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)
    x, y, z = (float((axis * share_RC).sum()) for axis in axes)
    yaw_rad, pitch_rad = math.atan2(y, x) % (2 * math.pi), math.atan2(z, math.hypot(x, y))
    return yaw_rad / (2 * math.pi) * field.width_px, (0.5 - pitch_rad / math.pi) * field.height_px


def _square(field: Field, centre: tuple[float, float], edge_px: float) -> Box:
    """A square inside the picture, moved where it would stick out; in a panorama wider by 1 / cos(pitch)."""
    y0, y1 = _inside(centre[1], edge_px, field.height_px)
    if not field.panorama:
        x0, x1 = _inside(centre[0], edge_px, field.width_px)
        return x0, y0, x1, y1
    pitch = (0.5 - centre[1] / field.height_px) * math.pi
    width = min(edge_px / max(math.cos(pitch), _TINY), float(field.width_px))
    left = round(centre[0] - width / 2) % field.width_px
    return left, y0, left + round(width), y1


def _inside(centre: float, edge_px: float, size_px: int) -> tuple[int, int]:
    edge = min(edge_px, float(size_px))
    start = min(max(centre - edge / 2, 0.0), size_px - edge)
    return round(start), round(start + edge)
