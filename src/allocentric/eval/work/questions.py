"""What a run asks, what of it is answered already, and what an answer leaves in samples.jsonl.

A question's key is a digest of everything that decides its answer: the item, the prompt, the frames, the sampling and
the model with its weights. An answer under the same key is never asked for again, on any machine and any number of
workers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from allocentric.core.errors import DataError
from allocentric.core.records import digest, response_from_record, response_to_record
from allocentric.core.runlog import RunLog, scan_samples
from allocentric.core.types import Item, Response, Sampling
from allocentric.eval.dialogues import Exchange, dialogues, question_of, turn_text
from allocentric.eval.frames import FrameChoice, choose_frames, frames_digest
from allocentric.eval.recipe import Plan, item_digest, rows_digest
from allocentric.eval.results import failed

_SHARED = 32
"""Characters of an answer that is kept once for all questions."""


@dataclass(frozen=True, slots=True)
class Question:
    """One item put to one model."""

    contestant: int
    """Position of the model in `Plan.contestants`."""
    item: int
    """Position of the item in `Plan.items`."""
    key: str
    """Content key of its line in samples.jsonl."""
    earlier: tuple[Exchange, ...] = ()
    """In a dialogue, the turns before it."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A response on its way to the disk."""

    item_id: str
    """Which item."""
    response: Response
    """What the model said, or why there is nothing."""
    pixels: str | None = None
    """SHA-256 of the decoded frames of a video that the model was shown; None where the files are the frames."""


@dataclass
class Logged:
    """What samples.jsonl holds, as far as a run needs it: a fraction of the file's size in memory."""

    responses: dict[str, Response] = field(default_factory=dict)
    """By content key; the last one counts."""
    frames: dict[str, FrameChoice] = field(default_factory=dict)
    """By item id; the last choice."""

    @classmethod
    def read(cls, folder: Path) -> Logged:
        """Read a run folder. DataError where a line in the middle is damaged."""
        logged = cls()
        choices: dict[str, FrameChoice] = {}
        said: dict[tuple[Any, ...], Response] = {}  # most answers are a letter or a number that others gave too
        for key, record in scan_samples(folder):
            values = record["response"]
            same = tuple(values.values())
            response = said.get(same)
            if response is None:
                response = response_from_record(values)
                if len(response.text) <= _SHARED:
                    said[same] = response
            logged.responses[key] = response
            frames = record["frames"]
            choice = choices.get(frames["digest"])
            if choice is None:
                choice = FrameChoice(indices=tuple(frames["indices"]), digest=frames["digest"])
                choices[frames["digest"]] = choice
            logged.frames[record["item"]] = choice
        return logged


