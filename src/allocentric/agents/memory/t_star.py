"""T*: looks for the things asked for in stored video, many small frames at a time, where they are likely.

The search of mll-lab-nu/TStar@014fd21 (TStar/interface_searcher.py): first an even sample, then frames drawn from a
distribution that is refitted to the confidences seen; the best quarter lends part of its score to its neighbours;
things seen in a small frame are verified in the whole one, and the search ends when all are found or a tenth of the
frames was looked at. A frame's confidence is that of its most certain target.

Unlike the shipped code the draw has a seed, ends where every frame was looked at, and takes fewer frames where fewer
are left in the best quarter. The published grid of 8 x 8 frames, which a detector sees as one picture, is a look at
each of 64 frames in a part of its resolution. The stream's video is stored evenly thinned under the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from allocentric.agents.encoders.contract import Encoder
from allocentric.agents.memory import _video
from allocentric.agents.memory.contract import Memory, Query, Recalled

Look = Callable[[int], Mapping[str, float]]
"""Confidence by label of what frame number i shows."""


class Settings(_video.Settings):
    """T*."""

    frames: int = Field(default=8, ge=1)
    """Frames recalled."""
    looks_at_once: int = Field(default=64, ge=4)
    """Frames of a step: the cells of the published grid."""
    search_share: float = Field(default=0.1, gt=0.0, le=1.0)
    """Most frames looked at, as a share of those stored; 1000 at most."""
    confidence: float = Field(default=0.5, gt=0.0, lt=1.0)
    """Above it a thing is found."""
    look_scale: float = Field(default=0.5, gt=0.0, le=1.0)
    """Edge length of a frame looked at, as a share of the stored one's."""
    seed: int = 0
    """Of the draws; each query starts from it."""


def build(settings: Settings, encoder: Encoder | None) -> Memory:
    """The policy; the encoder has to know words."""
    return _TStar(settings, encoder)


class _TStar(_video.VideoMemory):
    name = "t_star"

    def __init__(self, settings: Settings, encoder: Encoder | None) -> None:
        super().__init__(settings, encoder)
        self._settings = settings

    def recall(self, query: Query) -> Recalled:
        stored = self._footage.frames
        score_N = Search(
            count=len(stored),
            targets=query.labels,
            glance=lambda place: self.look(stored[place], query.labels, self._settings.look_scale),
            verify=lambda place: self.look(stored[place], query.labels),
            settings=self._settings,
        ).run()
        best_N = np.argsort(-score_N, kind="stable")[: self._settings.frames]
        return Recalled(blocks=tuple(stored[place].block(float(score_N[place])) for place in best_N))


_MOST_LOOKS = 1000
_NEIGHBOURS = 5
_SMOOTHING = 0.5


@dataclass(kw_only=True, eq=False)
class Search:
    """One search over `count` frames."""

    count: int
    """N."""
    targets: Sequence[str]
    """What is looked for."""
    glance: Look
    """At a small frame."""
    verify: Look
    """At a whole one."""
    settings: Settings
    """See there."""

    def run(self) -> NDArray[np.float64]:
        """(N,) scores of all frames."""
        rng = np.random.default_rng(self.settings.seed)
        self.score_N = np.zeros(self.count)
        self.unvisited_N = np.ones(self.count)
        self.chance_N = np.full(self.count, 0.3 * self.settings.confidence)
        remaining, budget = list(self.targets), min(_MOST_LOOKS, self.settings.search_share * self.count)
        first = True
        while remaining and budget > 0 and self.unvisited_N.any():
            sample = self._even() if first else self._drawn(rng)
            first = False
            budget -= self.settings.looks_at_once
            seen = [self.glance(place) for place in sample]
            self._update(sample, np.array([max(found.values(), default=0.0) for found in seen]))
            for place, found in zip(sample, seen, strict=True):
                self._verify(place, found, remaining)
        return self.score_N

    def _even(self) -> list[int]:
        count = min(self.settings.looks_at_once, self.count)
        return list(range(0, self.count, self.count // count))[:count]

    def _drawn(self, rng: np.random.Generator) -> list[int]:
        count = min(self.settings.looks_at_once, self.count)
        chance_N = (self.chance_N + count / self.count) * self.unvisited_N
        chance_N *= chance_N >= np.percentile(chance_N, 75)
        count = min(count, int(np.count_nonzero(chance_N)))
        drawn = rng.choice(self.count, size=count, replace=False, p=chance_N / chance_N.sum())
        return [int(place) for place in drawn]

    def _update(self, sample: Sequence[int], confidence_S: NDArray[np.float64]) -> None:
        self.unvisited_N[list(sample)] = 0
        self.score_N[list(sample)] = confidence_S
        best = np.percentile(confidence_S, 75)
        for place in (place for place, confidence in zip(sample, confidence_S, strict=True) if confidence >= best):
            for other in range(max(0, place - _NEIGHBOURS), min(self.count, place + _NEIGHBOURS + 1)):
                self.score_N[other] = max(self.score_N[other], self.score_N[place] / (abs(other - place) + 1))
        self.chance_N = self._refitted()

    def _refitted(self) -> NDArray[np.float64]:
        from scipy.interpolate import UnivariateSpline

        visited = np.flatnonzero(self.unvisited_N == 0)
        if len(visited) < 2:
            return np.full(self.count, 1 / self.count)
        degree = min(3, len(visited) - 1)
        spline = UnivariateSpline(visited, self.score_N[visited], s=_SMOOTHING, k=degree)
        fitted_N = np.maximum(1 / self.count, spline(np.arange(self.count)))
        chance_N = 1 / (1 + np.exp(-fitted_N))
        return np.asarray(chance_N / chance_N.sum())

    def _verify(self, place: int, found: Mapping[str, float], remaining: list[str]) -> None:
        """Look at the whole frame for each target seen in the small one, until one is found."""
        for target in list(remaining):
            if target not in found:
                continue
            whole = self.verify(place)
            self.score_N[place] = max(whole.values(), default=0.0)
            if target in whole and self.score_N[place] > self.settings.confidence:
                remaining.remove(target)
                return
