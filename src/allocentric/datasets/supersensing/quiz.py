"""A stream and what is asked about it: any length, any mix of tasks, one of the perturbations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from allocentric.core.config import Settings as BaseSettings
from allocentric.core.errors import SettingsError
from allocentric.core.types import Item
from allocentric.datasets.supersensing import change, count, recall, where
from allocentric.datasets.supersensing._course import Perturbation, course, performed
from allocentric.datasets.supersensing._draft import Draft, Question, Shown, stream_id
from allocentric.datasets.supersensing._eyes import Eyes
from allocentric.datasets.supersensing._places import THINGS, Slot, settle
from allocentric.scenes import stream as streams
from allocentric.scenes.stream import Stream, Visit

MOST_MINUTES = 24 * 60

OpenStream = Callable[[streams.Settings, Sequence[Visit] | None], Stream]
"""`Stream`, or one that remembers what it drew."""


class Settings(BaseSettings):
    """One quiz."""

    seed: int = Field(default=0, ge=0)
    """Of the course, the things and the questions; the houses come from `stream.seed`."""
    minutes: float = Field(default=10.0, gt=0.0, le=MOST_MINUTES)
    """Length of the video."""
    perturbation: Perturbation = "plain"
    """plain: each house once, one of them twice. revisit: the second half walks the houses of the first again, with
    things elsewhere. repeat: the first half is played twice. shuffle: the plain stretches in another order."""
    distractors: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the stretches in which a thing that no question is about stands somewhere."""
    recall: int = Field(default=2, ge=0)
    """Questions about the order of places, at most."""
    count: int = Field(default=3, ge=0)
    """Kinds of objects to count."""
    query_times: int = Field(default=0, ge=0)
    """Times at which the same kinds are asked for once more, in one list."""
    where: int = Field(default=2, ge=0)
    """Things asked for by metres, direction and way back."""
    change: int = Field(default=4, ge=0)
    """Things that change, or do not."""
    stream: streams.Settings = streams.Settings(stretch_s=60.0)
    """Houses, walks, camera. The things that are set down are left out of its houses."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        stretches = self.minutes * 60 / self.stream.stretch_s
        if abs(stretches - round(stretches)) > 1e-6:
            raise ValueError(
                f"minutes: expected a whole number of stretches of {self.stream.stretch_s:g} s, got {self.minutes:g}"
            )
        wanted = self.recall + self.where + self.change
        if wanted > len(THINGS):
            raise ValueError(
                f"recall + where + change: each takes a thing of its own and there are {len(THINGS)}, got {wanted}"
            )
        return self

    @property
    def stretches(self) -> int:
        """Stretches of the video."""
        return round(self.minutes * 60 / self.stream.stretch_s)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Quiz:
    """A finite stream and its questions."""

    id: str
    """Digest of all that is shown."""
    settings: Settings
    """What it was made from."""
    stream: Stream
    """The video."""
    items: tuple[Item, ...]
    """In order of the time they are asked at, `extra["time_s"]`; `extra["asks"]` has the roles of its words."""
    dropped: int
    """Questions that were not asked since no place for their things was in the camera's view."""


def make(settings: Settings, open_stream: OpenStream = Stream) -> Quiz:
    """Draw a quiz; the same settings give the same one.

    Every answer comes from what was placed and is checked in the id pass: each thing is recognisable in every stretch
    it is said to be in.

    Raises:
        SettingsError: the stream is too short for its stretches.
    """
    without = tuple(dict.fromkeys([*settings.stream.without, *THINGS]))
    houses = settings.stream.model_copy(update={"without": without})
    rng = np.random.default_rng([settings.seed, 2])
    stops = course(settings.stretches, settings.perturbation, rng)
    with open_stream(houses, None) as bare:
        draft = Draft(bare, stops, rng)
        questions = _questions(settings, draft)
        slots = [slot for question in questions for slot in question.slots] + _distractors(settings, draft)
        visits = [Visit(house=stop.house, route=stop.route) for stop in stops]
        placed, lost = settle(slots, visits, Eyes(bare))
    stream = open_stream(houses, performed(placed, settings.perturbation, rng))
    shown = Shown(Eyes(stream), np.random.default_rng([settings.seed, 3]), stream_id(stream))
    asked = [question for question in questions if not any(slot in lost for slot in question.needed)]
    items = [item for question in asked for item in question.items(shown)]
    if not items:
        raise SettingsError(
            "no question found a place in these houses; make the stream longer or its stretches longer"
        )
    return Quiz(id=shown.id, settings=settings, stream=stream, items=tuple(items), dropped=len(questions) - len(asked))


def _questions(settings: Settings, draft: Draft) -> list[Question]:
    """Tasks that need a certain house come first."""
    return [
        *change.draw(draft, settings.change),
        *where.draw(draft, settings.where),
        *recall.draw(draft, settings.recall),
        *count.draw(draft, settings.count, settings.query_times),
    ]


def _distractors(settings: Settings, draft: Draft) -> list[Slot]:
    slots: list[Slot] = []
    if not draft.names:
        return slots
    for stretch in range(len(draft.stops)):
        if draft.rng.random() < settings.distractors:
            label, look = draft.names[int(draft.rng.integers(len(draft.names)))], draft.look()
            slot = draft.slot(label, look, [stretch], draft.spots(label, look, [stretch]))
            slot.id = f"{slot.id}-{stretch}"
            slots.append(slot)
    return slots
