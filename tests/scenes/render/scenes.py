"""Small scenes with known answers."""

from __future__ import annotations

import numpy as np

from allocentric.core.geometry import camera_at, pinhole_intrinsics, pose
from allocentric.core.types import Camera, Material, Mesh, Object, Room, Scene
from allocentric.scenes.render.flatten import box_mesh


def box(name: str, at: tuple[float, float, float], size: tuple[float, float, float], yaw: float = 0.0) -> Object:
    return Object(id=name, label=name, world_from_object=pose(at, yaw), size_m=np.array(size))


def ball(name: str, at: tuple[float, float, float], radius_m: float, rings: int = 12) -> Object:
    polar, turn = np.meshgrid(
        np.linspace(0, np.pi, rings), np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False), indexing="ij"
    )
    normals = np.stack([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)], axis=-1)
    row, column = np.meshgrid(np.arange(rings - 1), np.arange(2 * rings), indexing="ij")
    a, b = row * 2 * rings + column, row * 2 * rings + (column + 1) % (2 * rings)
    c, d = a + 2 * rings, b + 2 * rings
    triangles = np.concatenate(
        [np.stack([a, c, d], -1)[:-1].reshape(-1, 3), np.stack([a, d, b], -1)[1:].reshape(-1, 3)]
    )
    flat = normals.reshape(-1, 3).astype(np.float32)
    mesh = Mesh(
        positions_m=flat * np.float32(radius_m), normals=flat, triangles=triangles.astype(np.int32),
        vertex_material=np.zeros(len(flat), dtype=np.int32), materials=(Material(pattern="marble", roughness=0.1),),
    )  # fmt: skip
    return Object(id=name, label=name, world_from_object=pose(at), size_m=np.full(3, 2 * radius_m), mesh=mesh)


def box_scene(*things: Object, structure: tuple[Object, ...] = (), rooms: tuple[Room, ...] = ()) -> Scene:
    return Scene(id="test", objects=things, structure=structure, rooms=rooms, source="test", license="Apache-2.0")


def room_scene() -> Scene:
    """A room of 5 x 4 x 2.6 m with boxes of every pattern and two balls; thin walls, a window to the sun."""
    rng = np.random.default_rng(3)
    structure = (
        box("floor", (0, 0, -0.05), (5.2, 4.2, 0.1)), box("ceiling", (0, 0, 2.65), (5.2, 4.2, 0.1)),
        box("wall", (0, -2.01, 1.3), (5, 0.02, 2.6)), box("wall-2", (-2.51, 0, 1.3), (0.02, 4, 2.6)),
        box("wall-3", (0, 2.01, 0.45), (5, 0.02, 0.9)), box("wall-4", (2.51, 0, 1.3), (0.02, 4, 2.6)),
        box("wall-5", (0, 2.01, 2.4), (5, 0.02, 0.4)),
    )  # fmt: skip
    things = []
    for k, pattern in enumerate(("wood", "books", "fabric", "checker", "picture", "bricks", "tiles", "stripes")):
        size = tuple(rng.uniform(0.2, 0.7, 3))
        at = (-2 + 0.6 * k, float(rng.uniform(0.7, 1.3)) * (-1) ** k, size[2] / 2)
        plain = box(f"box-{k}", at, size, float(rng.uniform(-3, 3)))
        mesh = box_mesh(plain)
        look = Material(pattern=pattern, color=(0.7, 0.4, 0.3), color2=(0.3, 0.4, 0.6))
        things.append(
            Object(
                id=plain.id, label=plain.label, world_from_object=plain.world_from_object, size_m=plain.size_m,
                mesh=Mesh(positions_m=mesh.positions_m, normals=mesh.normals, triangles=mesh.triangles,
                          vertex_material=mesh.vertex_material, materials=(look,)),
            )
        )  # fmt: skip
    things += [ball("ball", (0.2, 0.9, 0.3), 0.3), ball("ball-2", (1.5, -0.2, 1.2), 0.2)]
    floor = np.array([[-2.5, -2], [2.5, -2], [2.5, 2], [-2.5, 2]], dtype=float)
    room = Room(id="room", kind="unknown", floor_polygon_m=floor, floor_z_m=0.0, height_m=2.6)
    return box_scene(*things, structure=structure, rooms=(room,))


def pinhole(
    at: tuple[float, float, float], yaw: float, pitch: float = 0.0, size: tuple[int, int] = (160, 120)
) -> Camera:
    lens = pinhole_intrinsics(*size, 1.5)
    return Camera(world_from_camera=camera_at(at, yaw, pitch), width_px=size[0], height_px=size[1], intrinsics_px=lens)


def panorama(at: tuple[float, float, float], yaw: float, width: int = 512) -> Camera:
    return Camera(model="equirectangular", world_from_camera=camera_at(at, yaw), width_px=width, height_px=width // 2)
