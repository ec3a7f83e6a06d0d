"""Books, toys, bags, instruments and household tools."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from allocentric.core.types import Material
from allocentric.scenes.furniture.finishes import (
    BLACK,
    BRASS,
    BRIGHT,
    DARK_METAL,
    METAL,
    PALETTE,
    PAPER,
    RUBBER,
    draw,
    fabric,
    paint,
    pick,
    plain,
    shade,
    wood,
)
from allocentric.scenes.furniture.model import Category, Piece, piece
from allocentric.scenes.furniture.parts import Shape


def book(rng: np.random.Generator) -> Piece:
    """A book lying flat: covers and pages."""
    depth, width, thick = draw(rng, 0.14, 0.2), draw(rng, 0.2, 0.27), draw(rng, 0.02, 0.04)
    color, cover = paint(rng, ("red", "blue", "green", "yellow", "purple", "brown", "black", "teal", "orange"))
    shape = Shape().boxes(cover, [(depth, width, 0.003)], [(0, 0, 0), (0, 0, thick - 0.003)])
    shape.box(cover, (0.003, width, thick), (-depth / 2 + 0.0015, 0, 0))
    shape.box(PAPER, (depth - 0.01, width - 0.01, thick - 0.006), (-0.002, 0, 0.003))
    return piece(shape, color)


def teddy_bear(rng: np.random.Generator) -> Piece:
    """A sitting bear: belly, head, ears, limbs, muzzle."""
    s = draw(rng, 0.28, 0.42)
    color, fur = fabric(rng, ("brown", "beige", "white", "pink"))
    pale = plain(shade(fur.color, 1.3), roughness=1.0)
    shape = Shape().ellipsoid(fur, (0.42 * s, 0.5 * s, 0.55 * s), sides=10)
    shape.ellipsoid(fur, (0.4 * s, 0.44 * s, 0.4 * s), (0.02 * s, 0, 0.5 * s), sides=10)
    shape.ellipsoid(pale, (0.18 * s, 0.2 * s, 0.15 * s), (0.19 * s, 0, 0.57 * s), sides=8)
    shape.ellipsoid(BLACK, (0.05 * s, 0.06 * s, 0.04 * s), (0.28 * s, 0, 0.65 * s), sides=6)
    for side in (-1, 1):
        shape.ellipsoid(fur, (0.1 * s, 0.16 * s, 0.16 * s), (0, side * 0.17 * s, 0.82 * s), sides=8)
        shape.ellipsoid(BLACK, (0.04 * s, 0.05 * s, 0.05 * s), (0.19 * s, side * 0.09 * s, 0.71 * s), sides=6)
        shape.ellipsoid(fur, (0.18 * s, 0.16 * s, 0.34 * s), (0.12 * s, side * 0.27 * s, 0.2 * s), sides=8)
        shape.ellipsoid(fur, (0.4 * s, 0.19 * s, 0.19 * s), (0.24 * s, side * 0.18 * s, 0), sides=8)
        shape.ellipsoid(pale, (0.05 * s, 0.16 * s, 0.16 * s), (0.42 * s, side * 0.18 * s, 0.015 * s), sides=8)
    return piece(shape, color)


def ball(rng: np.random.Generator) -> Piece:
    """A play ball."""
    d = draw(rng, 0.16, 0.28)
    color = pick(rng, BRIGHT)
    skin = Material(
        pattern="stripes",
        color=PALETTE[color],
        color2=PALETTE["white" if color != "white" else "red"],
        scale_m=d * 0.8,
        roughness=0.4,
    )
    return piece(Shape().ellipsoid(skin, (d, d, d), sides=14), color)


def toy_car(rng: np.random.Generator) -> Piece:
    """A car with cabin, wheels and lamps."""
    s = draw(rng, 0.9, 1.5)
    color, body = paint(rng, ("red", "blue", "yellow", "green", "orange"))
    shape = Shape().cushion(body, (0.24 * s, 0.11 * s, 0.05 * s), (0, 0, 0.025 * s), radius=0.015 * s)
    cabin = np.array([[-0.08, 0.07], [0.06, 0.07], [0.03, 0.115], [-0.06, 0.115]]) * s
    shape.prism(plain((0.55, 0.70, 0.80), roughness=0.1), cabin, 0.095 * s, along="y")
    shape.box(body, (0.085 * s, 0.1 * s, 0.008 * s), (-0.015 * s, 0, 0.112 * s))
    for x in (-0.075 * s, 0.075 * s):
        for y in (-0.05 * s, 0.05 * s):
            shape.rod(RUBBER, (x, y - 0.012 * s, 0.028 * s), (x, y + 0.012 * s, 0.028 * s), 0.028 * s, sides=10)
    shape.boxes(
        plain(PALETTE["yellow"]),
        [(0.006 * s, 0.02 * s, 0.015 * s)],
        [(0.12 * s, y * s, 0.045 * s) for y in (-0.035, 0.035)],
    )
    return piece(shape, color)


def toy_blocks(rng: np.random.Generator) -> Piece:
    """A tower of coloured blocks."""
    shape = Shape()
    e = draw(rng, 0.05, 0.07)
    spots = [(-1.1, -0.6, 0), (0.1, -0.7, 0), (-0.5, 0.6, 0), (-0.5, -0.6, 1), (-0.5, 0.1, 2), (0.9, 0.5, 0)]
    spots[4] = (-0.5, -0.6, 2)
    for (x, y, level), name in zip(spots, ("red", "blue", "yellow", "green", "orange", "purple"), strict=True):
        shape.box(plain(PALETTE[name]), (e, e, e), (x * e, y * e, level * e))
    shape.prism(
        plain(PALETTE["red"]), np.array([[-0.5, 0], [0.5, 0], [0, 0.8]]) * e, e, (-0.5 * e, -0.6 * e, 3 * e), along="y"
    )
    return piece(shape, "red")


def doll_house(rng: np.random.Generator) -> Piece:
    """An open two-storey toy house with a gable roof."""
    width, depth, height = draw(rng, 0.6, 0.75), draw(rng, 0.3, 0.36), draw(rng, 0.45, 0.55)
    color, walls = paint(rng, ("pink", "light blue", "yellow", "white"))
    roof = plain(PALETTE["red"] if color != "pink" else PALETTE["purple"])
    shape = Shape().box(walls, (0.012, width, height), (-depth / 2 + 0.006, 0, 0))
    shape.boxes(
        walls, [(depth, 0.015, height)], [(0, y, 0) for y in (-(width - 0.015) / 2, 0.05, (width - 0.015) / 2)]
    )
    shape.boxes(
        wood(rng, ("light brown",)).material, [(depth, width, 0.015)], [(0, 0, z) for z in (0, height / 2, height)]
    )
    peak = [[-width / 2 - 0.03, height], [width / 2 + 0.03, height], [0, height + 0.22]]
    shape.prism(roof, peak, depth + 0.03, along="x")
    shape.box(plain(PALETTE["white"]), (0.06, 0.1, 0.05), (0, -0.15, 0.015))
    shape.box(plain(PALETTE["blue"]), (0.1, 0.14, 0.04), (0, -0.15, height / 2 + 0.015))
    return piece(shape, color)


def backpack(rng: np.random.Generator) -> Piece:
    """A school bag with a front pocket and straps."""
    height = draw(rng, 0.4, 0.48)
    color, cloth = fabric(rng, ("red", "blue", "green", "black", "purple", "orange"))
    dark = plain(shade(cloth.color, 0.6))
    shape = Shape().cushion(cloth, (0.18, 0.3, height), radius=0.07, steps=2)
    shape.cushion(dark, (0.08, 0.24, 0.2), (0.1, 0, 0.03), radius=0.035, steps=2)
    shape.boxes(dark, [(0.02, 0.05, height * 0.75)], [(-0.092, y, 0.05) for y in (-0.08, 0.08)])
    shape.rod(dark, (-0.04, -0.04, height + 0.02), (-0.04, 0.04, height + 0.02), 0.01)
    shape.boxes(dark, [(0.02, 0.02, 0.04)], [(-0.04, y, height - 0.015) for y in (-0.04, 0.04)])
    return piece(shape, color)


def tissue_box(rng: np.random.Generator) -> Piece:
    """A box with a tissue sticking out."""
    color, card = paint(rng, ("light blue", "pink", "green", "yellow", "white", "teal"))
    shape = Shape().box(card, (0.12, 0.23, 0.08))
    shape.leaves(PAPER, [(0, -0.03, 0.08), (0, 0.03, 0.08)], [(0.02, 0.03, 0.14), (-0.02, -0.03, 0.15)], [0.08, 0.08])
    return piece(shape, color)


def guitar(rng: np.random.Generator) -> Piece:
    """A guitar standing on a stand."""
    color, body = wood(rng, ("light brown", "brown", "dark brown"))
    dark = plain((0.20, 0.12, 0.08))
    lower = Shape().lathe(body, [(0, 0), (0.19, 0), (0.19, 0.09), (0, 0.09)], sides=16).tipped_forward()
    upper = Shape().lathe(body, [(0, 0), (0.14, 0), (0.14, 0.09), (0, 0.09)], sides=16).tipped_forward()
    hole = Shape().lathe(BLACK, [(0, 0), (0.05, 0), (0.05, 0.003), (0, 0.003)], sides=12).tipped_forward()
    shape = Shape().put(lower, (-0.045, 0, 0.29)).put(upper, (-0.045, 0, 0.51)).put(hole, (0.045, 0, 0.44))
    shape.box(dark, (0.022, 0.055, 0.46), (0.045, 0, 0.5))
    shape.box(dark, (0.025, 0.075, 0.15), (0.04, 0, 0.95))
    shape.boxes(METAL, [(0.02, 0.02, 0.015)], [(0.035, s * 0.045, 0.97 + 0.04 * k) for s in (-1, 1) for k in range(3)])
    shape.box(dark, (0.015, 0.14, 0.02), (0.05, 0, 0.24))
    for side in (-1, 1):
        shape.rod(DARK_METAL, (-0.06, 0, 0.4), (0.12, side * 0.15, 0.008), 0.008, sides=5)
    shape.rod(DARK_METAL, (-0.06, 0, 0.4), (-0.2, 0, 0.008), 0.008, sides=5)
    return piece(shape, color)


def piano(rng: np.random.Generator) -> Piece:
    """An upright piano with keys, music stand and pedals."""
    width, height = draw(rng, 1.4, 1.5), draw(rng, 1.1, 1.22)
    color, case = paint(rng, ("black", "brown", "white"), roughness=0.15)
    shape = Shape().box(case, (0.34, width, height), (-0.12, 0, 0))
    shape.box(case, (0.26, width, 0.1), (0.16, 0, 0.6))
    shape.boxes(case, [(0.26, 0.05, 0.16)], [(0.16, s * (width / 2 - 0.025), 0.6) for s in (-1, 1)])
    shape.boxes(case, [(0.06, 0.06, 0.6)], [(0.24, s * (width / 2 - 0.05), 0) for s in (-1, 1)])
    reach = width - 0.12
    count = 36
    pitch = reach / count
    keys = [(0.19, (k + 0.5) * pitch - reach / 2, 0.7) for k in range(count)]
    shape.boxes(plain((0.96, 0.95, 0.92), roughness=0.2), [(0.15, pitch - 0.003, 0.018)], keys)
    black = [(0.155, (k + 1) * pitch - reach / 2, 0.718) for k in range(count - 1) if k % 7 not in (2, 6)]
    shape.boxes(BLACK if color != "black" else DARK_METAL, [(0.09, 0.5 * pitch, 0.012)], black)
    shape.box(PAPER, (0.02, 0.4, 0.24), (0.06, 0, 0.82))
    shape.boxes(BRASS, [(0.1, 0.025, 0.015)], [(0.08, y, 0.03) for y in (-0.08, 0, 0.08)])
    return piece(shape, color, [(-0.12, 0, height, 0.26, width - 0.1, 0.6)])


def dumbbell(rng: np.random.Generator) -> Piece:
    """A hand weight."""
    color, metal = paint(rng, ("black", "red", "blue", "gray"))
    shape = Shape().rod(METAL, (0, -0.08, 0.06), (0, 0.08, 0.06), 0.014, sides=8)
    for side in (-1, 1):
        shape.rod(metal, (0, side * 0.06, 0.06), (0, side * 0.13, 0.06), 0.06, sides=8)
    return piece(shape, color)


def exercise_bike(rng: np.random.Generator) -> Piece:
    """A stationary bicycle: flywheel, saddle, handlebar, pedals."""
    color, frame = paint(rng, ("black", "red", "white", "blue"))
    shape = Shape().boxes(DARK_METAL, [(0.07, 0.48, 0.06)], [(-0.45, 0, 0), (0.42, 0, 0)])
    shape.rod(frame, (-0.45, 0, 0.05), (0.42, 0, 0.05), 0.03)
    shape.rod(frame, (0.42, 0, 0.05), (0.3, 0, 1.02), 0.03)
    shape.rod(frame, (-0.1, 0, 0.3), (-0.24, 0, 0.86), 0.028)
    shape.rod(frame, (-0.1, 0, 0.3), (0.37, 0, 0.45), 0.03)
    shape.rod(frame, (-0.1, 0, 0.3), (-0.12, 0, 0.05), 0.03)
    shape.rod(METAL, (0.32, -0.03, 0.32), (0.32, 0.03, 0.32), 0.22, sides=18)
    shape.cushion(BLACK, (0.26, 0.17, 0.06), (-0.24, 0, 0.86), radius=0.03)
    shape.rod(BLACK, (0.3, -0.22, 1.05), (0.3, 0.22, 1.05), 0.02)
    for side in (-1, 1):
        shape.rod(BLACK, (0.3, side * 0.22, 1.05), (0.14, side * 0.22, 1.08), 0.02)
        shape.box(METAL, (0.03, 0.02, 0.17), (-0.1, side * 0.07, 0.3 if side > 0 else 0.14))
        shape.box(BLACK, (0.1, 0.08, 0.025), (-0.1, side * 0.12, 0.46 if side > 0 else 0.13))
    shape.box(BLACK, (0.03, 0.18, 0.12), (0.32, 0, 1.06))
    return piece(shape, color)


def umbrella_stand(rng: np.random.Generator) -> Piece:
    """A tube with umbrellas."""
    color, body = paint(rng, ("black", "gray", "brown", "teal"))
    r = 0.11
    shape = Shape().lathe(body, [(0, 0), (r, 0), (r, 0.48), (r - 0.01, 0.48), (r - 0.01, 0.02), (0, 0.02)], sides=14)
    for k, name in enumerate(("red", "blue", "black")[: 1 + int(rng.integers(3))]):
        x, y = 0.05 * float(np.cos(2 * k)), 0.05 * float(np.sin(2 * k))
        cloth = plain(PALETTE[name])
        shape.lathe(cloth, [(0, 0.05), (0.012, 0.05), (0.035, 0.55), (0.02, 0.62), (0, 0.62)], (x, y, 0), sides=8)
        shape.cylinder(METAL, 0.006, 0.14, (x, y, 0.6), sides=5)
        shape.rod(wood(rng, ("brown",)).material, (x, y, 0.74), (x + 0.05, y, 0.76), 0.012, sides=6)
    return piece(shape, color)


def vacuum_cleaner(rng: np.random.Generator) -> Piece:
    """A canister with wheels, hose and tube."""
    color, body = paint(rng, ("red", "blue", "gray", "green"))
    shape = Shape().cushion(body, (0.4, 0.27, 0.2), (-0.1, 0, 0.03), radius=0.08, steps=2)
    shape.rod(RUBBER, (-0.2, -0.15, 0.09), (-0.2, 0.15, 0.09), 0.09, sides=12)
    shape.box(BLACK, (0.16, 0.04, 0.03), (-0.1, 0, 0.24))
    hose = [(0.08, 0, 0.18), (0.2, 0.05, 0.3), (0.28, 0.12, 0.5), (0.3, 0.14, 0.72), (0.32, 0.14, 0.84)]
    for a, b in pairwise(hose):
        shape.rod(DARK_METAL, a, b, 0.02, sides=7)
    shape.rod(METAL, (0.32, 0.14, 0.86), (0.44, 0.14, 0.06), 0.017, sides=7)
    shape.box(BLACK, (0.1, 0.28, 0.05), (0.46, 0.14, 0))
    return piece(shape, color)


def ladder(rng: np.random.Generator) -> Piece:
    """A step ladder."""
    height = draw(rng, 1.2, 1.6)
    color, rail = paint(rng, ("gray", "yellow", "orange"))
    shape = Shape()
    for side in (-1, 1):
        shape.rod(rail, (0.28, side * 0.24, 0.015), (0, side * 0.18, height - 0.02), 0.018)
        shape.rod(rail, (-0.28, side * 0.24, 0.015), (-0.02, side * 0.18, height - 0.05), 0.016)
    steps = int(height / 0.28)
    for k in range(1, steps + 1):
        t = k * 0.28 / height
        shape.box(METAL, (0.09, 2 * (0.24 - 0.06 * t), 0.025), (0.28 * (1 - t), 0, t * height - 0.0125))
    shape.box(rail, (0.14, 0.4, 0.03), (0, 0, height - 0.03))
    return piece(shape, color)


def bucket(rng: np.random.Generator) -> Piece:
    """A bucket with a mop."""
    color, body = paint(rng, ("blue", "red", "green", "yellow"))
    shape = Shape().lathe(body, [(0, 0), (0.11, 0), (0.15, 0.28), (0.142, 0.28), (0.104, 0.012), (0, 0.012)], sides=14)
    shape.rod(wood(rng, ("light brown",)).material, (0, 0, 0.1), (-0.12, 0, 1.2), 0.013)
    shape.ellipsoid(PAPER, (0.16, 0.16, 0.14), (0, 0, 0.03), sides=8)
    return piece(shape, color)


def pet_bed(rng: np.random.Generator) -> Piece:
    """A round padded basket for a cat or dog."""
    r = draw(rng, 0.26, 0.36)
    color, cloth = fabric(rng, ("gray", "beige", "blue", "red", "brown"))
    shape = Shape().lathe(
        cloth,
        [(0, 0), (r, 0), (r + 0.02, 0.08), (r - 0.03, 0.17), (r - 0.09, 0.15), (r - 0.11, 0.07), (0, 0.07)],
        sides=18,
        smooth=True,
    )
    shape.lathe(
        plain(shade(cloth.color, 1.3), roughness=1.0),
        [(0, 0.07), (r - 0.12, 0.07), (r - 0.15, 0.1), (0, 0.12)],
        sides=14,
    )
    return piece(shape, color)


CATEGORIES: dict[str, Category] = {
    "book": Category(
        make=book,
        spot="on",
        together=(1, 3),
        on=("nightstand", "coffee table", "desk", "bookshelf", "shelf", "side table", "bed", "cabinet", "piano"),
    ),
    "teddy bear": Category(
        make=teddy_bear, spot="on", on=("single bed", "bookshelf", "dresser", "shelf"), per_house=2
    ),
    "ball": Category(make=ball, spot="free", rooms={"kids room": 1.2, "living room": 0.1}, per_house=3),
    "toy car": Category(make=toy_car, spot="free", rooms={"kids room": 1.5}, per_house=4),
    "toy blocks": Category(make=toy_blocks, spot="free", rooms={"kids room": 0.6}, per_house=1),
    "doll house": Category(make=doll_house, spot="wall", rooms={"kids room": 0.5}, per_house=1),
    "backpack": Category(
        make=backpack, spot="corner", rooms={"kids room": 0.5, "hallway": 0.3, "bedroom": 0.2}, per_house=2
    ),
    "tissue box": Category(
        make=tissue_box, spot="on", on=("nightstand", "coffee table", "desk", "dresser", "sink"), per_house=1
    ),
    "guitar": Category(
        make=guitar, spot="corner", rooms={"living room": 0.25, "bedroom": 0.2, "kids room": 0.15}, per_house=1
    ),
    "piano": Category(make=piano, spot="wall", rooms={"living room": 0.2, "dining room": 0.2}, per_house=1, gap_m=0.6),
    "dumbbell": Category(make=dumbbell, spot="free", rooms={"bedroom": 0.25, "storage room": 0.4}, per_house=2),
    "exercise bike": Category(
        make=exercise_bike, spot="free", rooms={"bedroom": 0.12, "storage room": 0.3, "office": 0.12}, per_house=1
    ),
    "umbrella stand": Category(make=umbrella_stand, spot="corner", rooms={"hallway": 0.5}, per_house=1),
    "vacuum cleaner": Category(
        make=vacuum_cleaner, spot="corner", rooms={"storage room": 0.5, "laundry room": 0.3}, per_house=1
    ),
    "ladder": Category(make=ladder, spot="corner", rooms={"storage room": 0.7}, per_house=1),
    "bucket": Category(
        make=bucket, spot="corner", rooms={"storage room": 0.5, "laundry room": 0.5, "bathroom": 0.1}, per_house=1
    ),
    "pet bed": Category(make=pet_bed, spot="corner", rooms={"living room": 0.3, "hallway": 0.15}, per_house=1),
}
