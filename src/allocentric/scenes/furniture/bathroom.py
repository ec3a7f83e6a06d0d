"""Bathroom and laundry."""

from __future__ import annotations

import numpy as np

from allocentric.scenes.furniture.finishes import (
    BLACK,
    CERAMIC,
    DARK_METAL,
    GLASS,
    METAL,
    PALETTE,
    PAPER,
    WATER,
    draw,
    fabric,
    paint,
    plain,
    wood,
)
from allocentric.scenes.furniture.model import Category, Piece, piece
from allocentric.scenes.furniture.parts import Shape


def toilet(rng: np.random.Generator) -> Piece:
    """Bowl, seat, lid standing up, cistern."""
    height, length = draw(rng, 0.74, 0.82), draw(rng, 0.64, 0.72)
    shape = Shape().cushion(CERAMIC, (0.17, 0.38, height - 0.42), (-length / 2 + 0.085, 0, 0.4), radius=0.03, steps=2)
    shape.box(METAL, (0.05, 0.03, 0.012), (-length / 2 + 0.085, 0, height - 0.02))
    bowl = [
        (0, 0),
        (0.12, 0),
        (0.1, 0.12),
        (0.12, 0.22),
        (0.2, 0.36),
        (0.2, 0.39),
        (0.14, 0.39),
        (0.1, 0.28),
        (0, 0.24),
    ]
    shape.put(_stretched(bowl, 1.25), (length / 2 - 0.25, 0, 0))
    shape.box(CERAMIC, (0.22, 0.24, 0.38), (-length / 2 + 0.16, 0, 0))
    seat = [(0.135, 0.39), (0.205, 0.39), (0.205, 0.415), (0.135, 0.415), (0.135, 0.39)]
    shape.put(_stretched(seat, 1.22), (length / 2 - 0.25, 0, 0))
    shape.lathe(WATER, [(0, 0.245), (0.09, 0.245), (0.09, 0.25), (0, 0.25)], (length / 2 - 0.25, 0, 0), sides=10)
    return piece(shape, "white")


def _stretched(profile: list[tuple[float, float]], factor: float) -> Shape:
    """A lathed ceramic body made longer along x."""
    return Shape().lathe(CERAMIC, profile, sides=16).stretched((factor, 1.0, 1.0))


def bathtub(rng: np.random.Generator) -> Piece:
    """A tub with rim, hollow and tap; its long side lies along the wall."""
    width, depth, height = draw(rng, 1.5, 1.7), draw(rng, 0.68, 0.78), draw(rng, 0.54, 0.6)
    rim = 0.07
    shape = Shape()
    shape.boxes(CERAMIC, [(rim, width, height)], [(s * (depth - rim) / 2, 0, 0) for s in (-1, 1)])
    shape.boxes(CERAMIC, [(depth - 2 * rim, rim, height)], [(0, s * (width - rim) / 2, 0) for s in (-1, 1)])
    shape.box(CERAMIC, (depth - 2 * rim, width - 2 * rim, 0.14))
    x, y = depth / 2 - rim, width / 2 - rim
    for side in (-1, 1):  # sloping inner walls
        slope = np.array([[0.0, 0.14], [0.1, 0.14], [0.0, height]])
        outline = slope if side < 0 else (slope * (-1, 1))[::-1]
        shape.prism(CERAMIC, outline, 2 * x, (0, side * y, 0), along="x")
    shape.box(WATER, (2 * x, 2 * y - 0.14, 0.2), (0, 0, 0.14))
    shape.rod(METAL, (0, -width / 2 + 0.04, height), (0, -width / 2 + 0.04, height + 0.1), 0.018)
    shape.rod(METAL, (0, -width / 2 + 0.04, height + 0.1), (0, -width / 2 + 0.17, height + 0.07), 0.016)
    shape.boxes(METAL, [(0.05, 0.04, 0.04)], [(s * 0.1, -width / 2 + 0.04, height) for s in (-1, 1)])
    return piece(shape, "white")


