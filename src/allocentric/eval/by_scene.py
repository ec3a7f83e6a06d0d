"""A run's published average as a function of how often each scene is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from allocentric.core.stats import Array, Statistic
from allocentric.eval.recipe import Plan
from allocentric.eval.results import ScoredRow


def average_by_scene(job: Plan, row: ScoredRow, scenes: Sequence[str]) -> Statistic | None:
    """The published average of `row` from (R, G) weights of `scenes`, so that runs with other items can be paired.

    None where nothing is counted.
    """
    kept = np.flatnonzero(row.counted)
    if kept.size == 0:
        return None
    items = [job.items[index] for index in kept.tolist()]
    sums = job.benchmark.composite(items, row.values[kept])
    place = {scene: index for index, scene in enumerate(scenes)}
    totals = np.zeros((len(scenes), sums.parts.shape[1]))
    np.add.at(totals, np.array([place[item.scene_id] for item in items]), sums.parts)

    def statistic(weights: Array) -> Mapping[str, Any]:
        return sums.combine(weights @ totals)

    return statistic
