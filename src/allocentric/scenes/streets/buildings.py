"""Buildings of a street: walls of several floors with windows, shop fronts with awnings, doors, cornices and roofs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from allocentric.core.types import Material
from allocentric.scenes.furniture.finishes import BRIGHT, PALETTE, Color, draw, fabric, pick, plain, shade
from allocentric.scenes.furniture.model import Piece, piece
from allocentric.scenes.furniture.parts import Shape
from allocentric.scenes.streets.blocks import Lot

GROUND_FLOOR_M = 3.8
"""Height of the floor with the shops."""
_FLOOR_M = 3.1
AWNING_BOTTOM_M = 2.45
"""Height of the lower rim of every awning."""
_PANE = Material(pattern="screen", color=(0.10, 0.15, 0.20), color2=(0.52, 0.66, 0.76), scale_m=1.0, roughness=0.1)
_SHOP_PANE = Material(
    pattern="screen", color=(0.16, 0.15, 0.14), color2=(0.66, 0.64, 0.56), scale_m=1.0, roughness=0.1
)
_STONE = Material(pattern="noise", color=(0.78, 0.75, 0.69), color2=(0.70, 0.67, 0.61), scale_m=0.3, roughness=0.95)
_TRIM = plain((0.93, 0.92, 0.88), roughness=0.8)
_SLATE = Material(pattern="tiles", color=(0.30, 0.32, 0.36), color2=(0.20, 0.21, 0.24), scale_m=0.35, roughness=0.8)
_CLAY = Material(pattern="tiles", color=(0.62, 0.28, 0.19), color2=(0.44, 0.18, 0.12), scale_m=0.3, roughness=0.9)
_FELT = Material(pattern="noise", color=(0.42, 0.42, 0.43), color2=(0.36, 0.36, 0.37), scale_m=0.5, roughness=1.0)
_PLASTER: tuple[Color, ...] = (
    (0.92, 0.86, 0.70), (0.88, 0.76, 0.62), (0.80, 0.84, 0.86), (0.90, 0.89, 0.84), (0.84, 0.66, 0.54),
    (0.74, 0.80, 0.72), (0.88, 0.72, 0.68), (0.70, 0.74, 0.82),
)  # fmt: skip
_BRICK: tuple[Color, ...] = ((0.60, 0.28, 0.20), (0.70, 0.48, 0.34), (0.46, 0.24, 0.20))


class Awning(NamedTuple):
    """A canopy over a shop window, not yet an object."""

    piece: Piece
    xy_m: tuple[float, float]
    """Middle of its box."""
    yaw_rad: float
    """Where its front looks."""


class _Style(NamedTuple):
    wall: Material
    trim: Material
    floors: int
    window: tuple[float, float]  # width and height
    paired: bool  # two casements
    shutters: Material | None


def building(rng: np.random.Generator, lot: Lot) -> tuple[Shape, list[Awning]]:
    """A building on its lot, in world axes, and the awnings of its shops."""
    style = _style(rng)
    width, depth = lot.rect.size
    x, y = lot.rect.middle
    height = GROUND_FLOOR_M + (style.floors - 1) * _FLOOR_M
    shape = Shape().box(style.wall, (width, depth, height + 0.1), (x, y, -0.1))
    awnings: list[Awning] = []
    for side in lot.fronts:
        length = depth if side[0] else width
        out = (width if side[0] else depth) / 2
        at = (x + side[0] * out, y + side[1] * out)
        yaw = float(np.arctan2(side[1], side[0]))
        front, canopies = _front(rng, style, length)
        shape.put(front, (*at, 0.0), yaw)
        awnings += [_turned(canopy, at, yaw) for canopy in canopies]
    _roof(rng, shape, style, lot, height)
    return shape, awnings


def _style(rng: np.random.Generator) -> _Style:
    if rng.random() < 0.4:
        color = _BRICK[int(rng.integers(len(_BRICK)))]
        wall = Material(pattern="bricks", color=color, color2=(0.78, 0.73, 0.66), scale_m=0.26, roughness=0.95)
    else:
        color = _PLASTER[int(rng.integers(len(_PLASTER)))]
        wall = Material(pattern="noise", color=color, color2=shade(color, 0.95), scale_m=0.4, roughness=0.95)
    shutters = None
    if rng.random() < 0.3:
        shutters = plain(shade(PALETTE[pick(rng, ("green", "blue", "brown", "gray"))], 0.8), roughness=0.7)
    return _Style(
        wall=wall, trim=_TRIM if rng.random() < 0.7 else _STONE, floors=int(rng.integers(2, 6)),
        window=(draw(rng, 0.95, 1.25), draw(rng, 1.5, 1.9)), paired=bool(rng.random() < 0.6), shutters=shutters,
    )  # fmt: skip


def _front(rng: np.random.Generator, style: _Style, length: float) -> tuple[Shape, list[Awning]]:
    """One wall towards a street; x points outwards from the wall, y along it, the ground's middle is the origin."""
    shape = Shape()
    bays = max(1, round(length / 4.2))
    bay = length / bays
    awnings: list[Awning] = []
    entrance = int(rng.integers(bays)) if bays > 1 else -1
    shop = pick(rng, BRIGHT)
    for k in range(bays):
        y = -length / 2 + (k + 0.5) * bay
        if k == entrance:
            _entrance(rng, shape, style, y)
            shop = pick(rng, BRIGHT)
        else:
            if rng.random() < 0.4:
                shop = pick(rng, BRIGHT)
            awnings += _shop(rng, shape, y, bay, shop)
    for z, high, out in (
        (GROUND_FLOOR_M - 0.22, 0.2, 0.12),
        (GROUND_FLOOR_M + (style.floors - 1) * _FLOOR_M, 0.35, 0.3),
    ):
        shape.box(style.trim, (out, length, high), (out / 2, 0.0, z - (0.35 if high > 0.3 else 0.0)))
    shape.box(_STONE, (0.06, length, 0.35), (0.03, 0.0, -0.02))
    _windows(shape, style, length)
    if rng.random() < 0.35:
        _balconies(shape, style, length)
    return shape, awnings