def shower(rng: np.random.Generator) -> Piece:
    """A tray, a pole with a head, and framed glass on one side."""
    side, height = draw(rng, 0.8, 0.95), draw(rng, 1.98, 2.1)
    half = side / 2
    shape = Shape().box(CERAMIC, (side, side, 0.08))
    shape.box(plain((0.80, 0.82, 0.83)), (side - 0.12, side - 0.12, 0.006), (0, 0, 0.08))
    shape.cylinder(METAL, 0.014, height - 0.1, (-half + 0.05, 0, 0.08), sides=8)
    shape.rod(METAL, (-half + 0.05, 0, height - 0.03), (-0.06, 0, height - 0.03), 0.012)
    shape.cylinder(METAL, 0.1, 0.02, (-0.06, 0, height - 0.06), sides=12)
    shape.box(METAL, (0.05, 0.14, 0.04), (-half + 0.07, 0, 1.05))
    posts = [
        (half - 0.015, half - 0.015, 0.08),
        (half - 0.015, -half + 0.015, 0.08),
        (-half + 0.015, half - 0.015, 0.08),
    ]
    shape.boxes(METAL, [(0.03, 0.03, height - 0.08)], posts)
    rails = [(0, half - 0.015, z) for z in (0.08, height - 0.03)]
    shape.boxes(METAL, [(side, 0.03, 0.03)], rails)
    shape.box(GLASS, (side - 0.06, 0.008, height - 0.14), (0, half - 0.015, 0.11))
    return piece(shape, "white")


def washbasin(rng: np.random.Generator) -> Piece:
    """A basin on a vanity unit, or on a pedestal, with a tap."""
    depth, width, height = draw(rng, 0.42, 0.5), draw(rng, 0.52, 0.75), draw(rng, 0.8, 0.88)
    shape = Shape()
    color = "white"
    if rng.random() < 0.6:
        color, front = wood(rng)
        shape.box(front, (depth - 0.04, width - 0.02, height - 0.28), (-0.01, 0, 0.12))
        shape.boxes(METAL, [(0.02, 0.014, 0.14)], [(depth / 2 - 0.025, s * 0.04, 0.36) for s in (-1, 1)])
        shape.box(DARK_METAL, (0.004, 0.006, height - 0.3), (depth / 2 - 0.03, 0, 0.13))
        shape.boxes(front, [(0.05, 0.05, 0.12)], [(x, y, 0) for x in (-0.14, 0.12) for y in (-0.2, 0.2)])
    else:
        shape.lathe(
            CERAMIC,
            [(0, 0), (0.12, 0), (0.07, 0.1), (0.06, height - 0.2), (0.12, height - 0.12), (0, height - 0.12)],
            sides=12,
        )
    rim, floor = 0.05, height - 0.12
    back = 0.1
    shape.box(CERAMIC, (depth, width, 0.03), (0, 0, floor - 0.03))
    shape.boxes(CERAMIC, [(depth, rim, 0.12)], [(0, s * (width - rim) / 2, floor) for s in (-1, 1)])
    shape.box(CERAMIC, (rim, width - 2 * rim, 0.12), (depth / 2 - rim / 2, 0, floor))
    shape.box(CERAMIC, (back, width - 2 * rim, 0.12), (-depth / 2 + back / 2, 0, floor))
    shape.cylinder(DARK_METAL, 0.022, 0.004, (0.02, 0, floor), sides=8)
    tap = -depth / 2 + 0.05
    shape.cylinder(METAL, 0.018, 0.12, (tap, 0, height), sides=8)
    shape.rod(METAL, (tap, 0, height + 0.11), (tap + 0.12, 0, height + 0.08), 0.013)
    shape.box(METAL, (0.07, 0.016, 0.012), (tap + 0.01, 0, height + 0.125))
    return piece(shape, color, [((back - depth) / 2, s * (width / 2 - 0.1), height, back, 0.2, 0.3) for s in (-1, 1)])


def mirror(rng: np.random.Generator) -> Piece:
    """A framed mirror, rectangular or round."""
    width, height = draw(rng, 0.45, 0.7), draw(rng, 0.55, 0.85)
    color, frame = wood(rng)
    glass = plain((0.70, 0.78, 0.82), roughness=0.02)
    shape = Shape().box(glass, (0.014, width - 0.06, height - 0.06), (0, 0, 0.03))
    shape.boxes(frame, [(0.03, 0.035, height)], [(0.005, s * (width - 0.035) / 2, 0) for s in (-1, 1)])
    shape.boxes(frame, [(0.03, width - 0.07, 0.035)], [(0.005, 0, z) for z in (0, height - 0.035)])
    return piece(shape, color)


