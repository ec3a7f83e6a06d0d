"""The block store keeps the published rules.

`transcription` follows cambrians_vsr.py of cambrian-s (fork zlduke/cambrian-s@63fa476) step by step on plain lists,
with bytes in the place of tokens. It shares nothing with the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from allocentric.agents.memory._blocks import BlockStore, Consolidation
from allocentric.agents.memory._features import FeatureBlock

THRESHOLD = 0.35
ROWS, COLUMNS, WIDTH = 4, 6, 3


@dataclass(frozen=True)
class Plain:
    """A block of double precision, so that the comparison is exact."""

    frames: tuple[int, ...]
    patches: np.ndarray[Any, Any]
    surprise: float

    @property
    def nbytes(self) -> int:
        return self.patches.nbytes

    def pooled(self) -> Plain:
        pooled = self.patches.reshape(ROWS // 2, 2, COLUMNS // 2, 2, WIDTH).mean(axis=(1, 3))
        return Plain(self.frames, pooled.reshape(-1, WIDTH), self.surprise)

    def merged(self, later: Plain) -> Plain:
        patches, surprise = (self.patches + later.patches) / 2, (self.surprise + later.surprise) / 2
        return Plain(self.frames + later.frames, patches, surprise)


def average_pool(patches: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    out = []
    for row in range(0, ROWS, 2):
        for column in range(0, COLUMNS, 2):
            square = [(row + a) * COLUMNS + column + b for a in (0, 1) for b in (0, 1)]
            out.append(sum(patches[place] for place in square) / 4)
    return np.array(out)


def transcription(  # noqa: C901 - one loop, as published
    frames: list[np.ndarray[Any, Any]], scores: list[float], window: int, budget: int, method: str
) -> tuple[list[np.ndarray[Any, Any]], list[float]]:
    """Contents and surprise of the long store after the last frame, before the window is flushed."""
    runtime: list[Any] = []
    states: list[Any] = []
    kept: list[float] = []

    def mergeable(index: int) -> bool:
        return kept[index] >= THRESHOLD and kept[index + 1] >= THRESHOLD

    def merge(index: int) -> None:
        states[index] = (states[index] + states[index + 1]) / 2.0
        kept[index] = (kept[index] + kept[index + 1]) / 2.0
        states.pop(index + 1)
        kept.pop(index + 1)

    for frame, score in zip(frames, scores, strict=True):
        runtime.append((frame, score))
        if len(runtime) <= window:
            continue
        oldest, surprise = runtime.pop(0)
        states.append(average_pool(oldest) if surprise < THRESHOLD else oldest)
        kept.append(surprise)
        if sum(state.nbytes for state in states) <= budget:
            continue
        if method == "drop_merge":
            index = 0
            while True:
                if index >= len(kept) - 1:
                    break
                if mergeable(index):
                    merge(index)
                    index -= 1
                index += 1
        while True:
            index = int(np.array(kept).argmin())
            states.pop(index)
            kept.pop(index)
            if method == "drop_merge" and index > 0 and index - 1 < len(kept) - 1 and mergeable(index - 1):
                merge(index - 1)
            if sum(state.nbytes for state in states) < budget:
                break
    return states, kept


def stream(seed: int, count: int = 90) -> tuple[list[np.ndarray[Any, Any]], list[float]]:
    rng = np.random.default_rng(seed)
    frames = [rng.normal(size=(ROWS * COLUMNS, WIDTH)) for _ in range(count)]
    return frames, [1.0, *rng.uniform(0, 0.8, count - 1).round(2).tolist()]  # rounded: equal scores occur


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("method", ["drop", "drop_merge"])
@pytest.mark.parametrize("budget_frames", [3, 9, 30])
def test_the_store_equals_the_published_loop(seed: int, method: Consolidation, budget_frames: int) -> None:
    frames, scores = stream(seed)
    budget = budget_frames * frames[0].nbytes
    store: BlockStore[Plain] = BlockStore(window=5, threshold=THRESHOLD, consolidation=method)
    for number, (frame, score) in enumerate(zip(frames, scores, strict=True)):
        store.add(Plain((number,), frame, score))
        store.consolidate(budget)
    states, kept = transcription(frames, scores, 5, budget, method)
    assert len(store.memory) == len(states) > 0
    assert [block.surprise for block in store.memory] == kept
    for block, state in zip(store.memory, states, strict=True):
        np.testing.assert_array_equal(block.patches, state)
    assert [block.frames[0] for block in store.window] == list(range(85, 90))
    assert store.nbytes()["memory"] == sum(state.nbytes for state in states) <= budget


def test_merging_happens_where_it_should() -> None:
    """Otherwise the comparison above would say nothing of it."""
    frames, scores = stream(0)
    budget = 9 * frames[0].nbytes
    merging, dropping = (transcription(frames, scores, 5, budget, method)[1] for method in ("drop_merge", "drop"))
    assert merging != dropping


def test_a_pooled_feature_block_is_the_mean_of_its_squares_and_merging_is_the_mean() -> None:
    rng = np.random.default_rng(0)
    patches = rng.normal(size=(2, ROWS * COLUMNS, WIDTH)).astype(np.float16)
    first, second = (
        FeatureBlock(number, (float(number),), patches[number], (ROWS, COLUMNS), 1.0, surprise)
        for number, surprise in enumerate((0.2, 0.6))
    )
    np.testing.assert_allclose(first.pooled().patches_PD, average_pool(patches[0].astype(float)), atol=2e-3)
    assert (first.pooled().grid, first.pooled().resolution, first.pooled().surprise) == ((2, 3), 0.5, 0.2)
    both = first.merged(second)
    np.testing.assert_allclose(both.patches_PD, patches.astype(float).mean(axis=0), atol=2e-3)
    assert (both.times_s, both.surprise, both.resolution) == ((0.0, 1.0), pytest.approx(0.4), 1.0)


def test_an_odd_grid_loses_its_last_row_and_a_single_row_stays() -> None:
    column = np.arange(9, dtype=np.float16)[:, None]
    assert FeatureBlock(0, (0.0,), column, (3, 3), 1.0, 0.0).pooled().patches_PD.tolist() == [[2.0]]
    single = FeatureBlock(0, (0.0,), column, (1, 9), 1.0, 0.0)
    assert single.pooled() is single
