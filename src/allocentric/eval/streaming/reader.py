"""The exact reader: answers from what a memory recalled and from nothing else, with perfect eyes.

A recalled frame is worth what it shows: an object is recognised where its visible pixels, scaled by the resolution
kept, are large enough (`datasets.supersensing._eyes`). What was not recalled does not exist. Where the recalled frames
leave several options possible, the reader guesses evenly among them; an answer is then worth its expected score, so
that a table of memories has no noise from guessing. Recalled frames that contradict every option leave all possible.

Text memories hand over notes; `notes.py` says how they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from allocentric.agents.memory.contract import Query, Recalled
from allocentric.core.geometry import point_in_polygon
from allocentric.core.scoring import score
from allocentric.core.types import Answer, Choice, Item, Number, Object, Room
from allocentric.datasets.supersensing._eyes import Eyes
from allocentric.datasets.supersensing.change import outcome
from allocentric.datasets.supersensing.where import distance_m, first_room, quadrant, quadrant_at
from allocentric.eval.streaming import notes
from allocentric.scenes.stream import Visit

NOTED_BESIDE_M = 2.5
"""The same on a map in text, whose things are points."""
BESIDE_M = 1.5
"""A thing stands beside the nearest of the places in question that one frame shows with it, up to this far."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the reader makes of a question."""

    options: tuple[float, ...] = ()
    """Weight of each option; they sum to 1. Empty for numbers."""
    number: float | None = None
    """The number read; None where nothing tells it."""

    def worth(self, item: Item) -> float:
        """Expected score; a number that nothing tells is worth 0."""
        if self.options:
            answers: list[tuple[float, Answer]] = [(weight, Choice(k)) for k, weight in enumerate(self.options)]
        elif self.number is not None and isinstance(item.gold, Number):
            answers = [(1.0, Number(self.number, item.gold.unit))]
        else:
            answers = []
        worth = [weight * (score(answer, item.gold).value or 0.0) for weight, answer in answers if weight]
        return float(sum(worth))


@dataclass(frozen=True, slots=True, eq=False)
class _Sight:
    """What one recalled frame shows."""

    index: int
    """Frame of the stream."""
    stretch: int
    """Its stretch."""
    house: int
    """House of the stretch."""
    things: Mapping[str, Object]
    """Recognised objects by id, in the house's frame."""

    def named(self, label: str) -> list[Object]:
        """Those with a name."""
        return [thing for thing in self.things.values() if thing.label == label]


