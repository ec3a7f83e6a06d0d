"""Walks through a scene at eye height, and what each of their pictures shows.

A walk stands still and turns once around at stops that cover every room, and goes from stop to stop along cleared,
rounded routes, looking where it goes with a slight sway. Speeds are bounded, every position is free on the walkable
map, and the same scene, generator and settings give the same cameras.

Scenes without rooms (box metadata) are walked the same way inside the convex hull of their boxes; where the boxes
leave no floor free there, the walk is an orbit around them, looking in.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from allocentric.core.config import Settings as BaseSettings
from allocentric.core.errors import DataError
from allocentric.core.geometry import box_corners, camera_at, convex_hull, pinhole_intrinsics, wrap_angle
from allocentric.core.types import Camera, Room, Scene, Visibility
from allocentric.scenes import routes
from allocentric.scenes.walkable import WalkableMap, walkable_map

if TYPE_CHECKING:
    from allocentric.scenes.render.contract import Renderer

Array = NDArray[np.float64]

_TICK_S = 0.05
_TURN_ACCELERATION_RAD_S2 = 2.0
_GAZE_SMOOTHING_S = 0.3
_LOOK_AHEAD_M = 0.6
_STOP_GRID_M = 0.25
_GOOD_COVER = 0.85
"""A stop that covers this share of what the best one covers may be taken for its view."""
_LOOKED_OVER_M = 0.3
"""Things that end this far below the eyes do not block the view."""
_UNCOVERED = 0.08
"""Share of a room's free cells that no stop needs to be near: corners that one more stop would be spent on."""
_SWAY_LENGTH_M = 2.5
_LEAST_FREE_M2 = 0.5
"""Less free floor than this between the boxes of a scene without rooms makes the walk an orbit."""


class Settings(BaseSettings):
    """How to walk, and with which camera."""

    width_px: int = Field(640, gt=0)
    """Columns of a picture."""
    height_px: int = Field(480, gt=0)
    """Rows of a picture."""
    horizontal_fov_rad: float = Field(1.4, gt=0.1, lt=3.0)
    """Horizontal field of view."""
    pitch_rad: float = Field(-0.2, gt=-1.5, lt=1.5)
    """Pitch of the camera, + is up."""
    eye_height_m: float = Field(1.5, gt=0.1)
    """Height of the camera above the floor."""
    fps: float = Field(10.0, gt=0.0)
    """Cameras per second of walk."""
    max_speed_m_s: float = Field(0.7, gt=0.0)
    """Walking speed, never exceeded."""
    acceleration_m_s2: float = Field(1.0, gt=0.0)
    """Speeding up and slowing down along the way."""
    max_turn_rad_s: float = Field(1.0, gt=0.0)
    """Turning speed, never exceeded."""
    scan_rad_s: float = Field(0.6, gt=0.0)
    """Turning speed of the look around at each stop; bounded by max_turn_rad_s."""
    sway_rad: float = Field(0.35, ge=0.0, lt=1.5)
    """How far the gaze swings to both sides of the way while walking."""
    stop_spacing_m: float = Field(3.0, gt=0.5)
    """Nearly every free cell of a room is nearer than this to one of its stops."""
    radius_m: float = Field(0.2, gt=0.0)
    """Radius of the walker's body; nothing comes nearer to the camera's axis."""
    clearance_m: float = Field(0.35, ge=0.0)
    """Distance beyond the body that routes keep from obstacles where there is room."""


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """Cameras along a walk."""

    cameras: tuple[Camera, ...]
    """In order of time."""
    times_s: Array
    """(N,) seconds from the start, 1/fps apart."""


# ----------------------------------------------------------------------------------------------------------- walking


def walk(scene: Scene, rng: np.random.Generator, settings: Settings) -> Walk:
    """A walk that stops and looks around in every room.

    Raises DataError where a room can't be reached or the scene has no objects and no rooms.
    """
    if scene.rooms:
        return _inside(scene, walkable_map(scene, settings.radius_m), rng, settings)
    walled = replace(scene, rooms=(_room_around_boxes(scene),))
    grid = walkable_map(walled, settings.radius_m)
    if np.count_nonzero(grid.components() == 1) * grid.cell_m**2 < _LEAST_FREE_M2:
        return _orbit(scene, walled.rooms[0], rng, settings)
    return _inside(walled, grid, rng, settings)


