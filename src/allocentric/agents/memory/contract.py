"""What a memory policy is: the class that one file in `agents/memory/` implements.

A memory watches frames one by one and keeps what its budget holds:

    observe:  encode -> surprise -> segment -> write -> compress, evict until the budget holds
    retrieve: recall -> assemble

`observe` and `retrieve` are the base mechanism, the same for every policy; it refuses bad input before anything
changes, and holds the policy to its budget. The policy fills in the steps.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field

from allocentric.agents.encoders.contract import Encoder, Features, drawn_once, pixels
from allocentric.agents.memory.errors import (
    BudgetTooSmallError,
    DuplicateTimeError,
    FeatureSizeError,
    FrameOrderError,
    NothingSeenError,
    QueryTimeError,
    WordsNeededError,
)
from allocentric.core import config
from allocentric.core.types import Camera, Image, View

RECORD_BYTES = 384
"""Charged per frame or block kept beside its arrays, pictures and text: time, number, resolution, surprise, and the
Python objects that hold them."""


class Settings(config.Settings):
    """What every policy has."""

    budget_bytes: int = Field(default=16 * 2**20, ge=1)
    """Most bytes of everything the policy keeps: features, pictures, text, indices."""
    positions: Literal["contiguous", "gaps"] = "contiguous"
    """How recalled blocks are numbered: 0, 1, 2 ... as if nothing lay between them (what keys cached before their
    rotary embedding allow), or by their place in the stream."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Frame:
    """One frame in the making of a memory. A policy that keeps it copies what it keeps; `view` is never kept."""

    view: View
    """As it came; its picture is rendered at most once."""
    index: int
    """Place in the stream, from 0."""
    time_s: float
    """Time in the stream."""
    features: Features | None
    """None where the policy uses none."""

    @property
    def image(self) -> Image:
        """(H, W, 3) uint8."""
        return pixels(self.view)

    @property
    def encoded(self) -> Features:
        """The features of a policy that uses them."""
        assert self.features is not None, "a policy without uses_features asked for features"
        return self.features


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """A question to a memory."""

    text: str
    """The whole question."""
    labels: tuple[str, ...] = ()
    """The words of the things asked for ("teddy bear", "sofa")."""
    time_s: float | None = None
    """When it is asked; None is now. Not before the last frame."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Block:
    """One thing recalled: a frame, or several that were merged into one."""

    times_s: tuple[float, ...]
    """Times of its frames, in order; one unless frames were merged."""
    resolution: float = 1.0
    """Edge length kept, as a share: 1 the picture as it was encoded, 0.5 after pooling 2x2 patches into one."""
    position: int = 0
    """Number under the position policy; set by `assemble`."""
    camera: Camera | None = None
    """Where the frame was taken from, where the policy keeps that."""
    image: Image | None = None
    """(H, W, 3) uint8 as kept; None where only features are kept."""
    features: Features | None = None
    """As kept; None where only the picture is kept."""
    surprise: float | None = None
    """1 - mean cosine of the predicted and the seen patches; None where the policy does not look at it."""
    score: float | None = None
    """How well it fits the query; None where the policy does not compare."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Recalled:
    """What a memory hands over for a query."""

    blocks: tuple[Block, ...] = ()
    """In order of time."""
    notes: tuple[str, ...] = ()
    """Lines of text a policy keeps beside or instead of frames; the policy's file says how they read."""
    counted: float | None = None
    """What closed segments were counted to hold (a policy that counts as it goes): the answer to a question of how
    many is this plus what `blocks` show. None where the policy does not count."""


StandingAnswer = Callable[[Query, Recalled], float]
"""Counts, for a query and what one segment shows."""


def next_time_s(view: View, last_time_s: float | None) -> float:
    """The time of a stream's next frame.

    Raises:
        FrameOrderError: it has none, or one before the last frame's.
        DuplicateTimeError: it has the last frame's.
    """
    time_s = view.time_s
    if time_s is None or not math.isfinite(time_s):
        raise FrameOrderError(f"expected a frame with a time in seconds, got time_s={time_s}")
    if last_time_s is not None and time_s == last_time_s:
        raise DuplicateTimeError(f"two frames have the time {time_s:g} s; drop one of them")
    if last_time_s is not None and time_s < last_time_s:
        raise FrameOrderError(
            f"a frame of {time_s:g} s came after one of {last_time_s:g} s; give frames in order of time"
        )
    return float(time_s)