def towel(rng: np.random.Generator) -> Piece:
    """A towel over a rail."""
    width, height = draw(rng, 0.4, 0.55), draw(rng, 0.5, 0.75)
    color, cloth = fabric(
        rng,
        ("white", "light blue", "red", "green", "yellow", "pink", "teal", "orange"),
        pattern="stripes" if rng.random() < 0.3 else "fabric",
    )
    shape = Shape().rod(METAL, (0.05, -width / 2 - 0.06, height), (0.05, width / 2 + 0.06, height), 0.01)
    shape.boxes(METAL, [(0.05, 0.015, 0.015)], [(0.025, s * (width / 2 + 0.05), height - 0.007) for s in (-1, 1)])
    shape.cushion(cloth, (0.014, width, height), (0.068, 0, 0.012), radius=0.006)
    shape.cushion(cloth, (0.014, width, height * 0.7), (0.032, 0, 0.012 + height * 0.3), radius=0.006)
    shape.cushion(cloth, (0.05, width, 0.014), (0.05, 0, height + 0.008), radius=0.006)
    return piece(shape, color)


def toilet_paper(rng: np.random.Generator) -> Piece:
    """A roll on a holder."""
    radius = draw(rng, 0.04, 0.058)
    shape = Shape().box(METAL, (0.012, 0.16, 0.03), (0, 0, 0.07))
    shape.rod(METAL, (0.07, -0.075, 0.06), (0.07, 0.075, 0.06), 0.008)
    shape.boxes(METAL, [(0.075, 0.01, 0.012)], [(0.035, s * 0.075, 0.06) for s in (-1, 1)])
    shape.rod(PAPER, (0.07, -0.05, 0.06), (0.07, 0.05, 0.06), radius, sides=14)
    shape.box(PAPER, (0.004, 0.1, 0.1), (0.068 + radius, 0, -0.04))
    return piece(shape, "white")


def bath_mat(rng: np.random.Generator) -> Piece:
    """A small soft mat."""
    depth, width = draw(rng, 0.42, 0.55), draw(rng, 0.6, 0.85)
    color, cloth = fabric(rng, ("white", "light blue", "green", "gray", "pink", "teal", "yellow"))
    shape = Shape().cushion(cloth, (depth, width, 0.016), radius=0.007)
    return piece(shape, color)


def _machine(rng: np.random.Generator, door: float, drawer: bool) -> Piece:
    width, depth, height = 0.6, draw(rng, 0.56, 0.62), draw(rng, 0.84, 0.86)
    body = plain(PALETTE["white"], roughness=0.3)
    front = depth / 2 - 0.03
    shape = Shape().box(body, (depth - 0.03, width, height - 0.02), (-0.015, 0, 0.02))
    shape.box(BLACK, (depth - 0.1, width - 0.06, 0.02))
    ring = [(door - 0.045, 0), (door, 0), (door, 0.03), (door - 0.045, 0.03), (door - 0.045, 0)]
    porthole = Shape().lathe(METAL if drawer else DARK_METAL, ring, sides=18)
    porthole.lathe(GLASS if drawer else BLACK, [(0, 0), (door - 0.04, 0), (door - 0.06, 0.02), (0, 0.028)], sides=18)
    shape.put(porthole.tipped_forward(), (front, 0, 0.42))
    shape.box(plain((0.80, 0.82, 0.84)), (0.01, width - 0.02, 0.1), (front + 0.005, 0, height - 0.12))
    shape.boxes(DARK_METAL, [(0.03, 0.05, 0.05)], [(front + 0.015, 0.06 if drawer else -0.2, height - 0.1)])
    if drawer:
        shape.box(body, (0.015, 0.17, 0.08), (front + 0.012, 0.19, height - 0.11))
    else:
        shape.boxes(METAL, [(0.015, 0.03, 0.02)], [(front + 0.01, y, height - 0.08) for y in (0.1, 0.16, 0.22)])
    return piece(shape, "white", [(0, 0, height, depth - 0.1, width - 0.1, 0.6)])


