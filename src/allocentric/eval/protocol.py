"""What a benchmark gives: items, prompts, scores under named profiles, and the published aggregate.

A benchmark never sees a model. One response file can be scored under every profile, and the statistic that a
confidence interval is drawn around is the exact aggregate that is printed, because both are `composite`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from allocentric.core.types import FloatArray, Item, Sampling, Scene, Score
from allocentric.eval.aggregation import Sums


class Benchmark(Protocol):
    """A set of items with its published way of asking, scoring and averaging."""

    name: str
    """Shown in tables ("vsi_bench")."""
    profiles: tuple[str, ...]
    """Scoring profiles, named after their origin and commit ("official@51e089c"); the first is the default."""
    cells: Mapping[str, str]
    """Item kind -> the cell of the leaderboard it belongs to. A cell may gather several kinds."""

    def items(self) -> list[Item]:
        """Every item, in the published order."""
        ...

    def prompt_text(self, item: Item, profile: str) -> str:
        """The full user text of `item`, with options and answering instructions."""
        ...

    def sampling(self, profile: str) -> Sampling:
        """Decoding settings of the profile."""
        ...

    def score(self, item: Item, text: str, profile: str) -> Score:
        """Score the raw text `text`. `Score.value` is None where the profile leaves the item out."""
        ...

    def composite(self, items: Sequence[Item], values: FloatArray) -> Sums:
        """The published average of (N,) `values` in [0, 1] of (N,) `items`, before it is taken.

        `aggregation.aggregate` takes it, over items or over bootstrap weights. By name, every kind that occurs, every
        cell that occurs, "overall", and whatever other averages were published, on the scale of `values`.
        """
        ...

    def chance(self, item: Item) -> float | None:
        """Expected score of a uniform guess; None where that is not defined."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """`{"row_count": int, "sha256": str}` over (id, question, options, ground truth) of every item."""
        ...

    def scene(self, scene_id: str) -> Scene | None:
        """The scene an item was asked about, for maps; None where no geometry is at hand."""
        ...