def _windows(shape: Shape, style: _Style, length: float) -> None:
    wide, high = style.window
    count = max(1, int((length - 0.6) / (wide + 1.1)))
    along = (np.arange(count) + 0.5) / count * length - length / 2
    bottom = GROUND_FLOOR_M + 0.75 + np.arange(style.floors - 1) * _FLOOR_M
    if style.floors < 2:
        return
    at = np.stack(np.broadcast_arrays(0.0, along[None, :], bottom[:, None]), axis=-1).reshape(-1, 3)
    bar, deep = 0.08, 0.1
    shape.boxes(_PANE, (0.02, wide, high), at + np.array([0.01, 0, 0]))
    for shift in (-(wide + bar) / 2, (wide + bar) / 2):
        shape.boxes(style.trim, (deep, bar, high + bar), at + np.array([deep / 2, shift, 0]))
    shape.boxes(style.trim, (deep, wide, bar), at + np.array([deep / 2, 0, high]))
    shape.boxes(style.trim, (0.18, wide + 0.35, 0.09), at + np.array([0.09, 0, -0.09]))
    shape.boxes(style.trim, (0.05, wide, 0.05), at + np.array([0.025, 0, 0.62 * high]))
    if style.paired:
        shape.boxes(style.trim, (0.05, 0.05, high), at + np.array([0.025, 0, 0]))
    if style.shutters is not None and length / count > 2 * wide + 0.3:
        for shift in (-0.75 * wide - bar, 0.75 * wide + bar):
            shape.boxes(style.shutters, (0.05, wide / 2, high), at + np.array([0.025, shift, 0]))


def _balconies(shape: Shape, style: _Style, length: float) -> None:
    """One in the middle of each upper floor."""
    iron = plain((0.12, 0.13, 0.14), roughness=0.5)
    wide = min(3.2, length - 1.0)
    for floor in range(1, style.floors - 1):
        z = GROUND_FLOOR_M + floor * _FLOOR_M - 0.1 + 0.45
        shape.box(_STONE, (0.9, wide, 0.14), (0.45, 0.0, z))
        rails = np.linspace(-wide / 2 + 0.03, wide / 2 - 0.03, int(wide / 0.16))
        shape.boxes(
            iron,
            (0.02, 0.02, 0.85),
            np.column_stack([np.full(len(rails), 0.86), rails, np.full(len(rails), z + 0.14)]),
        )
        shape.box(iron, (0.05, wide, 0.05), (0.86, 0.0, z + 0.99))
        for y in (-wide / 2 + 0.02, wide / 2 - 0.02):
            shape.box(iron, (0.86, 0.04, 0.05), (0.43, y, z + 0.99))


def _entrance(rng: np.random.Generator, shape: Shape, style: _Style, y: float) -> None:
    """A house door with a frame, a fanlight and a step."""
    leaf = plain(
        shade(PALETTE[pick(rng, ("green", "blue", "red", "brown", "dark gray", "teal"))], 0.75), roughness=0.4
    )
    shape.box(style.trim, (0.14, 1.5, 2.9), (0.07, y, 0.0))
    shape.box(leaf, (0.05, 1.1, 2.1), (0.165, y, 0.1))
    panel = plain(shade(leaf.color, 0.8), roughness=0.4)
    shape.boxes(panel, (0.03, 0.36, 0.8), [(0.195, y + s, z) for s in (-0.25, 0.25) for z in (0.25, 1.2)])
    shape.box(_PANE, (0.03, 1.1, 0.45), (0.155, y, 2.3))
    shape.box(_STONE, (0.16, 1.6, 0.1), (0.12, y, 0.0))
    shape.ellipsoid(Material(color=(0.8, 0.65, 0.3), roughness=0.3), (0.07, 0.07, 0.07), (0.22, y + 0.42, 1.1))