class Inquiry:
    """The questions of a run with what is known about them."""

    def __init__(self, job: Plan, log: RunLog) -> None:
        self.job = job
        """The run."""
        self.logged = Logged.read(log.folder)
        """What was answered before."""
        self.rows: tuple[str, ...] = tuple(item_digest(item) for item in job.items)
        """Of every item, the digest of what is asked and what is right."""
        self.identities: tuple[str, ...] = tuple(one.identity() for one in job.contestants)
        """Of every model: its settings and weights."""
        self._frames: list[FrameChoice | None] = [None] * len(job.items)

    @cached_property
    def _common(self) -> str:
        return common_digest(self.job)

    @cached_property
    def items_sha256(self) -> str:
        """Digest of all items."""
        return rows_digest(self.rows)

    def frames(self, index: int) -> FrameChoice:
        """The frames of an item. DataError that names the item where its pictures are missing or damaged."""
        choice = self._frames[index]
        if choice is None:
            item = self.job.items[index]
            try:
                choice = self._known_frames(item) or choose_frames(item, self.job.recipe.frames)
            except DataError as error:
                words = str(error)
                raise DataError(words if item.id in words else f"item {item.id}: {words}") from None
            self._frames[index] = choice
        return choice

    def _known_frames(self, item: Item) -> FrameChoice | None:
        """The choice of an earlier call, where the pictures are the same: a video is not read through again."""
        known = self.logged.frames.get(item.id)
        return known if known is not None and same_frames(item, known, self.job) else None

    def prompt_text(self, index: int) -> str:
        """The user text of an item under the run's profile."""
        return self.job.benchmark.prompt_text(self.job.items[index], self.job.profile)

    @cached_property
    def _asked(self) -> tuple[str, ...]:
        """Of every item, a digest of all that is asked, whichever model answers.

        The parts before the prompt are digests of fixed length, so that no two questions can run together; that of the
        frames holds their numbers.
        """
        digests = []
        for index, row in enumerate(self.rows):
            digests.append(asked_digest(self._common, row, self.frames(index).digest, self.prompt_text(index)))
        return tuple(digests)

    def questions(self, contestant: int) -> Iterator[Question]:
        """Every question to one model, in the order of the items."""
        identity = self.identities[contestant]
        for index, asked in enumerate(self._asked):
            yield Question(contestant=contestant, item=index, key=answer_key(asked, identity))

    @cached_property
    def _dialogues(self) -> list[list[int]]:
        """The items of every dialogue, in the order of its turns."""
        place = {item.id: index for index, item in enumerate(self.job.items)}
        return [[place[item.id] for item in turns] for turns in dialogues(self.job.items)]

    def rounds(self) -> Iterator[tuple[Sequence[int], int]]:
        """What can be asked together, as (contestants, turn): everything, or in dialogues one turn of one model."""
        contestants = range(len(self.job.contestants))
        if not self.job.dialogue:
            yield contestants, 0
            return
        longest = max(map(len, self._dialogues))
        yield from (([contestant], turn) for contestant in contestants for turn in range(longest))

    def _turn(self, contestant: int, turn: int, answers: Mapping[str, Response]) -> Iterator[Question]:
        """The questions of a turn to one model, of the dialogues in which all turns before are answered.

        What was said before is part of what is asked, so of the key.
        """
        for places in self._dialogues:
            before = [answers.get(self.job.items[index].id) for index in places[:turn]]
            said = [response.text for response in before if response is not None and not failed(response)]
            if turn >= len(places) or len(said) < turn:
                continue
            asked = [self._question_text(index) for index in places[:turn]]
            earlier = tuple(Exchange(text=text, answer=answer) for text, answer in zip(asked, said, strict=True))
            index = places[turn]
            words = turn_text(self.prompt_text(index), earlier)
            digest_of_all = asked_digest(self._common, self.rows[index], self.frames(index).digest, words)
            key = answer_key(digest_of_all, self.identities[contestant])
            yield Question(contestant=contestant, item=index, key=key, earlier=earlier)

    def _question_text(self, index: int) -> str:
        return question_of(self.job.benchmark, self.job.items[index], self.job.profile)

    def pending(self, contestant: int, answers: dict[str, Response], turn: int = 0) -> list[Question]:
        """Fill `answers` (by item id) with what the log holds for one model; return what is missing or failed.

        In dialogues that is one turn, and `answers` hold those before.
        """
        if self.job.dialogue:
            asked = list(self._turn(contestant, turn, answers))
            return [question for question in asked if not self._known(question.item, question.key, answers)]
        identity = self.identities[contestant]
        keys = ((index, answer_key(asked, identity)) for index, asked in enumerate(self._asked))
        left = [(index, key) for index, key in keys if not self._known(index, key, answers)]
        return [Question(contestant=contestant, item=index, key=key) for index, key in left]

    def _known(self, index: int, key: str, answers: dict[str, Response]) -> bool:
        """Note what the log holds under a key; False where that is nothing, or a failure."""
        known = self.logged.responses.get(key)
        if known is None:
            return False
        answers[self.job.items[index].id] = known
        return not failed(known)

    def record(self, question: Question, answered: Answered) -> dict[str, Any]:
        """What samples.jsonl says about an answer: nothing that another number of workers would change."""
        item, frames = self.job.items[question.item], self.frames(question.item)
        shown: dict[str, Any] = {"indices": list(frames.indices), "digest": frames.digest}
        if answered.pixels is not None:
            shown["pixels"] = answered.pixels
        return {
            "model": self.job.contestants[question.contestant].label,
            "item": item.id,
            "kind": item.kind,
            "scene": item.scene_id,
            "row": self.rows[question.item],
            "frames": shown,
            "prompt": self._text_of(question),
            "response": response_to_record(replace(answered.response, seconds=None)),
        }

    def _text_of(self, question: Question) -> str:
        if not self.job.dialogue:
            return self.prompt_text(question.item)
        return turn_text(self._question_text(question.item), question.earlier)


def common_digest(job: Plan) -> str:
    """Digest of what all questions of a run share: system message, form of the frames, and sampling."""
    sampling = sampling_of(job)
    drawn = [sampling.max_new_tokens, sampling.temperature, sampling.seed]
    return digest([job.recipe.system, job.recipe.frames.as_video, drawn])


def asked_digest(common: str, row: str, frames: str, prompt: str) -> str:
    """Digest of one question from those of its run, of its item and of its frames, and its wording."""
    return hashlib.sha256(f"{common} {row} {frames} {prompt}".encode(errors="surrogatepass")).hexdigest()


def answer_key(asked: str, identity: str) -> str:
    """Content key of the answer of the model with this identity."""
    return hashlib.sha256(f"{asked} {identity}".encode()).hexdigest()


def sampling_of(job: Plan) -> Sampling:
    """Decoding settings of the run's profile with the recipe's seed and limit."""
    sampling = replace(job.benchmark.sampling(job.profile), seed=job.recipe.seed)
    limit = job.recipe.max_new_tokens
    return sampling if limit is None else replace(sampling, max_new_tokens=limit)


def same_frames(item: Item, known: FrameChoice, job: Plan) -> bool:
    """Whether an item's pictures are still those of an earlier choice. DataError where they can't be read."""
    indices = known.indices
    if item.video is None and indices and max(indices) >= len(item.views):
        return False
    return frames_digest(item, indices, job.recipe.frames) == known.digest


def same_pictures(items: Sequence[Item], frames: Mapping[str, FrameChoice], job: Plan) -> bool:
    """Whether every item was asked with the pictures it has now. DataError where they can't be read."""
    return all(item.id in frames and same_frames(item, frames[item.id], job) for item in items)
