"""A benchmark whose items are changed while its wording, scoring and averaging stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from allocentric.core.errors import UserError
from allocentric.core.types import FloatArray, Item, Sampling, Scene, Score
from allocentric.eval.aggregation import Sums
from allocentric.eval.protocol import Benchmark


class NotApplicableError(UserError):
    """A check that would ask the very questions of the plain run; the message says why."""


class ChangedBenchmark:
    """Implements `Benchmark` over other items of `inner`."""

    def __init__(self, inner: Benchmark, items: Sequence[Item]) -> None:
        self.name = inner.name
        self.profiles: tuple[str, ...] = inner.profiles
        self.cells: Mapping[str, str] = inner.cells
        self.inner = inner
        self._items = list(items)

    def items(self) -> list[Item]:
        """The changed items."""
        return self._items

    def prompt_text(self, item: Item, profile: str) -> str:
        """As the benchmark words it."""
        return self.inner.prompt_text(item, profile)

    def sampling(self, profile: str) -> Sampling:
        """As published."""
        return self.inner.sampling(profile)

    def score(self, item: Item, text: str, profile: str) -> Score:
        """As published."""
        return self.inner.score(item, text, profile)

    def composite(self, items: Sequence[Item], values: FloatArray) -> Sums:
        """The published average."""
        return self.inner.composite(items, values)

    def chance(self, item: Item) -> float | None:
        """As published."""
        return self.inner.chance(item)

    def fingerprint(self) -> dict[str, Any]:
        """Of the published items."""
        return self.inner.fingerprint()

    def scene(self, scene_id: str) -> Scene | None:
        """As published."""
        return self.inner.scene(scene_id)
