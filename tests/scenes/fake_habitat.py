"""A stand-in for habitat_sim with the few names this package uses, working in habitat's own axes (+y up, -z ahead).

It draws by casting rays with Open3D and is written without this package's axes, from habitat's documentation.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import open3d as o3d
import pytest


@dataclass
class Thing:
    """A box in habitat's axes."""

    id: str
    semantic_id: int
    label: str
    center: tuple[float, float, float]
    half_extents: tuple[float, float, float]
    turn_rad: float = 0.0
    """About +y."""

    def quaternion_xyzw(self) -> np.ndarray[Any, Any]:
        return np.array([0.0, np.sin(self.turn_rad / 2), 0.0, np.cos(self.turn_rad / 2)])

    def semantic(self) -> Any:
        obb = SimpleNamespace(
            center=np.array(self.center),
            half_extents=np.array(self.half_extents),
            rotation=self.quaternion_xyzw(),
        )
        category = SimpleNamespace(name=lambda: self.label)
        return SimpleNamespace(id=self.id, semantic_id=self.semantic_id, obb=obb, category=category, region=None)

    def mesh(self) -> Any:
        size = 2 * np.array(self.half_extents)
        made = o3d.geometry.TriangleMesh.create_box(*size)
        made.translate(-size / 2)
        made.rotate(_rotation(self.quaternion_xyzw()), center=(0, 0, 0))
        made.translate(self.center)
        return made


def _rotation(xyzw: Any) -> Any:
    x, y, z, w = xyzw
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


@dataclass
class World:
    """What every simulator of the stand-in shows, and what it was asked for."""

    things: list[Thing] = field(default_factory=list)
    meshes: list[tuple[int, Any]] = field(default_factory=list)
    """Semantic id and Open3D mesh of whatever else there is."""
    regions: list[Any] = field(default_factory=list)
    navigable: Any = None
    """(x, z) -> bool."""
    bounds: tuple[Any, Any] = ((0.0, 0.0, 0.0), (1.0, 0.0, 1.0))
    opened: list[Any] = field(default_factory=list)
    closed: int = 0


class Simulator:
    def __init__(self, world: World, configuration: Any) -> None:
        self._world = world
        self.configuration = configuration
        world.opened.append(configuration)
        self._caster = o3d.t.geometry.RaycastingScene()
        self._semantic: list[int] = []
        parts = [(thing.semantic_id, thing.mesh()) for thing in world.things if thing.half_extents[0]]
        parts += world.meshes
        for semantic_id, mesh in parts:
            self._caster.add_triangles(o3d.t.geometry.TriangleMesh.from_legacy(mesh))
            self._semantic.append(semantic_id)
        corners = np.concatenate([np.asarray(mesh.vertices) for _, mesh in parts])
        box = SimpleNamespace(min=corners.min(axis=0), max=corners.max(axis=0))
        root = SimpleNamespace(cumulative_bb=box)
        self.get_active_scene_graph = lambda: SimpleNamespace(get_root_node=lambda: root)
        self.semantic_scene = SimpleNamespace(
            objects=[None, *(thing.semantic() for thing in world.things)], regions=world.regions
        )
        self.pathfinder = SimpleNamespace(
            is_loaded=False, get_bounds=lambda: world.bounds, get_topdown_view=self._topdown
        )
        self._state: Any = None

    def recompute_navmesh(self, pathfinder: Any, settings: Any) -> bool:
        assert settings.defaults
        pathfinder.is_loaded = True
        return True

    def _topdown(self, meters_per_pixel: float, height: float) -> Any:
        assert self.pathfinder.is_loaded
        (x0, _, z0), (x1, _, z1) = self._world.bounds
        columns, rows = int((x1 - x0) / meters_per_pixel), int((z1 - z0) / meters_per_pixel)
        return np.array(
            [[self._world.navigable(x0 + c * meters_per_pixel, z0 + r * meters_per_pixel) for c in range(columns)]
             for r in range(rows)]
        )  # fmt: skip

    def get_agent(self, number: int) -> Any:
        assert number == 0
        return SimpleNamespace(set_state=self._set)

    def _set(self, state: Any) -> None:
        self._state = state

    def get_sensor_observations(self) -> dict[str, Any]:
        out = {}
        for spec in self.configuration.agents[0].sensor_specifications:
            assert list(spec.position) == [0, 0, 0]
            out[spec.uuid] = self._draw(spec)
        return out

    def _draw(self, spec: Any) -> Any:
        rows, columns = np.indices(spec.resolution) + 0.5
        height, width = spec.resolution
        if spec.kind == "pinhole":
            focal = width / 2 / np.tan(np.radians(spec.hfov) / 2)
            local = np.stack([(columns - width / 2) / focal, -(rows - height / 2) / focal, -np.ones_like(rows)], -1)
            scale = np.ones_like(rows)
        else:
            yaw, pitch = (columns / width - 0.5) * 2 * np.pi, (0.5 - rows / height) * np.pi
            local = np.stack([np.sin(yaw) * np.cos(pitch), np.sin(pitch), -np.cos(yaw) * np.cos(pitch)], -1)
            scale = np.abs(local).max(axis=-1)  # the faces of the cube hold planar depth
        directions = local @ _rotation(self._state.rotation).T
        origins = np.broadcast_to(self._state.position, directions.shape)
        rays = np.concatenate([origins, directions], -1).astype(np.float32)
        hit = self._caster.cast_rays(o3d.core.Tensor(rays))
        distance, which = hit["t_hit"].numpy(), hit["geometry_ids"].numpy().astype(np.int64)
        found = np.isfinite(distance) & (distance < spec.far)
        if spec.sensor_type == "DEPTH":
            return np.where(found, distance * scale, 0.0).astype(np.float32)
        semantic = np.where(found, np.array(self._semantic)[np.where(found, which, 0)], 0).astype(np.uint32)
        if spec.sensor_type == "SEMANTIC":
            return semantic
        return np.stack([semantic * 10 % 256, semantic, semantic, np.full_like(semantic, 255)], -1).astype(np.uint8)

    def close(self) -> None:
        self._world.closed += 1


class NavMeshSettings:
    defaults = False

    def set_defaults(self) -> None:
        self.defaults = True


def install(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """Make `import habitat_sim` give the stand-in."""
    module: Any = ModuleType("habitat_sim")
    module.SimulatorConfiguration = SimpleNamespace
    module.AgentState = SimpleNamespace
    module.Configuration = lambda simulator, agents: SimpleNamespace(simulator=simulator, agents=agents)
    module.agent = SimpleNamespace(AgentConfiguration=SimpleNamespace)
    module.SensorType = SimpleNamespace(COLOR="COLOR", DEPTH="DEPTH", SEMANTIC="SEMANTIC")
    module.CameraSensorSpec = lambda: SimpleNamespace(kind="pinhole")
    module.EquirectangularSensorSpec = lambda: SimpleNamespace(kind="equirectangular")
    module.NavMeshSettings = NavMeshSettings
    module.Simulator = lambda configuration: Simulator(world, configuration)
    module.utils = SimpleNamespace(common=SimpleNamespace(quat_from_coeffs=np.asarray))
    monkeypatch.setitem(sys.modules, "habitat_sim", module)


def stage_mesh(path: Path) -> Any:
    """A stage file as habitat shows it: +z up in the file, turned to +y up."""
    mesh = o3d.io.read_triangle_mesh(str(path))
    mesh.vertices = o3d.utility.Vector3dVector(np.asarray(mesh.vertices)[:, [0, 2, 1]] * [1, 1, -1])
    return mesh