class Memory(ABC):
    """What a policy builds. Not thread-safe; one per stream."""

    name: ClassVar[str]
    """File name."""
    uses_features: ClassVar[bool] = True
    """Needs an encoder and reads `Frame.features`."""
    uses_words: ClassVar[bool] = False
    """Compares pictures with the labels of the query, so the encoder has to know words and the query to name some."""

    def __init__(self, settings: Settings, encoder: Encoder | None) -> None:
        if encoder is None and self.uses_features:
            raise WordsNeededError(f"the memory {self.name!r} compares features; build it with an encoder")
        if self.uses_words and encoder is not None and not encoder.has_words:
            raise WordsNeededError(
                f"the memory {self.name!r} compares pictures with words, and the encoder {encoder.name!r} knows none; "
                "use the encoder convolutional or tower"
            )
        self._base_settings = settings
        self._encoder = encoder
        self._standing: dict[Query, StandingAnswer] = {}
        self._last_time_s: float | None = None
        self._last_surprise: float | None = None
        self._size: tuple[tuple[int, ...], tuple[int, ...], tuple[int, int]] | None = None
        self._forget_stream()

    # ---------------------------------------------------------------------------------------------- what callers use

    @property
    def budget_bytes(self) -> int:
        """Most bytes kept after a call of `observe`."""
        return self._base_settings.budget_bytes

    @property
    def peak_bytes(self) -> int:
        """Most bytes kept after any call so far."""
        return self._peak_bytes

    @property
    def frames_seen(self) -> int:
        """Frames observed since the start."""
        return self._frames_seen

    @property
    def last_surprise(self) -> float | None:
        """Surprise of the last frame; None before the first and where the policy does not look at it."""
        return self._last_surprise

    @property
    def segments_seen(self) -> int:
        """Borders between segments so far."""
        return self._segments_seen

    @property
    def total_bytes(self) -> int:
        """Bytes kept now."""
        return sum(self.nbytes().values())

    def observe(self, view: View) -> None:
        """Take one frame in.

        Raises:
            FrameOrderError: the view has no time, or one not after the last frame's (DuplicateTimeError where equal).
            FeatureSizeError: its features have another size than the first frame's, or hold NaN or infinity.
            BudgetTooSmallError: the budget does not hold this frame. The memory has to be reset after it.
            DataError: it has no picture.
        """
        time_s = next_time_s(view, self._last_time_s)
        view = drawn_once(view)
        features = self._checked_features(view)
        frame = Frame(view=view, index=self._frames_seen, time_s=time_s, features=features)
        surprise = self.surprise(frame)
        if self._frames_seen and self.segment(frame, surprise):
            self._segments_seen += 1
            self.close_segment()
        self.write(frame, surprise)
        self._frames_seen += 1
        self._last_time_s, self._last_surprise = time_s, surprise
        self._hold_to_budget()

    def retrieve(self, query: Query) -> Recalled:
        """What the memory gives for a query; the stream can go on after it.

        Raises:
            NothingSeenError: before the first frame.
            QueryTimeError: the query's time is before the last frame's: its answer would know the future.
            WordsNeededError: the policy compares with words, and the query names none.
        """
        if self._last_time_s is None:
            raise NothingSeenError(f"{query.text!r} was asked before the first frame; observe a frame first")
        if query.time_s is not None and query.time_s < self._last_time_s:
            raise QueryTimeError(
                f"{query.text!r} is asked at {query.time_s:g} s, but the memory has seen frames up to "
                f"{self._last_time_s:g} s; ask before showing later frames"
            )
        if self.uses_words and not query.labels:
            raise WordsNeededError(f"the memory {self.name!r} needs the labels of what {query.text!r} asks for")
        return self.assemble(self.recall(query))

    def stand(self, query: Query, answer: StandingAnswer | None = None) -> None:
        """Make a question known before or while the stream runs, as where it is asked at the start.

        Policies that can't use it ignore it. `answer` counts what one segment shows, for those that count as they go.
        The question itself is not charged to the budget.
        """
        self._standing[query] = answer or (lambda _query, _recalled: 0.0)

    def reset(self) -> None:
        """Forget the stream and the standing questions."""
        self._standing.clear()
        self._forget_stream()
        self.clear()

    # ----------------------------------------------------------------------------------------- what policies fill in

    @abstractmethod
    def write(self, frame: Frame, surprise: float | None) -> None:
        """Keep what the policy wants of a frame."""

    @abstractmethod
    def evict(self) -> bool:
        """Give something up; False where nothing is left to give up but the newest frame."""

    @abstractmethod
    def recall(self, query: Query) -> Recalled:
        """What fits the query, in any order."""

    @abstractmethod
    def nbytes(self) -> dict[str, int]:
        """Bytes kept now, by component. Quick: it is called after every frame."""

    @abstractmethod
    def clear(self) -> None:
        """Forget everything kept. Called by `reset`, not by the constructor."""

    def surprise(self, frame: Frame) -> float | None:  # noqa: ARG002 - for policies that look at it
        """How unexpected the frame is: 0 as predicted, 1 unrelated, up to 2; None where the policy does not look."""
        return None

    def segment(self, frame: Frame, surprise: float | None) -> bool:  # noqa: ARG002 - for policies with segments
        """Whether a segment ends before this frame."""
        return False

    def close_segment(self) -> None:  # noqa: B027 - for policies with segments
        """Called between two segments, before the first frame of the new one is written."""

    def compress(self) -> bool:
        """Make something smaller without giving it up; False where nothing can be."""
        return False

    def assemble(self, recalled: Recalled) -> Recalled:
        """Blocks in order of time, numbered as the setting `positions` says."""
        blocks = sorted(recalled.blocks, key=lambda block: block.times_s)
        if self._base_settings.positions == "contiguous":
            numbers = range(len(blocks))
            blocks = [replace(block, position=number) for block, number in zip(blocks, numbers, strict=True)]
        return replace(recalled, blocks=tuple(blocks))

    # ------------------------------------------------------------------------------------------------ base mechanism

    def _forget_stream(self) -> None:
        self._frames_seen = self._segments_seen = self._peak_bytes = 0
        self._last_time_s = self._last_surprise = self._size = None

    def _checked_features(self, view: View) -> Features | None:
        if not self.uses_features or self._encoder is None:
            return None
        features = self._encoder.encode(view)
        size = (features.patches_PD.shape, features.pooled_D.shape, features.grid)
        if self._size is None:
            self._size = size
        if size != self._size:
            raise FeatureSizeError(
                f"features of {view.time_s:g} s have patches {size[0]}, pooled {size[1]}, grid {size[2]}, the first "
                f"frame's {self._size[0]}, {self._size[1]}, {self._size[2]}; use one encoder for a whole stream"
            )
        if not np.isfinite(features.pooled_D).all() or not np.isfinite(features.patches_PD).all():
            raise FeatureSizeError(f"features of {view.time_s:g} s hold NaN or infinity; check the encoder's weights")
        return features

    def _hold_to_budget(self) -> None:
        while (total := self.total_bytes) > self.budget_bytes:
            if not self.compress() and not self.evict():
                parts = ", ".join(f"{name} {count}" for name, count in self.nbytes().items() if count)
                raise BudgetTooSmallError(
                    f"the memory {self.name!r} has a budget of {self.budget_bytes} bytes, but one frame takes {total} "
                    f"({parts}); raise budget_bytes"
                )
        self._peak_bytes = max(self._peak_bytes, total)


class MemoryModule(Protocol):
    """What a file in `agents/memory/` defines. For readers and type checkers; nobody inherits it."""

    Settings: type[Settings]
    """Every setting with its default: the published ones where there are."""

    def build(self, settings: Any, encoder: Encoder | None) -> Memory:
        """The memory; StreamMemoryError where it can't work with the encoder."""
        ...


__all__ = [
    "RECORD_BYTES",
    "Block",
    "Frame",
    "Memory",
    "MemoryModule",
    "Query",
    "Recalled",
    "Settings",
    "StandingAnswer",
]
