"""The derivation of an answer, made of named operations that anybody can run again.

An item's `evidence.steps` are operations of this module; the last output determines the gold answer. `replay` computes
every output again from the scene and the views, straight from `core.geometry` and one object at a time, so it does not
share the vectorised code that made the question. `verify` compares.

A step's inputs are JSON values; {"step": k} stands for the output of step k. See `OPERATIONS` for what each does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from allocentric.core.errors import DataError
from allocentric.core.geometry import box_closest_points, polygon_area
from allocentric.core.types import Choice, Item, Number, Object, Scene, Step, View
from allocentric.datasets._marks import Mark, marks
from allocentric.datasets._rationale import rationale, training_text
from allocentric.datasets.questions._walking import walker_of

__all__ = ["OPERATIONS", "Mark", "TraceError", "marks", "rationale", "replay", "training_text", "verify"]

TOLERANCE = 1e-6
"""Absolute and relative difference up to which two numbers agree."""


class TraceError(DataError):
    """A derivation does not hold. Names the item, the step and both values."""


@dataclass(frozen=True, slots=True)
class World:
    """What operations look things up in."""

    scene: Scene
    """The scene the item is about."""
    views: tuple[View, ...]
    """The views it shows."""

    def object(self, object_id: str) -> Object:
        """The object with this id. TraceError where there is none."""
        for thing in self.scene.objects:
            if thing.id == object_id:
                return thing
        raise TraceError(f"scene {self.scene.id!r} has no object {object_id!r}")


def find(world: World, *, label: str) -> list[str]:
    """Ids of all objects of a category, in the scene's order."""
    return [thing.id for thing in world.scene.objects if thing.label == label]


def count(world: World, *, objects: Sequence[str]) -> int:  # noqa: ARG001 - operations share one signature
    """How many there are."""
    return len(set(objects))


def box_size(world: World, *, objects: Sequence[str]) -> list[float]:
    """The three edge lengths in metres of one object's box."""
    return [float(edge) for edge in world.object(_only(objects)).size_m]


def longest_dimension(world: World, *, size_m: Sequence[float]) -> float:  # noqa: ARG001
    """The longest of three edges."""
    return max(size_m)


def box_distance(world: World, *, a: Sequence[str], b: Sequence[str]) -> float:
    """Distance in metres between the closest points of any instance in `a` and any in `b`."""
    return min(_pair_distance(world.object(first), world.object(second)) for first in a for second in b)


def floor_area(world: World) -> float:
    """Floor area in m2 as the source publishes it, else the sum of the rooms' polygons."""
    if world.scene.floor_area_m2 is not None:
        return float(world.scene.floor_area_m2)
    if not world.scene.rooms:
        raise TraceError(f"scene {world.scene.id!r} has neither a floor area nor rooms")
    return math.fsum(polygon_area(room.floor_polygon_m) for room in world.scene.rooms)


def round_value(world: World, *, value: float, digits: int, scale: float = 1) -> float:  # noqa: ARG001
    """`scale` x `value` rounded to `digits` decimals."""
    return float(round(scale * value, digits))


def centre(world: World, *, objects: Sequence[str]) -> list[float]:
    """Ground-plane position (x, y) in metres of one object's centre."""
    return [float(value) for value in world.object(_only(objects)).world_from_object[:2, 3]]


def bearing(world: World, *, at: Sequence[float], facing: Sequence[float], to: Sequence[float]) -> float:  # noqa: ARG001
    """Angle in radians, + left, from the direction at -> facing to the direction at -> to; all are points (x, y)."""
    ahead = math.atan2(facing[1] - at[1], facing[0] - at[0])
    towards = math.atan2(to[1] - at[1], to[0] - at[0])
    return math.remainder(towards - ahead, math.tau)


def sector(world: World, *, bearing_rad: float, level: str) -> str:  # noqa: ARG001
    """The word for a bearing, + left.

    Level hard: quadrants. Medium and easy: left, right, back beyond 135 degrees. Turn: the same, ahead within 45.
    """
    side = "left" if bearing_rad >= 0 else "right"
    degrees = abs(math.degrees(bearing_rad))
    if level == "hard":
        return f"{'front' if degrees <= 90 else 'back'}-{side}"
    if level == "turn" and degrees < 45:
        return "ahead"
    return "back" if degrees > 135 else side


def argmin(world: World, *, labels: Sequence[str], values: Sequence[float]) -> str:  # noqa: ARG001
    """The label with the smallest value."""
    return labels[min(range(len(values)), key=values.__getitem__)]


def stand(world: World, *, objects: Sequence[str], towards: Sequence[float], reach_m: float) -> list[float]:
    """Free floor (x, y) in metres beside one object, as near as can be to the point `towards`."""
    point = walker_of(world.scene).stand(world.object(_only(objects)), np.array(towards), reach_m)
    if point is None:
        raise TraceError(f"there is no free floor within {reach_m} m of {_only(objects)!r}")
    return [float(value) for value in point]


