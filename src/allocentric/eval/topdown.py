"""Maps seen from above, as SVG: rooms, objects, the camera's path, and the geometry of a right answer.

A map is drawn once per scene and path and reused by every question about it; the marks of one answer are an overlay in
the same coordinates. Drawing units are centimetres, y down, so world (x, y) metres becomes (100 x, -100 y). Colours
come from the page's style sheet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from allocentric.core.geometry import box_footprint, polygon_area
from allocentric.core.types import Camera, FloatArray, Item, Object, Opening, Room, Scene
from allocentric.datasets.trace import Mark, marks

_CM = 100.0
_MARGIN_M = 0.5
_WALL_M = 0.16
"""Holes are drawn this thick, a little more than walls are."""
_LABEL_SHARE = 0.019
"""Font size over the longer side of the map."""


@dataclass(frozen=True, kw_only=True)
class TopDown:
    """The map of one scene with one camera path."""

    base: str
    """SVG elements without a root: rooms, objects, path, scale bar."""
    view_box: tuple[float, float, float, float]
    """x, y, width, height in drawing units."""
    font_size: float
    """In drawing units."""
    cameras: tuple[Camera, ...]
    """In the order of the frames."""

    @property
    def view_box_text(self) -> str:
        """Value of the attribute viewBox."""
        return " ".join(_n(value) for value in self.view_box)


def map_of(scene: Scene, cameras: Sequence[Camera]) -> TopDown | None:
    """Draw `scene` from above; None where it has nothing with an extent."""
    extent = _extent(scene, cameras)
    if extent is None:
        return None
    low, high = extent
    size = np.maximum(high - low, 1.0)
    font = float(_LABEL_SHARE * size.max() * _CM)
    parts = [
        *(_room(room) for room in scene.rooms),
        *(_opening(opening) for opening in _distinct_openings(scene.rooms)),
        *(_object(thing) for thing in sorted(scene.objects, key=_top_m)),
        *_path(cameras, font),
        *_labels(scene, font),
        _scale_bar(low, font),
    ]
    box = (low[0] * _CM, -high[1] * _CM, size[0] * _CM, size[1] * _CM)
    return TopDown(base="".join(parts), view_box=box, font_size=font, cameras=tuple(cameras))


def overlay(item: Item, scene: Scene, drawn: TopDown) -> str:
    """SVG elements of the marks of `item`'s right answer, and of the frames its evidence names."""
    font = drawn.font_size
    views = [item.views[index] for index in item.evidence.frames if index < len(item.views)]
    seen = [_camera(view.camera, font, "cam seen") for view in views if view.camera is not None]
    drawn_marks = marks(item, scene) if item.evidence.steps else named(item, scene)
    shown = sorted(drawn_marks, key=lambda mark: ("other", "given", "answer").index(mark.role))
    return "".join([*seen, *(_mark(mark, font) for mark in shown), *_captions(shown[::-1], 1.25 * font)])


def named(item: Item, scene: Scene) -> list[Mark]:
    """Footprints of the objects whose labels occur in the words of `item`: all that is known without a derivation."""
    words = " ".join([item.prompt, *item.choices]).casefold()
    labels = {thing.label for thing in scene.objects}
    found = {label for label in labels if re.search(rf"(?<!\w){re.escape(label.casefold())}(?!\w)", words)}
    return [
        Mark("polygon", _xy(box_footprint(thing.world_from_object, thing.size_m)), thing.label)
        for thing in scene.objects
        if thing.label in found
    ]


def _xy(points_m: FloatArray) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in points_m)


# ----------------------------------------------------------------------------------------------------------- the scene


def _extent(scene: Scene, cameras: Sequence[Camera]) -> tuple[FloatArray, FloatArray] | None:
    points = [
        *(room.floor_polygon_m for room in scene.rooms),
        *(box_footprint(thing.world_from_object, thing.size_m) for thing in scene.objects),
        *(camera.world_from_camera[None, :2, 3] for camera in cameras),
    ]
    if not points:
        return None
    every = np.concatenate(points)
    return every.min(axis=0) - _MARGIN_M, every.max(axis=0) + _MARGIN_M


def _room(room: Room) -> str:
    return (
        f'<polygon class="room" points="{_points(room.floor_polygon_m)}"><title>{escape(room.kind)}</title></polygon>'
    )


def _distinct_openings(rooms: Iterable[Room]) -> list[Opening]:
    """A door between two rooms is listed in both; it is drawn once."""
    found = {tuple(np.round(o.segment_m, 3).ravel()): o for room in rooms for o in room.openings}
    return list(found.values())


def _opening(opening: Opening) -> str:
    """A hole in the wall's outline, of a wall's thickness, with a line for the leaf or the pane."""
    (x0, y0), (x1, y1) = opening.segment_m * _CM
    line = f'd="M{_n(x0)} {_n(-y0)}L{_n(x1)} {_n(-y1)}"'
    hole = f'<path class="hole" stroke-width="{_n(_WALL_M * _CM)}" {line}/>'
    return hole if opening.kind == "passage" else f'{hole}<path class="{opening.kind}" {line}/>'


def _object(thing: Object) -> str:
    footprint = box_footprint(thing.world_from_object, thing.size_m)
    size = " × ".join(f"{edge:.2f}" for edge in thing.size_m)
    title = f"<title>{escape(thing.label)} ({size} m)</title>"
    return f'<polygon class="obj" points="{_points(footprint)}">{title}</polygon>'


def _top_m(thing: Object) -> float:
    return float(thing.world_from_object[2, 3] + np.abs(thing.world_from_object[2, :3]) @ thing.size_m / 2)