def _shop(rng: np.random.Generator, shape: Shape, y: float, bay: float, color: str) -> list[Awning]:
    """Shop windows with a door between them under a sign board, mostly with an awning."""
    wide = bay - 0.7
    frame = plain(shade(PALETTE[color], 0.7), roughness=0.4)
    shape.box(frame, (0.1, wide, 0.5), (0.05, y, 0.0))
    shape.box(_SHOP_PANE, (0.03, wide, 2.15), (0.015, y, 0.5))
    bars = (-wide / 2, -0.55, 0.55, wide / 2)
    shape.boxes(frame, (0.14, 0.12, 2.7), [(0.07, y + bar, 0.0) for bar in bars])
    shape.box(frame, (0.1, 1.0, 0.95), (0.06, y, 0.0))
    shape.box(plain((0.8, 0.7, 0.4), roughness=0.3), (0.06, 0.04, 0.4), (0.14, y + 0.4, 0.95))
    shape.box(frame, (0.2, wide + 0.12, 0.62), (0.1, y, 2.65))
    # A sign board's pale stripe stands for the lettering.
    shape.box(plain((0.95, 0.93, 0.85), roughness=0.6), (0.03, wide * 0.55, 0.22), (0.215, y, 2.86))
    _display(rng, shape, y, wide)
    if rng.random() > 0.65:
        return []
    cloth = fabric(rng, (color,), pattern="stripes" if rng.random() < 0.6 else "fabric")
    long = wide + 0.1
    canopy = Shape().prism(cloth.material, [(0.0, 0.55), (1.15, 0.22), (1.15, 0.26), (0.0, 0.62)], long, along="y")
    canopy.box(cloth.material, (0.03, long, 0.24), (1.15, 0.0, 0.0))
    made = piece(canopy, cloth.color)
    return [Awning(made, (0.24 + float(made.size_m[0]) / 2, y), 0.0)]


def _display(rng: np.random.Generator, shape: Shape, y: float, wide: float) -> None:
    """Goods behind the panes, pressed flat against them as there is no room inside."""
    for start, end in ((-wide / 2 + 0.1, -0.65), (0.65, wide / 2 - 0.1)):
        if end - start < 0.3:
            continue
        for position in np.arange(start + 0.15, end - 0.1, 0.34):
            material = plain(PALETTE[pick(rng, BRIGHT)], roughness=0.6)
            high = float(rng.uniform(0.15, 0.5))
            shape.box(material, (0.04, float(rng.uniform(0.14, 0.28)), high), (0.04, y + float(position), 0.5))


def _roof(rng: np.random.Generator, shape: Shape, style: _Style, lot: Lot, height: float) -> None:
    width, depth = lot.rect.size
    x, y = lot.rect.middle
    tiles = _SLATE if rng.random() < 0.5 else _CLAY
    along = "x" if any(side[1] for side in lot.fronts) else "y"
    across = depth if along == "x" else width
    long = width if along == "x" else depth
    if rng.random() < 0.6:
        rise = min(3.6, 0.45 * across)
        run = min(across / 2, 4.5)
        outline = [(-across / 2, 0.0), (across / 2, 0.0), (across / 2 - run, rise), (-across / 2 + run, rise)]
        if run >= across / 2 - 0.05:
            outline = [(-across / 2, 0.0), (across / 2, 0.0), (0.0, rise)]
        shape.prism(tiles, outline, long, (x, y, height), along=along)
        top = height + rise
    else:
        shape.boxes(style.trim, [(width, 0.25, 0.5), (width, 0.25, 0.5)],
                    [(x, lot.rect.y0 + 0.125, height), (x, lot.rect.y1 - 0.125, height)])  # fmt: skip
        shape.boxes(style.trim, [(0.25, depth - 0.5, 0.5)] * 2,
                    [(lot.rect.x0 + 0.125, y, height), (lot.rect.x1 - 0.125, y, height)])  # fmt: skip
        shape.box(_FELT, (width - 0.2, depth - 0.2, 0.04), (x, y, height))
        top = height + 0.5
    chimney = Material(pattern="bricks", color=_BRICK[0], color2=(0.78, 0.73, 0.66), scale_m=0.26, roughness=0.95)
    for _ in range(int(rng.integers(1, 3))):
        shift = rng.uniform(-0.3, 0.3, 2) * (width, depth)
        shape.box(chimney, (0.7, 0.9, top - height + 0.9), (x + float(shift[0]), y + float(shift[1]), height))


def _turned(awning: Awning, at: tuple[float, float], yaw: float) -> Awning:
    cos, sin = round(float(np.cos(yaw))), round(float(np.sin(yaw)))
    x, y = awning.xy_m
    return awning._replace(xy_m=(at[0] + cos * x - sin * y, at[1] + sin * x + cos * y), yaw_rad=yaw)
