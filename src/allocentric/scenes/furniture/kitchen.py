"""Kitchen units and what stands on them."""

from __future__ import annotations

import numpy as np

from allocentric.core.types import Material
from allocentric.scenes.furniture.finishes import (
    BLACK,
    CERAMIC,
    DARK_METAL,
    GLASS,
    METAL,
    PALETTE,
    draw,
    paint,
    pick,
    plain,
    shade,
    wood,
)
from allocentric.scenes.furniture.model import Category, Piece, piece
from allocentric.scenes.furniture.parts import Shape

_DEPTH_M = 0.6
_HEIGHT_M = 0.9
_STONE = Material(pattern="marble", color=(0.30, 0.30, 0.32), color2=(0.42, 0.42, 0.44), scale_m=0.4, roughness=0.3)
_FRONT = plain((0.88, 0.87, 0.83), roughness=0.4)
_PLINTH = plain((0.22, 0.22, 0.23))


def _base(width: float, front: Material) -> Shape:
    """A base unit with a worktop."""
    shape = Shape().box(front, (_DEPTH_M - 0.04, width, _HEIGHT_M - 0.14), (-0.02, 0, 0.1))
    shape.box(_PLINTH, (_DEPTH_M - 0.1, width - 0.002, 0.1), (-0.03, 0, 0))
    return shape.box(_STONE, (_DEPTH_M, width, 0.04), (0, 0, _HEIGHT_M - 0.04))


def _doors(shape: Shape, width: float, bottom: float, height: float, front_x: float, material: Material) -> None:
    count = 1 if width < 0.55 else 2
    each = width / count
    middles = [(k + 0.5) * each - width / 2 for k in range(count)]
    shape.boxes(material, [(0.02, each - 0.01, height - 0.01)], [(front_x, y, bottom + 0.005) for y in middles])
    inner = [y + (each / 2 - 0.05) * (1 if k == 0 else -1) for k, y in enumerate(middles)]
    shape.boxes(METAL, [(0.02, 0.014, 0.16)], [(front_x + 0.02, y, bottom + height / 2) for y in inner])


def kitchen_counter(rng: np.random.Generator) -> Piece:
    """A base unit: drawer above doors, stone worktop."""
    width = draw(rng, 0.55, 0.8)
    shape = _base(width, _FRONT)
    _doors(shape, width, 0.1, 0.56, _DEPTH_M / 2 - 0.035, _FRONT)
    shape.box(_FRONT, (0.02, width - 0.01, 0.17), (_DEPTH_M / 2 - 0.035, 0, 0.68))
    shape.box(METAL, (0.02, 0.18, 0.014), (_DEPTH_M / 2 - 0.015, 0, 0.77))
    return piece(shape, "white", [(0, 0, _HEIGHT_M, _DEPTH_M - 0.08, width - 0.04, 0.5)])


def kitchen_sink(rng: np.random.Generator) -> Piece:
    """A base unit with a steel basin and a tap."""
    width = draw(rng, 0.7, 0.85)
    basin = (0.38, width - 0.22)
    shape = Shape().box(_FRONT, (_DEPTH_M - 0.04, width, 0.58), (-0.02, 0, 0.1))
    shape.box(_PLINTH, (_DEPTH_M - 0.1, width - 0.002, 0.1), (-0.03, 0, 0))
    shape.boxes(_FRONT, [(0.02, width, 0.2)], [(_DEPTH_M / 2 - 0.05, 0, 0.66)])
    shape.boxes(_FRONT, [(_DEPTH_M - 0.06, 0.02, 0.2)], [(-0.02, s * (width - 0.02) / 2, 0.66) for s in (-1, 1)])
    x, y = (_DEPTH_M - basin[0]) / 2, (width - basin[1]) / 2
    shape.boxes(_STONE, [(x, width, 0.04)], [(s * (_DEPTH_M - x) / 2, 0, 0.86) for s in (-1, 1)])
    shape.boxes(_STONE, [(basin[0], y, 0.04)], [(0, s * (width - y) / 2, 0.86) for s in (-1, 1)])
    shape.box(METAL, (*basin, 0.01), (0, 0, 0.70))
    shape.boxes(METAL, [(0.01, basin[1], 0.195)], [(s * basin[0] / 2, 0, 0.70) for s in (-1, 1)])
    shape.boxes(METAL, [(basin[0], 0.01, 0.195)], [(0, s * basin[1] / 2, 0.70) for s in (-1, 1)])
    shape.cylinder(DARK_METAL, 0.03, 0.006, (0, 0, 0.71), sides=8)
    _doors(shape, width, 0.1, 0.56, _DEPTH_M / 2 - 0.035, _FRONT)
    _tap(shape, (-0.24, 0.0, 0.9), 0.26)
    return piece(shape, "white")


