"""Watchers of streams: a model, a memory and a prompt, asked as the stream goes.

A watcher is shown every new picture once, in order. `FramesWatcher` keeps what a memory policy keeps and shows a
model, of any backend, the frames that the policy recalls for a question. `CacheWatcher` reads every frame with a
checkpoint whose layers keep what a policy over keys and values keeps. Both note what every frame and answer cost.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from pydantic import Field

from allocentric.agents.adapters import printable
from allocentric.agents.memory.contract import Memory, Query, Recalled
from allocentric.core import config
from allocentric.core.errors import UserError
from allocentric.core.types import Model, Prompt, Sampling, View

INSTRUCTION = (
    "You watch a video as it goes on, and are asked about what you saw. Answer with the letter of the right option, "
    "or with one number where there are no options."
)
LONGEST = 4096
"""Characters of an answer that an environment takes."""


class Settings(config.Settings):
    """What stands between a model and a stream."""

    memory: dict[str, Any] | None = None
    """`name` of a policy of `allocentric list memory`, and its settings."""
    kv_memory: dict[str, Any] | None = None
    """`name` of a policy of `allocentric list kv_memory`, and its settings; of hf models. One of the two is given."""
    encoder: dict[str, Any] = Field(default_factory=lambda: {"name": "descriptors"})
    """`name` of an encoder of `allocentric list encoders` for `memory`, and its settings."""
    head: str | None = None
    """File of a latent-frame head for `kv_memory`; null compares every frame with the one before."""
    instruction: str = INSTRUCTION
    """System message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameNote:
    """What one frame cost."""

    time_s: float
    """In the stream."""
    seconds: float
    """Wall time to take it in."""
    bytes: int
    """Kept afterwards."""
    surprise: float | None
    """Where the policy looks at it."""
    border: bool
    """A segment ended before it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerNote:
    """What one answer cost."""

    time_s: float
    """Of the last frame before it."""
    seconds: float
    """Wall time from the question to the answer."""
    attended_tokens: float | None
    """Keys the answer's last token read, averaged over layers; None where the backend does not count."""
    frames: int | None
    """Frames shown to the model; None where its layers choose each for themselves."""
    bytes: int
    """Kept by the memory."""
    complete: bool
    """False: the answer was cut off at its longest, and what there was of it is the answer."""


@dataclass(kw_only=True)
class Told:
    """Notes of one turn."""

    frames: list[FrameNote] = field(default_factory=list)
    """One per new picture."""
    answer: AnswerNote | None = None
    """Where a question was asked."""

    def record(self) -> dict[str, Any]:
        """As JSON values."""
        return {"frames": [asdict(note) for note in self.frames], "answer": self.answer and asdict(self.answer)}


class Watcher(Protocol):
    """A policy that tells what it did."""

    told: Told
    """Of the last turn."""
    failed: str | None
    """Why the model gave no answer; None: it did."""
    prompt_tokens: int
    """Read since the stream's start, where the backend tells."""
    completion_tokens: int
    """Written since then."""
    budget_bytes: int
    """What the memory may keep."""

    def reset(self, seed: int) -> None:
        """Forget the last stream."""
        ...

    def act(self, observation: Any) -> str:
        """Take the new pictures in, and answer where a question is asked; an empty text elsewhere."""
        ...


class _Base:
    """Turns of `allocentric/StreamQA-v0`."""

    def __init__(self) -> None:
        self.told = Told()
        self.failed: str | None = None
        self.prompt_tokens = self.completion_tokens = 0
        self._asked = 0
        self._last_s = 0.0

    def reset(self, seed: int) -> None:
        """Forget the last stream."""
        self._seed, self._asked = seed, 0
        self.told, self.failed = Told(), None
        self.prompt_tokens = self.completion_tokens = 0
        self._forget()

    def act(self, observation: Any) -> str:
        """Take the new pictures in, and answer where a question is asked; an empty text elsewhere."""
        self.told = Told()
        count = int(observation["frame_count"])
        for picture, time_s in zip(observation["frames"][:count], observation["times_s"][:count], strict=True):
            self._last_s = float(time_s)
            self.told.frames.append(self._see(View(image=picture, time_s=self._last_s)))
        question = str(observation["question"])
        if not question:
            return ""
        self._asked += 1
        return printable(self._answer(question))[:LONGEST]

    def _forget(self) -> None:
        raise NotImplementedError

    def _see(self, view: View) -> FrameNote:
        raise NotImplementedError

    def _answer(self, question: str) -> str:
        raise NotImplementedError