class ExactReader:
    """Reads for one stream."""

    def __init__(self, eyes: Eyes) -> None:
        self._eyes = eyes
        self._stream = eyes.stream
        self._ways: dict[tuple[Visit, str, str], str | None] = {}
        self._stood_in: dict[tuple[int, int], tuple[str, ...]] = {}
        self._houses: dict[int, tuple[Room, ...]] = {}

    def query(self, item: Item, *, places: bool = False) -> Query:
        """The question as a memory is asked it: its text, and the names of the things it is about.

        `places` also names the places of a question about order: for memories that keep names and not frames.
        """
        asks: Mapping[str, Any] = item.extra["asks"]
        labels = tuple(str(asks[role]) for role in ("thing", "other", "stand", "face", "start") if role in asks)
        labels += tuple(asks.get("places", ())) if places else ()
        return Query(text=item.prompt, labels=labels, time_s=float(item.extra["time_s"]))

    def read(self, item: Item, recalled: Recalled) -> Reading:
        """The answer. ValueError for an item of no task of `datasets.supersensing`."""
        if item.kind not in _READERS:
            raise ValueError(f"the exact reader answers {', '.join(_READERS)}; got an item of kind {item.kind!r}")
        noted = notes.map_of(recalled.notes)
        if noted is not None:
            return self._from_map(item, noted)
        return _READERS[item.kind](self, item, recalled)

    def count(self, query: Query, recalled: Recalled) -> float:
        """How many different objects with the query's first label one segment shows, for policies that count."""
        return float(len({thing.id for sight in self._sights(recalled) for thing in sight.named(query.labels[0])}))

    # ------------------------------------------------------------------------------------------------------ each task

    def _recall(self, item: Item, recalled: Recalled) -> Reading:
        asks = item.extra["asks"]
        first: dict[str, float] = {}
        for sight in self._sights(recalled):
            place = _place_beside(sight, asks["thing"], asks["places"])
            if place is not None:
                first.setdefault(place, sight.index)
        fps = self._stream.settings.walk.fps
        for event in notes.events_of(recalled.notes):
            named = [place for place in asks["places"] if place in event.labels]
            if asks["thing"] in event.labels and len(named) == 1:
                first[named[0]] = min(first.get(named[0], event.first_s * fps), event.first_s * fps)
        return _order(first, asks["orders"])

    def _count(self, item: Item, recalled: Recalled) -> Reading:
        label = item.extra["asks"]["thing"]
        seen = {thing.id for sight in self._sights(recalled) for thing in sight.named(label)}
        return Reading(number=float(len(seen)) + (recalled.counted or 0.0))

    def _distance(self, item: Item, recalled: Recalled) -> Reading:
        found = self._first_house(item, recalled, "thing", "other")
        return Reading(number=None if found is None else round(distance_m(*found), 1))

    def _direction(self, item: Item, recalled: Recalled) -> Reading:
        found = self._first_house(item, recalled, "stand", "face", "thing")
        gold = None if found is None else quadrant(found[0], found[1], found[2])
        return _even([gold is None or option == gold for option in item.choices])

    def _way_back(self, item: Item, recalled: Recalled) -> Reading:
        found = self._first_house(item, recalled, "start", "thing")
        room = None
        if found is not None:
            sights = [sight for sight in self._sights(recalled) if found[1].id in sight.things]
            stretch = sights[0].stretch
            visit = self._stream.visit(stretch)
            room = self._room_entered(visit, found[0], found[1])
            if room not in self._rooms_stood_in(recalled, stretch):
                room = None
        return _even([room is None or option == room for option in item.choices])

    def _change(self, item: Item, recalled: Recalled) -> Reading:
        asks = item.extra["asks"]
        walks = self._walks_with(asks["thing"], recalled)
        possible = _possible_changes(walks[:2])
        return _even([name in possible for name in asks["outcomes"]])

    def _from_map(self, item: Item, things: Sequence[notes.Noted]) -> Reading:
        """Answers from a map in text alone. It has no rooms, so it tells no way."""
        asks, house_m = item.extra["asks"], self._stream.settings.lot_m / 2
        if item.kind == "count":
            return Reading(number=float(sum(one.label == asks["thing"] for one in things)))
        if item.kind == "recall":
            return _order(notes.first_beside(things, asks["thing"], asks["places"], NOTED_BESIDE_M), asks["orders"])
        if item.kind == "where_metres":
            found = notes.first_of(things, [asks["thing"], asks["other"]], house_m)
            return Reading(number=None if found is None else round(found[0].gap_m(found[1]), 1))
        if item.kind == "where_direction":
            found = notes.first_of(things, [asks["thing"], asks["stand"], asks["face"]], house_m)
            known = None if found is None else quadrant_at(found[1].xy_m, found[2].xy_m, found[0].xy_m)
            return _even([known is None or option == known for option in item.choices])
        if item.kind == "change":
            possible = notes.possible_changes(things, asks["thing"], self._stream.settings.stretch_s)
            return _even([name in possible for name in asks["outcomes"]])
        return _even([True] * len(item.choices))

    # --------------------------------------------------------------------------------------------------------- sights

    def _sights(self, recalled: Recalled) -> Iterator[_Sight]:
        """Recalled frames in order of time. Of several recalled as one block each is as good as the block."""
        frames: dict[int, float] = {}
        for block in recalled.blocks:
            for time_s in block.times_s:
                index = self._stream.index_at(time_s)
                frames[index] = max(block.resolution, frames.get(index, 0.0))
        for index in sorted(frames):
            stretch = index // self._stream.settings.stretch_frames
            house = self._stream.visit(stretch).house
            yield _Sight(index, stretch, house, self._eyes.recognised(index, frames[index]))

    def _first_house(self, item: Item, recalled: Recalled, *roles: str) -> list[Object] | None:
        """The things of a question as the walk shows them on which the asked thing is first recalled."""
        asks = item.extra["asks"]
        stretch: int | None = None
        found: dict[str, Object] = {}
        sights = list(self._sights(recalled))
        for sight in sights:
            if stretch is None and sight.named(asks["thing"]):
                stretch = sight.stretch
        for sight in sights:
            if sight.stretch == stretch:
                for role in roles:
                    for thing in sight.named(asks[role]):
                        found.setdefault(role, thing)
        return [found[role] for role in roles] if len(found) == len(roles) else None

    def _room_entered(self, visit: Visit, start: Object, goal: Object) -> str | None:
        key = (visit, start.id, goal.id)
        if key not in self._ways:
            self._ways[key] = first_room(self._stream.scene(visit.house, visit.edit), start, goal)
        return self._ways[key]

    def _rooms_stood_in(self, recalled: Recalled, stretch: int) -> set[str]:
        """Kinds of the rooms of a stretch's house in which recalled frames were taken."""
        rooms = self._room_of_frames(self._stream.visit(stretch))
        count = self._stream.settings.stretch_frames
        frames = {self._stream.index_at(time_s) for block in recalled.blocks for time_s in block.times_s}
        return {rooms[frame % count] for frame in frames if frame // count == stretch} - {""}

    def _room_of_frames(self, visit: Visit) -> tuple[str, ...]:
        """Kind of the room each frame of a visit was taken in; "" in a doorway."""
        key = (visit.house, visit.route)
        if key not in self._stood_in:
            cameras = self._stream.cameras(*key)
            eyes = np.array([camera.world_from_camera[:2, 3] for camera in cameras])
            kinds = [""] * len(cameras)
            for room in self._rooms(visit.house):
                for frame in np.flatnonzero(point_in_polygon(eyes, room.floor_polygon_m)):
                    kinds[frame] = room.kind
            self._stood_in[key] = tuple(kinds)
        return self._stood_in[key]

    def _rooms(self, house: int) -> tuple[Room, ...]:
        if house not in self._houses:
            self._houses[house] = self._stream.scene(house).rooms
        return self._houses[house]

    def _walks_with(self, label: str, recalled: Recalled) -> list[_Walk]:
        """What each recalled walk through the house of a thing tells of it, in order; empty where none shows it."""
        sights = list(self._sights(recalled))
        with_it = [sight for sight in sights if sight.named(label)]
        if not with_it:
            return []
        house = with_it[0].house
        walks: dict[int, _Walk] = {}
        for sight in sights:
            if sight.house == house:
                walk = walks.setdefault(sight.stretch, _Walk(place=None, looked=False))
                for thing in sight.named(label):
                    walk = _Walk(place=tuple(np.round(thing.world_from_object[:2, 3], 3)), looked=walk.looked)
                walks[sight.stretch] = walk
        rooms = {room.kind for room in self._rooms(house)}
        return [
            _Walk(place=walk.place, looked=self._rooms_stood_in(recalled, stretch) == rooms)
            for stretch, walk in sorted(walks.items())
        ]


@dataclass(frozen=True, slots=True)
class _Walk:
    """What recalled frames of one walk tell of a thing."""

    place: tuple[float, ...] | None
    """Where it was seen."""
    looked: bool
    """Whether they were taken in every room, so that a thing not seen was not there."""


def _possible_changes(walks: Sequence[_Walk]) -> set[str]:
    """What may have happened between the first two walks, as far as these tell."""
    if len(walks) < 2:
        return {"moved", "appeared", "vanished", "stayed"}
    before, after = walks
    if before.place is None and after.place is None:
        return {"moved", "appeared", "vanished", "stayed"}
    certain = outcome(before.place, after.place)
    assert certain is not None
    if before.place is None and not before.looked:
        return {"moved", "stayed", "appeared"}
    if after.place is None and not after.looked:
        return {"moved", "stayed", "vanished"}
    return {certain}


def _place_beside(sight: _Sight, label: str, places: Sequence[str]) -> str | None:
    """The place in question that is nearest to the thing, of those one frame shows with it."""
    pairs = [
        (distance_m(thing, mark), place) for thing in sight.named(label) for place in places
        for mark in sight.named(place)
    ]  # fmt: skip
    nearest = min(pairs, default=None)
    return nearest[1] if nearest is not None and nearest[0] <= BESIDE_M else None


def _order(first: Mapping[str, float], orders: Sequence[Sequence[str]]) -> Reading:
    """Orders that agree with what is known of when places came first."""
    known = sorted(first, key=lambda place: first[place])
    return _even([[place for place in order if place in first] == known for order in orders])


def _even(possible: Sequence[bool]) -> Reading:
    """Even weights over what is possible; over everything where nothing is."""
    kept = possible if any(possible) else [True] * len(possible)
    return Reading(options=tuple(float(one) / sum(kept) for one in kept))


_READERS: dict[str, Callable[[ExactReader, Item, Recalled], Reading]] = {
    "recall": ExactReader._recall,
    "count": ExactReader._count,
    "where_metres": ExactReader._distance,
    "where_direction": ExactReader._direction,
    "where_way_back": ExactReader._way_back,
    "change": ExactReader._change,
}
