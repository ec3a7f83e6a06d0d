"""Machines with a plug."""

from __future__ import annotations

import numpy as np

from allocentric.core.types import Material
from allocentric.scenes.furniture.finishes import (
    BLACK,
    DARK_METAL,
    METAL,
    PALETTE,
    PAPER,
    RUBBER,
    SCREEN,
    draw,
    paint,
    plain,
    shade,
)
from allocentric.scenes.furniture.model import Category, Piece, piece
from allocentric.scenes.furniture.parts import Shape


def tv(rng: np.random.Generator) -> Piece:
    """A flat screen on two feet."""
    width = draw(rng, 0.9, 1.35)
    height = round(width * 0.58, 2)
    shape = Shape().box(BLACK, (0.05, width, height), (0, 0, 0.06))
    shape.box(SCREEN, (0.008, width - 0.04, height - 0.05), (0.026, 0, 0.09))
    shape.boxes(
        DARK_METAL, [(0.2, 0.03, 0.015), (0.03, 0.03, 0.06)] * 2, [(0, s * width * 0.33, 0) for s in (-1, -1, 1, 1)]
    )
    return piece(shape, "black")


def monitor(rng: np.random.Generator) -> Piece:
    """A computer screen on a foot."""
    width = draw(rng, 0.5, 0.62)
    height = round(width * 0.58, 2)
    shape = Shape().box(BLACK, (0.03, width, height), (0, 0, 0.12))
    shape.box(SCREEN, (0.006, width - 0.025, height - 0.03), (0.016, 0, 0.137))
    shape.box(DARK_METAL, (0.03, 0.06, 0.2), (-0.03, 0, 0.01))
    shape.box(DARK_METAL, (0.18, 0.24, 0.012), (0, 0, 0))
    return piece(shape, "black")


def keyboard(rng: np.random.Generator) -> Piece:
    """Five rows of keys on a slab."""
    color, body = paint(rng, ("black", "white", "gray"))
    keys = Material(color=shade(body.color, 1.5 if color == "black" else 0.85), roughness=0.7)
    shape = Shape().box(body, (0.15, 0.44, 0.016))
    row, column = np.meshgrid(np.arange(4), np.arange(14), indexing="ij")
    at = np.column_stack([row.ravel() * 0.028 - 0.028, column.ravel() * 0.03 - 0.195, np.full(56, 0.016)])
    shape.boxes(keys, [(0.023, 0.025, 0.008)], at)
    shape.box(keys, (0.023, 0.2, 0.008), (-0.058, 0, 0.016))
    return piece(shape, color)


def mouse(rng: np.random.Generator) -> Piece:
    """A computer mouse."""
    color, body = paint(rng, ("black", "white", "gray", "red"))
    shape = Shape().ellipsoid(body, (0.11, 0.064, 0.04), sides=10)
    shape.box(RUBBER, (0.02, 0.008, 0.014), (0.025, 0, 0.028))
    return piece(shape, color)


def laptop(rng: np.random.Generator) -> Piece:
    """An open notebook; its screen faces the front."""
    width = draw(rng, 0.31, 0.36)
    color, body = paint(rng, ("gray", "dark gray", "white"), roughness=0.3)
    shape = Shape().box(body, (0.23, width, 0.016))
    shape.box(BLACK, (0.1, width - 0.05, 0.002), (-0.03, 0, 0.016))
    shape.box(plain(shade(body.color, 0.85)), (0.06, 0.1, 0.002), (0.07, 0, 0.016))
    lean, tall = 0.07, 0.21
    lid = [[-0.115, 0.012], [-0.105, 0.012], [-0.105 - lean, tall], [-0.115 - lean, tall]]
    shape.prism(body, lid, width, along="y")
    face = [
        [-0.105, 0.026],
        [-0.1035, 0.026],
        [-0.1035 - 0.92 * lean, tall - 0.012],
        [-0.105 - 0.92 * lean, tall - 0.012],
    ]
    shape.prism(SCREEN, face, width - 0.024, (0.001, 0, 0), along="y")
    return piece(shape, color)


