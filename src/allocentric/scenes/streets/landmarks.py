"""Trees, and what a square is known by: fountain, statue, kiosk, market stalls, flag pole. Each faces +x."""

from __future__ import annotations

import numpy as np

from allocentric.core.types import Material
from allocentric.scenes.furniture.finishes import (
    BRASS,
    DARK_METAL,
    METAL,
    PALETTE,
    PAPER,
    WATER,
    draw,
    fabric,
    paint,
    pick,
    plain,
    shade,
    wood,
)  # fmt: skip
from allocentric.scenes.furniture.model import Piece, piece
from allocentric.scenes.furniture.parts import Shape

_STONE = Material(pattern="noise", color=(0.74, 0.72, 0.67), color2=(0.66, 0.64, 0.59), scale_m=0.2, roughness=0.9)
_BARK = Material(pattern="wood", color=(0.36, 0.27, 0.20), color2=(0.24, 0.17, 0.12), scale_m=0.1, roughness=1.0)
_BRONZE = Material(color=(0.26, 0.38, 0.33), color2=(0.20, 0.30, 0.26), roughness=0.45)


def tree(rng: np.random.Generator) -> Piece:
    """A street tree: a trunk with branches and a crown of leaves."""
    green = float(rng.uniform(0.85, 1.15))
    leaf = Material(
        pattern="leaves", color=shade((0.30, 0.52, 0.18), green), color2=shade((0.12, 0.28, 0.09), green),
        scale_m=0.35, roughness=1.0,
    )  # fmt: skip
    bare, wide, tall = draw(rng, 2.0, 2.4), draw(rng, 1.9, 2.05), draw(rng, 2.2, 3.2)
    shape = Shape().cylinder(_BARK, 0.15, bare + 0.8, top=0.09, sides=9)
    shape.cylinder(DARK_METAL, 0.5, 0.02, sides=16)
    count = 11
    for k in range(count):
        angle, level = 2.4 * k, k / (count - 1)
        out = (wide / 2 - 0.42) * float(np.sin(np.pi * (0.18 + 0.72 * level)))
        size = float(rng.uniform(0.78, 0.84)) * (1.15 - 0.3 * level)
        at = (out * float(np.cos(angle)), out * float(np.sin(angle)), bare + level * (tall - size))
        shape.ellipsoid(leaf, (size, size, size * 1.1), at, sides=10)
    shape.ellipsoid(leaf, (wide * 0.8, wide * 0.8, tall * 0.85), (0, 0, bare + 0.1 * tall), sides=12)
    for k in range(3):
        angle = 2.1 * k + 0.4
        tip = (0.5 * float(np.cos(angle)), 0.5 * float(np.sin(angle)), bare + 0.8)
        shape.rod(_BARK, (0, 0, bare - 0.2), tip, 0.05)
    around = rng.uniform(0, 2 * np.pi, 140)
    tilt = rng.uniform(-0.9, 1.2, 140)
    unit = np.column_stack([np.cos(around) * np.cos(tilt), np.sin(around) * np.cos(tilt), np.sin(tilt)])
    base = unit * (wide * 0.40, wide * 0.40, tall * 0.42) + (0, 0, bare + tall * 0.52)
    shape.leaves(leaf, base, base + unit * 0.16 + (0, 0, -0.05), 0.13)
    return piece(shape, "green")


def hedge(rng: np.random.Generator) -> Piece:
    """A clipped hedge."""
    leaf = Material(pattern="leaves", color=(0.24, 0.44, 0.17), color2=(0.11, 0.26, 0.10), scale_m=0.2, roughness=1.0)
    return piece(Shape().cushion(leaf, (0.6, draw(rng, 1.8, 2.6), draw(rng, 0.8, 1.0)), radius=0.1, steps=2), "green")