def _tap(shape: Shape, at: tuple[float, float, float], height: float) -> None:
    x, y, z = at
    shape.cylinder(METAL, 0.022, 0.03, at, sides=8)
    shape.cylinder(METAL, 0.012, height, at, sides=8)
    shape.rod(METAL, (x, y, z + height), (x + 0.09, y, z + height + 0.03), 0.012)
    shape.rod(METAL, (x + 0.09, y, z + height + 0.03), (x + 0.16, y, z + height - 0.03), 0.012)
    shape.rod(METAL, (x, y, z + 0.05), (x, y + 0.07, z + 0.09), 0.008)


def stove(rng: np.random.Generator) -> Piece:
    """A cooker: oven with a window below, four burners and knobs above."""
    width = draw(rng, 0.58, 0.7)
    color, body = paint(rng, ("white", "gray", "black"), roughness=0.3)
    front = _DEPTH_M / 2
    shape = Shape().box(body, (_DEPTH_M - 0.03, width, _HEIGHT_M - 0.02), (-0.015, 0, 0))
    shape.box(BLACK, (_DEPTH_M, width, 0.02), (0, 0, _HEIGHT_M - 0.02))
    shape.box(METAL, (0.02, width - 0.04, 0.5), (front - 0.025, 0, 0.2))
    shape.box(BLACK, (0.012, width - 0.16, 0.26), (front - 0.015, 0, 0.3))
    shape.box(METAL, (0.02, width - 0.12, 0.02), (front + 0.012, 0, 0.66))
    shape.boxes(METAL, [(0.03, 0.02, 0.02)], [(front - 0.005, s * (width / 2 - 0.09), 0.66) for s in (-1, 1)])
    knob = BLACK if color != "black" else METAL
    shape.boxes(knob, [(0.03, 0.04, 0.04)], [(front - 0.015, (k - 1.5) * 0.12, 0.79) for k in range(4)])
    for x in (-0.13, 0.13):
        for y in (-0.14, 0.14):
            shape.lathe(
                DARK_METAL,
                [(0.06, 0), (0.085, 0), (0.085, 0.014), (0.06, 0.014), (0.06, 0)],
                (x, y, _HEIGHT_M),
                sides=12,
            )
            shape.boxes(DARK_METAL, [(0.2, 0.012, 0.016), (0.012, 0.2, 0.016)], [(x, y, _HEIGHT_M)])
    return piece(shape, color, [(-0.13, 0.14, _HEIGHT_M + 0.016, 0.28, 0.28, 0.5)])


def refrigerator(rng: np.random.Generator) -> Piece:
    """Two doors above each other with long handles."""
    depth, width, height = draw(rng, 0.6, 0.72), draw(rng, 0.6, 0.78), draw(rng, 1.6, 1.95)
    color, body = paint(rng, ("white", "gray", "dark gray", "red", "cream"), roughness=0.3)
    split = 0.38 * height
    shape = Shape().box(
        Material(color=shade(body.color, 0.85)), (depth - 0.08, width, height - 0.04), (-0.04, 0, 0.04)
    )
    shape.box(_PLINTH, (depth - 0.14, width - 0.04, 0.04), (-0.04, 0, 0))
    shape.box(body, (0.06, width, split - 0.065), (depth / 2 - 0.05, 0, 0.05))
    shape.box(body, (0.06, width, height - split - 0.005), (depth / 2 - 0.05, 0, split))
    handles = [
        (depth / 2 - 0.005, -width / 2 + 0.06, split - 0.36),
        (depth / 2 - 0.005, -width / 2 + 0.06, split + 0.06),
    ]
    shape.boxes(METAL, [(0.03, 0.025, 0.3), (0.03, 0.025, 0.45)], handles)
    return piece(shape, color, [(-0.03, 0, height, depth - 0.2, width - 0.1, 0.35)])


