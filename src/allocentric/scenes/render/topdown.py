"""Bird's-eye pictures: the scene from above without its ceilings, with numbered marks on its objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from allocentric.core.errors import DataError
from allocentric.core.geometry import box_corners, look_at, project
from allocentric.core.types import Camera, Image, Scene
from allocentric.scenes.render.contract import Renderer

_UNDER_CEILING_M = 0.05
_MARGIN_M = 0.3
_WALL_M = 0.2
_OUTSIDE = (255, 255, 255)
_CUT_WALL = (70, 72, 78)
_LEAST_PX = 12
"""Fewer visible pixels than this get no mark."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TopDownPicture:
    """A bird's-eye picture."""

    image: Image
    """(H, W, 3); +x to the right, +y up."""
    marks: Mapping[str, int]
    """Object id -> number drawn on it, from 1; objects that can't be seen have none."""
    camera: Camera
    """Orthographic; with `core.geometry.project` it tells where a point lies in the picture."""


def orthographic_camera(scene: Scene, width_px: int = 1024, *, margin_m: float = _MARGIN_M) -> Camera:
    """A camera that looks straight down on all of the scene, its plane just under the lowest ceiling.

    The picture is as wide as `width_px`, its height follows the scene's. DataError where the scene is empty.
    """
    points = [room.floor_polygon_m for room in scene.rooms]
    corners = [box_corners(thing.world_from_object, thing.size_m) for thing in scene.objects]
    points += [corner[:, :2] for corner in corners]
    if not points:
        raise DataError(f"scene {scene.id!r} has neither rooms nor objects, so there is nothing to look at from above")
    every = np.concatenate([np.asarray(part, dtype=float) for part in points])
    low, high = every.min(axis=0) - margin_m, every.max(axis=0) + margin_m
    scale = width_px / (high[0] - low[0])
    height_px = max(1, round((high[1] - low[1]) * scale))
    if scene.rooms:
        top = min(room.floor_z_m + room.height_m for room in scene.rooms) - _UNDER_CEILING_M
    else:
        top = max(float(corner[:, 2].max()) for corner in corners) + 1.0
    eye = np.array([*(low + high) / 2, top])
    return Camera(
        model="orthographic",
        world_from_camera=look_at(eye, eye - [0, 0, 1]),
        width_px=width_px,
        height_px=height_px,
        intrinsics_px=np.array([[scale, 0, width_px / 2], [0, scale, height_px / 2], [0, 0, 1.0]]),
    )


def topdown_picture(
    scene: Scene, renderer: Renderer, *, width_px: int = 1024, marked: Sequence[str] | None = None
) -> TopDownPicture:
    """Draw `scene` from above with the renderer built for it.

    Args:
        scene: The scene.
        renderer: Its renderer.
        width_px: Columns; the height follows.
        marked: Ids of the objects that get a number, in order; None marks every object in scene order.
    """
    camera = orthographic_camera(scene, width_px)
    frame = renderer.render(camera, ("rgb", "id"))
    assert frame.rgb is not None
    assert frame.id is not None
    image = frame.rgb.copy()
    nothing = frame.id < 0
    image[nothing] = _OUTSIDE
    image[nothing & _built_up(scene, camera)] = _CUT_WALL
    wanted = [thing.id for thing in scene.objects] if marked is None else list(marked)
    places = _mark_places(scene, frame.id, wanted, radius_px=_radius_px(width_px))
    marks = {name: number for number, name in enumerate((n for n in wanted if n in places), start=1)}
    _draw_marks(image, {marks[name]: place for name, place in places.items()}, _radius_px(width_px))
    return TopDownPicture(image=image, marks=marks, camera=camera)


def _built_up(scene: Scene, camera: Camera) -> NDArray[np.bool_]:
    """(H, W) pixels in a room or its walls: where nothing is seen there, the picture cuts through a wall."""
    mask = np.zeros((camera.height_px, camera.width_px), dtype=np.uint8)
    for room in scene.rooms:
        polygon = np.asarray(room.floor_polygon_m, dtype=float)
        points = np.column_stack([polygon, np.full(len(polygon), room.floor_z_m)])
        cv2.fillPoly(mask, [np.round(project(camera, points).uv_px).astype(np.int32)], 1)
    assert camera.intrinsics_px is not None
    reach = 2 * round(_WALL_M * float(camera.intrinsics_px[0, 0])) + 1
    return np.asarray(cv2.dilate(mask, np.ones((reach, reach), np.uint8)) > 0)


def _radius_px(width_px: int) -> int:
    return max(8, round(width_px * 0.0115))


def _mark_places(
    scene: Scene, ids: NDArray[np.int32], wanted: Sequence[str], *, radius_px: int
) -> dict[str, tuple[int, int]]:
    """(column, row) of each mark: on the object, near its middle, clear of other marks where it has the room."""
    index = {thing.id: k for k, thing in enumerate(scene.objects)}
    unknown = [name for name in wanted if name not in index]
    if unknown:
        raise ValueError(f"scene {scene.id!r} has no object {unknown[0]!r} to mark")
    order = np.argsort(ids, axis=None, kind="stable")
    flat = ids.ravel()[order]
    taken = np.zeros((0, 2))
    places: dict[str, tuple[int, int]] = {}
    for name in wanted:
        pixels = order[np.searchsorted(flat, index[name]) : np.searchsorted(flat, index[name], side="right")]
        if len(pixels) < _LEAST_PX:
            continue
        points = np.column_stack([pixels % ids.shape[1], pixels // ids.shape[1]])
        off_middle = np.linalg.norm(points - points.mean(axis=0), axis=1)
        if len(taken):
            gap = np.min(np.linalg.norm(points[:, None] - taken[None], axis=2), axis=1)
            off_middle = off_middle + 1e6 * np.maximum(0, 2.1 * radius_px - gap)
        place = points[np.argmin(off_middle)]
        places[name] = (int(place[0]), int(place[1]))
        taken = np.concatenate([taken, place[None]])
    return places


def _draw_marks(image: Image, places: Mapping[int, tuple[int, int]], radius_px: int) -> None:
    """Draw numbered discs into `image`."""
    canvas = PilImage.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=round(radius_px * 1.25))
    for number, (x, y) in places.items():
        disc = (x - radius_px, y - radius_px, x + radius_px, y + radius_px)
        draw.ellipse(disc, fill=(255, 255, 255), outline=(20, 20, 20), width=max(1, radius_px // 7))
        draw.text((x, y), str(number), fill=(10, 10, 10), font=font, anchor="mm")
    image[:] = np.asarray(canvas)