def printer(rng: np.random.Generator) -> Piece:
    """A printer with paper in its trays."""
    color, body = paint(rng, ("white", "gray", "black"))
    depth, width, height = draw(rng, 0.3, 0.36), draw(rng, 0.4, 0.46), draw(rng, 0.16, 0.22)
    shape = Shape().cushion(body, (depth, width, height), radius=0.02)
    shape.box(BLACK, (0.02, width - 0.1, 0.05), (depth / 2 - 0.005, 0, 0.05))
    shape.box(PAPER, (0.12, 0.22, 0.004), (depth / 2 + 0.05, 0, 0.06))
    back = [
        [-depth / 2 + 0.02, height - 0.01],
        [-depth / 2 + 0.03, height - 0.01],
        [-depth / 2 - 0.02, height + 0.14],
        [-depth / 2 - 0.03, height + 0.14],
    ]
    shape.prism(PAPER, back, 0.22, along="y")
    shape.box(DARK_METAL, (0.05, 0.1, 0.004), (depth / 2 - 0.06, width / 2 - 0.1, height))
    return piece(shape, color)


def speaker(rng: np.random.Generator) -> Piece:
    """A loudspeaker box with two cones."""
    height = draw(rng, 0.24, 0.34)
    width = round(height * 0.62, 2)
    color, body = paint(rng, ("black", "brown", "white", "dark gray"))
    cone = DARK_METAL if color != "black" else METAL
    shape = Shape().box(body, (0.2, width, height), (0, 0, 0))
    for radius, z in ((0.36 * width, 0.34 * height), (0.2 * width, 0.76 * height)):
        disc = Shape().lathe(cone, [(0, 0), (radius, 0), (radius, 0.012), (0.3 * radius, 0.004), (0, 0.004)], sides=12)
        shape.put(disc.tipped_forward(), (0.1, 0, z))
    return piece(shape, color)


def telephone(rng: np.random.Generator) -> Piece:
    """A desk telephone with a receiver and keys."""
    color, body = paint(rng, ("black", "red", "white", "cream"))
    shape = Shape().prism(body, [[-0.09, 0], [0.09, 0], [0.09, 0.025], [-0.09, 0.07]], 0.19, along="y")
    shape.cushion(body, (0.06, 0.21, 0.035), (-0.05, 0, 0.07), radius=0.015)
    shape.ellipsoid(body, (0.06, 0.06, 0.04), (-0.05, 0.08, 0.055), sides=8)
    shape.ellipsoid(body, (0.06, 0.06, 0.04), (-0.05, -0.08, 0.055), sides=8)
    keys = [(0.005 + 0.025 * r, 0.03 * (c - 1), 0.046 - 0.006 * r) for r in range(3) for c in range(3)]
    shape.boxes(PAPER if color != "white" else DARK_METAL, [(0.016, 0.02, 0.01)], keys)
    return piece(shape, color)


def fan(rng: np.random.Generator) -> Piece:
    """A standing fan: foot, pole, cage and blades."""
    height = draw(rng, 1.1, 1.3)
    color, body = paint(rng, ("white", "black", "gray"))
    shape = Shape().lathe(body, [(0, 0), (0.2, 0), (0.2, 0.015), (0.03, 0.04), (0, 0.04)], sides=14)
    shape.cylinder(METAL, 0.014, height - 0.25, (0, 0, 0.03), sides=8)
    shape.cushion(body, (0.14, 0.09, 0.1), (-0.03, 0, height - 0.27), radius=0.03)
    middle = height - 0.21
    for radius, x in ((0.2, 0.06), (0.2, 0.12), (0.11, 0.13), (0.05, 0.13)):
        ring = [(radius - 0.005, 0), (radius, 0), (radius, 0.006), (radius - 0.005, 0.006), (radius - 0.005, 0)]
        shape.put(Shape().lathe(METAL, ring, sides=18).tipped_forward(), (x, 0, middle))
    for k in range(12):
        y, z = float(np.cos(k * np.pi / 6)), float(np.sin(k * np.pi / 6))
        shape.rod(METAL, (0.133, 0.05 * y, middle + 0.05 * z), (0.12, 0.2 * y, middle + 0.2 * z), 0.003, sides=3)
    blade = plain(PALETTE["light blue"])
    for k in range(3):
        y, z = float(np.cos(k * 2 * np.pi / 3)), float(np.sin(k * 2 * np.pi / 3))
        shape.leaves(blade, [(0.09, 0.02 * y, middle + 0.02 * z)], [(0.08, 0.18 * y, middle + 0.18 * z)], [0.13])
    return piece(shape, color)


