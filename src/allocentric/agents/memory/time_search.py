"""TimeSearch: narrows stored video down, from the whole of it to the moments that show what is asked for.

After arXiv 2504.01407, of which the stages are known here, not the code: *spotlight* looks at a few frames evenly over
an interval and proposes the stretches around the most promising ones; *reflection* judges how sure each is; the search
goes on in the surest interval, at a finer rate, until every word of the query is found with enough confidence or the
looks are spent. In the place of the fine-tuned model stand the encoder's confidences of patch and word. The stream's
video is stored evenly thinned under the budget.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping

import numpy as np
from pydantic import Field

from allocentric.agents.encoders.contract import Encoder
from allocentric.agents.memory import _video
from allocentric.agents.memory.contract import Memory, Query, Recalled


class Settings(_video.Settings):
    """Spotlight and reflection."""

    frames: int = Field(default=16, ge=1)
    """Most frames recalled."""
    looks_per_interval: int = Field(default=16, ge=2)
    """Frames looked at in an interval."""
    most_looks: int = Field(default=256, ge=2)
    """Frames looked at for one query."""
    spotlights: int = Field(default=2, ge=1)
    """Stretches proposed in an interval, for each word."""
    confidence: float = Field(default=0.8, gt=0.0, lt=1.0)
    """From it on a word is found, and the search for it ends."""


def build(settings: Settings, encoder: Encoder | None) -> Memory:
    """The policy; the encoder has to know words."""
    return _TimeSearch(settings, encoder)


class _TimeSearch(_video.VideoMemory):
    name = "time_search"

    def __init__(self, settings: Settings, encoder: Encoder | None) -> None:
        super().__init__(settings, encoder)
        self._settings = settings

    def recall(self, query: Query) -> Recalled:
        stored = self._footage.frames
        seen: dict[int, Mapping[str, float]] = {}
        for label in query.labels:
            self._search(label, query.labels, seen)
        ranked = sorted(seen, key=lambda place: (-max(seen[place].values(), default=0.0), place))
        best = _fair(seen, query.labels, self._settings.frames) or ranked[: self._settings.frames]
        return Recalled(blocks=tuple(stored[place].block(max(seen[place].values(), default=0.0)) for place in best))

    def _search(self, label: str, labels: tuple[str, ...], seen: dict[int, Mapping[str, float]]) -> None:
        """Best first over intervals of stored frames; `seen` grows by what is looked at."""
        looks = self._settings.most_looks // max(1, len(labels))
        intervals: list[tuple[float, int, int]] = [(0.0, 0, len(self._footage.frames) - 1)]
        found = 0.0
        while intervals and looks > 0 and found < self._settings.confidence:
            _, start, end = heapq.heappop(intervals)
            places = np.unique(np.linspace(start, end, self._settings.looks_per_interval).round().astype(int)).tolist()
            for place in places:
                if place not in seen and looks > 0:
                    seen[place] = self.look(self._footage.frames[place], labels)
                    looks -= 1
            looked = [place for place in places if place in seen]
            sure = {place: seen[place].get(label, 0.0) for place in looked}
            found = max([found, *sure.values()])
            for place in sorted(looked, key=lambda place: (-sure[place], place))[: self._settings.spotlights]:
                before, after = _around(looked, place)
                if after - before > 1 and (before, after) != (start, end):
                    heapq.heappush(intervals, (-sure[place], before, after))


def _around(places: list[int], place: int) -> tuple[int, int]:
    """The stretch between the neighbours that were looked at."""
    rank = places.index(place)
    return places[max(0, rank - 1)], places[min(len(places) - 1, rank + 1)]


def _fair(seen: Mapping[int, Mapping[str, float]], labels: tuple[str, ...], most: int) -> list[int]:
    """Places of the surest frames of each label in turn; only frames that show one."""
    queues = [
        sorted((place for place in seen if label in seen[place]), key=lambda place: (-seen[place][label], place))
        for label in labels
    ]
    chosen: list[int] = []
    for rank in range(max(map(len, queues), default=0)):
        for queue in queues:
            if rank < len(queue) and queue[rank] not in chosen and len(chosen) < most:
                chosen.append(queue[rank])
    return chosen
