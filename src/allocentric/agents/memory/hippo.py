"""HippoMM: the stream as events, with a short and a long store, and recall by summary and in detail.

Rules of linyueqian/HippoMM@1065b62 (arXiv 2504.10739), pictures only:
- Segmentation: a window of at most 30 s is cut before its last frame that has a structural similarity below 0.95 with
  the frame before, at least 10 s after its start; without such a frame, at its end.
- Consolidation: of a segment's frames, in order, those are kept whose cosine with every kept one is below 0.9.
- The newest 10 segments are kept as they are; older ones are consolidated to events, of which the newest 100 stay.
- Recall: a fast path over the events' summaries, and a detailed one: of each event (and segment) the 5 frames most
  similar to the query; the best of all of them are recalled. In the published system a language model judges whether
  the summaries suffice and which answer to take; here whoever reads gets both.

A summary is the categories seen in the event's frames, in the place of a caption by a language model. Notes read
`event 12.0-41.0 s: lamp, sofa`, those that name a word of the query, or all where none does.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from allocentric.agents.encoders.contract import Encoder, unit
from allocentric.agents.memory import _pictures
from allocentric.agents.memory._pictures import Kept
from allocentric.agents.memory.contract import RECORD_BYTES, Block, Frame, Memory, Query, Recalled
from allocentric.core.types import FloatArray, Image


class Settings(_pictures.Settings):
    """HippoMM."""

    most_s: float = Field(default=30.0, gt=0.0)
    """Longest segment."""
    least_s: float = Field(default=10.0, ge=0.0)
    """Shortest segment that is cut at a change."""
    similarity: float = Field(default=0.95, ge=-1.0, le=1.0)
    """Structural similarity of neighbouring frames below which there is a change."""
    alike: float = Field(default=0.9, ge=-1.0, le=1.0)
    """Cosine with a kept frame from which on a frame is not kept."""
    segments: int = Field(default=10, ge=1)
    """Segments of the short store."""
    events: int = Field(default=100, ge=0)
    """Events of the long store."""
    frames_per_event: int = Field(default=5, ge=1)
    """Frames that detailed recall takes from each event."""
    frames: int = Field(default=32, ge=1)
    """Most frames recalled."""


@dataclass(slots=True, eq=False)
class _Event:
    """A segment, or what is left of it."""

    frames: list[Kept] = field(default_factory=list)
    labels: tuple[tuple[str, ...], ...] = ()
    """What each frame shows."""
    end_s: float = 0.0

    @property
    def seen(self) -> list[str]:
        return sorted({label for labels in self.labels for label in labels})

    @property
    def summary(self) -> str:
        return f"event {self.frames[0].time_s:.1f}-{self.end_s:.1f} s: {', '.join(self.seen)}"

    @property
    def nbytes(self) -> int:
        text = sum(len(label.encode()) for labels in self.labels for label in labels)
        return RECORD_BYTES + text + sum(kept.nbytes for kept in self.frames)


@dataclass(slots=True, eq=False)
class _Fresh:
    """A frame of the window."""

    kept: Kept
    labels: tuple[str, ...]
    changed: bool
    """Unlike the frame before."""


def build(settings: Settings, encoder: Encoder | None) -> Memory:
    """The policy. With an encoder that knows no words, events have no names and recall takes the newest frames."""
    return _Hippo(settings, encoder)


class _Hippo(Memory):
    name = "hippo"

    def __init__(self, settings: Settings, encoder: Encoder | None) -> None:
        super().__init__(settings, encoder)
        assert encoder is not None
        self._settings, self._eyes = settings, encoder
        self._grey_HW: NDArray[np.uint8] | None = None
        self.clear()

    def write(self, frame: Frame, surprise: float | None) -> None:  # noqa: ARG002 - not looked at
        grey_HW = _grey(frame.image)
        changed = (
            self._grey_HW is not None and structural_similarity(self._grey_HW, grey_HW) < self._settings.similarity
        )
        self._grey_HW = grey_HW
        kept = _pictures.keep(frame, self._settings, unit(frame.encoded.pooled_D))
        seen = self._eyes.detect(frame.view, frame.encoded, self._eyes.vocabulary) if self._eyes.has_words else ()
        fresh = _Fresh(kept, tuple(sorted({detection.label for detection in seen})), changed)
        if self._window and kept.time_s - self._window[0].kept.time_s >= self._settings.most_s:
            self._cut()
        self._window.append(fresh)
        self._bytes["window"] += _fresh_bytes(fresh)

    def evict(self) -> bool:
        """Give up the oldest event, else make the oldest segment one, else cut the window short."""
        if self._events:
            self._bytes["events"] -= self._events.popleft().nbytes
        elif self._segments:
            self._consolidate_oldest()
        elif len(self._window) > 1:
            self._bytes["window"] -= _fresh_bytes(self._window.pop(0))
        else:
            return False
        return True

    def recall(self, query: Query) -> Recalled:
        now = _event(self._window)
        events = [*self._events, *self._segments, now]
        named = [event for event in events if set(event.seen) & set(query.labels)]
        notes = tuple(event.summary for event in named or events if event.seen)
        return Recalled(blocks=tuple(self._detailed(query, events)), notes=notes)

    def nbytes(self) -> dict[str, int]:
        return self._bytes | {"last picture": 0 if self._grey_HW is None else int(self._grey_HW.nbytes)}

    def clear(self) -> None:
        self._window: list[_Fresh] = []
        self._segments: deque[_Event] = deque()
        self._events: deque[_Event] = deque()
        self._bytes = {"window": 0, "segments": 0, "events": 0}
        self._grey_HW = None

    def _cut(self) -> None:
        """End the segment at its last change, and make room in the stores."""
        times_s = [fresh.kept.time_s for fresh in self._window]
        place = cut_place(times_s, [fresh.changed for fresh in self._window], self._settings.least_s)
        done, self._window = self._window[:place], self._window[place:]
        segment = _event(done)
        self._bytes["window"] -= sum(map(_fresh_bytes, done))
        self._segments.append(segment)
        self._bytes["segments"] += segment.nbytes
        while len(self._segments) > self._settings.segments:
            self._consolidate_oldest()
        while len(self._events) > self._settings.events:
            self._bytes["events"] -= self._events.popleft().nbytes

    def _consolidate_oldest(self) -> None:
        segment = self._segments.popleft()
        self._bytes["segments"] -= segment.nbytes
        places = unlike(np.stack([kept.vector() for kept in segment.frames]), self._settings.alike)
        frames, labels = [segment.frames[p] for p in places], tuple(segment.labels[p] for p in places)
        self._events.append(_Event(frames, labels, segment.end_s))
        self._bytes["events"] += self._events[-1].nbytes

    def _detailed(self, query: Query, events: list[_Event]) -> list[Block]:
        if not query.labels or not self._eyes.has_words:
            newest = [kept for event in events for kept in event.frames][-self._settings.frames :]
            return [kept.block() for kept in newest]
        word_D = unit(self._eyes.words(query.labels).mean(axis=0, keepdims=True))[0]
        found: list[tuple[float, int, Kept]] = []
        for event in events:
            scored = [(float(kept.vector() @ word_D), -kept.index, kept) for kept in event.frames]
            found += sorted(scored, key=lambda one: one[:2], reverse=True)[: self._settings.frames_per_event]
        best = sorted(found, key=lambda one: one[:2], reverse=True)[: self._settings.frames]
        return [kept.block(score) for score, _, kept in best]


def _event(window: list[_Fresh]) -> _Event:
    end_s = window[-1].kept.time_s if window else 0.0
    return _Event([fresh.kept for fresh in window], tuple(fresh.labels for fresh in window), end_s)


def _fresh_bytes(fresh: _Fresh) -> int:
    return fresh.kept.nbytes + sum(len(label.encode()) for label in fresh.labels)


def cut_place(times_s: list[float], changed: list[bool], least_s: float) -> int:
    """Number of frames of the segment: up to the last change at least `least_s` after the start, else all."""
    for place in range(len(times_s) - 1, 0, -1):
        if changed[place] and times_s[place] - times_s[0] >= least_s:
            return place
    return len(times_s)


def unlike(vectors_ND: FloatArray, alike: float) -> list[int]:
    """Places of unit vectors kept in order: those whose cosine with every kept one is below `alike`."""
    kept: list[int] = []
    for place, vector_D in enumerate(vectors_ND):
        if all(float(vector_D @ vectors_ND[other]) < alike for other in kept):
            kept.append(place)
    return kept


_GREY_PX = (64, 48)
_SSIM_WINDOW_PX = 7


def _grey(image: Image) -> NDArray[np.uint8]:
    """(48, 64): small, so that comparing costs little."""
    import cv2

    small = cv2.resize(image, _GREY_PX, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))


def structural_similarity(a_HW: NDArray[Any], b_HW: NDArray[Any]) -> float:
    """Mean SSIM of two grey pictures in [0, 255] over 7 x 7 windows, as scikit-image computes it by default.

    Wang et al. 2004 with K1 = 0.01, K2 = 0.03, sample covariance, and a border of 3 pixels left out.
    """
    import cv2

    def mean(x_HW: NDArray[Any]) -> NDArray[Any]:
        window = (_SSIM_WINDOW_PX, _SSIM_WINDOW_PX)
        border = _SSIM_WINDOW_PX // 2
        return np.asarray(cv2.boxFilter(x_HW, cv2.CV_64F, window)[border:-border, border:-border])

    a_HW, b_HW = a_HW.astype(np.float64), b_HW.astype(np.float64)
    unbiased = _SSIM_WINDOW_PX**2 / (_SSIM_WINDOW_PX**2 - 1)
    mean_a, mean_b = mean(a_HW), mean(b_HW)
    var_a, var_b = (unbiased * (mean(x * x) - m * m) for x, m in ((a_HW, mean_a), (b_HW, mean_b)))
    both = unbiased * (mean(a_HW * b_HW) - mean_a * mean_b)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similar = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    return float((similar / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())
