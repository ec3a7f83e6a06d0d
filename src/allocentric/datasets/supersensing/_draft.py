"""What the tasks share while a quiz is drawn: the course, the names left, and what a finished question knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from allocentric.core.records import digest, item_id
from allocentric.core.types import Answer, Evidence, Item
from allocentric.datasets.supersensing._course import Stop
from allocentric.datasets.supersensing._eyes import Eyes
from allocentric.datasets.supersensing._places import THINGS, Slot, Spot, spots_for
from allocentric.scenes.stream import Stream, Visit

_LOOKS = 2**31


@dataclass(slots=True, eq=False)
class Draft:
    """A quiz in the making."""

    stream: Stream
    """The houses; what is shown is not decided yet."""
    stops: Sequence[Stop]
    """The course on which things are placed."""
    rng: np.random.Generator
    """Of this quiz."""
    names: list[str] = field(default_factory=lambda: list(THINGS))
    """Things that are not used yet."""

    def __post_init__(self) -> None:
        self.rng.shuffle(self.names)

    def take_name(self) -> str | None:
        """A thing for a question; None where all are used."""
        return self.names.pop() if self.names else None

    def stretches_of(self, house: int, passing: int) -> tuple[int, ...]:
        """Where a house is walked in a pass."""
        return tuple(k for k, stop in enumerate(self.stops) if stop.house == house and stop.passing == passing)

    def look(self) -> int:
        """Seed of a thing's shape."""
        return int(self.rng.integers(_LOOKS))

    def spots(self, label: str, look: int, stretches: Sequence[int]) -> list[Spot]:
        """Places in the house of some stretches where each of them shows the thing."""
        routes = sorted({self.stops[stretch].route for stretch in stretches})
        return spots_for(self.stream, self.stops[stretches[0]].house, routes, label, look, self.rng)

    def slot(self, label: str, look: int, stretches: Sequence[int], spots: list[Spot], **settings: Any) -> Slot:
        """A thing there."""
        house = self.stops[stretches[0]].house
        name = label.replace(" ", "-")
        return Slot(name, label, look, house, tuple(stretches), spots, **settings)


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A finished stream, for the answers to be read from."""

    eyes: Eyes
    """What is recognised in it; `eyes.stream` has its visits."""
    rng: np.random.Generator
    """For the order of options."""
    id: str
    """Of the stream."""

    @property
    def visits(self) -> tuple[Visit, ...]:
        """What each stretch shows."""
        assert self.eyes.stream.visits is not None
        return self.eyes.stream.visits

    @property
    def duration_s(self) -> float:
        """Length of the stream; questions come at its end."""
        return len(self.visits) * self.eyes.stream.settings.stretch_s

    def stretches_with(self, thing_id: str) -> list[int]:
        """Stretches during which a thing that was set down is there."""
        return [k for k, visit in enumerate(self.visits) if any(put.id == thing_id for put in visit.edit.put)]

    def item(
        self, *, task: str, prompt: str, gold: Answer, label: str, things: Sequence[str], asks: Mapping[str, Any],
        choices: Sequence[str] = (), time_s: float | None = None,
    ) -> Item:  # fmt: skip
        """A question. `asks` is what a reader needs beside the text: names of roles, never the answer."""
        when = self.duration_s if time_s is None else time_s
        return Item(
            id=item_id(
                kind=task, scene_id=self.id, prompt=prompt, choices=choices, gold=gold, views=(self.id, str(when))
            ),
            kind=task,
            prompt=prompt,
            choices=tuple(choices),
            gold=gold,
            scene_id=self.id,
            evidence=Evidence(object_ids=tuple(things), label=label),
            source="supersensing",
            extra={"asks": dict(asks), "time_s": when},
        )


class Question(Protocol):
    """What a task's `draw` gives."""

    @property
    def slots(self) -> Sequence[Slot]:
        """Things it sets down."""
        ...

    @property
    def needed(self) -> Sequence[Slot]:
        """Those without which it is not asked; others stay away where they find no place."""
        ...

    def items(self, shown: Shown) -> list[Item]:
        """The question with its answer in the stream as it is shown; empty where it has no clear one."""
        ...


def stream_id(stream: Stream) -> str:
    """Name of a finished stream: a digest of everything it is made of."""
    assert stream.visits is not None
    made_of = [
        [visit.house, visit.route, [[*map(str, _put(put))] for put in visit.edit.put], list(visit.edit.take)]
        for visit in stream.visits
    ]
    return "stream-" + digest([stream.settings.model_dump(mode="json"), made_of], length=16)


def _put(put: Any) -> tuple[Any, ...]:
    return (put.id, put.label, put.look, put.bottom_m, put.yaw_rad, put.room_id, put.on)
