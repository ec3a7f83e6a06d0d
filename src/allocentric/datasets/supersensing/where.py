"""Where: how far was a thing from another, in which direction, and which way led back to it?

A thing is set down in a house and, later on, in some other houses; the questions are about the place at which it
*first* stood, measured against furniture that the same walk showed. Where houses are walked again it stands somewhere
else in its houses, and in more of them: a frame that shows it well tells nothing, unless it is known to be the first.

A constant answer should not pay: directions are drawn before the furniture that gives them, distances evenly in their
logarithm, and rooms on the way back the more often the fewer ways lead through them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from allocentric.core.geometry import bearing_rad, box_distance
from allocentric.core.types import Choice, Item, Number, Object, Scene
from allocentric.datasets.supersensing._draft import Draft, Shown
from allocentric.datasets.supersensing._places import THINGS, Slot
from allocentric.scenes import routes
from allocentric.scenes.walkable import WalkableMap, walkable_map

_FAR_M = 1.5
"""Least distance that is asked for."""
_APART_M = 0.5
_ALSO_IN = 2
"""Further houses in which the thing stands later, and again that many where houses are walked again."""
_MARGIN_RAD = math.radians(15)
"""A direction is this far from the borders of its quadrant."""
QUADRANTS = ("front-left", "back-left", "back-right", "front-right")
"""Counter-clockwise from straight ahead."""
_HUB = "living room"
"""Most ways lead through it; it is the answer only where another start would have had another one."""
_KINDS = ("living room", "kitchen", "bedroom", "bathroom", "hallway", "office", "dining room")


@dataclass(frozen=True, slots=True, eq=False)
class _Where:
    label: str
    slots: Sequence[Slot]
    """The first is in the first pass."""

    @property
    def needed(self) -> Sequence[Slot]:
        """One place will do."""
        return self.slots[:1]

    def items(self, shown: Shown) -> list[Item]:
        """Up to three questions: metres, direction, way back."""
        thing_id = self.slots[0].id
        visit = shown.visits[shown.stretches_with(thing_id)[0]]
        scene, seen = shown.eyes.stream.scene(visit.house, visit.edit), shown.eyes.seen_in(visit)
        labels = [thing.label for thing in scene.objects]
        thing = next(one for one in scene.objects if one.id == thing_id)
        marks = [one for one in scene.objects if one.id in seen and labels.count(one.label) == 1]
        marks = [one for one in marks if one.label not in THINGS]
        asked = [self._distance(shown, thing, marks), self._direction(shown, thing, marks)]
        asked.append(self._way_back(shown, scene, thing, marks))
        return [item for item in asked if item is not None]

    def _distance(self, shown: Shown, thing: Object, marks: Sequence[Object]) -> Item | None:
        far = [one for one in marks if distance_m(thing, one) >= _FAR_M]
        far = [one for one in far if one.room_id != thing.room_id] or far
        if not far:
            return None
        metres_of = np.log([distance_m(thing, one) for one in far])
        wanted = shown.rng.uniform(metres_of.min(), metres_of.max())
        other = far[int(np.abs(metres_of - wanted).argmin())]
        metres = round(distance_m(thing, other), 1)
        return shown.item(
            task="where_metres",
            prompt=f"Think of the place where the {self.label} first stood in the video. Measuring from the closest "
            f"point of each object, what is the distance between it and the {other.label} of that house (in meters)?",
            gold=Number(metres, "m"),
            label=str(metres),
            things=(thing.id, other.id),
            asks={"thing": self.label, "other": other.label},
        )

    def _direction(self, shown: Shown, thing: Object, marks: Sequence[Object]) -> Item | None:
        pairs: dict[str, list[tuple[Object, Object]]] = {}
        for a, b in permutations(marks, 2):
            if _is_clear(a, b, thing):
                pairs.setdefault(quadrant(a, b, thing), []).append((a, b))
        if not pairs:
            return None
        gold = sorted(pairs)[int(shown.rng.integers(len(pairs)))]
        stand, face = pairs[gold][int(shown.rng.integers(len(pairs[gold])))]
        options = tuple(QUADRANTS[k] for k in shown.rng.permutation(len(QUADRANTS)))
        return shown.item(
            task="where_direction",
            prompt=f"Think of the house where the {self.label} first stood in the video. If I am standing by its "
            f"{stand.label} and facing its {face.label}, is the {self.label} to my front-left, front-right, "
            "back-left, or back-right?",
            choices=options,
            gold=Choice(options.index(gold)),
            label=gold,
            things=(thing.id, stand.id, face.id),
            asks={"thing": self.label, "stand": stand.label, "face": face.label},
        )

    def _way_back(self, shown: Shown, scene: Scene, thing: Object, marks: Sequence[Object]) -> Item | None:
        kinds = [room.kind for room in scene.rooms]
        starts: dict[str, list[Object]] = {}
        for one in marks:
            room = first_room(scene, one, thing) if one.room_id != thing.room_id else None
            if room is not None and kinds.count(room) == 1:
                starts.setdefault(room, []).append(one)
        if not set(starts) - {_HUB}:
            return None
        rooms = sorted(starts)
        rarity = np.array([1 / len(starts[room]) for room in rooms])
        gold = rooms[int(shown.rng.choice(len(rooms), p=rarity / rarity.sum()))]
        start = starts[gold][int(shown.rng.integers(len(starts[gold])))]
        others = dict.fromkeys([*kinds, *(str(kind) for kind in shown.rng.permutation(_KINDS))])
        options = [gold, *[kind for kind in others if kind != gold][:3]]
        mixed = [options[k] for k in shown.rng.permutation(len(options))]
        return shown.item(
            task="where_way_back",
            prompt=f"Think of the house where the {self.label} first stood in the video. On the shortest way from "
            f"its {start.label} back to the {self.label}, which room do I enter first?",
            choices=mixed,
            gold=Choice(mixed.index(gold)),
            label=gold,
            things=(thing.id, start.id),
            asks={"thing": self.label, "start": start.label},
        )


def draw(draft: Draft, count: int) -> list[_Where]:
    """At most `count` things, each in a few houses with several rooms."""
    questions: list[_Where] = []
    for _ in range(count):
        if not draft.names:
            break
        label, look = draft.names[-1], draft.look()
        first = _slots(draft, label, look, 0, 1 + _ALSO_IN, ())
        if not first:
            break
        draft.take_name()
        later = _slots(draft, label, look, 1, len(first) + _ALSO_IN, [slot.house for slot in first])
        questions.append(_Where(label, first + later))
    return questions


def _slots(draft: Draft, label: str, look: int, passing: int, most: int, before: Sequence[int]) -> list[Slot]:
    """The thing in up to `most` houses of a pass, those named `before` the others."""
    houses = list(dict.fromkeys(stop.house for stop in draft.stops if stop.passing == passing))
    slots: list[Slot] = []
    for house in dict.fromkeys(
        [*(house for house in before if house in houses), *draft.rng.permutation(houses).tolist()]
    ):
        stretches = draft.stretches_of(house, passing)[:1]
        spots = draft.spots(label, look, stretches) if len(draft.stream.scene(house).rooms) > 1 else []
        if spots:
            slots.append(draft.slot(label, look, stretches, spots))
        if len(slots) == most:
            break
    return slots


# ------------------------------------------------------------------------------------------------ geometry of answers


def distance_m(a: Object, b: Object) -> float:
    """Between the closest points of two boxes."""
    return float(box_distance(a.world_from_object, a.size_m, b.world_from_object, b.size_m))


def quadrant(stand: Object, face: Object, target: Object) -> str:
    """Where `target` is for who stands at the middle of `stand` and faces the middle of `face`."""
    a, b, c = (one.world_from_object[:2, 3] for one in (stand, face, target))
    return quadrant_at(a, b, c)


def quadrant_at(stand_m: ArrayLike, face_m: ArrayLike, target_m: ArrayLike) -> str:
    """The same for points (2,) of the ground plane."""
    forward_m = np.subtract(face_m, stand_m)
    return QUADRANTS[int(float(bearing_rad(stand_m, forward_m, target_m)) % math.tau // (math.pi / 2))]


def first_room(scene: Scene, start: Object, goal: Object) -> str | None:
    """Kind of the first other room on the shortest way from beside `start` to beside `goal`; None without a way."""
    floor = walkable_map(scene)
    graph = routes.route_graph(floor.free, preferred_clearance=0.0)
    inside = routes.largest_component(graph)
    stops = np.array([_cell_beside(floor, inside, one) for one in (start, goal)])
    cells = routes.route(graph, routes.routes_between(graph, stops), 0, 1)
    rooms = floor.room[tuple(cells.T)]
    entered = [int(room) for room in rooms if room >= 0 and room != rooms[0]]
    kinds = {room.id: room.kind for room in scene.rooms}
    return kinds[floor.room_ids[entered[0]]] if rooms[0] >= 0 and entered else None


def _cell_beside(floor: WalkableMap, inside: NDArray[np.bool_], thing: Object) -> NDArray[np.int64]:
    cells = np.argwhere(inside & (floor.room == floor.room_ids.index(str(thing.room_id))))
    if not len(cells):
        cells = np.argwhere(inside)
    gap = np.linalg.norm(floor.world_from_cell(cells) - thing.world_from_object[:2, 3], axis=1)
    return np.asarray(cells[int(np.argmin(gap))])


def _is_clear(stand: Object, face: Object, target: Object) -> bool:
    a, b, c = (one.world_from_object[:2, 3] for one in (stand, face, target))
    if min(np.hypot(*(a - b)), np.hypot(*(a - c)), np.hypot(*(b - c))) < _APART_M:
        return False
    past = float(bearing_rad(a, b - a, c)) % (math.pi / 2)
    return bool(_MARGIN_RAD <= past <= math.pi / 2 - _MARGIN_RAD)
