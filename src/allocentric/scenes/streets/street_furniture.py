"""What stands on a sidewalk: posts, bins, boxes, benches and shelters. Each faces +x: towards the road at a kerb."""

from __future__ import annotations

import numpy as np

from allocentric.core.types import Material
from allocentric.scenes.furniture.finishes import (
    BLACK,
    DARK_METAL,
    GLASS,
    LIGHT,
    METAL,
    PALETTE,
    PAPER,
    SCREEN,
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

_IRON = plain((0.13, 0.15, 0.15), roughness=0.5)
_RED = plain((0.74, 0.10, 0.09), roughness=0.35)
_CONCRETE = Material(pattern="noise", color=(0.68, 0.67, 0.64), color2=(0.60, 0.59, 0.56), scale_m=0.1, roughness=0.95)


def lamp_post(rng: np.random.Generator) -> Piece:
    """A lantern on a tapered post."""
    high = draw(rng, 3.9, 4.6)
    shape = Shape().lathe(_IRON, [(0, 0), (0.17, 0), (0.17, 0.35), (0.10, 0.5), (0.06, 0.9), (0.045, high), (0, high)])
    shape.cylinder(_IRON, 0.14, 0.05, (0, 0, high))
    shape.cylinder(LIGHT, 0.11, 0.42, (0, 0, high + 0.05), top=0.18, sides=6)
    shape.cylinder(_IRON, 0.24, 0.2, (0, 0, high + 0.47), top=0.03, sides=6)
    return piece(shape.rod(_IRON, (0, -0.25, high - 0.4), (0, 0.25, high - 0.4), 0.02), "black")


def traffic_light(rng: np.random.Generator) -> Piece:
    """Three lights on a post."""
    shape = Shape().cylinder(DARK_METAL, 0.055, 3.3).cylinder(DARK_METAL, 0.12, 0.12)
    shape.box(BLACK, (0.2, 0.32, 0.95), (0.06, 0, 2.4))
    shape.box(BLACK, (0.03, 0.46, 1.1), (-0.04, 0, 2.33))
    on = int(rng.integers(3))
    for k, color in enumerate(((0.15, 0.85, 0.35), (0.98, 0.75, 0.10), (0.95, 0.12, 0.10))):
        z = 2.56 + 0.29 * k
        lens = plain(color if k == on else shade(color, 0.35), roughness=0.3)
        shape.rod(lens, (0.16, 0, z), (0.175, 0, z), 0.11, sides=14)
        shape.prism(
            BLACK, [(0, -0.01), (0.16, -0.03), (0.16, -0.005), (0, 0.02)], 0.24, (0.16, 0, z + 0.11), along="y"
        )
    shape.box(plain((0.9, 0.75, 0.1)), (0.1, 0.12, 0.2), (0.09, 0, 1.1))
    return piece(shape, "black")


def street_sign(rng: np.random.Generator) -> Piece:
    """Two name plates on a post, along and across."""
    color = PALETTE[pick(rng, ("blue", "green"))]
    shape = Shape().cylinder(METAL, 0.04, 2.9)
    for z, size in ((2.6, (0.03, 0.9, 0.22)), (2.35, (0.9, 0.03, 0.22))):
        shape.box(plain(shade(color, 0.85)), size, (0, 0, z))
        inner = tuple(part + 0.006 if part < 0.1 else part * 0.7 for part in size[:2])
        shape.box(plain((0.95, 0.95, 0.93)), (inner[0], inner[1], 0.07), (0, 0, z + 0.075))
    return piece(shape, "blue")


def stop_sign(rng: np.random.Generator) -> Piece:
    """A red octagon with a white rim and bar."""
    del rng
    shape = Shape().cylinder(METAL, 0.035, 2.2)
    angle = np.pi / 8 + np.arange(8) * np.pi / 4
    for radius, thick, material in ((0.40, 0.03, plain((0.95, 0.95, 0.93))), (0.37, 0.04, _RED)):
        outline = radius * np.column_stack([np.cos(angle), np.sin(angle)])
        shape.prism(material, outline, thick, (0.05, 0, 2.3), along="x")
    shape.box(plain((0.95, 0.95, 0.93)), (0.05, 0.5, 0.13), (0.05, 0, 2.235))
    return piece(shape, "red")


def parking_meter(rng: np.random.Generator) -> Piece:
    """A meter with a rounded head on a post."""
    del rng
    shape = (
        Shape().cylinder(METAL, 0.035, 1.0).cushion(DARK_METAL, (0.17, 0.24, 0.42), (0, 0, 1.0), radius=0.08, steps=3)
    )
    shape.box(SCREEN, (0.02, 0.15, 0.11), (0.082, 0, 1.23))
    return piece(shape.box(plain((0.9, 0.75, 0.1)), (0.02, 0.12, 0.05), (0.082, 0, 1.12)), "dark gray")


def trash_bin(rng: np.random.Generator) -> Piece:
    """A round bin with a domed lid."""
    finish = paint(rng, ("green", "dark gray", "gray"))
    shape = Shape().cylinder(finish.material, 0.24, 0.75, top=0.28, sides=16)
    shape.cylinder(BLACK, 0.22, 0.1, (0, 0, 0.75), sides=16)
    shape.lathe(finish.material, [(0, 0.85), (0.29, 0.85), (0.25, 0.95), (0.12, 1.02), (0, 1.03)], sides=16)
    return piece(shape.boxes(DARK_METAL, (0.6, 0.02, 0.03), (0, 0, 0.4)), finish.color)


def post_box(rng: np.random.Generator) -> Piece:
    """A red pillar with a cap and a slot."""
    del rng
    shape = Shape().lathe(_RED, [(0, 0), (0.27, 0), (0.27, 0.12), (0.24, 0.14), (0.24, 1.32), (0.29, 1.35),
                                 (0.29, 1.45), (0.20, 1.54), (0, 1.58)], sides=20)  # fmt: skip
    shape.cylinder(BLACK, 0.275, 0.1, sides=20)
    shape.box(BLACK, (0.03, 0.26, 0.05), (0.235, 0, 1.18)).box(PAPER, (0.03, 0.2, 0.24), (0.232, 0, 0.82))
    return piece(shape, "red")


def fire_hydrant(rng: np.random.Generator) -> Piece:
    """A hydrant with two side outlets."""
    finish = paint(rng, ("red", "yellow"))
    profile = [(0, 0), (0.17, 0), (0.17, 0.06), (0.12, 0.08), (0.11, 0.55), (0.15, 0.57), (0.15, 0.62), (0.11, 0.72),
               (0.04, 0.78), (0, 0.80)]  # fmt: skip
    shape = Shape().lathe(finish.material, profile, sides=14)
    shape.rod(finish.material, (0, -0.2, 0.42), (0, 0.2, 0.42), 0.055, sides=10)
    shape.rod(METAL, (0, 0, 0.42), (0.19, 0, 0.42), 0.07, sides=10)
    return piece(shape, finish.color)


def bench(rng: np.random.Generator) -> Piece:
    """A slatted bench with a back, on iron legs."""
    slat = wood(rng, ("light brown", "brown", "dark brown")).material
    long = draw(rng, 1.5, 1.8)
    shape = Shape().boxes(slat, (0.11, long, 0.035), [(x, 0, 0.43) for x in (-0.14, 0.0, 0.14)])
    shape.boxes(slat, (0.035, long, 0.11), [(-0.24 - 0.02 * k, 0, 0.52 + 0.15 * k) for k in range(3)])
    for y in (-long / 2 + 0.15, long / 2 - 0.15):
        shape.boxes(_IRON, (0.05, 0.05, 0.43), [(x, y, 0) for x in (-0.2, 0.18)])
        shape.box(_IRON, (0.46, 0.05, 0.04), (-0.01, y, 0.39))
        shape.rod(_IRON, (-0.22, y, 0.4), (-0.3, y, 0.95), 0.022)
        shape.box(_IRON, (0.44, 0.05, 0.03), (-0.03, y, 0.64)).box(_IRON, (0.04, 0.05, 0.22), (0.17, y, 0.43))
    return piece(shape, "brown")


def bus_stop(rng: np.random.Generator) -> Piece:
    """A glazed shelter with a bench, open to the road."""
    deep, long, high = 1.35, draw(rng, 3.4, 4.0), 2.45
    shape = Shape().boxes(
        DARK_METAL, (0.07, 0.07, high), [(x, y, 0) for x in (-deep / 2, deep / 2 - 0.3) for y in (-long / 2, long / 2)]
    )
    shape.box(DARK_METAL, (deep + 0.15, long + 0.2, 0.1), (0, 0, high))
    shape.box(GLASS, (0.02, long - 0.1, 1.7), (-deep / 2, 0, 0.3))
    shape.boxes(DARK_METAL, (0.03, 0.04, 2.1), [(-deep / 2 + 0.01, y, 0.2) for y in (-long / 6, long / 6)])
    shape.box(wood(rng).material, (0.35, long * 0.6, 0.05), (-deep / 2 + 0.3, -0.3, 0.45))
    shape.boxes(DARK_METAL, (0.05, 0.05, 0.45), [(-deep / 2 + 0.3, y, 0) for y in (-long * 0.3, long * 0.15)])
    shape.box(plain(PALETTE[pick(rng, ("blue", "red", "teal"))]), (0.7, 0.08, 1.6), (-0.15, long / 2, 0.45))
    shape.box(plain((0.95, 0.75, 0.12)), (0.06, 0.6, 0.32), (deep / 2 - 0.05, 0, high + 0.1))
    return piece(shape, "dark gray")


def phone_box(rng: np.random.Generator) -> Piece:
    """A red box with small panes and a domed roof."""
    del rng
    shape = Shape().box(_RED, (0.92, 0.92, 0.14)).box(GLASS, (0.78, 0.78, 1.9), (0, 0, 0.14))
    shape.boxes(_RED, (0.12, 0.12, 2.1), [(x, y, 0.1) for x in (-0.38, 0.38) for y in (-0.38, 0.38)])
    for z in np.linspace(0.3, 1.95, 7):
        shape.box(_RED, (0.84, 0.84, 0.045), (0, 0, float(z)))
    for s in (-0.13, 0.13):
        shape.box(_RED, (0.84, 0.03, 1.8), (0, s, 0.2)).box(_RED, (0.03, 0.84, 1.8), (s, 0, 0.2))
    shape.box(_RED, (0.92, 0.92, 0.3), (0, 0, 2.08)).box(PAPER, (0.94, 0.66, 0.13), (0, 0, 2.17))
    return piece(shape.lathe(_RED, [(0, 2.38), (0.46, 2.38), (0.36, 2.5), (0.15, 2.58), (0, 2.6)], sides=4), "red")


def newspaper_stand(rng: np.random.Generator) -> Piece:
    """A small metal box with a window."""
    finish = paint(rng, ("blue", "red", "yellow", "orange"))
    shape = Shape().boxes(DARK_METAL, (0.04, 0.04, 0.35), [(x, y, 0) for x in (-0.15, 0.15) for y in (-0.17, 0.17)])
    shape.prism(
        finish.material, [(-0.21, 0.35), (0.21, 0.35), (0.21, 0.95), (0.05, 1.12), (-0.21, 1.12)], 0.44, along="y"
    )
    return piece(shape.box(PAPER, (0.01, 0.32, 0.34), (0.212, 0, 0.52)), finish.color)


def advertising_column(rng: np.random.Generator) -> Piece:
    """A round column with posters and a cap."""
    shape = (
        Shape()
        .cylinder(_CONCRETE, 0.68, 0.3, sides=24)
        .cylinder(plain((0.85, 0.82, 0.72)), 0.6, 2.3, (0, 0, 0.3), sides=24)
    )
    for k in range(6):
        angle = k * np.pi / 3
        poster = plain(PALETTE[pick(rng, ("red", "yellow", "blue", "teal", "orange", "pink"))])
        sheet = Shape().box(poster, (0.1, 0.5, 1.5), (0.56, 0, 0.7)).box(PAPER, (0.1, 0.36, 0.3), (0.565, 0, 1.7))
        shape.put(sheet, (0, 0, 0), float(angle))
    cap = plain((0.10, 0.32, 0.24), roughness=0.5)
    shape.lathe(
        cap, [(0, 2.6), (0.74, 2.6), (0.74, 2.72), (0.5, 2.95), (0.12, 3.1), (0.05, 3.35), (0, 3.36)], sides=24
    )
    return piece(shape, "green")


def street_clock(rng: np.random.Generator) -> Piece:
    """A clock with two dials on a post."""
    shape = Shape().lathe(_IRON, [(0, 0), (0.16, 0), (0.16, 0.3), (0.07, 0.5), (0.05, 2.8), (0, 2.8)])
    shape.rod(_IRON, (-0.12, 0, 3.2), (0.12, 0, 3.2), 0.44, sides=24).rod(
        plain((0.96, 0.95, 0.9)), (-0.13, 0, 3.2), (0.13, 0, 3.2), 0.38, sides=24
    )
    for radius, length in ((0.02, 0.2), (0.014, 0.31)):
        angle = float(rng.uniform(0, 2 * np.pi))
        for x in (-0.135, 0.135):
            shape.rod(
                BLACK, (x, 0, 3.2), (x, length * float(np.sin(angle)), 3.2 + length * float(np.cos(angle))), radius
            )
    return piece(shape, "black")


def bollard(rng: np.random.Generator) -> Piece:
    """A short iron post."""
    del rng
    return piece(
        Shape().lathe(_IRON, [(0, 0), (0.09, 0), (0.06, 0.1), (0.055, 0.8), (0.08, 0.84), (0.06, 0.95), (0, 0.98)]),
        "black",
    )


def bike_rack(rng: np.random.Generator) -> Piece:
    """Hoops in a row."""
    del rng
    shape = Shape()
    for y in (-0.8, 0.0, 0.8):
        shape.rod(METAL, (-0.35, y, 0), (-0.35, y, 0.75), 0.025).rod(METAL, (0.35, y, 0), (0.35, y, 0.75), 0.025)
        shape.rod(METAL, (-0.35, y, 0.75), (0.35, y, 0.75), 0.025)
    return piece(shape.boxes(METAL, (0.05, 1.7, 0.02), [(x, 0, 0) for x in (-0.35, 0.35)]), "gray")


def sandwich_board(rng: np.random.Generator) -> Piece:
    """Two boards that lean on each other, with chalk lines."""
    frame = wood(rng, ("light brown", "dark brown"))
    shape = Shape().prism(frame.material, [(-0.28, 0), (-0.24, 0), (0.02, 1.0), (-0.02, 1.0)], 0.6, along="y")
    shape.prism(BLACK, [(0.24, 0.0), (0.28, 0.0), (0.02, 1.0), (-0.02, 1.0)], 0.6, along="y")
    for z in (0.35, 0.5, 0.65, 0.8):
        x = 0.28 - 0.26 * z
        shape.box(PAPER, (0.02, float(rng.uniform(0.2, 0.42)), 0.05), (x, 0, z))
    return piece(shape, "black")


def planter(rng: np.random.Generator) -> Piece:
    """A stone trough with flowers."""
    deep, long = 0.5, draw(rng, 0.9, 1.4)
    shape = (
        Shape()
        .box(_CONCRETE, (deep, long, 0.5))
        .box(plain((0.2, 0.13, 0.08)), (deep - 0.1, long - 0.1, 0.03), (0, 0, 0.5))
    )
    green = Material(pattern="leaves", color=(0.22, 0.45, 0.16), color2=(0.10, 0.26, 0.09), scale_m=0.12)
    bloom = plain(PALETTE[pick(rng, ("red", "pink", "yellow", "purple", "white"))])
    for y in np.arange(-long / 2 + 0.18, long / 2 - 0.1, 0.22):
        shape.ellipsoid(green, (0.4, 0.3, 0.32), (0, float(y), 0.48), sides=8)
        for _ in range(3):
            dx, dy = rng.uniform(-0.14, 0.14, 2)
            shape.ellipsoid(
                bloom,
                (0.09, 0.09, 0.08),
                (float(dx), float(y + dy / 2), 0.72 + float(rng.uniform(-0.03, 0.05))),
                sides=6,
            )
    return piece(shape, "gray")


def cafe_table(rng: np.random.Generator) -> Piece:
    """A small round table on one leg."""
    top = paint(rng, ("white", "green", "red", "gray", "teal"))
    shape = Shape().cylinder(DARK_METAL, 0.22, 0.03, sides=16).cylinder(DARK_METAL, 0.03, 0.7)
    return piece(shape.cylinder(top.material, 0.34, 0.03, (0, 0, 0.7), sides=20), top.color)


def parasol(rng: np.random.Generator) -> Piece:
    """An open parasol on a foot."""
    cloth = fabric(rng, ("red", "green", "cream", "orange", "blue"), pattern="fabric")
    shape = Shape().cylinder(_CONCRETE, 0.26, 0.1, sides=14).cylinder(METAL, 0.025, 2.5)
    shape.cylinder(cloth.material, 1.15, 0.5, (0, 0, 2.1), top=0.04, sides=8)
    return piece(shape, cloth.color)