def dishwasher(rng: np.random.Generator) -> Piece:
    """A unit with one front, a handle and a control strip."""
    color, body = paint(rng, ("white", "gray"), roughness=0.3)
    shape = Shape().box(body, (_DEPTH_M - 0.04, 0.6, 0.76), (-0.02, 0, 0.1))
    shape.box(_PLINTH, (_DEPTH_M - 0.1, 0.598, 0.1), (-0.03, 0, 0))
    shape.box(_STONE, (_DEPTH_M, 0.6, 0.04), (0, 0, 0.86))
    front = _DEPTH_M / 2
    shape.box(body, (0.02, 0.58, 0.6), (front - 0.03, 0, 0.11))
    shape.box(BLACK, (0.02, 0.58, 0.1), (front - 0.03, 0, 0.74))
    shape.box(METAL, (0.02, 0.44, 0.02), (front - 0.01, 0, 0.68))
    shape.boxes(METAL, [(0.005, 0.02, 0.02)], [(front - 0.018, y, 0.78) for y in (-0.2, -0.15, 0.2)])
    return piece(shape, color, [(0, 0, 0.9, 0.5, 0.5, 0.5)])


def kitchen_cabinet(rng: np.random.Generator) -> Piece:
    """A wall cupboard."""
    width, height = draw(rng, 0.55, 0.7), draw(rng, 0.6, 0.72)
    shape = Shape().box(_FRONT, (0.3, width, height), (-0.01, 0, 0))
    _doors(shape, width, 0.0, height, 0.15, _FRONT)
    return piece(shape, "white")


def range_hood(rng: np.random.Generator) -> Piece:
    """A slanted hood with a chimney."""
    width, height = draw(rng, 0.56, 0.6), draw(rng, 0.5, 0.6)
    shape = Shape().box(METAL, (0.46, width, 0.06), (0, 0, 0))
    slope = [[-0.23, 0.06], [0.23, 0.06], [-0.02, 0.24], [-0.23, 0.24]]
    shape.prism(METAL, slope, width * 0.98, along="y")
    shape.box(METAL, (0.22, 0.26, height - 0.24), (-0.12, 0, 0.24))
    shape.boxes(BLACK, [(0.01, 0.03, 0.02)], [(0.232, y, 0.02) for y in (-0.06, 0.0, 0.06)])
    return piece(shape, "gray")


def microwave(rng: np.random.Generator) -> Piece:
    """A box with a dark window and a panel of knobs."""
    depth, width, height = draw(rng, 0.32, 0.4), draw(rng, 0.45, 0.52), draw(rng, 0.26, 0.3)
    color, body = paint(rng, ("white", "gray", "black"), roughness=0.3)
    shape = Shape().box(body, (depth - 0.02, width, height - 0.01), (-0.01, 0, 0.01))
    shape.box(DARK_METAL, (0.012, width * 0.66, height - 0.06), (depth / 2 - 0.016, -width * 0.14, 0.035))
    shape.box(METAL, (0.02, 0.015, height - 0.1), (depth / 2 - 0.01, width * 0.22, 0.055))
    shape.boxes(METAL, [(0.015, 0.05, 0.05)], [(depth / 2 - 0.015, width * 0.37, z * height) for z in (0.25, 0.55)])
    shape.boxes(BLACK, [(0.03, 0.03, 0.01)], [(x, y, 0) for x in (-0.1, 0.1) for y in (-0.18, 0.18)])
    return piece(shape, color)


def toaster(rng: np.random.Generator) -> Piece:
    """A rounded body with two slots and slices of toast."""
    color, body = paint(rng, ("red", "gray", "white", "black", "teal"), roughness=0.2)
    shape = Shape().cushion(body, (0.18, 0.28, 0.18), (0, 0, 0.015), radius=0.04, steps=2)
    shape.box(BLACK, (0.16, 0.26, 0.02))
    shape.boxes(BLACK, [(0.03, 0.2, 0.004)], [(x, 0, 0.193) for x in (-0.035, 0.035)])
    shape.boxes(plain((0.75, 0.52, 0.28)), [(0.016, 0.12, 0.03)], [(x, 0, 0.195) for x in (-0.035, 0.035)])
    shape.box(BLACK, (0.03, 0.03, 0.02), (0, 0.15, 0.12))
    return piece(shape, color)


def kettle(rng: np.random.Generator) -> Piece:
    """A jug with spout, lid and handle."""
    color, body = paint(rng, ("gray", "white", "red", "black", "teal"), roughness=0.2)
    shape = Shape().cylinder(BLACK, 0.085, 0.02, sides=14)
    shape.lathe(body, [(0, 0.02), (0.085, 0.02), (0.075, 0.16), (0.055, 0.2), (0, 0.2)], sides=14, smooth=False)
    shape.ellipsoid(BLACK, (0.03, 0.03, 0.03), (0, 0, 0.195), sides=6)
    shape.rod(body, (0.06, 0, 0.12), (0.12, 0, 0.18), 0.016)
    shape.boxes(
        BLACK,
        [(0.06, 0.02, 0.02), (0.02, 0.02, 0.12), (0.05, 0.02, 0.02)],
        [(-0.085, 0, 0.17), (-0.11, 0, 0.06), (-0.09, 0, 0.05)],
    )
    return piece(shape, color)


