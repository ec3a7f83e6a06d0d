"""Resampling between equirectangular panoramas, cube faces and perspective pictures.

Pixel centres lie at +0.5; a panorama's columns wrap, and beyond a pole the picture goes on half a turn away.
"""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from allocentric.core import geometry
from allocentric.core.types import Camera

Array = NDArray[np.float64]
Picture = NDArray[Any]
"""(H, W) or (H, W, C) uint8, int32 (nearest only) or float32."""
Interpolation = Literal["linear", "nearest"]

# Rows: right, down, forward of each face in camera axes (+x right, +y down, +z forward).
FACES: Array = np.array([
    [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    [[0, 0, -1], [0, 1, 0], [1, 0, 0]],
    [[-1, 0, 0], [0, 1, 0], [0, 0, -1]],
    [[0, 0, 1], [0, 1, 0], [-1, 0, 0]],
    [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
    [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
], dtype=float)  # fmt: skip
"""Front, right, back, left, up, down."""


def face_of(directions: Array) -> NDArray[np.int64]:
    """(...) index of the cube face that directions (..., 3) in camera axes point to."""
    axis = np.argmax(np.abs(directions), axis=-1)
    positive = np.take_along_axis(directions, axis[..., None], axis=-1)[..., 0] > 0
    return np.asarray(
        np.select([axis == 2, axis == 0], [np.where(positive, 0, 2), np.where(positive, 1, 3)], 4 + positive)
    )


def sample_equirectangular(panorama: Picture, directions: Array, interpolation: Interpolation = "linear") -> Picture:
    """Values of a panorama (H, W[, C]) in directions (h, w, 3) in camera axes of any length; (h, w[, C])."""
    height, width = panorama.shape[:2]
    x, y, z = np.moveaxis(np.asarray(directions, dtype=float), -1, 0)
    u = (np.arctan2(x, z) / (2 * np.pi) + 0.5) * width
    v = (0.5 - np.arctan2(-y, np.hypot(x, z)) / np.pi) * height
    return _remap(_bordered(panorama), u + 1, v + 1, interpolation)


def perspective_from_equirectangular(
    panorama: Picture,
    camera: Camera,
    panorama_world_from_camera: Array | None = None,
    interpolation: Interpolation = "linear",
) -> Picture:
    """What a pinhole `camera` at the panorama's place would show.

    Only the rotations matter. The panorama's pose is the identity where it is not given, so that a camera's
    world_from_camera is then its turn inside the panorama.
    """
    directions = geometry.rays(camera).directions
    if panorama_world_from_camera is not None:
        directions = directions @ np.asarray(panorama_world_from_camera, dtype=float)[:3, :3]
    return sample_equirectangular(panorama, directions, interpolation)


def cube_from_equirectangular(
    panorama: Picture, face_px: int, interpolation: Interpolation = "linear"
) -> tuple[Picture, ...]:
    """Six square faces of `face_px`: front, right, back, left, up, down."""
    at = (np.arange(face_px) + 0.5) / face_px * 2 - 1
    right, down = np.meshgrid(at, at)
    local = np.stack([right, down, np.ones_like(right)], axis=-1)
    return tuple(sample_equirectangular(panorama, local @ face, interpolation) for face in FACES)


def equirectangular_from_cube(
    faces: tuple[Picture, ...], width_px: int, interpolation: Interpolation = "linear"
) -> Picture:
    """A panorama (width_px / 2, width_px[, C]) from six faces in the order of `cube_from_equirectangular`."""
    if len(faces) != 6 or any(face.shape != faces[0].shape or face.shape[0] != face.shape[1] for face in faces):
        raise ValueError(f"expected six square faces of one size, got shapes {[face.shape for face in faces]}")
    camera = Camera(model="equirectangular", world_from_camera=np.eye(4), width_px=width_px, height_px=width_px // 2)
    directions = geometry.rays(camera).directions
    chosen = face_of(directions)
    face_px = faces[0].shape[0]
    out = np.empty((*chosen.shape, *faces[0].shape[2:]), dtype=faces[0].dtype)
    for index, axes in enumerate(FACES):
        rows, columns = np.nonzero(chosen == index)
        if len(rows):
            right, down, forward = axes @ directions[rows, columns].T
            u, v = ((value / forward + 1) / 2 * face_px for value in (right, down))
            out[rows, columns] = _sampled(faces[index], u, v, interpolation)
    return out


_STRIP = 16384
"""Longest list of points that is remapped at once; the library's limit is 32767 rows or columns."""


def _sampled(picture: Picture, u: Array, v: Array, interpolation: Interpolation) -> Picture:
    """Values at N points, (N[, C])."""
    parts = [
        _remap(picture, u[None, start : start + _STRIP], v[None, start : start + _STRIP], interpolation)[0]
        for start in range(0, len(u), _STRIP)
    ]
    return np.concatenate(parts)


def _bordered(panorama: Picture) -> Picture:
    """One more pixel on each side."""
    half = panorama.shape[1] // 2
    rows = np.concatenate([np.roll(panorama[:1], half, axis=1), panorama, np.roll(panorama[-1:], half, axis=1)])
    return np.concatenate([rows[:, -1:], rows, rows[:, :1]], axis=1)


def _remap(picture: Picture, u: Array, v: Array, interpolation: Interpolation) -> Picture:
    if interpolation == "nearest":  # exact for any type, also whole numbers that the library doesn't take
        rows = np.clip(np.floor(v).astype(int), 0, picture.shape[0] - 1)
        columns = np.clip(np.floor(u).astype(int), 0, picture.shape[1] - 1)
        return np.asarray(picture[rows, columns])
    x, y = (u - 0.5).astype(np.float32), (v - 0.5).astype(np.float32)
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
