"""Episodes in sum: success, completion and steps per difficulty level.

Chance levels and intervals are not made here: the values are means, so `core.stats` gives intervals of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[np.float64]


class LevelSummary(NamedTuple):
    """Episodes of one level, or of all."""

    episodes: int
    """How many."""
    success_rate: float
    """Share that succeeded, in [0, 1]."""
    completion_rate: float
    """Share that ended by the policy's own choice and not by a limit, in [0, 1]."""
    mean_steps: float
    """Actions per episode."""
    mean_steps_of_successes: float
    """Actions per successful episode; NaN where none succeeded."""


def summarize_levels(
    succeeded: ArrayLike, *, completed: ArrayLike, steps: ArrayLike, levels: Sequence[Hashable]
) -> dict[Hashable, LevelSummary]:
    """Success per difficulty level, and over all episodes under the key "overall".

    "overall" averages episodes and not levels, as humanoid-vstar/hstar@7a52247 does (arXiv 2511.20351, table 2).

    Args:
        succeeded: (E,) bool, E >= 1.
        completed: (E,) bool, the policy submitted or stopped.
        steps: (E,) actions of each episode, >= 0.
        levels: (E,) level of each; sorted by first appearance in the result.

    Raises:
        ValueError: no episodes, lengths that differ, a success that was not completed, or a level named "overall".
    """
    levels = list(levels)
    success_, completed_ = np.asarray(succeeded, dtype=bool), np.asarray(completed, dtype=bool)
    steps_ = np.asarray(steps, dtype=np.float64)
    if not (success_.shape == completed_.shape == steps_.shape == (len(levels),)) or len(levels) == 0:
        shapes = f"{success_.shape}, {completed_.shape}, {steps_.shape} and {len(levels)} levels"
        raise ValueError(f"expected one value per episode and at least one episode, got shapes {shapes}")
    if not (steps_ >= 0).all():
        raise ValueError("expected steps >= 0, got a negative number or NaN")
    if np.any(success_ & ~completed_):
        raise ValueError("expected every success to be completed, got one that a limit ended")
    if "overall" in levels:
        raise ValueError("expected level names other than 'overall', which names the sum of all")
    masks: dict[Hashable, NDArray[np.bool_]] = {"overall": np.ones(len(levels), dtype=bool)}
    for level in dict.fromkeys(levels):
        masks[level] = np.array([other == level for other in levels])
    return {name: _summary(success_[mask], completed_[mask], steps_[mask]) for name, mask in masks.items()}


def successes_by_step(succeeded: ArrayLike, *, steps: ArrayLike, step_limit: int) -> NDArray[np.int64]:
    """(step_limit,) number of episodes that succeeded with their action number 1, 2 ... step_limit.

    Source: the success histogram of humanoid-vstar/hstar@7a52247.

    Args:
        succeeded: (E,) bool.
        steps: (E,) actions of each episode; a success needs 1 to step_limit.
        step_limit: Most actions an episode may have, >= 1.

    Raises:
        ValueError: a success with no action or with more than the limit.
    """
    taken = np.asarray(steps, dtype=np.int64)[np.asarray(succeeded, dtype=bool)]
    if taken.size and not (taken.min() >= 1 and taken.max() <= step_limit):
        raise ValueError(f"expected successes of 1 to {step_limit} steps, got {taken.min()} to {taken.max()}")
    return np.bincount(taken - 1, minlength=step_limit).astype(np.int64)


def _summary(succeeded: NDArray[np.bool_], completed: NDArray[np.bool_], steps: Array) -> LevelSummary:
    return LevelSummary(
        episodes=len(steps),
        success_rate=float(succeeded.mean()),
        completion_rate=float(completed.mean()),
        mean_steps=float(steps.mean()),
        mean_steps_of_successes=float(steps[succeeded].mean()) if succeeded.any() else float("nan"),
    )
