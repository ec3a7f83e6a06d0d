"""Where in the world a thing stands that is seen at a place in a picture, if it stands on a level floor."""

from __future__ import annotations

import numpy as np

from allocentric.core.types import Camera


def on_the_floor(
    camera: Camera, place: tuple[float, float], *, eye_height_m: float, most_m: float
) -> tuple[float, float, float]:
    """Where the ray through a place of a pinhole picture meets the floor `eye_height_m` below the camera.

    Rays that meet it farther than `most_m` away, or not at all, end at that horizontal distance.

    Args:
        camera: With intrinsics.
        place: Right and down, as shares of the picture's width and height.
        eye_height_m: Height of the camera above the floor.
        most_m: Longest horizontal distance.
    """
    assert camera.intrinsics_px is not None, "expected a pinhole camera"
    pixel = np.array([place[0] * camera.width_px, place[1] * camera.height_px, 1.0])
    ray = camera.world_from_camera[:3, :3] @ np.linalg.solve(camera.intrinsics_px, pixel)
    level = float(np.hypot(ray[0], ray[1]))
    steps = np.inf if ray[2] >= 0 else eye_height_m / -float(ray[2])
    if level * steps > most_m:
        steps = most_m / level
    x, y, z = camera.world_from_camera[:3, 3] + ray * steps
    return float(x), float(y), max(float(z), float(camera.world_from_camera[2, 3]) - eye_height_m)
