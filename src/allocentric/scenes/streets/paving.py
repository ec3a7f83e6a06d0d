"""What lies on the ground: carriageways with their markings, kerbs, paved sidewalks, crossings, grass beyond."""

from __future__ import annotations

import numpy as np

from allocentric.core.types import Material
from allocentric.scenes.furniture.finishes import plain
from allocentric.scenes.furniture.parts import Shape
from allocentric.scenes.streets.blocks import HALF_ROAD_M, ROAD_Z_M, Area, Layout, Rect

_ASPHALT = Material(pattern="noise", color=(0.34, 0.34, 0.35), color2=(0.27, 0.27, 0.28), scale_m=0.25, roughness=0.95)
_GRASS = Material(pattern="noise", color=(0.34, 0.46, 0.22), color2=(0.26, 0.38, 0.17), scale_m=0.8, roughness=1.0)
_KERB = Material(pattern="noise", color=(0.72, 0.71, 0.69), color2=(0.64, 0.63, 0.61), scale_m=0.1, roughness=0.95)
_PAINT = plain((0.92, 0.92, 0.90), roughness=0.8)
_SLABS = Material(pattern="tiles", color=(0.66, 0.64, 0.61), color2=(0.50, 0.49, 0.47), scale_m=0.5, roughness=0.95)
_SETTS = Material(pattern="tiles", color=(0.70, 0.60, 0.50), color2=(0.50, 0.43, 0.37), scale_m=0.22, roughness=0.95)
_SLAB_M = 0.2
_BEYOND_M = 10.0
_KERB_M = 0.15
_PAINT_M = 0.012  # thick, so that depth buffers tell it from the road at a distance


def ground(layout: Layout) -> Shape:
    """Grass, which the town stands on, below everything."""
    x0, y0, x1, y1 = layout.outline
    wide = Rect(x0 - _BEYOND_M, y0 - _BEYOND_M, x1 + _BEYOND_M, y1 + _BEYOND_M)
    return Shape().box(_GRASS, (*wide.size, _SLAB_M), (*wide.middle, ROAD_Z_M - 0.1 - _SLAB_M))


def road(layout: Layout, index: int) -> Shape:
    """One carriageway with a broken line in its middle and the bays of parked cars marked."""
    rect = layout.roads[index]
    shape = Shape().box(_ASPHALT, (*rect.size, _SLAB_M), (*rect.middle, ROAD_Z_M - _SLAB_M - 0.002 * (index % 2)))
    axis = 0 if rect.size[0] > rect.size[1] else 1
    length = rect.size[axis]
    for start in np.arange(2.0, length - 2.0, 4.0):
        at = rect[axis] + float(start) + 0.9
        if any(j[axis] - 4.5 < at < j[axis + 2] + 4.5 for j in layout.junctions):
            continue
        _line(shape, rect, axis, at, 0.0, 1.8)
        for side in (-1, 1):
            _line(shape, rect, axis, at, side * (HALF_ROAD_M - 2.25), 3.0)
    return shape


def _line(shape: Shape, rect: Rect, axis: int, along: float, off: float, long: float) -> None:
    across = rect.middle[1 - axis] + off
    size, at = (long, 0.12), (along, across)
    if axis == 1:
        size, at = (size[1], size[0]), (at[1], at[0])
    shape.box(_PAINT, (*size, _PAINT_M), (*at, ROAD_Z_M))


def pavement(area: Area) -> Shape:
    """The floor of a sidewalk with its kerb, a crossing with its bars, or the square."""
    rect = area.rect
    shape = Shape()
    if area.kind == "crossing":
        shape.box(_ASPHALT, (*rect.size, _SLAB_M), (*rect.middle, -_SLAB_M))
        axis = 0 if rect.size[0] > rect.size[1] else 1
        count = int(rect.size[axis] // 1.0)
        for k in range(count):
            middle, edges = list(rect.middle), list(rect.size)
            middle[axis] = rect[axis] + (k + 0.5) * rect.size[axis] / count
            edges[axis] = 0.5
            shape.box(_PAINT, (edges[0], edges[1], _PAINT_M), (middle[0], middle[1], 0.0))
        return shape
    material = _SETTS if area.kind == "square" else _SLABS
    shape.box(material, (*rect.size, _SLAB_M), (*rect.middle, -_SLAB_M))
    if area.to_road != (0, 0):
        dx, dy = area.to_road
        x, y = rect.middle
        along = rect.size[1] if dx else rect.size[0]
        out = (rect.size[0] if dx else rect.size[1]) / 2 - _KERB_M / 2
        size = (_KERB_M, along, _PAINT_M) if dx else (along, _KERB_M, _PAINT_M)
        shape.box(_KERB, size, (x + dx * out, y + dy * out, 0.0))
    return shape