def flower_bed(rng: np.random.Generator) -> Piece:
    """A round bed with a stone rim."""
    radius = draw(rng, 0.9, 1.2)
    soil = Material(pattern="leaves", color=(0.24, 0.40, 0.16), color2=(0.20, 0.14, 0.08), scale_m=0.2, roughness=1.0)
    shape = (
        Shape().cylinder(_STONE, radius, 0.22, sides=24).cylinder(soil, radius - 0.14, 0.06, (0, 0, 0.22), sides=24)
    )
    for _ in range(60):
        angle, out = float(rng.uniform(0, 2 * np.pi)), (radius - 0.25) * float(np.sqrt(rng.random()))
        bloom = plain(PALETTE[pick(rng, ("red", "yellow", "pink", "white", "purple"))])
        shape.ellipsoid(
            bloom,
            (0.12, 0.12, 0.1),
            (out * float(np.cos(angle)), out * float(np.sin(angle)), 0.28 + 0.12 * float(rng.random())),
            sides=6,
        )
    return piece(shape, "green")


def fountain(rng: np.random.Generator) -> Piece:
    """A round basin with two bowls and jets."""
    radius = draw(rng, 1.7, 2.2)
    shape = Shape().lathe(_STONE, [(0, 0), (radius, 0), (radius, 0.1), (radius - 0.1, 0.12), (radius - 0.1, 0.5),
                                   (radius, 0.52), (radius, 0.62), (radius - 0.3, 0.62),
                                   (radius - 0.3, 0.3), (0, 0.3)], sides=28)  # fmt: skip
    shape.cylinder(WATER, radius - 0.28, 0.2, (0, 0, 0.3), sides=28)
    shape.lathe(_STONE, [(0, 0.3), (0.3, 0.3), (0.2, 0.6), (0.16, 1.2), (0.8, 1.4), (0.82, 1.5), (0, 1.45)], sides=20)
    shape.cylinder(WATER, 0.74, 0.03, (0, 0, 1.46), sides=20)
    shape.lathe(_STONE, [(0, 1.45), (0.1, 1.45), (0.09, 2.0), (0.4, 2.12), (0.42, 2.2), (0, 2.18)], sides=16)
    jet = plain((0.86, 0.93, 0.96), roughness=0.1)
    shape.cylinder(jet, 0.07, 0.7, (0, 0, 2.18), top=0.0)
    for k in range(8):
        angle = k * np.pi / 4
        c, s = float(np.cos(angle)), float(np.sin(angle))
        shape.rod(jet, (0.8 * c, 0.8 * s, 1.48), (0.98 * c, 0.98 * s, 1.2), 0.025)
        shape.rod(jet, (0.98 * c, 0.98 * s, 1.2), (1.06 * c, 1.06 * s, 0.48), 0.02)
    return piece(shape, "gray")


def statue(rng: np.random.Generator) -> Piece:
    """A bronze figure with a raised arm on a plinth."""
    high = draw(rng, 1.4, 1.8)
    shape = Shape().box(_STONE, (1.5, 1.5, 0.25)).box(_STONE, (1.05, 1.05, high - 0.25), (0, 0, 0.25))
    shape.box(_STONE, (1.25, 1.25, 0.14), (0, 0, high)).box(BRASS, (0.03, 0.6, 0.35), (0.53, 0, high * 0.5))
    z = high + 0.14
    shape.rod(_BRONZE, (0.1, 0.14, z), (0, 0.12, z + 0.95), 0.11, sides=10).rod(
        _BRONZE, (-0.06, -0.14, z), (0, -0.12, z + 0.95), 0.11, sides=10
    )
    shape.lathe(
        _BRONZE,
        [(0, z + 0.55), (0.34, z + 0.55), (0.24, z + 0.95), (0.29, z + 1.5), (0.1, z + 1.62), (0, z + 1.64)],
        sides=14,
        smooth=True,
    )
    shape.ellipsoid(_BRONZE, (0.25, 0.23, 0.31), (0.02, 0, z + 1.64))
    shape.rod(_BRONZE, (0, 0.27, z + 1.48), (0.35, 0.42, z + 1.75), 0.07).rod(
        _BRONZE, (0.35, 0.42, z + 1.75), (0.6, 0.42, z + 2.1), 0.055
    )
    shape.rod(_BRONZE, (0, -0.27, z + 1.48), (0.05, -0.38, z + 1.05), 0.07).rod(
        _BRONZE, (0.05, -0.38, z + 1.05), (0.25, -0.3, z + 0.9), 0.055
    )
    return piece(shape, "green")


