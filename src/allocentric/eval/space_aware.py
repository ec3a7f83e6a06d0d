"""Frames that together see most of the space: greedy maximum coverage of cells.

Spatial-MLLM (arXiv 2505.23747, section 3.3): every candidate covers the voxels its depth map falls into, and the next
frame is always the one that adds most voxels. The depths and poses come from a file, made by a scanner or a network;
for pictures with known cameras and no depth, a camera covers its frustum up to `REACH_M`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allocentric.core.errors import DataError
from allocentric.core.types import Camera, FloatArray, Item

CELLS_ACROSS = 20
"""Voxels along the shortest side of the box around everything seen, as in the paper."""
REACH_M = 4.0
"""How far a camera without depth sees."""
_CELL_M = 0.25
_RAYS = (12, 9)
_QUANTILES = (0.02, 0.98)  # of coordinates: single wild depths must not set the size of the cells
_FIELDS = {"frame": 1, "depth_m": 3, "intrinsics_px": 3, "world_from_camera": 3}

Cells = NDArray[np.int64]
"""(n,) names of the cells one frame sees."""


def widest(seen: Sequence[Cells], count: int) -> list[int]:
    """Positions of at most `count` frames, each the one that adds most cells to those before; the first of equals.

    Ends early where no frame adds anything.
    """
    covered: set[int] = set()
    left = {position: set(cells.tolist()) for position, cells in enumerate(seen)}
    chosen: list[int] = []
    while left and len(chosen) < count:
        best = max(left, key=lambda position: (len(left[position] - covered), -position))
        if chosen and not left[best] - covered:
            break
        covered |= left.pop(best)
        chosen.append(best)
    return chosen


def cells_seen(file: Path, candidates: int) -> tuple[tuple[int, ...], list[Cells]]:
    """Frame numbers of a geometry file, thinned evenly to `candidates`, and the voxels each sees.

    Args:
        file: .npz with `frame` (F,) ascending frame numbers, `depth_m` (F, h, w) z-depths (0 or NaN where unknown),
            `intrinsics_px` (F, 3, 3) for that size, `world_from_camera` (F, 4, 4) with OpenCV axes.
        candidates: Most frames to look at.

    Raises:
        DataError: no such file, not such a file, or no depth in it.
    """
    arrays = _read(file)
    picks = np.unique(np.linspace(0, len(arrays["frame"]) - 1, min(candidates, len(arrays["frame"]))).astype(int))
    points = [_points(arrays["depth_m"][k], arrays["intrinsics_px"][k], arrays["world_from_camera"][k]) for k in picks]
    every = np.concatenate(points)
    if not len(every):
        raise DataError(f"{file} holds no depth that is known")
    low, high = np.quantile(every, _QUANTILES, axis=0)
    size_m = max(float((high - low).min()) / CELLS_ACROSS, 1e-6)
    frames = tuple(int(arrays["frame"][k]) for k in picks)
    return frames, [_cells(points_of_frame, size_m) for points_of_frame in points]


def cells_seen_by_views(item: Item, candidates: Sequence[int]) -> list[Cells]:
    """Cells in the frustums of an item's views. DataError where a view has no camera."""
    seen = []
    for index in candidates:
        camera = item.views[index].camera if item.views else None
        if camera is None or camera.intrinsics_px is None:
            raise DataError(
                f"item {item.id}: space_aware needs a camera for every picture, or depths and poses in files "
                "(frames.geometry)"
            )
        seen.append(_cells(_frustum(camera, camera.intrinsics_px), _CELL_M))
    return seen


def _frustum(camera: Camera, intrinsics_px: FloatArray) -> FloatArray:
    columns, rows = ((np.arange(n) + 0.5) / n for n in _RAYS)
    depth = np.arange(_CELL_M, REACH_M + _CELL_M / 2, _CELL_M)
    z, v, u = np.meshgrid(depth, rows * camera.height_px, columns * camera.width_px, indexing="ij")
    return _world(u, v, z, intrinsics_px, camera.world_from_camera)


def _points(depth_m: FloatArray, intrinsics_px: FloatArray, world_from_camera: FloatArray) -> FloatArray:
    v, u = np.indices(depth_m.shape) + 0.5
    known = np.isfinite(depth_m) & (depth_m > 0)
    return _world(u[known], v[known], depth_m[known], intrinsics_px, world_from_camera)


def _world(
    u: FloatArray, v: FloatArray, z: FloatArray, intrinsics_px: FloatArray, world_from_camera: FloatArray
) -> FloatArray:
    """(n, 3) world points of pixels at z-depths."""
    x = (u - intrinsics_px[0, 2]) / intrinsics_px[0, 0] * z
    y = (v - intrinsics_px[1, 2]) / intrinsics_px[1, 1] * z
    points = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)
    moved: FloatArray = points @ world_from_camera[:3, :3].T + world_from_camera[:3, 3]
    return moved


def _cells(points_m: FloatArray, size_m: float) -> Cells:
    """Names of the cubes that hold the points: three 21-bit coordinates in one number."""
    index = np.floor(points_m / size_m).astype(np.int64) + (1 << 20)
    names: Cells = np.unique((index[:, 0] << 42) | (index[:, 1] << 21) | index[:, 2])
    return names


def _read(file: Path) -> dict[str, FloatArray]:
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: np.asarray(stored[name]) for name in _FIELDS}
    except FileNotFoundError:
        raise DataError(f"no geometry for space_aware: {file} is missing") from None
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{file} is no geometry file: {' '.join(str(error).split())}") from None
    for name, dimensions in _FIELDS.items():
        if arrays[name].ndim != dimensions or len(arrays[name]) != len(arrays["frame"]) or not len(arrays["frame"]):
            raise DataError(f"{file}: {name} has the shape {arrays[name].shape}; see `allocentric.eval.space_aware`")
    return arrays
