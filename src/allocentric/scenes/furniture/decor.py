"""Lamps, plants, pictures, textiles and other things that make a room pleasant."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from allocentric.core.types import Material
from allocentric.scenes.furniture.finishes import (
    BRASS,
    CALM,
    DARK_METAL,
    LIGHT,
    METAL,
    PALETTE,
    PAPER,
    SOIL,
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


def rug(rng: np.random.Generator) -> Piece:
    """A flat woven rug with a border."""
    depth, width = draw(rng, 1.1, 1.7), draw(rng, 1.6, 2.4)
    pattern = pick(rng, ("carpet", "stripes", "checker", "fabric"))
    color = pick(rng, ("red", "blue", "teal", "beige", "gray", "green", "cream", "orange", "purple"))
    main = PALETTE[color]
    other = PALETTE["cream" if color not in ("cream", "beige") else "brown"]
    scale = {"carpet": 0.02, "stripes": 0.25, "checker": 0.4, "fabric": 0.03}[pattern]
    middle = Material(
        pattern="stripes" if pattern == "stripes" else "checker" if pattern == "checker" else "carpet",
        color=main,
        color2=other if pattern in ("stripes", "checker") else shade(main, 0.8),
        scale_m=scale,
        roughness=1.0,
    )
    border = Material(pattern="carpet", color=shade(main, 0.6), color2=shade(main, 0.5), scale_m=0.02, roughness=1.0)
    edge = 0.07
    shape = Shape().box(middle, (depth - 2 * edge, width - 2 * edge, 0.012))
    shape.boxes(border, [(edge, width, 0.012)], [(s * (depth - edge) / 2, 0, 0) for s in (-1, 1)])
    shape.boxes(border, [(depth - 2 * edge, edge, 0.012)], [(0, s * (width - edge) / 2, 0) for s in (-1, 1)])
    return piece(shape, color)


def picture(rng: np.random.Generator) -> Piece:
    """A framed painting."""
    width, height = draw(rng, 0.35, 1.0), draw(rng, 0.35, 0.75)
    _, frame = wood(rng)
    color = pick(rng, ("blue", "red", "green", "orange", "teal", "purple", "yellow"))
    paint_ = Material(
        pattern="picture",
        color=PALETTE[color],
        color2=PALETTE[pick(rng, ("cream", "white", "yellow"))],
        scale_m=float(max(width, height)),
        roughness=0.8,
    )
    shape = Shape().box(PAPER, (0.012, width - 0.04, height - 0.04), (0, 0, 0.02))
    shape.box(paint_, (0.003, width - 0.14, height - 0.14), (0.0075, 0, 0.07))
    shape.boxes(frame, [(0.028, 0.03, height)], [(0.006, s * (width - 0.03) / 2, 0) for s in (-1, 1)])
    shape.boxes(frame, [(0.028, width - 0.06, 0.03)], [(0.006, 0, z) for z in (0, height - 0.03)])
    return piece(shape, color)


def clock(rng: np.random.Generator) -> Piece:
    """A round wall clock with marks and hands."""
    radius = draw(rng, 0.13, 0.2)
    color, rim = paint(rng, ("black", "red", "white", "teal", "blue"))
    dial = plain((0.97, 0.97, 0.95)) if color != "white" else plain((0.88, 0.90, 0.92))
    shape = (
        Shape()
        .lathe(
            rim,
            [(0, 0), (radius, 0), (radius, 0.035), (radius - 0.018, 0.035), (radius - 0.018, 0.02), (0, 0.02)],
            sides=20,
        )
        .tipped_forward()
    )
    face = Shape().lathe(dial, [(0, 0.02), (radius - 0.019, 0.02), (radius - 0.019, 0.022), (0, 0.022)], sides=20)
    shape.put(face.tipped_forward())
    for k in range(12):
        y, z = float(np.sin(k * np.pi / 6)), float(np.cos(k * np.pi / 6))
        r = radius - 0.035
        shape.box(DARK_METAL, (0.004, 0.012, 0.012), (0.023, r * y, r * z - 0.006))
    shape.rod(DARK_METAL, (0.026, 0, 0), (0.026, 0.5 * radius, 0.2 * radius), 0.005, sides=4)
    shape.rod(DARK_METAL, (0.026, 0, 0), (0.026, -0.2 * radius, 0.7 * radius), 0.004, sides=4)
    return piece(shape, color)


def vase(rng: np.random.Generator) -> Piece:
    """A vase, sometimes with flowers."""
    height = draw(rng, 0.16, 0.3)
    color, glaze = paint(rng, ("white", "blue", "teal", "red", "yellow", "orange", "purple"), roughness=0.15)
    r = height * float(rng.uniform(0.24, 0.32))
    profile = [
        (0, 0),
        (0.55 * r, 0),
        (r, 0.35 * height),
        (0.85 * r, 0.6 * height),
        (0.4 * r, 0.85 * height),
        (0.5 * r, height),
        (0.42 * r, height),
        (0.3 * r, 0.85 * height),
        (0, 0.8 * height),
    ]
    shape = Shape().lathe(glaze, profile, sides=14)
    if rng.random() < 0.6:
        stem = plain((0.30, 0.48, 0.22))
        petals = plain(PALETTE[pick(rng, ("red", "yellow", "pink", "white", "purple"))])
        for k in range(5):
            angle = 2 * np.pi * k / 5 + float(rng.uniform(0, 1))
            x, y = 0.8 * r * float(np.cos(angle)), 0.8 * r * float(np.sin(angle))
            z = height * float(rng.uniform(1.35, 1.7))
            shape.rod(stem, (0, 0, 0.8 * height), (x, y, z), 0.004, sides=3)
            shape.ellipsoid(petals, (0.05, 0.05, 0.045), (x, y, z - 0.01), sides=6)
    return piece(shape, color)


def plant(rng: np.random.Generator) -> Piece:
    """A house plant standing on the floor: pot, stems, arching leaves."""
    height = draw(rng, 0.7, 1.5)
    radius = draw(rng, 0.14, 0.2)
    color, pot = paint(rng, ("white", "orange", "gray", "brown", "teal", "blue"), roughness=0.5)
    shape = Shape()
    _pot(shape, pot, radius, 1.7 * radius)
    _foliage(shape, rng, height, 1.7 * radius - 0.03, float(rng.uniform(0.28, 0.42)), int(rng.integers(26, 44)))
    return piece(shape, color)


def potted_plant(rng: np.random.Generator) -> Piece:
    """A small plant for a table or a shelf."""
    radius = draw(rng, 0.05, 0.075)
    color, pot = paint(rng, ("white", "orange", "gray", "teal", "yellow", "blue"), roughness=0.5)
    shape = Shape()
    _pot(shape, pot, radius, 1.6 * radius)
    _foliage(shape, rng, draw(rng, 0.2, 0.3), 1.6 * radius - 0.015, 0.1, 16)
    return piece(shape, color)


def _pot(shape: Shape, material: Material, radius: float, height: float) -> None:
    shape.lathe(
        material,
        [
            (0, 0),
            (0.7 * radius, 0),
            (radius, height),
            (0.9 * radius, height),
            (0.85 * radius, 0.88 * height),
            (0, 0.88 * height),
        ],
        sides=14,
    )
    shape.lathe(
        SOIL,
        [(0, 0.88 * height), (0.86 * radius, 0.88 * height), (0.86 * radius, 0.9 * height), (0, 0.92 * height)],
        sides=10,
    )


def _foliage(shape: Shape, rng: np.random.Generator, height: float, base: float, spread: float, count: int) -> None:
    """Leaves on stems that rise from the pot and arch outwards."""
    hue = ((0.20, 0.45, 0.20), (0.30, 0.52, 0.24), (0.16, 0.38, 0.24))[int(rng.integers(3))]
    green = Material(pattern="leaves", color=hue, color2=shade(hue, 1.35), scale_m=0.06, roughness=0.7)
    stem = plain(shade(hue, 0.8))
    stems = max(3, count // 7)
    angle = rng.uniform(0, 2 * np.pi, stems)
    lean = spread * rng.uniform(0.15, 0.45, stems)
    top = base + (height - base) * rng.uniform(0.6, 0.92, stems)
    ends = np.column_stack([lean * np.cos(angle), lean * np.sin(angle), top])
    for end in ends:
        shape.rod(stem, (0, 0, base), (float(end[0]), float(end[1]), float(end[2])), 0.008 * height + 0.002, sides=4)
    which = rng.integers(stems, size=count)
    along = rng.uniform(0.35, 1.0, count)[:, None]
    start = np.array([0, 0, base]) + along * (ends[which] - np.array([0, 0, base]))
    turn = rng.uniform(0, 2 * np.pi, count)
    reach = spread * rng.uniform(0.5, 0.85, count)
    tip = start + np.column_stack([reach * np.cos(turn), reach * np.sin(turn), reach * rng.uniform(-0.25, 0.8, count)])
    tip[:, 2] = np.clip(tip[:, 2], base, height)
    shape.leaves(green, start, tip, 0.42 * reach)


def lamp(rng: np.random.Generator) -> Piece:
    """A table lamp: foot, stem, shade."""
    height = draw(rng, 0.36, 0.52)
    color, cloth = fabric(rng, ("cream", "white", "red", "blue", "green", "yellow", "teal"))
    foot = (BRASS, METAL, DARK_METAL)[int(rng.integers(3))]
    r = 0.3 * height
    shape = Shape()
    if rng.random() < 0.5:
        shape.lathe(
            foot, [(0, 0), (0.07, 0), (0.07, 0.012), (0.015, 0.03), (0.012, 0.6 * height), (0, 0.6 * height)], sides=10
        )
    else:
        _, glaze = paint(rng, ("white", "teal", "blue", "gray"), roughness=0.2)
        shape.lathe(
            glaze,
            [
                (0, 0),
                (0.05, 0),
                (0.08, 0.14 * height),
                (0.07, 0.3 * height),
                (0.015, 0.5 * height),
                (0.015, 0.6 * height),
                (0, 0.6 * height),
            ],
            sides=12,
            smooth=True,
        )
    _shade(shape, cloth, r, 0.7 * r, 0.55 * height, height)
    return piece(shape, color)


def _shade(shape: Shape, cloth: Material, low: float, high: float, bottom: float, top: float) -> None:
    """An open truncated cone with a bulb in it."""
    t = 0.004
    shape.lathe(cloth, [(low - t, bottom), (low, bottom), (high, top), (high - t, top), (low - t, bottom)], sides=16)
    shape.ellipsoid(LIGHT, (0.06, 0.06, 0.08), (0, 0, bottom + 0.02), sides=8)


def floor_lamp(rng: np.random.Generator) -> Piece:
    """A tall lamp on a pole."""
    height = draw(rng, 1.45, 1.75)
    color, cloth = fabric(rng, ("cream", "white", "gray", "orange", "red"))
    metal = (BRASS, METAL, DARK_METAL)[int(rng.integers(3))]
    shape = Shape().lathe(metal, [(0, 0), (0.15, 0), (0.15, 0.015), (0.02, 0.03), (0, 0.03)], sides=14)
    shape.cylinder(metal, 0.013, height - 0.2, (0, 0, 0.03), sides=8)
    _shade(shape, cloth, draw(rng, 0.18, 0.24), 0.14, height - 0.3, height)
    return piece(shape, color)


def ceiling_lamp(rng: np.random.Generator) -> Piece:
    """A dome below the ceiling, or a shade on a cable."""
    shape = Shape()
    if rng.random() < 0.5:
        r = draw(rng, 0.16, 0.24)
        shape.lathe(LIGHT, [(0, 0), (0.6 * r, 0.02), (0.92 * r, 0.06), (r, 0.1), (0, 0.1)], sides=16)
        shape.cylinder(METAL, r * 1.03, 0.02, (0, 0, 0.1), sides=16)
        return piece(shape, "white")
    color, cloth = paint(rng, ("white", "black", "red", "yellow", "teal", "orange"))
    drop, r = draw(rng, 0.2, 0.32), draw(rng, 0.16, 0.22)
    t = 0.005
    shape.lathe(
        cloth,
        [(r - t, 0), (r, 0), (0.5 * r, 0.14), (0.04, 0.18), (0.03, 0.18), (0.46 * r, 0.135), (r - t, 0)],
        sides=16,
    )
    shape.ellipsoid(LIGHT, (0.08, 0.08, 0.1), (0, 0, 0.04), sides=8)
    shape.cylinder(DARK_METAL, 0.006, drop, (0, 0, 0.16), sides=5)
    shape.cylinder(DARK_METAL, 0.05, 0.02, (0, 0, 0.16 + drop), sides=10)
    return piece(shape, color)


def curtain(rng: np.random.Generator) -> Piece:
    """A gathered curtain with its piece of rod."""
    width, height = draw(rng, 0.26, 0.36), draw(rng, 1.9, 2.05)
    color, cloth = fabric(
        rng, (*CALM, "red", "orange", "purple", "yellow"), pattern="stripes" if rng.random() < 0.2 else "fabric"
    )
    y = np.linspace(-width / 2, width / 2, 25)
    path = np.column_stack([0.035 * np.sin(y * (2 * np.pi * 5 / width)), y])
    shape = Shape().ribbon(cloth, path, 0.008, height)
    shape.rod(METAL, (0, -width / 2 - 0.02, height - 0.03), (0, width / 2 + 0.02, height - 0.03), 0.012)
    return piece(shape, color)


def radiator(rng: np.random.Generator) -> Piece:
    """A ribbed heater below a window."""
    width, height = draw(rng, 0.6, 1.1), draw(rng, 0.5, 0.6)
    body = plain((0.93, 0.93, 0.92), roughness=0.4)
    ribs = int(width / 0.06)
    at = [[0.02, (k + 0.5) * width / ribs - width / 2, 0.03] for k in range(ribs)]
    shape = Shape().boxes(body, [(0.05, 0.035, height - 0.06)], at)
    shape.box(body, (0.05, width, height - 0.1), (-0.025, 0, 0.05))
    shape.boxes(body, [(0.1, width, 0.03)], [(0, 0, 0), (0, 0, height - 0.03)])
    shape.rod(METAL, (0, width / 2, 0.06), (0, width / 2 + 0.05, 0.06), 0.015)
    return piece(shape, "white")


def candle(rng: np.random.Generator) -> Piece:
    """A candle in a holder."""
    height = draw(rng, 0.12, 0.24)
    color, wax = paint(rng, ("white", "red", "yellow", "cream", "green"))
    shape = Shape().lathe(
        BRASS, [(0, 0), (0.045, 0), (0.045, 0.008), (0.014, 0.02), (0.02, 0.035), (0, 0.035)], sides=10
    )
    shape.cylinder(wax, 0.013, height - 0.055, (0, 0, 0.035), sides=8)
    shape.cylinder(plain(PALETTE["orange"]), 0.006, 0.02, (0, 0, height - 0.02), top=0, sides=6)
    return piece(shape, color)


def globe(rng: np.random.Generator) -> Piece:
    """A desk globe on a stand."""
    radius = draw(rng, 0.1, 0.14)
    sea = Material(pattern="noise", color=(0.20, 0.42, 0.68), color2=(0.40, 0.60, 0.30), scale_m=0.12, roughness=0.4)
    shape = Shape().lathe(BRASS, [(0, 0), (0.08, 0), (0.08, 0.012), (0.015, 0.03), (0.012, 0.08), (0, 0.08)], sides=12)
    shape.ellipsoid(sea, (2 * radius, 2 * radius, 2 * radius), (0, 0, 0.09), sides=14)
    middle = 0.09 + radius
    r = radius + 0.012
    bow = [(r * float(np.sin(a)), r * float(np.cos(a))) for a in np.linspace(0, np.pi, 9)]
    for (x0, z0), (x1, z1) in pairwise(bow):
        shape.rod(BRASS, (-x0, 0, middle + z0), (-x1, 0, middle + z1), 0.006, sides=4)
    return piece(shape, "blue")


def picture_frame(rng: np.random.Generator) -> Piece:
    """A small framed photograph on a stand."""
    width, height = draw(rng, 0.13, 0.2), draw(rng, 0.15, 0.22)
    color, frame = wood(rng)
    photo = Material(pattern="picture", color=PALETTE[pick(rng, ("teal", "orange", "blue"))], scale_m=0.2)
    lean = 0.05
    back = [[-0.01, 0], [0.005, 0], [0.005 - lean, height], [-0.01 - lean, height]]
    shape = Shape().prism(frame, back, width, along="y")
    k0, k1 = 0.14, 0.86
    front = [
        [0.004 - k0 * lean, k0 * height],
        [0.007 - k0 * lean, k0 * height],
        [0.007 - k1 * lean, k1 * height],
        [0.004 - k1 * lean, k1 * height],
    ]
    shape.prism(photo, front, width - 0.05, along="y")
    shape.prism(frame, [[-0.09, 0], [-0.08, 0], [-0.045, 0.7 * height], [-0.05, 0.7 * height]], 0.03, along="y")
    return piece(shape, color)


_SIDEBOARDS = ("cabinet", "dresser", "console table", "tv stand")

CATEGORIES: dict[str, Category] = {
    "rug": Category(make=rug, spot="layer", rooms={"bedroom": 0.5, "kids room": 0.6, "office": 0.3, "hallway": 0.1}),
    "painting": Category(
        make=picture,
        spot="hung",
        bottom_m=(1.25, 1.5),
        rooms={
            "living room": 2.2,
            "dining room": 1.5,
            "bedroom": 1.4,
            "hallway": 1.6,
            "office": 1.0,
            "kids room": 1.0,
            "kitchen": 0.4,
        },
    ),
    "clock": Category(
        make=clock,
        spot="hung",
        bottom_m=(1.6, 1.8),
        per_house=2,
        rooms={"kitchen": 0.6, "living room": 0.4, "office": 0.4, "hallway": 0.2},
    ),
    "vase": Category(
        make=vase, spot="on", on=(*_SIDEBOARDS, "coffee table", "dining table", "side table", "shelf"), per_house=4
    ),
    "plant": Category(
        make=plant,
        spot="corner",
        rooms={
            "living room": 1.3,
            "hallway": 0.4,
            "office": 0.6,
            "dining room": 0.7,
            "bedroom": 0.3,
            "bathroom": 0.15,
            "kitchen": 0.2,
        },
    ),
    "potted plant": Category(
        make=potted_plant, spot="on", on=(*_SIDEBOARDS, "bookshelf", "shelf", "desk", "nightstand"), per_house=5
    ),
    "lamp": Category(make=lamp, spot="on", on=("desk", "console table", "dresser", "nightstand")),
    "floor lamp": Category(
        make=floor_lamp, spot="corner", rooms={"living room": 0.7, "bedroom": 0.25, "office": 0.4}, per_house=2
    ),
    "ceiling lamp": Category(
        make=ceiling_lamp,
        spot="ceiling",
        rooms={
            "living room": 0.9,
            "kitchen": 0.9,
            "bedroom": 0.9,
            "bathroom": 0.8,
            "office": 0.9,
            "dining room": 1.0,
            "kids room": 0.9,
            "hallway": 0.9,
            "laundry room": 0.8,
            "storage room": 0.8,
        },
    ),
    "curtain": Category(make=curtain, spot="group"),
    "radiator": Category(make=radiator, spot="group"),
    "candle": Category(
        make=candle, spot="on", on=("dining table", "coffee table", *_SIDEBOARDS), together=(1, 3), per_house=5
    ),
    "globe": Category(make=globe, spot="on", on=("desk", "cabinet", "bookshelf", "shelf"), per_house=1),
    "picture frame": Category(
        make=picture_frame,
        spot="on",
        on=("dresser", "nightstand", "bookshelf", "console table", "desk", "shelf", "cabinet"),
        together=(1, 2),
    ),
}
