"""Habitat: scenes that habitat-sim loads: semantic objects and regions, and where its pathfinder says one can walk.

Objects are those of the semantic scene with their oriented boxes (ones without a box are left out; habitat publishes
no fronts, so local +x is one of the two level axes). Rooms are the semantic regions with an outline; where no region
has one, a single room "extent" spans the navigation mesh, and only `navigable_map` knows its walls.

Without a GPU set `gpu_device_id: -1`, which draws with Mesa's software EGL; the default 0 ends there in habitat's
"unable to find CUDA device".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from allocentric.core.config import Settings as BaseSettings
from allocentric.core.errors import DataError, suggestion
from allocentric.core.geometry import point_in_polygon, polygon_area, pose
from allocentric.core.types import Object, Room, Scene
from allocentric.scenes import _habitat
from allocentric.scenes._habitat import Array, world_from_habitat
from allocentric.scenes.walkable import WalkableMap

_NEEDED_FOR = "the scene source 'habitat'"
_LEAST_EDGE_M = 1e-4


class Settings(BaseSettings):
    """Which scenes, and where they are drawn."""

    path: Path | None = None
    """A stage file (.glb), or a folder with such files."""
    dataset: Path | None = None
    """A *.scene_dataset_config.json; `scenes` are then names in it."""
    scenes: tuple[str, ...] = ()
    """Names of the dataset's scenes to use."""
    license: str = "unknown"
    """SPDX id or name of the terms of these scenes; habitat does not tell."""
    gpu_device_id: int = Field(default=0, ge=-1)
    """-1 draws without a GPU."""

    @model_validator(mode="after")
    def _check(self) -> Settings:
        if (self.path is None) == (self.dataset is None) or (self.dataset is None) != (not self.scenes):
            raise ValueError("expected either path, or dataset with scenes")
        return self


@dataclass(frozen=True, slots=True)
class Source:
    """Scenes by name; nothing is opened before one is loaded."""

    settings: Settings

    def scene_ids(self) -> list[str]:
        """Names of the stage files without ending, sorted, or the dataset's names as given."""
        return list(self._handles())

    def load(self, scene_id: str) -> Scene:
        """Open a scene once and read it. MissingPackageError without habitat-sim, DataError for an unknown id."""
        handles = self._handles()
        if scene_id not in handles:
            raise DataError(f"there is no habitat scene {scene_id!r}" + suggestion(scene_id, handles))
        module = _habitat.habitat_sim(_NEEDED_FOR)
        dataset = None if self.settings.dataset is None else str(self.settings.dataset)
        simulator = _habitat.open_simulator(
            module, scene=handles[scene_id], dataset=dataset, gpu_device_id=self.settings.gpu_device_id
        )
        try:
            _ensure_navigation_mesh(module, simulator)
            loads = {"scene": handles[scene_id], **({"dataset": dataset} if dataset else {})}
            return _scene(simulator, scene_id, loads, self.settings.license)
        finally:
            simulator.close()

    def _handles(self) -> dict[str, str]:
        if self.settings.path is None:
            return {name: name for name in self.settings.scenes}
        path = self.settings.path
        files = sorted(path.glob("*.glb")) if path.is_dir() else [path] if path.is_file() else []
        if not files:
            raise DataError(f"{path} is no stage file, and no folder with *.glb files")
        return {file.stem: str(file) for file in files}


def build(settings: Settings) -> Source:
    """The scene source."""
    return Source(settings)


def navigable_map(scene: Scene, *, cell_m: float = 0.05, gpu_device_id: int = 0) -> WalkableMap:
    """Where habitat's pathfinder can stand, as our walkable map; the body is that of its navigation mesh.

    For scenes of this source. The map of the lowest floor; a room's index where a cell lies in its outline.
    """
    module = _habitat.habitat_sim(_NEEDED_FOR)
    loads = _habitat.stage_of(scene).attributes
    simulator = _habitat.open_simulator(
        module, scene=loads["scene"], dataset=loads.get("dataset"), gpu_device_id=gpu_device_id
    )
    try:
        _ensure_navigation_mesh(module, simulator)
        low, high = _navigation_bounds(simulator)
        seen = np.asarray(simulator.pathfinder.get_topdown_view(cell_m, float(low[1])), dtype=bool)
    finally:
        simulator.close()
    # Habitat samples points from the corner of least x and z; its z runs against our y, so rows turn round.
    free = seen[::-1].copy()
    first_y = -(min(low[2], high[2]) + (len(seen) - 1) * cell_m)
    origin = np.array([min(low[0], high[0]), first_y]) - cell_m / 2
    rows, columns = np.indices(free.shape)
    centres = np.stack([columns, rows], axis=-1).reshape(-1, 2) * cell_m + cell_m / 2 + origin
    room = np.full(free.size, -1, dtype=np.int32)
    for index, one in enumerate(scene.rooms):
        room[point_in_polygon(centres, one.floor_polygon_m)] = index
    ids = tuple(one.id for one in scene.rooms)
    return WalkableMap(free=free, room=room.reshape(free.shape), room_ids=ids, origin_m=origin, cell_m=cell_m)


