"""The geometry of a right answer as marks on a top-down map."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from allocentric.core.geometry import box_closest_points, box_footprint
from allocentric.core.types import FloatArray, Item, Object, Scene, Step

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing to draw, in world xy metres."""

    kind: Literal["point", "segment", "arrow", "polyline", "polygon"]
    """Point: one point; segment and arrow: two, the arrow's head at the second; polyline; polygon: not closed."""
    points_m: Points
    """Where."""
    caption: str
    """Short text beside it; may be empty."""
    role: Literal["answer", "given", "other"] = "given"
    """`answer` is what the question asks for, `given` what it names, `other` what was rejected."""


def marks(item: Item, scene: Scene) -> list[Mark]:
    """What to draw on a map of `scene` to show why the gold answer of `item` is right.

    Made from the item's steps: footprints of the objects named, the shortest segment of a distance, the heading and
    bearing of a direction, the legs of a route. Empty for an item without steps; objects missing from the scene are
    left out.
    """
    steps = item.evidence.steps
    things = {thing.id: thing for thing in scene.objects}
    drawn: list[Mark] = []
    for step in steps:
        if step.op == "floor_area":
            drawn.extend(Mark("polygon", _points(room.floor_polygon_m), room.kind, "answer") for room in scene.rooms)
        make = _MARKS.get(step.op)
        if make is not None:
            drawn.extend(make(step, steps, things))
    return _with_answer(drawn, steps)


def _found(step: Step, steps: Sequence[Step], things: Mapping[str, Object]) -> list[Mark]:  # noqa: ARG001
    label = str(step.inputs.get("label", ""))
    return [
        Mark("polygon", _points(box_footprint(things[key].world_from_object, things[key].size_m)), label)
        for key in step.output
        if key in things
    ]


def _distance(step: Step, steps: Sequence[Step], things: Mapping[str, Object]) -> list[Mark]:
    sides = [[things[key] for key in _value(step.inputs[name], steps) if key in things] for name in ("a", "b")]
    best: tuple[float, Points] | None = None
    for a in sides[0]:
        for b in sides[1]:
            closest = box_closest_points(a.world_from_object, a.size_m, b.world_from_object, b.size_m)
            if best is None or closest.distance_m < best[0]:
                best = (closest.distance_m, _points(np.array([closest.a_m, closest.b_m])))
    return [] if best is None else [Mark("segment", best[1], f"{best[0]:.2f} m", "other")]


def _bearing(step: Step, steps: Sequence[Step], things: Mapping[str, Object]) -> list[Mark]:  # noqa: ARG001
    if steps[step.inputs["at"]["step"]].op in ("stand", "walk"):
        return _turn(step, steps)
    at, facing, to = (_point(_value(step.inputs[name], steps)) for name in ("at", "facing", "to"))
    degrees = math.degrees(step.output)
    side = "left" if degrees >= 0 else "right"
    return [
        Mark("arrow", (at, facing), "facing"),
        Mark("arrow", (at, to), f"{abs(degrees):.0f}° {side}", "answer"),
    ]


def _walk(step: Step, steps: Sequence[Step], things: Mapping[str, Object]) -> list[Mark]:  # noqa: ARG001
    legs = [other for other in steps if other.op == "walk"]
    if step is not legs[0]:  # one line for the whole route, drawn with its first leg
        return []
    start = _point(_value(step.inputs["start"], steps))
    return [Mark("polyline", (start, *(_point(leg.output) for leg in legs)), "route", "answer")]


def _turn(step: Step, steps: Sequence[Step]) -> list[Mark]:
    """The turn of a route where the robot stands, and at its start what it faces."""
    here = steps[step.inputs["at"]["step"]]
    at, facing = _point(here.output), _point(_value(step.inputs["facing"], steps))
    word = next(later.output for later in steps[steps.index(step) :] if later.op == "sector")
    turn = Mark("point", (at,), f"turn {word}", "answer")
    return [Mark("arrow", (at, facing), "facing"), turn] if here.op == "stand" else [turn]


_MARKS: Mapping[str, Callable[[Step, Sequence[Step], Mapping[str, Object]], list[Mark]]] = {
    "find": _found,
    "box_distance": _distance,
    "bearing": _bearing,
    "walk": _walk,
}


def _with_answer(drawn: list[Mark], steps: Sequence[Step]) -> list[Mark]:
    """Give the role `answer` to the segment that decides."""
    segments = [index for index, mark in enumerate(drawn) if mark.kind == "segment"]
    if not segments:
        return drawn
    distances = [step.output for step in steps if step.op == "box_distance"]
    shortest = segments[int(np.argmin(distances))] if len(distances) == len(segments) else segments[0]
    chosen = drawn[shortest]
    drawn[shortest] = Mark(chosen.kind, chosen.points_m, chosen.caption, "answer")
    return drawn


def _value(value: Any, steps: Sequence[Step]) -> Any:
    return steps[value["step"]].output if isinstance(value, Mapping) else value


def _point(value: Sequence[float]) -> tuple[float, float]:
    return (float(value[0]), float(value[1]))


def _points(array: FloatArray) -> Points:
    return tuple((float(row[0]), float(row[1])) for row in array)
