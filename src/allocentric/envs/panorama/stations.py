"""Search tasks from a scene: where to stand, what can be asked for there, and how hard it is.

Objects are asked for where their label occurs once in the panorama, they are large enough and little of them is
hidden. Ways lead to rooms of a kind that the house has once and that are seen from here, or to any where there is one
way out; in streets, also to landmarks that are seen: things of which the scene has one. The direction asked for is
that of the first steps of a cleared shortest route.

Levels follow the published rules. Object: the share of the target that the first view shows, at least half (0), some
(1), none (2). Path: is there a cue in the text, and does it point where the way begins; read here as a cue that agrees
(0), a cue that does not (1), no cue and a way that begins towards the goal (2), neither (3).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from allocentric.core.config import Settings as BaseSettings
from allocentric.core.geometry import camera_at
from allocentric.core.types import Camera, Image, Room, Scene
from allocentric.envs.panorama.tasks import DEFAULT_START_YAWS, Annotation, Interval
from allocentric.scenes.render.contract import Renderer
from allocentric.scenes.render.lights import OUTDOORS
from allocentric.scenes.routes import RouteGraph, largest_component, route, route_graph, routes_between, smooth_route
from allocentric.scenes.walkable import WalkableMap, walkable_map

_LARGEST_PITCH_RAD = math.radians(75.0)  # targets over or under the head have no direction to turn to
_FIRST_STEPS_M = 1.2  # way after which its direction is taken
_LONGEST_CUE_RAD = math.radians(25.0)  # a landmark further from the goal's direction does not point to it
_AGREES_RAD, _DISAGREES_RAD = math.radians(35.0), math.radians(60.0)  # in between is left out
_KNOWN_SR = 0.004  # of the things inside a room, for it to be recognised
_LANDMARK_AWAY_M = 6.0  # nearer ones are objects to find, not goals to walk to
_LANDMARK_REACH_M = 3.0  # from its middle to where a walker can stand
_PATH_WIDTH_RAD = math.radians(10.0)  # of the annotated interval


class StationSettings(BaseSettings):
    """What is rendered and asked for."""

    width_px: int = Field(default=1024, ge=256, multiple_of=4)
    """Columns of a panorama; half as many rows."""
    eye_height_m: float = Field(default=1.5, gt=0.2)
    """Height of the camera above the floor."""
    clearance_m: float = Field(default=0.35, gt=0.0)
    """Free space round a station and along a way."""
    cell_m: float = Field(default=0.05, ge=0.02, le=0.2)
    """Grid on which ways are planned; 0.1 saves time in streets."""
    object_tasks: int = Field(default=4, ge=0)
    """Most objects asked for in one panorama."""
    path_tasks: int = Field(default=2, ge=0)
    """Most ways asked for in one panorama."""
    min_solid_angle_sr: float = Field(default=0.004, gt=0.0)
    """Visible size of a target; 0.004 is a square of 3.6 degrees."""
    min_visible: float = Field(default=0.6, gt=0.0, le=1.0)
    """Visible share of a target's silhouette."""
    max_width_rad: float = Field(default=float(np.radians(100.0)), gt=0.0)
    """Widest target."""
    first_view_fov_rad: float = Field(default=float(np.radians(100.0)), gt=0.0, lt=3.0)
    """Horizontal field of view that levels of object tasks are decided by, at 16:9."""
    cue_share: float = Field(default=0.5, ge=0.0, le=1.0)
    """Share of path tasks whose text names a landmark, where there is one."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Station:
    """One panorama with its tasks."""

    id: str
    """Name of its folder."""
    panorama: Image
    """(H, 2H, 3)."""
    annotations: tuple[Annotation, ...]
    """At least one."""


@dataclass(frozen=True, slots=True, eq=False)
class _Sight:
    """What one panorama shows."""

    scene: Scene
    position_m: tuple[float, float, float]
    heading_rad: float  # of the panorama's centre column, counter-clockwise from +x
    ids: NDArray[np.int32]  # (H, W)
    yaw_rad: NDArray[np.float64]  # (W,) in the panorama
    pitch_rad: NDArray[np.float64]  # (H,)
    solid_sr: NDArray[np.float64]  # (H,) of a pixel
    visible: dict[int, float]  # share of the silhouette by index of the objects that may be targets or landmarks

    def pose_record(self) -> dict[str, Any]:
        """Where the panorama was taken, for the annotation file."""
        return {"position_m": [round(part, 4) for part in self.position_m], "heading_rad": round(self.heading_rad, 6)}


def stations_of(
    scene: Scene, renderer: Renderer, rng: np.random.Generator, count: int, settings: StationSettings
) -> list[Station]:
    """Up to `count` stations in different rooms, each with at least one task."""
    walkable = walkable_map(scene, radius_m=settings.clearance_m, cell_m=settings.cell_m)
    graph = route_graph(walkable.free, preferred_clearance=0.6 / walkable.cell_m)
    connected = largest_component(graph)
    rooms = [room for room in scene.rooms if _cells_in(walkable, connected, room).size]
    made = []
    for index in rng.permutation(len(rooms))[:count]:
        cells = _cells_in(walkable, connected, rooms[index])
        cell = cells[rng.integers(len(cells))]
        heading_rad = float(rng.uniform(0, 2 * np.pi))
        image, sight = _look(scene, renderer, walkable, cell, heading_rad, rooms[index], settings)
        annotations = _object_annotations(sight, rng, settings)
        ways = _Ways(walkable, graph, connected, cell, heading_rad)
        annotations += _path_annotations(sight, ways, rooms[index], rng, settings)
        if annotations:
            name = f"{scene.id}-{rooms[index].id}"
            made.append(Station(id=name, panorama=image, annotations=tuple(annotations)))
    return made


def _cells_in(walkable: WalkableMap, connected: NDArray[np.bool_], room: Room) -> NDArray[np.int64]:
    cells = walkable.room_cells(room.id)
    return np.asarray(cells[connected[tuple(cells.T)]])


def _look(
    scene: Scene,
    renderer: Renderer,
    walkable: WalkableMap,
    cell: NDArray[np.int64],
    heading_rad: float,
    room: Room,
    settings: StationSettings,
) -> tuple[Image, _Sight]:
    x_m, y_m = walkable.world_from_cell(cell)
    position = (float(x_m), float(y_m), float(room.floor_z_m + settings.eye_height_m))
    width, height = settings.width_px, settings.width_px // 2
    pose = camera_at(position, heading_rad)
    camera = Camera(model="equirectangular", world_from_camera=pose, width_px=width, height_px=height)
    frame = renderer.render(camera, ("rgb", "id"))
    assert frame.rgb is not None
    assert frame.id is not None
    pitch = np.pi / 2 - (np.arange(height) + 0.5) / height * np.pi
    yaw = ((np.arange(width) + 0.5) / width - 0.5) * 2 * np.pi
    solid = np.cos(pitch) * (np.pi / height) * (2 * np.pi / width)
    pixels = np.bincount(frame.id[frame.id >= 0], minlength=len(scene.objects))[: len(scene.objects)]
    labels = [thing.label for thing in scene.objects]
    shown = np.flatnonzero(pixels)
    once = [int(k) for k in shown if sum(labels[other] == labels[k] for other in shown) == 1]
    rows = [np.flatnonzero((frame.id == k).any(axis=1)) for k in once]
    sizes = [float((frame.id == k).sum(axis=1) @ solid) for k in once]
    targets = [
        k
        for k, size, span in zip(once, sizes, rows, strict=True)
        if size >= settings.min_solid_angle_sr and np.abs(pitch[span]).max() < _LARGEST_PITCH_RAD
    ]
    silhouettes = renderer.silhouette_px(camera, targets)
    shares = {k: float(pixels[k] / max(1, alone)) for k, alone in zip(targets, silhouettes, strict=True)}
    visible = {k: share for k, share in shares.items() if share >= settings.min_visible}
    return frame.rgb, _Sight(scene, position, heading_rad, frame.id, yaw, pitch, solid, visible)


# ---------------------------------------------------------------------------------------------------------- objects


def _object_annotations(sight: _Sight, rng: np.random.Generator, settings: StationSettings) -> list[Annotation]:
    chosen: list[Annotation] = []
    for index in rng.permutation(sorted(sight.visible)):
        if len(chosen) == settings.object_tasks:
            break
        mask = sight.ids == index
        yaw = _covering_interval(mask.any(axis=0))
        if math.radians((yaw[1] - yaw[0]) % 360) > settings.max_width_rad:
            continue
        rows = np.flatnonzero(mask.any(axis=1))
        half_pixel = np.pi / len(sight.pitch_rad) / 2
        pitch = (float(sight.pitch_rad[rows[-1]] - half_pixel), float(sight.pitch_rad[rows[0]] + half_pixel))
        shares = [_share_in_view(sight, mask, math.radians(start), settings) for start in DEFAULT_START_YAWS]
        thing = sight.scene.objects[index]
        chosen.append(
            Annotation(
                task=f"Find the {thing.label}.",
                yaw=yaw,
                pitch=(_rounded(math.degrees(pitch[0])), _rounded(math.degrees(pitch[1]))),
                initial_yaw=DEFAULT_START_YAWS,
                level=tuple(object_level(share) for share in shares),
                extra={
                    **sight.pose_record(),
                    "object": thing.id,
                    "pixels": int(mask.sum()),
                    "visible": round(sight.visible[int(index)], 4),
                    "in first view": [round(share, 4) for share in shares],
                },
            )
        )
    return chosen


def object_level(share_in_first_view: float) -> int:
    """Published difficulty of an object task: 0 at least half of the target is in the first view, 1 some, 2 none."""
    return 0 if share_in_first_view >= 0.5 else 1 if share_in_first_view > 0 else 2


def _share_in_view(sight: _Sight, mask: NDArray[np.bool_], yaw_rad: float, settings: StationSettings) -> float:
    """Share of a mask, by solid angle, that a level view in a direction shows."""
    turn = sight.yaw_rad - yaw_rad
    ahead, right = np.cos(turn), np.sin(turn)
    half_width = math.tan(settings.first_view_fov_rad / 2)
    across = (ahead > 0) & (np.abs(right) <= half_width * ahead)
    height = np.abs(np.tan(sight.pitch_rad))[:, None] <= half_width * 9 / 16 * np.where(ahead > 0, ahead, 0.0)
    weights = mask * sight.solid_sr[:, None]
    return float((weights * (across & height)).sum() / weights.sum())


def _covering_interval(columns: NDArray[np.bool_]) -> Interval:
    """Shortest interval of yaw, degrees in [0, 360), over all marked columns; over the seam where that is shorter."""
    width = len(columns)
    marked = np.flatnonzero(columns)
    gaps = np.diff(np.append(marked, marked[0] + width))
    after = int(np.argmax(gaps))
    first, last = int(marked[(after + 1) % len(marked)]), int(marked[after])
    low, high = ((column / width - 0.5) * 360 for column in (first, last + 1))
    return _rounded(low % 360), _rounded(high % 360)


def _rounded(angle: float) -> float:
    return round(angle, 3)


# ------------------------------------------------------------------------------------------------------------- ways


@dataclass(frozen=True, slots=True, eq=False)
class _Ways:
    """Where one can walk from a station."""

    walkable: WalkableMap
    graph: RouteGraph
    connected: NDArray[np.bool_]
    cell: NDArray[np.int64]  # (2,)
    heading_rad: float  # of the panorama's centre column, counter-clockwise from +x

    def yaw_to(self, cell: Sequence[float] | NDArray[np.float64]) -> float:
        """Direction of a cell as yaw in the panorama."""
        dx, dy = self.walkable.world_from_cell(np.asarray(cell)) - self.walkable.world_from_cell(self.cell)
        return math.remainder(self.heading_rad - math.atan2(dy, dx), 2 * math.pi)

    def first_yaw(self, goal: NDArray[np.int64]) -> float | None:
        """Direction of the first steps to a cell; None where they bend."""
        routes = routes_between(self.graph, np.stack([self.cell, goal]))
        steps = route(self.graph, routes, 0, 1)
        points = smooth_route(self.graph, steps, rounding=2.0, comfortable=0.3 / self.walkable.cell_m)
        walked = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))) * self.walkable.cell_m
        if walked[-1] < _FIRST_STEPS_M:
            return None
        near, far = (points[int(np.searchsorted(walked, part * _FIRST_STEPS_M))] for part in (0.5, 1.0))
        bend = math.remainder(self.yaw_to(near) - self.yaw_to(far), 2 * math.pi)
        return self.yaw_to(far) if abs(bend) < _PATH_WIDTH_RAD else None


def _path_annotations(
    sight: _Sight, ways: _Ways, here: Room, rng: np.random.Generator, settings: StationSettings
) -> list[Annotation]:
    goals = _goals(sight, ways, here)
    chosen: list[Annotation] = []
    for index in rng.permutation(len(goals)):
        if len(chosen) == settings.path_tasks:
            break
        annotation = _path_annotation(sight, ways, goals[index], rng, settings)
        if annotation is not None:
            chosen.append(annotation)
    return chosen


class _Goal(NamedTuple):
    """Where a way may lead."""

    name: str
    cell: NDArray[np.int64]  # (2,) that the way ends on
    middle: NDArray[np.float64]  # (2,) in cells
    record: dict[str, str]  # for the annotation file


def _goals(sight: _Sight, ways: _Ways, here: Room) -> list[_Goal]:
    """Rooms by their kind, and landmarks in the open, that may be asked for from here."""
    kinds = [room.kind for room in sight.scene.rooms]
    goals = []
    for room in sight.scene.rooms:
        if room.id == here.id or kinds.count(room.kind) > 1 or not _can_be_known(sight, here, room):
            continue
        cells = _cells_in(ways.walkable, ways.connected, room)
        if len(cells):
            middle = cells.mean(axis=0)
            goals.append(_Goal(room.kind, _nearest(cells, middle), middle, {"room": room.id}))
    return goals + (_landmark_goals(sight, ways) if here.kind in OUTDOORS else [])


def _landmark_goals(sight: _Sight, ways: _Ways) -> list[_Goal]:
    """Seen things that stand further away and whose label the whole scene has once."""
    labels = Counter(thing.label for thing in sight.scene.objects)
    free = np.argwhere(ways.connected)
    goals = []
    for index in sorted(sight.visible):
        thing = sight.scene.objects[index]
        x_m, y_m = (float(part) for part in thing.world_from_object[:2, 3])
        if labels[thing.label] > 1 or math.dist((x_m, y_m), sight.position_m[:2]) < _LANDMARK_AWAY_M:
            continue
        middle = ways.walkable.cell_from_world((x_m, y_m)).astype(float)
        end = _nearest(free, middle)
        if np.linalg.norm(end - middle) * ways.walkable.cell_m <= _LANDMARK_REACH_M:
            goals.append(_Goal(thing.label, end, middle, {"object": thing.id}))
    return goals


def _nearest(cells: NDArray[np.int64], middle: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.asarray(cells[np.argmin(np.linalg.norm(cells - middle, axis=1))])


def _can_be_known(sight: _Sight, here: Room, goal: Room) -> bool:
    """Whether the panorama tells the way: things in the goal are seen, or there is one way out."""
    inside = [index for index, thing in enumerate(sight.scene.objects) if thing.room_id == goal.id]
    if np.isin(sight.ids, inside).sum(axis=1) @ sight.solid_sr >= _KNOWN_SR:
        return True
    return sum(opening.kind != "window" for opening in here.openings) == 1


def _path_annotation(
    sight: _Sight, ways: _Ways, goal: _Goal, rng: np.random.Generator, settings: StationSettings
) -> Annotation | None:
    wants_cue = rng.random() < settings.cue_share
    yaw = ways.first_yaw(goal.cell)
    if yaw is None:
        return None
    towards = ways.yaw_to(goal.middle)
    off = abs(math.remainder(yaw - towards, 2 * math.pi))
    if _AGREES_RAD < off < _DISAGREES_RAD:
        return None
    landmark = _landmark(sight, towards, goal.record.get("object")) if wants_cue else None
    cue = "" if landmark is None else f" It lies in the direction of the {sight.scene.objects[landmark].label}."
    agrees = off <= _AGREES_RAD
    low, high = (math.degrees(yaw + side * _PATH_WIDTH_RAD / 2) % 360 for side in (-1, 1))
    return Annotation(
        task=f"Turn to the way that leads to the {goal.name}.{cue}",
        yaw=(_rounded(low), _rounded(high)),
        initial_yaw=DEFAULT_START_YAWS,
        level=(path_level(cue=landmark is not None, agrees=agrees),) * len(DEFAULT_START_YAWS),
        extra={
            **sight.pose_record(),
            **goal.record,
            "cue": None if landmark is None else sight.scene.objects[landmark].id,
            "agrees": agrees,
            "goal yaw": _rounded(math.degrees(towards) % 360),
        },
    )


def path_level(*, cue: bool, agrees: bool) -> int:
    """Difficulty of a path task: 0 cue that agrees with the way, 1 cue that does not, 2 and 3 the same without cue."""
    return (0 if cue else 2) + (0 if agrees else 1)


def _landmark(sight: _Sight, towards_rad: float, goal_id: str | None) -> int | None:
    """Index of the object nearest to a direction that may be named and is not the goal, if one is near enough."""
    best, nearest = None, _LONGEST_CUE_RAD
    for index in sorted(sight.visible):
        if sight.scene.objects[index].id == goal_id:
            continue
        columns = sight.yaw_rad[(sight.ids == index).any(axis=0)]
        middle = math.atan2(float(np.sin(columns).mean()), float(np.cos(columns).mean()))
        off = abs(math.remainder(middle - towards_rad, 2 * math.pi))
        if off < nearest:
            best, nearest = index, off
    return best
