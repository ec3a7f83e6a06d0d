"""Two models on the same items: is one better, where, and on which questions do they differ?

Both are scored on every item, and both averages are recomputed on the same resampled scenes, so what the items share
cancels out. The difference that gets the interval is that of the published aggregate itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allocentric.core.errors import DataError, SettingsError, suggestion
from allocentric.core.stats import (
    Array,
    Difference,
    Statistic,
    clustered_mcnemar,
    detectable_difference,
    holm,
    mcnemar,
    paired_difference,
)
from allocentric.core.types import Choice, Item
from allocentric.eval.recipe import item_digest
from allocentric.eval.results import PERCENT, ScoredRow
from allocentric.eval.scored import ScoredRun

_Z95 = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two."""

    run: ScoredRun
    """Run that holds it."""
    label: str
    """Model in that run."""


def compare(
    first: Side, second: Side, *, profile: str | None = None, replicates: int = 10_000, seed: int = 0
) -> dict[str, Any]:
    """Paired comparison, first minus second, in percent points.

    Args:
        first: One model of one run.
        second: Another of the same run or of another run on the same items.
        profile: Scoring profile; None takes the first run's.
        replicates: Bootstrap replicates.
        seed: Of the bootstrap.

    Returns:
        `{"first", "second", "profile", "n", "scenes", "overall": difference, "cells": {name: difference},
        "detectable": smallest true overall difference found with 80 % power, "choices": {name: counts}, "flipped":
        [{"item", "kind", "scene", "first", "second"}]}`; a difference is `{"first", "second", "difference", "low",
        "high", "p", "p_holm" (cells: adjusted for their number)}`. "choices" holds McNemar's test over all items with
        options ("all") and of every cell: `{"n", "both", "first_only", "second_only", "neither", "p": exact,
        "p_clustered": for items that depend within scenes, "p_holm" (cells: of p_clustered)}`. Items that the profile
        leaves out on either side are left out.

    Raises:
        DataError: The item sets differ, or an item has no answer.
    """
    benchmark = first.run.plan.benchmark
    profile = profile or first.run.plan.profile
    if profile not in benchmark.profiles:
        raise SettingsError(f"{benchmark.name} has no profile {profile!r}" + suggestion(profile, benchmark.profiles))
    _check_same_items(first, second)
    items = first.run.plan.items
    a, b = (_aligned(side, items, profile) for side in (first, second))
    kept = np.flatnonzero(a.counted & b.counted)
    if kept.size == 0:
        raise DataError(f"the profile {profile} counts no item on both sides; there is nothing to compare")
    chosen = [items[index] for index in kept]
    scenes = [item.scene_id for item in chosen]
    values_a, values_b = a.values[kept], b.values[kept]

    def statistic(values: Array) -> Statistic:
        sums = benchmark.composite(chosen, values)
        return lambda weights: sums.combine(weights @ sums.parts)

    differences = paired_difference(statistic(values_a), statistic(values_b), scenes, replicates=replicates, seed=seed)
    whole = np.ones((1, len(chosen)))
    points = statistic(values_a)(whole), statistic(values_b)(whole)
    rows = {name: _row(name, difference, points) for name, difference in differences.items()}
    overall = rows.pop("overall")
    _adjust(rows)
    half_width = PERCENT * (differences["overall"].interval.high - differences["overall"].interval.low) / 2
    return {
        "first": first.label,
        "second": second.label,
        "profile": profile,
        "n": len(chosen),
        "scenes": len(set(scenes)),
        "overall": overall,
        "cells": rows,
        "detectable": _finite(detectable_difference(half_width / _Z95)),
        "choices": _choices(benchmark.cells, chosen, values_a, values_b),
        "flipped": _flipped(chosen, values_a, values_b),
    }


def _aligned(side: Side, items: tuple[Item, ...], profile: str) -> ScoredRow:
    """The side's scores in the order of the first run's items."""
    scores = dict(
        zip((item.id for item in side.run.plan.items), side.run.row(side.label, profile).scores, strict=True)
    )
    missing = [item.id for item in items if scores[item.id] is None]
    if missing:
        raise DataError(
            f"{side.label} in {side.run.folder} has no answer to {len(missing)} items (first: {missing[0]}); "
            "repeat its evaluation to finish it"
        )
    return ScoredRow(scores=tuple(scores[item.id] for item in items))


def _check_same_items(first: Side, second: Side) -> None:
    a, b = ({item.id: item_digest(item) for item in side.run.plan.items} for side in (first, second))
    if a == b:
        return
    only = len(a.keys() - b.keys()), len(b.keys() - a.keys())
    changed = sum(a[key] != b[key] for key in a.keys() & b.keys())
    raise DataError(
        f"the runs asked different items ({only[0]} only in {first.run.folder}, {only[1]} only in "
        f"{second.run.folder}, {changed} with other content); compare runs on the same benchmark and limit"
    )


def _row(name: str, difference: Difference, points: tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
    return {
        "first": _finite(PERCENT * float(points[0][name][0])),
        "second": _finite(PERCENT * float(points[1][name][0])),
        "difference": _finite(PERCENT * difference.value),
        "low": _finite(PERCENT * difference.interval.low),
        "high": _finite(PERCENT * difference.interval.high),
        "p": _finite(difference.p_value),
    }


def _adjust(rows: dict[str, dict[str, Any]]) -> None:
    tested = [row for row in rows.values() if row["p"] is not None]
    for row, adjusted in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = adjusted


def _choices(cells: Mapping[str, str], items: list[Item], first: Array, second: Array) -> dict[str, Any]:
    """McNemar's test over the items with options that are right or wrong on both sides, by cell."""
    members: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        if isinstance(item.gold, Choice) and {first[index], second[index]} <= {0.0, 1.0}:
            members.setdefault("all", []).append(index)
            members.setdefault(cells.get(item.kind, item.kind), []).append(index)
    found = {name: _discordance(items, first, second, np.array(chosen)) for name, chosen in members.items()}
    tested = [counts for name, counts in found.items() if name != "all"]
    for counts, adjusted in zip(tested, holm([counts["p_clustered"] for counts in tested]), strict=True):
        counts["p_holm"] = adjusted
    return found


def _discordance(items: list[Item], first: Array, second: Array, chosen: NDArray[np.int64]) -> dict[str, Any]:
    a, b = first[chosen], second[chosen]
    only_a, only_b = int(np.sum(a > b)), int(np.sum(b > a))
    return {
        "n": len(chosen),
        "both": int(np.sum((a == 1) & (b == 1))),
        "first_only": only_a,
        "second_only": only_b,
        "neither": int(np.sum((a == 0) & (b == 0))),
        "p": mcnemar(only_a, only_b),
        "p_clustered": clustered_mcnemar(a, b, [items[index].scene_id for index in chosen]),
    }


def _flipped(items: list[Item], first: Array, second: Array) -> list[dict[str, Any]]:
    return [
        {"item": item.id, "kind": item.kind, "scene": item.scene_id, "first": float(a), "second": float(b)}
        for item, a, b in zip(items, first, second, strict=True)
        if a != b
    ]


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