def _labels(scene: Scene, font: float) -> list[str]:
    """Labels of the largest objects first; one that would cover another is left to the tooltip."""
    free = _FreeSpace(font)
    texts = []
    areas = [polygon_area(box_footprint(thing.world_from_object, thing.size_m)) for thing in scene.objects]
    for index in np.argsort(areas)[::-1]:
        thing = scene.objects[int(index)]
        x, y = thing.world_from_object[0, 3] * _CM, -thing.world_from_object[1, 3] * _CM
        if free.take(x, y, thing.label):
            texts.append(_text(x, y, thing.label, font, "lab"))
    return texts


class _FreeSpace:
    """Remembers where text stands, by its estimated size."""

    def __init__(self, font: float) -> None:
        self._font = font
        self._taken: list[tuple[float, float, float, float]] = []

    def take(self, x: float, y: float, text: str) -> bool:
        """Claim the place of `text` centred at (x, y); False where something stands already."""
        half_width, half_height = 0.3 * self._font * len(text), 0.62 * self._font
        box = (x - half_width, y - half_height, x + half_width, y + half_height)
        if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in self._taken):
            return False
        self._taken.append(box)
        return True


def _scale_bar(low: FloatArray, font: float) -> str:
    x, y = (low + 0.2) * _CM
    line = f'<path class="scale" d="M{_n(x)} {_n(-y)}h{_n(_CM)}"/>'
    return line + _text(x + _CM / 2, -y - 0.7 * font, "1 m", font, "lab")


# ------------------------------------------------------------------------------------------------------------ the path


def _path(cameras: Sequence[Camera], font: float) -> list[str]:
    if not cameras:
        return []
    positions = np.array([camera.world_from_camera[:2, 3] for camera in cameras])
    parts = [f'<polyline class="path" points="{_points(positions)}"/>']
    parts += [_camera(camera, font, "cam") for camera in cameras]
    x, y = positions[0] * _CM
    return [*parts, f'<circle class="start" cx="{_n(x)}" cy="{_n(-y)}" r="{_n(0.5 * font)}"/>']


def _camera(camera: Camera, font: float, css: str) -> str:
    """A tick along the viewing direction; a bare point for panoramas and cameras that look straight down."""
    x, y = camera.world_from_camera[:2, 3] * _CM
    forward = camera.world_from_camera[:2, 2]
    length = float(np.linalg.norm(forward))
    if camera.model != "pinhole" or length < 1e-6:
        return f'<circle class="{css}" cx="{_n(x)}" cy="{_n(-y)}" r="{_n(0.25 * font)}"/>'
    dx, dy = forward / length * 1.3 * font
    return f'<path class="{css}" d="M{_n(x)} {_n(-y)}l{_n(dx)} {_n(-dy)}"/>'


# ----------------------------------------------------------------------------------------------------------- the marks


def _mark(mark: Mark, font: float) -> str:
    css = f"mark {mark.role}"
    points = np.array(mark.points_m, dtype=float).reshape(-1, 2)
    if mark.kind == "point":
        x, y = points[0] * _CM
        return f'<circle class="{css}" cx="{_n(x)}" cy="{_n(-y)}" r="{_n(0.5 * font)}"/>'
    if mark.kind == "polygon":
        return f'<polygon class="{css}" points="{_points(points)}"/>'
    line = f'<polyline class="{css} line" points="{_points(points)}"/>'
    if mark.kind == "arrow":
        return line + _arrow_head(points[-2], points[-1], font, css)
    if mark.kind == "segment":
        ends = (
            f'<circle class="{css} end" cx="{_n(x)}" cy="{_n(-y)}" r="{_n(0.3 * font)}"/>' for x, y in points * _CM
        )
        return line + "".join(ends)
    return line


def _arrow_head(tail: FloatArray, head: FloatArray, font: float, css: str) -> str:
    direction = head - tail
    length = float(np.linalg.norm(direction))
    if length < 1e-9:
        return ""
    along = direction / length * font / _CM
    across = np.array([-along[1], along[0]]) * 0.5
    triangle = np.array([head, head - along + across, head - along - across])
    return f'<polygon class="{css} head" points="{_points(triangle)}"/>'


def _captions(shown: Sequence[Mark], font: float) -> list[str]:
    """The captions of marks, the most important first; one that would cover another is left out."""
    free = _FreeSpace(font)
    texts = []
    for mark in shown:
        x, y = _caption_place(mark, font)
        if mark.caption and free.take(x, y, mark.caption):
            texts.append(_text(x, y, mark.caption, font, f"cap {mark.role}"))
    return texts


def _caption_place(mark: Mark, font: float) -> tuple[float, float]:
    """In the middle of an area or a route, beside the middle of a line; drawing units."""
    points = np.array(mark.points_m, dtype=float).reshape(-1, 2) * _CM
    x, y = points.mean(axis=0)
    if mark.kind in ("segment", "arrow"):
        dx, dy = points[-1] - points[0]
        away = 0.9 * font / max(float(np.hypot(dx, dy)), 1e-9)
        x, y = x - dy * away, y + dx * away
    return float(x), float(-y)


def _text(x: float, y: float, text: str, size: float, css: str) -> str:
    return f'<text class="{css}" x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}">{escape(text)}</text>'


def _points(points_m: FloatArray) -> str:
    return " ".join(f"{_n(x * _CM)},{_n(-y * _CM)}" for x, y in np.asarray(points_m, dtype=float))


def _n(value: float) -> str:
    """A number as short as a millimetre allows."""
    text = f"{value:.1f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