def walk(world: World, *, start: Sequence[float], objects: Sequence[str], reach_m: float) -> list[float]:
    """Where a straight walk from (x, y) towards one object's centre ends beside it."""
    point = walker_of(world.scene).walk(np.array(start), world.object(_only(objects)), reach_m)
    if point is None:
        raise TraceError(f"no straight walk leads from {list(start)} to {_only(objects)!r}")
    return [float(value) for value in point]


def turns(world: World, *, words: Sequence[str]) -> str:  # noqa: ARG001
    """The sequence of turns as an option says it."""
    return ", ".join(f"Turn {word.capitalize()}" for word in words)


def first_seen(
    world: World, *, objects: Sequence[str], min_pixels: int, min_fraction: float, min_frames: int
) -> float:
    """Time in seconds of the first view that shows any of the objects well enough.

    It has to be the first of `min_frames` views in a row that do.
    """
    run = 0
    for index, view in enumerate(world.views):
        shown = [view.visible.get(object_id) for object_id in objects]
        run = run + 1 if any(v and v.pixels >= min_pixels and v.fraction >= min_fraction for v in shown) else 0
        if run == min_frames:
            time_s = world.views[index - min_frames + 1].time_s
            if time_s is None:
                raise TraceError("a view of an appearance question has no time")
            return float(time_s)
    raise TraceError(f"none of {list(objects)} is ever seen well enough")


def order(world: World, *, labels: Sequence[str], values: Sequence[float]) -> str:  # noqa: ARG001
    """The labels by rising value, as an option says it."""
    return ", ".join(labels[index] for index in sorted(range(len(values)), key=values.__getitem__))


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "find": find,
    "count": count,
    "box_size": box_size,
    "longest_dimension": longest_dimension,
    "box_distance": box_distance,
    "floor_area": floor_area,
    "round": round_value,
    "centre": centre,
    "bearing": bearing,
    "sector": sector,
    "argmin": argmin,
    "stand": stand,
    "walk": walk,
    "turns": turns,
    "first_seen": first_seen,
    "order": order,
}
"""Name of a step's `op` -> what it computes from the scene, the views and its inputs."""


def replay(steps: Sequence[Step], scene: Scene, views: Sequence[View] = ()) -> list[Any]:
    """Outputs of all steps, computed from the scene and the views alone; recorded outputs are never read.

    TraceError for an unknown operation, inputs that do not fit it, or a reference to a later step.
    """
    world = World(scene, tuple(views))
    outputs: list[Any] = []
    for number, step in enumerate(steps):
        operation = OPERATIONS.get(step.op)
        if operation is None:
            raise TraceError(f"step {number}: unknown operation {step.op!r}; known: {', '.join(OPERATIONS)}")
        inputs = {name: _resolve(value, outputs, number) for name, value in step.inputs.items()}
        try:
            outputs.append(operation(world, **inputs))
        except (TypeError, IndexError, ValueError) as error:
            raise TraceError(f"step {number}, {step.op}: inputs do not fit ({error})") from None
    return outputs


def verify(item: Item, scene: Scene, views: Sequence[View] | None = None) -> None:
    """Check every recorded step and the gold answer of `item` against the scene.

    `views` default to the item's own. TraceError names the first disagreement.
    """
    steps = item.evidence.steps
    where = f"item {item.id} ({item.kind}, scene {item.scene_id})"
    if not steps:
        raise TraceError(f"{where}: no steps to check")
    outputs = replay(steps, scene, item.views if views is None else views)
    for number, (step, output) in enumerate(zip(steps, outputs, strict=True)):
        if not agree(step.output, output):
            raise TraceError(f"{where}, step {number}, {step.op}: recorded {step.output!r}, recomputed {output!r}")
    if not _is_gold(outputs[-1], item):
        raise TraceError(f"{where}: the derivation ends in {outputs[-1]!r}, the gold answer is {item.gold!r}")


def agree(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal, numbers up to `TOLERANCE`."""
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(agree(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, int | float) and isinstance(right, int | float):
        return math.isclose(left, right, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(left == right)


def _is_gold(output: Any, item: Item) -> bool:
    if isinstance(item.gold, Number):
        return agree(output, item.gold.value)
    if isinstance(item.gold, Choice) and 0 <= item.gold.index < len(item.choices):
        text = item.choices[item.gold.index]
        return agree(output, float(text)) if isinstance(output, int | float) else str(output) == text
    return False


def _resolve(value: Any, outputs: Sequence[Any], number: int) -> Any:
    if isinstance(value, Mapping) and set(value) == {"step"}:
        if not 0 <= value["step"] < number:
            raise TraceError(f"step {number} refers to step {value['step']}, which is not before it")
        return outputs[value["step"]]
    if isinstance(value, list | tuple):
        return [_resolve(part, outputs, number) for part in value]
    return value


def _only(objects: Sequence[str]) -> str:
    if len(objects) != 1:
        raise TraceError(f"expected one object, got {len(objects)}: {', '.join(objects)}")
    return objects[0]


def _pair_distance(a: Object, b: Object) -> float:
    closest = box_closest_points(a.world_from_object, np.asarray(a.size_m), b.world_from_object, np.asarray(b.size_m))
    return closest.distance_m
