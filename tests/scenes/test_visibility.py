from __future__ import annotations

import numpy as np
import pytest

from allocentric.core.catalog import RENDERERS
from allocentric.core.geometry import camera_at, invert, pinhole_intrinsics, pose, rays, transform_points
from allocentric.core.types import Camera, Object, Scene
from allocentric.scenes import trajectory

CAMERA = Camera(
    world_from_camera=camera_at([0.0, 0.0, 1.2], 0.05, -0.1),
    width_px=80,
    height_px=60,
    intrinsics_px=pinhole_intrinsics(80, 60, 1.2),
)


def box(name: str, xyz: tuple[float, float, float], size: tuple[float, float, float], yaw: float = 0.0) -> Object:
    return Object(id=name, label=name, world_from_object=pose(xyz, yaw), size_m=np.array(size))


SCENE = Scene(
    id="row",
    objects=(
        box("shelf", (3.0, 0.2, 1.0), (0.5, 2.0, 2.0), 0.2),
        box("crate", (2.0, 0.3, 0.6), (0.6, 0.5, 0.7), -0.4),  # before the shelf
        box("ball", (6.0, 0.2, 0.8), (0.3, 0.3, 0.3)),  # behind the shelf
        box("lamp", (2.5, 1.5, 1.2), (0.4, 0.6, 0.8)),  # cut by the frame's edge
        box("bag", (-2.0, 0.0, 1.0), (0.5, 0.5, 0.5)),  # behind the camera
    ),
    structure=(box("wall", (1.7, -0.75, 1.0), (0.1, 0.8, 2.0)),),  # hides a part of the shelf
    source="test",
    license="CC0-1.0",
)


def hit_depths(thing: Object) -> np.ndarray:
    """(H, W) depth at which each pixel's ray enters the box, by the slab method; infinite where it does not."""
    cast = rays(CAMERA)
    object_from_world = invert(thing.world_from_object)
    start = transform_points(object_from_world, cast.origins_m)
    step = cast.directions @ object_from_world[:3, :3].T
    with np.errstate(divide="ignore"):
        near, far = (-thing.size_m / 2 - start) / step, (thing.size_m / 2 - start) / step
    enter, leave = np.minimum(near, far).max(axis=-1), np.maximum(near, far).min(axis=-1)
    return np.where((enter < leave) & (enter > 0), enter, np.inf)


@pytest.mark.parametrize("name", ["raster", "raycast"])
def test_visible_pixels_and_fractions_against_brute_force(name):
    depths = np.array([hit_depths(thing) for thing in (*SCENE.objects, *SCENE.structure)])
    nearest = np.where(np.isfinite(depths.min(axis=0)), depths.argmin(axis=0), -1)
    module = RENDERERS.load(name)
    with module.build(SCENE, module.Settings(shadows=False)) as renderer:
        (seen,) = trajectory.look(SCENE, [CAMERA], renderer)
    assert set(seen) == {"shelf", "crate", "lamp"}
    for index, thing in enumerate(SCENE.objects):
        if thing.id in seen:
            pixels, alone = np.sum(nearest == index), np.isfinite(depths[index]).sum()
            # Backends may differ from the pixel-centre rule on single edge pixels.
            assert abs(seen[thing.id].pixels - pixels) <= 3
            assert seen[thing.id].fraction == pytest.approx(pixels / alone, abs=0.02)
    assert seen["crate"].fraction == 1.0
    assert seen["lamp"].fraction > 0.98  # the part outside the frame does not count
    assert seen["shelf"].fraction < 0.7
