"""Tables and desks."""

from __future__ import annotations

import numpy as np

from allocentric.core.types import Material
from allocentric.scenes.furniture.finishes import DARK_METAL, METAL, draw, wood
from allocentric.scenes.furniture.model import Category, Piece, piece
from allocentric.scenes.furniture.parts import Shape

_TOP_M = 0.035


def _four_legs(shape: Shape, material: Material, size: tuple[float, float], height: float, leg: float) -> None:
    x, y = size[0] / 2 - leg / 2 - 0.02, size[1] / 2 - leg / 2 - 0.02
    shape.boxes(material, [[leg, leg, height]], [[i, j, 0] for i in (-x, x) for j in (-y, y)])


def dining_table(rng: np.random.Generator) -> Piece:
    """A table for four to eight; rectangular on four legs, or round on a column."""
    if rng.random() < 0.25:
        return _round_table(rng, draw(rng, 1.0, 1.25), draw(rng, 0.73, 0.77))
    depth, width, height = draw(rng, 0.82, 1.0), draw(rng, 1.3, 2.0), draw(rng, 0.73, 0.77)
    color, top = wood(rng)
    shape = Shape().box(top, (depth, width, _TOP_M), (0, 0, height - _TOP_M))
    _four_legs(shape, top, (depth, width), height - _TOP_M, 0.07)
    x, y, apron = depth / 2 - 0.07, width / 2 - 0.07, height - _TOP_M - 0.09
    shape.boxes(top, [[0.02, 2 * y, 0.09], [2 * x, 0.02, 0.09]], [[x, 0, apron], [0, y, apron]])
    shape.boxes(top, [[0.02, 2 * y, 0.09], [2 * x, 0.02, 0.09]], [[-x, 0, apron], [0, -y, apron]])
    return piece(shape, color, [(0, 0, height, depth - 0.1, width - 0.1, 0.9)])


def _round_table(rng: np.random.Generator, diameter: float, height: float) -> Piece:
    color, top = wood(rng)
    r = diameter / 2
    shape = Shape().lathe(
        top, [(0, height - 0.03), (r - 0.01, height - 0.03), (r, height - 0.015), (r, height), (0, height)], sides=20
    )
    shape.lathe(
        top,
        [
            (0, 0),
            (0.45 * r, 0),
            (0.4 * r, 0.04),
            (0.06, 0.1),
            (0.05, height - 0.12),
            (0.16, height - 0.03),
            (0, height - 0.03),
        ],
        sides=12,
        smooth=False,
    )
    side = 1.3 * r
    return piece(shape, color, [(0, 0, height, side, side, 0.9)])


def coffee_table(rng: np.random.Generator) -> Piece:
    """A low table with a shelf below its top, or a round one."""
    if rng.random() < 0.25:
        return _round_table(rng, draw(rng, 0.7, 0.9), draw(rng, 0.38, 0.45))
    depth, width, height = draw(rng, 0.5, 0.65), draw(rng, 0.9, 1.2), draw(rng, 0.38, 0.46)
    color, top = wood(rng)
    shape = Shape().box(top, (depth, width, _TOP_M), (0, 0, height - _TOP_M))
    legs = DARK_METAL if rng.random() < 0.4 else top
    _four_legs(shape, legs, (depth, width), height - _TOP_M, 0.05)
    shape.box(top, (depth - 0.08, width - 0.08, 0.02), (0, 0, 0.12))
    shelf = (0.0, 0.0, 0.14, depth - 0.16, width - 0.2, height - _TOP_M - 0.15)
    return piece(shape, color, [(0, 0, height, depth - 0.06, width - 0.06, 0.9), shelf])


def desk(rng: np.random.Generator) -> Piece:
    """A desk: top, drawers on one side, panel legs."""
    depth, width, height = draw(rng, 0.6, 0.75), draw(rng, 1.2, 1.6), draw(rng, 0.72, 0.76)
    color, top = wood(rng)
    shape = Shape().box(top, (depth, width, 0.03), (0, 0, height - 0.03))
    drawers, side = 0.4, 1 if rng.random() < 0.5 else -1
    middle = side * (width / 2 - drawers / 2 - 0.02)
    shape.box(top, (depth - 0.06, drawers, height - 0.1), (-0.01, middle, 0.07))
    shape.boxes(top, [[0.02, drawers - 0.03, 0.17]], [[depth / 2 - 0.03, middle, z] for z in (0.11, 0.30, 0.49)])
    shape.boxes(METAL, [[0.02, 0.12, 0.015]], [[depth / 2 - 0.015, middle, z] for z in (0.19, 0.38, 0.57)])
    shape.boxes(METAL, [[0.04, 0.04, 0.07]], [[x, middle + y, 0] for x in (-0.2, 0.2) for y in (-0.15, 0.15)])
    shape.box(top, (depth - 0.06, 0.03, height - 0.03), (-0.01, -side * (width / 2 - 0.035), 0))
    shape.box(top, (0.02, width - drawers - 0.06, 0.3), (-depth / 2 + 0.04, -side * drawers / 2, height - 0.33))
    return piece(shape, color, [(0, 0, height, depth - 0.06, width - 0.06, 1.0)])


def side_table(rng: np.random.Generator) -> Piece:
    """A small high table, round or square."""
    size, height = draw(rng, 0.38, 0.5), draw(rng, 0.48, 0.62)
    if rng.random() < 0.5:
        return _round_table(rng, size, height)
    color, top = wood(rng)
    shape = Shape().box(top, (size, size, 0.025), (0, 0, height - 0.025))
    _four_legs(shape, top, (size, size), height - 0.025, 0.035)
    shape.box(top, (size - 0.06, size - 0.06, 0.018), (0, 0, height * 0.3))
    return piece(shape, color, [(0, 0, height, size - 0.05, size - 0.05, 0.9)])


def console_table(rng: np.random.Generator) -> Piece:
    """A narrow table for a wall."""
    depth, width, height = draw(rng, 0.28, 0.36), draw(rng, 0.8, 1.2), draw(rng, 0.76, 0.86)
    color, top = wood(rng)
    shape = Shape().box(top, (depth, width, 0.03), (0, 0, height - 0.03))
    _four_legs(shape, DARK_METAL if rng.random() < 0.5 else top, (depth, width), height - 0.03, 0.035)
    shape.box(top, (depth - 0.05, width - 0.05, 0.02), (0, 0, 0.2))
    return piece(shape, color, [(0, 0, height, depth - 0.06, width - 0.06, 0.9)])


CATEGORIES: dict[str, Category] = {
    "dining table": Category(make=dining_table, spot="group"),
    "coffee table": Category(make=coffee_table, spot="group"),
    "desk": Category(make=desk, spot="group"),
    "side table": Category(make=side_table, spot="corner", rooms={"living room": 0.8, "office": 0.2, "bedroom": 0.15}),
    "console table": Category(
        make=console_table, spot="wall", rooms={"hallway": 0.6, "dining room": 0.3}, per_house=1, gap_m=0.3
    ),
}
