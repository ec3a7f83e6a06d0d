"""Where: how far was a thing from another, in which direction, and which way led back to it?

A thing is set down in one house; the questions are about the place at which it *first* stood, measured against
furniture that the same walk showed. Where houses are walked again it stands somewhere else in its house.
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
_MARGIN_RAD = math.radians(15)
"""A direction is this far from the borders of its quadrant."""
QUADRANTS = ("front-left", "back-left", "back-right", "front-right")
"""Counter-clockwise from straight ahead."""
_KINDS = ("living room", "kitchen", "bedroom", "bathroom", "hallway", "office", "dining room")


@dataclass(frozen=True, slots=True, eq=False)
class _Where:
    label: str
    slots: Sequence[Slot]

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
        other = far[int(shown.rng.integers(len(far)))]
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
        pairs = [(a, b) for a, b in permutations(marks, 2) if _is_clear(a, b, thing)]
        if not pairs:
            return None
        stand, face = pairs[int(shown.rng.integers(len(pairs)))]
        gold = quadrant(stand, face, thing)
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
        starts = [one for one in marks if one.room_id != thing.room_id]
        for k in shown.rng.permutation(len(starts)):
            room = first_room(scene, starts[k], thing)
            if room is None or kinds.count(room) != 1:
                continue
            others = dict.fromkeys([*kinds, *(str(kind) for kind in shown.rng.permutation(_KINDS))])
            options = [room, *[kind for kind in others if kind != room][:3]]
            mixed = [options[k] for k in shown.rng.permutation(len(options))]
            return shown.item(
                task="where_way_back",
                prompt=f"Think of the house where the {self.label} first stood in the video. On the shortest way from "
                f"its {starts[k].label} back to the {self.label}, which room do I enter first?",
                choices=mixed,
                gold=Choice(mixed.index(room)),
                label=room,
                things=(thing.id, starts[k].id),
                asks={"thing": self.label, "start": starts[k].label},
            )
        return None


def draw(draft: Draft, count: int) -> list[_Where]:
    """At most `count` things, each in a house of its own with several rooms."""
    questions: list[_Where] = []
    houses = dict.fromkeys(stop.house for stop in draft.stops if stop.passing == 0)
    for house in draft.rng.permutation(list(houses)).tolist():
        if len(questions) == count or not draft.names:
            break
        if len(draft.stream.scene(house).rooms) < 2:
            continue
        look, label = draft.look(), draft.names[-1]
        first, later = draft.stretches_of(house, 0)[:1], draft.stretches_of(house, 1)
        spots = draft.spots(label, look, first)
        if spots:
            draft.take_name()
            slots = [draft.slot(label, look, first, spots)]
            slots += [draft.slot(label, look, later, draft.spots(label, look, later))] if later else []
            questions.append(_Where(label, slots))
    return questions


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