def _ensure_navigation_mesh(module: Any, simulator: Any) -> None:
    """Compute the mesh where none lies beside the stage."""
    if simulator.pathfinder.is_loaded:
        return
    settings = module.NavMeshSettings()
    settings.set_defaults()
    if not simulator.recompute_navmesh(simulator.pathfinder, settings):
        raise DataError("habitat found no floor to walk on in this scene")


def _navigation_bounds(simulator: Any) -> tuple[Array, Array]:
    low, high = simulator.pathfinder.get_bounds()
    return np.asarray(low, dtype=float), np.asarray(high, dtype=float)


def _scene(simulator: Any, scene_id: str, loads: dict[str, str], license_name: str) -> Scene:
    box = simulator.get_active_scene_graph().get_root_node().cumulative_bb
    stage = np.sort([world_from_habitat(box.min), world_from_habitat(box.max)], axis=0)
    semantic = simulator.semantic_scene
    rooms = tuple(_room(region) for region in semantic.regions if region is not None and _outline(region) is not None)
    if not rooms:
        rooms = (_extent(_navigation_bounds(simulator), float(stage[1, 2])),)
    objects = [_object(thing) for thing in semantic.objects if thing is not None and _has_box(thing)]
    return Scene(
        id=scene_id,
        objects=tuple(objects),
        rooms=rooms,
        structure=(
            Object(
                id=_habitat.STAGE,
                label=_habitat.STAGE,
                world_from_object=pose(stage.mean(axis=0)),
                size_m=stage[1] - stage[0],
                attributes=loads,
            ),
        ),
        floor_area_m2=float(sum(polygon_area(room.floor_polygon_m) for room in rooms)),
        source="habitat",
        license=license_name,
    )


def _has_box(thing: Any) -> bool:
    return thing.category is not None and float(np.min(np.asarray(thing.obb.half_extents))) > _LEAST_EDGE_M


def _object(thing: Any) -> Object:
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_quat(np.asarray(thing.obb.rotation, dtype=float)).as_matrix()
    axes, size = _habitat.HABITAT_FROM_WORLD.T @ turn, 2 * np.asarray(thing.obb.half_extents, dtype=float)
    up = int(np.argmax(np.abs(axes[2])))  # our z axis of a box is its most vertical one
    z = axes[:, up] * np.sign(axes[2, up])
    x = axes[:, (up + 1) % 3]
    world = np.eye(4)
    world[:3, :3] = np.column_stack([x, np.cross(z, x), z])
    world[:3, 3] = world_from_habitat(np.asarray(thing.obb.center, dtype=float))
    region = getattr(thing, "region", None)
    return Object(
        id=str(thing.id),
        label=str(thing.category.name()),
        world_from_object=world,
        size_m=size[[(up + 1) % 3, (up + 2) % 3, up]],
        attributes={"semantic_id": int(thing.semantic_id)},
        room_id=None if region is None or _outline(region) is None else str(region.id),
    )


def _outline(region: Any) -> Array | None:
    """(P, 2) counter-clockwise outline in our xy; None where habitat has none."""
    points = np.array([[point[0], -point[1]] for point in region.poly_loop_points], dtype=float)
    if len(points) < 3:
        return None
    x, y = points.T
    clockwise = np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) < 0
    return points[::-1] if clockwise else points


def _room(region: Any) -> Room:
    outline = _outline(region)
    assert outline is not None
    return Room(
        id=str(region.id),
        kind="unknown" if region.category is None else str(region.category.name()),
        floor_polygon_m=outline,
        floor_z_m=float(region.floor_height),
        height_m=float(region.extrusion_height),
    )


def _extent(bounds: tuple[Array, Array], top_m: float) -> Room:
    corners = np.sort(world_from_habitat(np.array(bounds)), axis=0)
    (x0, y0, z0), (x1, y1, _) = corners
    return Room(
        id="extent",
        kind="unknown",
        floor_polygon_m=np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]),
        floor_z_m=float(z0),
        height_m=top_m - float(z0),
    )