def kiosk(rng: np.random.Generator) -> Piece:
    """A small pavilion that sells papers through a hatch."""
    finish = paint(rng, ("green", "red", "blue", "teal"))
    shape = Shape().box(finish.material, (1.7, 2.3, 2.3))
    shape.box(plain((0.12, 0.11, 0.10)), (0.04, 1.7, 0.95), (0.85, 0, 1.05))
    shape.box(wood(rng).material, (0.35, 1.8, 0.05), (1.0, 0, 1.0))
    for k in range(6):
        shape.box(
            plain(PALETTE[pick(rng, ("red", "yellow", "blue", "white", "orange"))]),
            (0.03, 0.22, 0.28),
            (0.875, -0.7 + 0.28 * k, 0.55),
        )
        shape.box(PAPER, (0.03, 0.2, 0.26), (0.87, -0.7 + 0.28 * k, 1.7))
    shape.box(plain(shade(finish.material.color, 0.7)), (2.3, 2.9, 0.14), (0, 0, 2.3))
    return piece(
        shape.prism(plain((0.35, 0.4, 0.42)), [(-1.05, 2.44), (1.05, 2.44), (0, 2.95)], 2.7, along="y"), finish.color
    )


def market_stall(rng: np.random.Generator) -> Piece:
    """A table of crates with fruit under a striped roof."""
    cloth = fabric(rng, ("red", "green", "blue", "orange"), pattern="stripes")
    plank = wood(rng, ("light brown", "brown")).material
    shape = Shape().boxes(plank, (0.07, 0.07, 2.35), [(x, y, 0) for x in (-0.7, 0.6) for y in (-1.2, 1.2)])
    shape.box(plank, (1.0, 2.4, 0.06), (0.1, 0, 0.75)).box(cloth.material, (0.03, 2.4, 0.65), (0.6, 0, 0.1))
    shape.prism(cloth.material, [(-0.95, 2.25), (0.95, 2.25), (0.0, 2.8)], 2.7, along="y")
    shape.box(cloth.material, (1.9, 2.7, 0.2), (0, 0, 2.06))
    fruits = [plain(PALETTE[name]) for name in ("red", "orange", "yellow", "green", "purple")]
    for row, x in enumerate((-0.14, 0.34)):
        for k in range(5):
            y = -0.96 + 0.48 * k
            shape.box(plank, (0.42, 0.44, 0.12), (x, y, 0.81 + 0.1 * (1 - row)))
            fruit = fruits[int(rng.integers(len(fruits)))]
            for dx in (-0.12, 0.0, 0.12):
                for dy in (-0.14, 0.0, 0.14):
                    shape.ellipsoid(fruit, (0.13, 0.13, 0.12), (x + dx, y + dy, 0.89 + 0.1 * (1 - row)), sides=6)
    return piece(shape, cloth.color)


def flag_pole(rng: np.random.Generator) -> Piece:
    """A pole with a flag of three bands."""
    high = draw(rng, 6.0, 7.5)
    shape = Shape().cylinder(_STONE, 0.35, 0.25, sides=16).cylinder(METAL, 0.06, high, top=0.035)
    names = ("red", "white", "blue", "yellow", "green", "orange")
    for k, index in enumerate(rng.permutation(len(names))[:3]):
        shape.box(plain(PALETTE[names[int(index)]]), (0.02, 1.2, 0.27), (0, 0.64, high - 0.95 + 0.27 * k))
    return piece(shape.ellipsoid(BRASS, (0.14, 0.14, 0.14), (0, 0, high)), "gray")


def picnic_table(rng: np.random.Generator) -> Piece:
    """A table with fixed benches on both sides."""
    plank = wood(rng, ("light brown", "brown", "gray"))
    shape = Shape().boxes(plank.material, (0.15, 1.8, 0.045), [(x, 0, 0.72) for x in (-0.32, -0.16, 0, 0.16, 0.32)])
    shape.boxes(plank.material, (0.26, 1.8, 0.045), [(x, 0, 0.42) for x in (-0.72, 0.72)])
    for y in (-0.65, 0.65):
        shape.box(plank.material, (1.6, 0.08, 0.08), (0, y, 0.35)).box(plank.material, (0.7, 0.08, 0.08), (0, y, 0.64))
        shape.rod(plank.material, (-0.6, y, 0), (-0.25, y, 0.7), 0.045).rod(
            plank.material, (0.6, y, 0), (0.25, y, 0.7), 0.045
        )
    return piece(shape, plank.color)