def washing_machine(rng: np.random.Generator) -> Piece:
    """A front loader with a glass porthole and a detergent drawer."""
    return _machine(rng, 0.19, True)


def dryer(rng: np.random.Generator) -> Piece:
    """A tumble dryer with a dark door."""
    return _machine(rng, 0.21, False)


def soap_dispenser(rng: np.random.Generator) -> Piece:
    """A small bottle with a pump."""
    color, body = paint(rng, ("white", "teal", "pink", "green", "orange"), roughness=0.2)
    shape = Shape().lathe(body, [(0, 0), (0.033, 0), (0.033, 0.1), (0.014, 0.125), (0, 0.125)], sides=10)
    shape.cylinder(METAL, 0.006, 0.045, (0, 0, 0.12), sides=6)
    shape.box(METAL, (0.05, 0.016, 0.012), (0.015, 0, 0.16))
    return piece(shape, color)


def ironing_board(rng: np.random.Generator) -> Piece:
    """A padded board on crossed legs, with an iron."""
    width, height = draw(rng, 1.1, 1.25), draw(rng, 0.82, 0.9)
    color, cloth = fabric(rng, ("light blue", "red", "gray", "green"), pattern="checker")
    shape = Shape().prism(
        cloth,
        [
            [-0.17, -width / 2],
            [0.17, -width / 2],
            [0.17, width * 0.25],
            [0.05, width / 2],
            [-0.05, width / 2],
            [-0.17, width * 0.25],
        ],
        0.035,
        (0, 0, height - 0.035),
    )
    for x in (-0.12, 0.12):
        shape.rod(METAL, (x, -width * 0.4, 0.012), (x, width * 0.28, height - 0.04), 0.012)
        shape.rod(METAL, (x, width * 0.34, 0.012), (x, -width * 0.3, height - 0.04), 0.012)
    shape.boxes(METAL, [(0.34, 0.025, 0.025)], [(0, -width * 0.4, 0), (0, width * 0.34, 0)])
    shape.prism(
        plain(PALETTE["blue"]),
        [[-0.05, -0.1], [0.05, -0.1], [0.05, 0.05], [0.0, 0.14], [-0.05, 0.05]],
        0.05,
        (0, -width * 0.3, height),
    )
    shape.box(BLACK, (0.03, 0.14, 0.03), (0, -width * 0.32, height + 0.075))
    shape.boxes(BLACK, [(0.025, 0.025, 0.04)], [(0, -width * 0.32 + s * 0.055, height + 0.045) for s in (-1, 1)])
    return piece(shape, color)


CATEGORIES: dict[str, Category] = {
    "toilet": Category(make=toilet, spot="group"),
    "bathtub": Category(make=bathtub, spot="group", per_house=1),
    "shower": Category(make=shower, spot="group", per_house=2),
    "washbasin": Category(make=washbasin, spot="group"),
    "mirror": Category(make=mirror, spot="hung", rooms={"hallway": 0.4, "bedroom": 0.3}, bottom_m=(1.0, 1.25)),
    "towel": Category(make=towel, spot="hung", rooms={"bathroom": 1.5, "laundry room": 0.2}, bottom_m=(0.85, 1.0)),
    "toilet paper": Category(
        make=toilet_paper, spot="hung", rooms={"bathroom": 0.8}, bottom_m=(0.6, 0.7), per_house=2
    ),
    "bath mat": Category(make=bath_mat, spot="layer", rooms={"bathroom": 0.8}),
    "washing machine": Category(
        make=washing_machine, spot="wall", rooms={"laundry room": 1.0, "bathroom": 0.4}, per_house=1, gap_m=0.5
    ),
    "dryer": Category(make=dryer, spot="wall", rooms={"laundry room": 0.8, "bathroom": 0.15}, per_house=1, gap_m=0.5),
    "soap dispenser": Category(
        make=soap_dispenser, spot="on", on=("sink", "kitchen counter", "washing machine"), per_house=2
    ),
    "ironing board": Category(
        make=ironing_board, spot="wall", rooms={"laundry room": 0.8, "bedroom": 0.1}, per_house=1
    ),
}