def _room_around_boxes(scene: Scene) -> Room:
    if not scene.objects:
        raise DataError(f"scene {scene.id!r} has neither rooms nor objects, so there is nowhere to walk")
    corners = np.concatenate([box_corners(thing.world_from_object, thing.size_m) for thing in scene.objects])
    return Room(
        id="extent",
        kind="unknown",
        floor_polygon_m=convex_hull(corners[:, :2]),
        floor_z_m=float(corners[:, 2].min()),
        height_m=float(np.ptp(corners[:, 2])),
    )


def _inside(scene: Scene, grid: WalkableMap, rng: np.random.Generator, settings: Settings) -> Walk:
    stops, paths = _plan(scene, grid, rng, settings)
    track = _Track(start_m=grid.world_from_cell(stops[0]), yaw_rad=float(rng.uniform(-np.pi, np.pi)))
    for index in range(len(stops)):
        heading = _heading(paths[index], np.zeros(1))[0] if index < len(paths) else track.yaw_rad[-1]
        _scan(track, heading, settings)
        if index < len(paths):
            _go(track, paths[index], settings)
    return _film(scene, track, settings)


def _plan(
    scene: Scene, grid: WalkableMap, rng: np.random.Generator, settings: Settings
) -> tuple[list[NDArray[np.int64]], list[Array]]:
    """Stops as cells in visiting order, and the (P, 2) world way between each two."""
    comfortable = settings.clearance_m / grid.cell_m
    graph = routes.route_graph(grid.free, preferred_clearance=comfortable)
    reachable = routes.largest_component(graph)
    air_m = _air_at_eye_height(scene, settings)
    stops = np.concatenate(
        [_stops_in_room(scene, grid, graph, reachable, air_m, room_id, settings) for room_id in grid.room_ids]
    )
    between = routes.routes_between(graph, stops)
    order = routes.visiting_order(between.cost, int(rng.integers(len(stops))))
    paths = []
    for a, b in itertools.pairwise(order):
        cells = routes.route(graph, between, a, b)
        line = routes.smooth_route(graph, cells, rounding=0.25 / grid.cell_m, comfortable=comfortable)
        paths.append(grid.world_from_cell(line))
    return [stops[index] for index in order], paths


def _air_at_eye_height(scene: Scene, settings: Settings) -> Array:
    """(R, C) distance from each cell of the walkable map to the nearest wall or thing as high as the eyes."""
    eyes_m = min(room.floor_z_m for room in scene.rooms) + settings.eye_height_m
    corners = [box_corners(thing.world_from_object, thing.size_m)[:, 2] for thing in scene.objects]
    tall = [thing for thing, z in zip(scene.objects, corners, strict=True) if z.max() > eyes_m - _LOOKED_OVER_M]
    grid = walkable_map(replace(scene, objects=tuple(tall)), radius_m=0.0)
    return np.asarray(ndimage.distance_transform_edt(np.pad(grid.free, 1))[1:-1, 1:-1] * grid.cell_m)


