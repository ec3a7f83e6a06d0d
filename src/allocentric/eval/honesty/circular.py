"""Every rotation of the options: an item counts only where all of them are answered right (CircularEval)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from allocentric.core.types import FloatArray, Item
from allocentric.eval.aggregation import Sums
from allocentric.eval.honesty._changed import ChangedBenchmark, NotApplicableError
from allocentric.eval.honesty._options import movable, moved
from allocentric.eval.protocol import Benchmark
from allocentric.eval.recipe import Plan

_MARK = "@rotation-"


def change(job: Plan) -> Plan:
    """Every item whose options can be moved in all their rotations, the published one first; others once.

    NotApplicableError where no options can be moved.
    """
    items = tuple(turned for item in job.items for turned in _rotations(job, item))
    if len(items) == len(job.items):
        raise NotApplicableError("no item has options that can be moved")
    return replace(job, benchmark=Circular(job.benchmark, items), items=items)


def asked_as(item_id: str) -> str:
    """Id of the published item that an item is a rotation of."""
    return item_id.partition(_MARK)[0]


class Circular(ChangedBenchmark):
    """Averages groups of rotations: a group is worth its worst answer."""

    def __init__(self, inner: Benchmark, items: Sequence[Item]) -> None:
        super().__init__(inner, items)
        self._size = Counter(asked_as(item.id) for item in items)

    def composite(self, items: Sequence[Item], values: FloatArray) -> Sums:
        """The published average of the published items, each with the worst score of its rotations."""
        place: dict[str, int] = {}
        group = np.array([place.setdefault(asked_as(item.id), len(place)) for item in items], dtype=np.int64)
        worst = np.full(len(place), np.inf)
        np.minimum.at(worst, group, np.asarray(values, dtype=np.float64))
        first = np.unique(group, return_index=True)[1]
        sums = self.inner.composite([items[index] for index in first.tolist()], worst)
        parts = np.zeros((len(items), sums.parts.shape[1]))
        parts[first] = sums.parts
        return Sums(parts, sums.combine)

    def chance(self, item: Item) -> float | None:
        """Of all rotations guessed right, each on its own."""
        single = self.inner.chance(item)
        return None if single is None else single ** self._size[asked_as(item.id)]


def _rotations(job: Plan, item: Item) -> list[Item]:
    if not movable(job.benchmark, item):
        return [item]
    count = len(item.choices)
    turned = [moved(item, [(k + by) % count for k in range(count)]) for by in range(1, count)]
    return [item, *(replace(one, id=f"{item.id}{_MARK}{k}") for k, one in enumerate(turned, start=1) if one)]
