"""CARVE: what attention to the question has over attention to a general description, summed over layers and steps;
everything but its strongest regions is blacked out, and what is left is cropped and enlarged.

arXiv 2509.06461 and its code (YuyaoGe/CARVE@a1f0442, version v4): contrast A_question / (A_general + lambda) over
layers 20 to 25, step t counts t times; cells in the top share p stay, in the K connected regions with most attention.

In panoramas (ours) regions go over the seam, and cells count for the cosine of their pitch. In several pictures (ours)
the share and the regions are those of all of them together.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Setting

from allocentric.agents.focus.contract import (
    Array,
    Crop,
    Field,
    Focus,
    Focused,
    Maps,
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
SUFFIX = "Answer the question using a single word or phrase."
"""Said after the question and the instruction."""
Mask = NDArray[np.bool_]


class Settings(config.Settings):
    """Published values, for Qwen2.5-VL."""

    layers: tuple[int, ...] = (20, 21, 22, 23, 24, 25)
    """Whose attention, summed."""
    steps: int = Setting(default=32, ge=1)
    """Tokens of the answer that are followed at most."""
    damping: float = Setting(default=1e-8, gt=0)
    """Lambda, added to the general attention."""
    share: float = Setting(default=0.2, gt=0, le=1)
    """p, the share of the picture that may stay."""
    regions: int = Setting(default=3, ge=1)
    """K, regions that stay."""


def build(settings: Settings) -> Focus:
    """The method."""
    return Carve(settings)


class Carve:
    """Implements `contract.Focus`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def look(self, probe: Probe, pictures: Sequence[Image], question: str, *, panorama: bool = False) -> Focused:
        """A masked and enlarged crop per picture in which something stays."""
        checked(pictures)
        asked, general = (
            probe(pictures, f"{text} {SUFFIX}", steps=self._settings.steps) for text in (question, GENERAL)
        )
        coarse = contrast(asked, general, self._settings)
        # as published, the grid is enlarged to the picture before anything is cut
        maps = tuple(
            np.asarray(cv2.resize(one, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR))
            for one, picture in zip(coarse, pictures, strict=True)
        )
        fields = fields_of(maps, pictures, panorama=panorama)
        masks = strongest_regions(fields, self._settings.share, self._settings.regions)
        crops = [
            _crop(index, pictures[index], mask, panorama=panorama) for index, mask in enumerate(masks) if mask.any()
        ]
        return Focused(crops=tuple(crops), maps=coarse, question=question)


def contrast(asked: Sequence[Maps], general: Sequence[Maps], settings: Settings) -> tuple[Array, ...]:
    """Per picture, (rows, columns): the contrast of all layers and of the steps that both have."""
    total: list[Array] | None = None
    for step, (ours, theirs) in enumerate(zip(asked, general, strict=False), start=1):  # the shorter answer ends it
        layers = [(layer_of(ours, layer), layer_of(theirs, layer)) for layer in settings.layers]
        here = [
            step * np.sum([mine[k] / (other[k] + settings.damping) for mine, other in layers], axis=0)
            for k in range(len(ours))
        ]
        total = here if total is None else [before + now for before, now in zip(total, here, strict=True)]
    assert total is not None, "a probe gives at least one step"
    return tuple(total)


def strongest_regions(fields: Sequence[Field], share: float, count: int) -> list[Mask]:
    """What stays of every picture: connected cells of the top `share`, in the `count` regions that hold most."""
    values = np.concatenate([field.attention_RC.ravel() for field in fields])
    weights = np.concatenate([field.weights.ravel() for field in fields])
    threshold = _quantile(values, weights, 1.0 - share)
    labelled = [_labelled(field, field.attention_RC >= threshold) for field in fields]
    regions = [
        (float((field.attention_RC * field.weights)[labels == label].sum()), index, label)
        for index, (field, labels) in enumerate(zip(fields, labelled, strict=True))
        for label in np.unique(labels[labels > 0])
    ]
    regions.sort(key=lambda region: (-region[0], region[1], region[2]))
    kept = max(count, int(len(regions) * share))  # as published: K, or that share of them where it is more
    masks = [np.zeros(labels.shape, dtype=bool) for labels in labelled]
    for _, index, label in regions[:kept]:
        masks[index] |= labelled[index] == label
    return masks


def _quantile(values: Array, weights: Array, level: float) -> float:
    if np.ptp(weights) == 0:
        return float(np.percentile(values, level * 100))
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(int(np.searchsorted(share, level)), len(values) - 1)])


def _labelled(field: Field, mask: Mask) -> NDArray[np.int64]:
    """Connected regions (by edges) from 1; those that meet over a panorama's seam are one."""
    from scipy import ndimage, sparse

    labels, count = ndimage.label(mask)
    out = np.asarray(labels, dtype=np.int64)
    meeting = (out[:, 0] > 0) & (out[:, -1] > 0)
    if not field.panorama or not meeting.any():
        return out
    pairs = out[meeting, 0], out[meeting, -1]
    graph = sparse.coo_matrix((np.ones(len(pairs[0])), pairs), shape=(count + 1, count + 1))
    _, group = sparse.csgraph.connected_components(graph, directed=False)
    return np.asarray(np.where(out > 0, group[out] + 1, 0))


def _crop(index: int, picture: Image, mask: Mask, *, panorama: bool) -> Crop:
    columns = np.flatnonzero(mask.any(axis=0))
    rows = np.flatnonzero(mask.any(axis=1))
    x0, x1 = _arc(columns, mask.shape[1]) if panorama else (int(columns[0]), int(columns[-1]) + 1)
    box = (x0, int(rows[0]), x1, int(rows[-1]) + 1)
    part = cut(np.where(mask[..., None], picture, 0).astype(np.uint8), box, panorama=panorama)
    scale = max(picture.shape[1] / part.shape[1], picture.shape[0] / part.shape[0])
    size = max(1, int(part.shape[1] * scale)), max(1, int(part.shape[0] * scale))
    enlarged = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_LANCZOS4))
    return Crop(picture=index, name="masked", box_px=box, image=enlarged)


def _arc(columns: NDArray[np.int64], width_px: int) -> tuple[int, int]:
    """The shortest run of columns round a panorama that holds all of these; its end may exceed the width."""
    gaps = np.diff(np.append(columns, columns[0] + width_px))
    widest = int(np.argmax(gaps))
    start = int(columns[(widest + 1) % len(columns)])
    return start, start + width_px - int(gaps[widest]) + 1