def coffee_machine(rng: np.random.Generator) -> Piece:
    """A C-shaped body with a glass jug."""
    color, body = paint(rng, ("black", "red", "gray"), roughness=0.3)
    shape = Shape().box(body, (0.24, 0.2, 0.04))
    shape.box(body, (0.09, 0.2, 0.34), (-0.075, 0, 0))
    shape.box(body, (0.24, 0.2, 0.09), (0, 0, 0.25))
    shape.lathe(GLASS, [(0, 0.04), (0.06, 0.04), (0.068, 0.1), (0.05, 0.16), (0, 0.16)], (0.045, 0, 0), sides=12)
    shape.box(BLACK, (0.02, 0.02, 0.09), (0.115, 0.0, 0.06))
    shape.boxes(METAL, [(0.006, 0.02, 0.02)], [(0.122, y, 0.285) for y in (-0.05, 0.0, 0.05)])
    return piece(shape, color)


def pot(rng: np.random.Generator) -> Piece:
    """A saucepan with a lid and two handles."""
    radius, height = draw(rng, 0.1, 0.13), draw(rng, 0.11, 0.16)
    color, body = paint(rng, ("gray", "red", "black", "blue", "orange"), roughness=0.25)
    shape = Shape().cylinder(body, radius, height, sides=16)
    shape.lathe(
        METAL,
        [(0, height), (radius + 0.004, height), (radius, height + 0.012), (0.02, height + 0.03), (0, height + 0.03)],
        sides=16,
    )
    shape.cylinder(BLACK, 0.012, 0.02, (0, 0, height + 0.03), top=0.018, sides=8)
    shape.boxes(BLACK, [(0.025, 0.05, 0.015)], [(s * (radius + 0.01), 0, height * 0.75) for s in (-1, 1)])
    return piece(shape, color)


def cutting_board(rng: np.random.Generator) -> Piece:
    """A wooden board with a handle and a knife on it."""
    color, board = wood(rng, ("light brown", "brown"))
    shape = Shape().box(board, (0.22, 0.32, 0.018))
    shape.box(board, (0.06, 0.1, 0.018), (0, 0.2, 0))
    shape.box(METAL, (0.025, 0.16, 0.003), (0.05, -0.04, 0.018))
    shape.box(BLACK, (0.022, 0.1, 0.014), (0.05, 0.09, 0.018))
    return piece(shape, color)


def bowl(rng: np.random.Generator) -> Piece:
    """A bowl."""
    radius, height = draw(rng, 0.07, 0.12), draw(rng, 0.05, 0.08)
    color, glaze = paint(rng, ("white", "blue", "teal", "yellow", "red", "green", "light blue"), roughness=0.2)
    shape = Shape()
    _round_dish(shape, glaze, radius, height)
    return piece(shape, color)


def _round_dish(shape: Shape, glaze: Material, radius: float, height: float) -> None:
    foot = 0.45 * radius
    shape.lathe(
        glaze,
        [
            (0, 0),
            (foot, 0),
            (foot, 0.008),
            (0.8 * radius, 0.45 * height),
            (radius, height),
            (radius - 0.008, height),
            (0.72 * radius, 0.48 * height),
            (foot * 0.9, 0.014),
            (0, 0.014),
        ],
        sides=14,
    )


def fruit_bowl(rng: np.random.Generator) -> Piece:
    """A bowl of apples, oranges and a banana."""
    radius = draw(rng, 0.13, 0.16)
    shape = Shape()
    color, glaze = paint(rng, ("white", "blue", "teal"))
    _round_dish(shape, glaze, radius, 0.08)
    for k in range(5):
        angle, r = 2 * np.pi * k / 5, 0.5 * radius
        fruit = plain(PALETTE[pick(rng, ("red", "orange", "green", "yellow"))])
        shape.ellipsoid(
            fruit, (0.075, 0.075, 0.07), (r * float(np.cos(angle)), r * float(np.sin(angle)), 0.045), sides=8
        )
    shape.ellipsoid(plain(PALETTE["orange"]), (0.08, 0.08, 0.075), (0, 0, 0.085), sides=8)
    shape.ellipsoid(plain(PALETTE["yellow"]), (0.2, 0.04, 0.04), (0.01, 0.04, 0.1), sides=8)
    return piece(shape, color)