class FramesWatcher(_Base):
    """A memory of frames and a model that is shown what it recalls. Implements `Watcher`."""

    def __init__(
        self,
        model: Model,
        memory: Memory,
        *,
        words: Sequence[str] = (),
        instruction: str = INSTRUCTION,
        max_new_tokens: int = 16,
        temperature: float = 0.0,
    ) -> None:
        """The parts.

        Args:
            model: Answers.
            memory: Of one stream at a time.
            words: Things that questions may be about, as the memory's encoder knows them.
            instruction: System message.
            max_new_tokens: Longest answer.
            temperature: 0 is greedy.
        """
        super().__init__()
        self._model, self._memory, self._words = model, memory, tuple(words)
        self._instruction, self._most, self._temperature = instruction, max_new_tokens, temperature
        self._segments = 0
        self.budget_bytes = memory.budget_bytes

    def _forget(self) -> None:
        self._memory.reset()
        self._segments = 0

    def _see(self, view: View) -> FrameNote:
        began = time.perf_counter()
        self._memory.observe(view)
        seconds = time.perf_counter() - began
        border = self._memory.segments_seen > self._segments
        self._segments = self._memory.segments_seen
        return FrameNote(
            time_s=self._last_s,
            seconds=seconds,
            bytes=self._memory.total_bytes,
            surprise=self._memory.last_surprise,
            border=border,
        )

    def _answer(self, question: str) -> str:
        began = time.perf_counter()
        query = Query(text=question, labels=labels_in(question, self._words), time_s=self._last_s)
        recalled = self._memory.retrieve(query)
        views = tuple(
            View(image=block.image, time_s=block.times_s[0]) for block in recalled.blocks if block.image is not None
        )
        if recalled.blocks and not views:
            raise UserError(
                f"the memory {self._memory.name!r} recalls features without pictures, which a model can't be shown; "
                "take a codec that keeps pictures, a policy that does, or kv_memory"
            )
        prompt = Prompt(
            item_id=f"{self._seed}/{self._asked}",
            text=recalled_text(question, recalled, views),
            views=views,
            system=self._instruction,
            sampling=Sampling(max_new_tokens=self._most, temperature=self._temperature, seed=self._seed),
        )
        (response,) = self._model.generate([prompt])
        if response.error is not None or response.finish_reason == "error":
            self.failed = " ".join((response.error or "no reason given").split())
            return ""
        read, written = response.prompt_tokens, response.completion_tokens or 0
        self.prompt_tokens += read or 0
        self.completion_tokens += written
        self.told.answer = AnswerNote(
            time_s=self._last_s,
            seconds=time.perf_counter() - began,
            attended_tokens=None if read is None else float(read + max(written - 1, 0)),
            frames=len(views),
            bytes=self._memory.total_bytes,
            complete=response.finish_reason != "length",
        )
        return response.text


class CacheWatcher(_Base):
    """A checkpoint whose layers remember. Implements `Watcher`."""

    def __init__(self, watcher: Any, *, border: float | None = None, max_new_tokens: int = 16) -> None:
        """The parts.

        Args:
            watcher: A `kv_memory.watcher.Watcher`.
            border: Surprise from which a frame begins a segment; None: segments are not told apart.
            max_new_tokens: Longest answer; greedy.
        """
        super().__init__()
        self._watcher, self._border, self._most = watcher, border, max_new_tokens
        self.budget_bytes = watcher.budget_bytes

    def _forget(self) -> None:
        self._watcher.reset()

    def _see(self, view: View) -> FrameNote:
        self._watcher.observe(view)
        surprise = self._watcher.last_surprise
        border = self._border is not None and surprise is not None and surprise >= self._border
        return FrameNote(
            time_s=self._last_s,
            seconds=self._watcher.last_frame_s,
            bytes=sum(self._watcher.nbytes().values()),
            surprise=surprise,
            border=border and self._watcher.frames_seen > 1,
        )

    def _answer(self, question: str) -> str:
        said = self._watcher.answer(question, max_new_tokens=self._most)
        self.prompt_tokens += said.prompt_tokens
        self.completion_tokens += said.completion_tokens
        self.told.answer = AnswerNote(
            time_s=self._last_s,
            seconds=said.seconds,
            attended_tokens=said.attended_tokens,
            frames=None,
            bytes=sum(self._watcher.nbytes().values()),
            complete=said.complete,
        )
        text: str = said.text
        return text


def recalled_text(question: str, recalled: Recalled, views: Sequence[View]) -> str:
    """What a model is told beside the recalled pictures."""
    lines = []
    if views:
        times = ", ".join(f"{view.time_s:g}" for view in views)
        lines.append(f"You kept {len(views)} picture(s) of the video, seen at these seconds: {times}.")
    if recalled.notes:
        lines += ["You noted:", *recalled.notes]
    if recalled.counted is not None:
        lines.append(f"You counted {recalled.counted:g} up to the last segment.")
    return "\n".join([*lines, question])


def labels_in(question: str, words: Sequence[str]) -> tuple[str, ...]:
    """Words, in the order given, that a question names, in singular or plural."""
    text = question.lower()
    return tuple(word for word in words if re.search(rf"\b{re.escape(word.lower())}(?:s|es)?\b", text))