def _stops_in_room(
    scene: Scene,
    grid: WalkableMap,
    graph: routes.RouteGraph,
    reachable: NDArray[np.bool_],
    air_m: Array,
    room_id: str,
    settings: Settings,
) -> NDArray[np.int64]:
    """(K, 2) cells from which nearly every free cell of the room is nearer than `stop_spacing_m`.

    Greedy cover: of the cells that cover most of what is left, the one with most air around its eyes comes next, where
    a look around shows the room and not a wall or the side of a wardrobe.
    """
    cells = grid.room_cells(room_id)
    cells = cells[reachable[tuple(cells.T)]]
    if len(cells) == 0:
        raise DataError(
            f"scene {scene.id!r}: room {room_id!r} can't be walked to by a body of radius {settings.radius_m} m; "
            "lower walk.radius_m or leave the scene out"
        )
    clearance = graph.clearance[tuple(cells.T)]
    clear = cells[clearance >= min(settings.clearance_m / grid.cell_m, float(clearance.max()))]
    clear = clear[np.argsort(-air_m[tuple(clear.T)], kind="stable")]
    # Every stride-th cell stands for its neighbours: the cover is quadratic in cells.
    stride = max(int(_STOP_GRID_M / grid.cell_m), 1) ** 2
    candidates, goals = clear[::stride], cells[::stride]
    near = np.linalg.norm(candidates[:, None] - goals[None], axis=-1) * grid.cell_m < settings.stop_spacing_m
    left = near.any(axis=0)
    stops: list[NDArray[np.int64]] = []
    while not stops or left.mean() > _UNCOVERED:
        covered = near[:, left].sum(axis=1)
        best = int(np.argmax(covered >= _GOOD_COVER * covered.max()))
        stops.append(candidates[best])
        left &= ~near[best]
    if len(grid.room_ids) == 1 and len(stops) == 1:  # a walk has to move
        from_stop = np.linalg.norm(candidates - stops[0], axis=1)
        stops += [candidates[int(np.argmax(from_stop))]] if from_stop.any() else []
    return np.array(stops)


class _Track:
    """Positions and gaze at ticks of _TICK_S, growing."""

    def __init__(self, start_m: Array, yaw_rad: float) -> None:
        self.xy_m: list[Array] = [np.asarray(start_m, dtype=float)]
        self.yaw_rad: list[float] = [yaw_rad]

    def add(self, xy_m: Array, yaw_rad: Array) -> None:
        """Append ticks; `xy_m` (N, 2) or (2,) for standing still, `yaw_rad` (N,)."""
        self.xy_m.extend(np.broadcast_to(xy_m, (len(yaw_rad), 2)))
        self.yaw_rad.extend(float(yaw) for yaw in yaw_rad)


def _scan(track: _Track, heading_rad: float, settings: Settings) -> None:
    """Turn once around where the track stands, ending at `heading_rad`."""
    rest = float(wrap_angle(heading_rad - track.yaw_rad[-1]))
    needed = 2 * np.pi - settings.horizontal_fov_rad
    turn = min((rest + 2 * np.pi * way for way in (-1, 1) if abs(rest + 2 * np.pi * way) >= needed), key=abs)
    rate = min(settings.scan_rad_s, settings.max_turn_rad_s)
    way = _advance(abs(turn), rate, _TURN_ACCELERATION_RAD_S2)
    track.add(track.xy_m[-1], track.yaw_rad[-1] + np.sign(turn) * way)


def _go(track: _Track, path_m: Array, settings: Settings) -> None:
    """Walk along a path, looking ahead with a sway."""
    along = _arc_length(path_m)
    at = _advance(float(along[-1]), settings.max_speed_m_s, settings.acceleration_m_s2)
    position = np.column_stack([np.interp(at, along, path_m[:, axis]) for axis in range(2)])
    fade = np.clip(np.minimum(at, along[-1] - at), 0.0, 1.0)
    wanted = _heading(path_m, at) + settings.sway_rad * fade * np.sin(2 * np.pi * at / _SWAY_LENGTH_M)
    most = settings.max_turn_rad_s * _TICK_S
    yaw, gaze = track.yaw_rad[-1], []
    for target in wanted:
        yaw += float(np.clip(wrap_angle(target - yaw), -most, most))
        gaze.append(yaw)
    track.add(position, np.array(gaze))


def _arc_length(path_m: Array) -> Array:
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path_m, axis=0), axis=1))])


def _heading(path_m: Array, at_m: Array) -> Array:
    """Direction from the path at `at_m` (N,) to a little ahead; near the end, the last direction of that kind."""
    along = _arc_length(path_m)
    ahead = min(_LOOK_AHEAD_M, float(along[-1]))
    start = np.minimum(at_m, along[-1] - ahead)
    x, y = (np.interp(start + ahead, along, line) - np.interp(start, along, line) for line in path_m.T)
    return np.asarray(np.arctan2(y, x))