def cup(rng: np.random.Generator) -> Piece:
    """A mug with a handle."""
    radius, height = draw(rng, 0.035, 0.045), draw(rng, 0.08, 0.11)
    color, glaze = paint(rng, ("white", "red", "blue", "yellow", "green", "black", "teal", "pink"), roughness=0.2)
    inner = radius - 0.005
    shape = Shape().lathe(glaze, [(0, 0), (radius, 0), (radius, height), (inner, height), (inner, 0.012), (0, 0.012)])
    out = radius + 0.02
    shape.rod(glaze, (radius - 0.003, 0, 0.8 * height), (out, 0, 0.72 * height), 0.006, sides=5)
    shape.rod(glaze, (out, 0, 0.72 * height), (out, 0, 0.38 * height), 0.006, sides=5)
    shape.rod(glaze, (out, 0, 0.38 * height), (radius - 0.003, 0, 0.25 * height), 0.006, sides=5)
    return piece(shape, color)


def plate(rng: np.random.Generator) -> Piece:
    """A flat plate."""
    radius = draw(rng, 0.1, 0.14)
    color, glaze = paint(rng, ("white", "light blue", "cream", "teal"), roughness=0.2)
    shape = Shape().lathe(
        glaze,
        [(0, 0), (0.6 * radius, 0), (radius, 0.018), (radius, 0.022), (0.62 * radius, 0.008), (0, 0.008)],
        sides=18,
    )
    return piece(shape, color)


def bottle(rng: np.random.Generator) -> Piece:
    """A bottle with a label."""
    radius, height = draw(rng, 0.033, 0.042), draw(rng, 0.24, 0.32)
    color, body = paint(rng, ("green", "blue", "white", "brown", "red"), roughness=0.1)
    profile = [
        (0, 0),
        (radius, 0),
        (radius, 0.62 * height),
        (0.35 * radius, 0.8 * height),
        (0.35 * radius, 0.95 * height),
        (0, 0.95 * height),
    ]
    shape = Shape().lathe(body, profile, sides=10)
    shape.lathe(
        CERAMIC,
        [
            (radius, 0.2 * height),
            (radius + 0.001, 0.2 * height),
            (radius + 0.001, 0.45 * height),
            (radius, 0.45 * height),
        ],
        sides=10,
    )
    shape.cylinder(DARK_METAL, 0.4 * radius, 0.05 * height, (0, 0, 0.95 * height), sides=8)
    return piece(shape, color)


_WORKTOPS = ("kitchen counter", "dishwasher")

CATEGORIES: dict[str, Category] = {
    "kitchen counter": Category(make=kitchen_counter, spot="group"),
    "sink": Category(make=kitchen_sink, spot="group"),
    "stove": Category(make=stove, spot="group", per_house=1),
    "refrigerator": Category(make=refrigerator, spot="group", per_house=1),
    "dishwasher": Category(make=dishwasher, spot="group", per_house=1),
    "kitchen cabinet": Category(make=kitchen_cabinet, spot="group"),
    "range hood": Category(make=range_hood, spot="group", per_house=1),
    "microwave": Category(make=microwave, spot="on", on=_WORKTOPS, per_house=1),
    "toaster": Category(make=toaster, spot="on", on=_WORKTOPS, per_house=1),
    "kettle": Category(make=kettle, spot="on", on=_WORKTOPS, per_house=1),
    "coffee machine": Category(make=coffee_machine, spot="on", on=(*_WORKTOPS, "cabinet"), per_house=1),
    "pot": Category(make=pot, spot="on", on=("stove",), per_house=2),
    "cutting board": Category(make=cutting_board, spot="on", on=_WORKTOPS, per_house=1),
    "bowl": Category(
        make=bowl, spot="on", on=("dining table", "coffee table", *_WORKTOPS, "cabinet"), together=(1, 2)
    ),
    "fruit bowl": Category(make=fruit_bowl, spot="on", on=("dining table", "kitchen counter"), per_house=1),
    "cup": Category(
        make=cup, spot="on", on=("dining table", "coffee table", "desk", *_WORKTOPS, "nightstand"), together=(1, 3)
    ),
    "plate": Category(make=plate, spot="on", on=("dining table",), together=(2, 4)),
    "bottle": Category(make=bottle, spot="on", on=("dining table", "kitchen counter", "cabinet"), together=(1, 2)),
}