def air_conditioner(rng: np.random.Generator) -> Piece:
    """A wall unit with louvres."""
    width = draw(rng, 0.78, 0.95)
    body = plain(PALETTE["white"], roughness=0.4)
    shape = Shape().cushion(body, (0.2, width, 0.28), radius=0.03)
    shape.boxes(plain((0.6, 0.62, 0.63)), [(0.012, width - 0.1, 0.012)], [(0.1, 0, z) for z in (0.04, 0.07, 0.1)])
    shape.box(plain(PALETTE["green"]), (0.01, 0.03, 0.008), (0.1, width / 2 - 0.1, 0.2))
    return piece(shape, "white")


def game_console(rng: np.random.Generator) -> Piece:
    """A slim box and a controller."""
    color, body = paint(rng, ("black", "white"))
    shape = Shape().box(body, (0.22, 0.28, 0.05))
    shape.box(SCREEN, (0.004, 0.1, 0.006), (0.111, -0.05, 0.024))
    shape.cushion(DARK_METAL, (0.06, 0.14, 0.03), (0.02, 0.02, 0.05), radius=0.015)
    shape.boxes(plain(PALETTE["red"]), [(0.012, 0.012, 0.008)], [(0.03, 0.06, 0.079), (0.01, 0.06, 0.079)])
    return piece(shape, color)


def heater(rng: np.random.Generator) -> Piece:
    """An oil-filled heater on wheels."""
    color, body = paint(rng, ("white", "gray"), roughness=0.4)
    ribs = int(rng.integers(6, 10))
    shape = Shape()
    for k in range(ribs):
        shape.cushion(body, (0.15, 0.045, 0.52), (0, (k - (ribs - 1) / 2) * 0.065, 0.08), radius=0.02)
    shape.box(body, (0.05, ribs * 0.065, 0.05), (0, 0, 0.3))
    shape.box(DARK_METAL, (0.16, 0.05, 0.5), (0, ribs * 0.0325 + 0.02, 0.08))
    for y in (-ribs * 0.025, ribs * 0.025):
        shape.box(DARK_METAL, (0.24, 0.03, 0.03), (0, y, 0.05))
        for x in (-0.1, 0.1):
            shape.ellipsoid(RUBBER, (0.06, 0.03, 0.06), (x, y, 0), sides=8)
    return piece(shape, color)


CATEGORIES: dict[str, Category] = {
    "tv": Category(make=tv, spot="on", on=("dresser",), per_house=2),
    "monitor": Category(make=monitor, spot="group"),
    "keyboard": Category(make=keyboard, spot="group"),
    "mouse": Category(make=mouse, spot="group"),
    "laptop": Category(make=laptop, spot="on", on=("dining table", "coffee table"), per_house=1),
    "printer": Category(make=printer, spot="on", on=("cabinet", "desk"), per_house=1),
    "speaker": Category(make=speaker, spot="on", on=("shelf",), per_house=4),
    "telephone": Category(make=telephone, spot="on", on=("console table", "desk", "side table"), per_house=1),
    "fan": Category(make=fan, spot="corner", rooms={"living room": 0.2, "bedroom": 0.2, "office": 0.3}, per_house=1),
    "air conditioner": Category(
        make=air_conditioner,
        spot="hung",
        per_house=1,
        bottom_m=(1.95, 2.05),
        rooms={"living room": 0.3, "bedroom": 0.25, "office": 0.2},
    ),
    "game console": Category(make=game_console, spot="on", on=("tv stand",), per_house=1),
    "heater": Category(
        make=heater,
        spot="wall",
        per_house=1,
        rooms={"bathroom": 0.1, "office": 0.25, "bedroom": 0.15, "laundry room": 0.2},
    ),
}