def _advance(distance: float, rate: float, acceleration: float) -> Array:
    """(N,) way after each tick, from rest to rest over `distance`, within `rate` and about `acceleration`."""
    top = min(rate, np.sqrt(distance * acceleration))
    ramp, total = top / acceleration, distance / top + top / acceleration
    t = np.linspace(0.0, total, max(int(np.ceil(total / _TICK_S)), 1) + 1)[1:]
    up = np.minimum(t, ramp) ** 2 / 2
    level = np.clip(t - ramp, 0.0, total - 2 * ramp) * ramp
    down = np.clip(t - (total - ramp), 0.0, ramp)
    way = acceleration * (up + level + down * ramp - down**2 / 2)
    return np.asarray(np.minimum(way, distance))


def _orbit(scene: Scene, room: Room, rng: np.random.Generator, settings: Settings) -> Walk:
    """Once around the boxes on an ellipse outside them, looking at their middle."""
    low, high = room.floor_polygon_m.min(axis=0), room.floor_polygon_m.max(axis=0)
    centre, half = (low + high) / 2, (high - low) / 2 * np.sqrt(2.0) + 0.5
    round_ = np.linspace(0.0, 2 * np.pi, 721) + rng.uniform(0.0, 2 * np.pi)
    path = centre + half * np.column_stack([np.cos(round_), np.sin(round_)])
    at = _advance(float(_arc_length(path)[-1]), settings.max_speed_m_s, settings.acceleration_m_s2)
    position = np.column_stack([np.interp(at, _arc_length(path), line) for line in path.T])
    inward = np.unwrap(np.arctan2(*(centre - position).T[::-1]))
    track = _Track(start_m=position[0], yaw_rad=float(inward[0]))
    track.add(position, inward)
    return _film(replace(scene, rooms=(room,)), track, settings)


def _film(scene: Scene, track: _Track, settings: Settings) -> Walk:
    """Cameras at `fps` from the ticks of a track."""
    xy, yaw = np.array(track.xy_m), np.unwrap(np.array(track.yaw_rad))
    yaw = ndimage.gaussian_filter1d(yaw, _GAZE_SMOOTHING_S / _TICK_S, mode="nearest")
    ticks_s = np.arange(len(xy)) * _TICK_S
    times = np.arange(int(ticks_s[-1] * settings.fps) + 1) / settings.fps
    x, y, gaze = (np.interp(times, ticks_s, line) for line in (*xy.T, yaw))
    intrinsics = pinhole_intrinsics(settings.width_px, settings.height_px, settings.horizontal_fov_rad)
    eye_z = min(room.floor_z_m for room in scene.rooms) + settings.eye_height_m
    cameras = tuple(
        Camera(
            world_from_camera=camera_at([east, north, eye_z], heading, settings.pitch_rad),
            width_px=settings.width_px,
            height_px=settings.height_px,
            intrinsics_px=intrinsics,
        )
        for east, north, heading in zip(x, y, gaze, strict=True)
    )
    return Walk(cameras, times)


# ----------------------------------------------------------------------------------------------------------- looking


def look(scene: Scene, cameras: Sequence[Camera], renderer: Renderer) -> list[dict[str, Visibility]]:
    """What each camera shows: visible pixels by object id, and their share of the object's unoccluded silhouette."""
    seen = []
    for camera in cameras:
        frame = renderer.render(camera, channels=("id",))
        assert frame.id is not None
        seen.append(visibility(scene, camera, frame.id, renderer))
    return seen


def visibility(scene: Scene, camera: Camera, id_image: NDArray[np.int32], renderer: Renderer) -> dict[str, Visibility]:
    """`look` for one camera whose id image (H, W) is already drawn. Objects without a visible pixel are absent."""
    pixels = np.bincount(id_image.ravel() + 1, minlength=len(scene.objects) + 1)[1 : len(scene.objects) + 1]
    shown = np.flatnonzero(pixels)
    alone = renderer.silhouette_px(camera, [int(index) for index in shown])
    return {
        scene.objects[index].id: Visibility(int(pixels[index]), min(1.0, float(pixels[index] / max(whole, 1))))
        for index, whole in zip(shown, alone, strict=True)
    }
