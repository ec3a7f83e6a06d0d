"""Cupboards, shelves and containers."""

from __future__ import annotations

import numpy as np

from allocentric.core.types import Material
from allocentric.scenes.furniture.finishes import BRASS, DARK_METAL, METAL, draw, fabric, paint, plain, shade, wood
from allocentric.scenes.furniture.model import Category, Piece, piece
from allocentric.scenes.furniture.parts import Shape


def _fronts(
    shape: Shape,
    material: Material,
    handle: Material,
    front_x: float,
    width: float,
    bottom: float,
    top: float,
    columns: int,
    rows: int,
    *,
    doors: bool,
) -> None:
    """Doors or drawer fronts with handles on the +x face of a carcase."""
    w, h = width / columns, (top - bottom) / rows
    at = [[front_x, (c + 0.5) * w - width / 2, bottom + r * h + 0.006] for c in range(columns) for r in range(rows)]
    shape.boxes(material, [[0.02, w - 0.012, h - 0.012]], at)
    if doors:
        length = min(0.3, 0.3 * h)
        handles = [
            [front_x + 0.02, y + (0.5 * w - 0.05) * (1 if k // rows % 2 == 0 else -1), z + h / 2 - length / 2]
            for k, (_, y, z) in enumerate(at)
        ]
        shape.boxes(handle, [[0.02, 0.015, length]], handles)
    else:
        shape.boxes(handle, [[0.02, min(0.16, 0.4 * w), 0.018]], [[front_x + 0.02, y, z + 0.6 * h] for _, y, z in at])


def _darker(material: Material) -> Material:
    return Material(
        pattern=material.pattern,
        color=shade(material.color, 0.9),
        color2=shade(material.color2, 0.9),
        scale_m=material.scale_m,
        roughness=material.roughness,
    )


def bookshelf(rng: np.random.Generator) -> Piece:
    """Sides, back and boards, with rows of books, some of them lying or leaning room for other things."""
    depth, width, height = draw(rng, 0.26, 0.34), draw(rng, 0.7, 1.1), draw(rng, 1.5, 2.05)
    color, board = wood(rng)
    shelves = int(height / 0.36)
    shape = Shape()
    shape.boxes(board, [[depth, 0.025, height]], [[0, y, 0] for y in (-(width - 0.025) / 2, (width - 0.025) / 2)])
    shape.box(_darker(board), (0.012, width - 0.05, height - 0.06), (-depth / 2 + 0.006, 0, 0.06))
    pitch = (height - 0.085) / shelves
    levels = [0.06 + k * pitch for k in range(shelves + 1)]
    shape.boxes(board, [[depth - 0.012, width - 0.05, 0.025]], [[0.006, 0, z] for z in levels])
    free = set(rng.choice(shelves, size=2, replace=False).tolist())
    surfaces = []
    for k in range(shelves):
        if k in free:
            surfaces.append((0.01, 0.0, levels[k] + 0.025, depth - 0.08, width - 0.14, pitch - 0.04))
        else:
            _row_of_books(shape, rng, depth, width - 0.07, levels[k] + 0.025, pitch - 0.05)
    return piece(shape, color, surfaces)


_SPINES = [
    plain(c, roughness=0.7)
    for c in (
        (0.55, 0.13, 0.12),
        (0.16, 0.28, 0.50),
        (0.18, 0.40, 0.26),
        (0.80, 0.70, 0.45),
        (0.30, 0.20, 0.36),
        (0.88, 0.85, 0.78),
        (0.15, 0.15, 0.17),
        (0.78, 0.42, 0.16),
    )
]


def _row_of_books(shape: Shape, rng: np.random.Generator, depth: float, width: float, z: float, clear: float) -> None:
    thick = rng.uniform(0.02, 0.05, size=int(width / 0.035 * rng.uniform(0.65, 1.0)))
    edge = np.cumsum(thick)
    thick, edge = thick[edge < width], edge[edge < width]
    tall = clear * rng.uniform(0.62, 0.95, size=len(thick))
    deep = depth * rng.uniform(0.55, 0.78, size=len(thick))
    cover = rng.integers(len(_SPINES), size=len(thick))
    sizes = np.column_stack([deep, thick - 0.002, tall])
    at = np.column_stack([deep / 2 - depth / 2 + 0.02, edge - thick / 2 - width / 2, np.full(len(thick), z)])
    for k in np.unique(cover):
        shape.boxes(_SPINES[k], sizes[cover == k], at[cover == k])


def wardrobe(rng: np.random.Generator) -> Piece:
    """A tall cupboard with doors."""
    depth, width, height = draw(rng, 0.55, 0.62), draw(rng, 0.9, 1.8), draw(rng, 1.9, 2.15)
    color, board = wood(rng)
    shape = Shape().box(board, (depth - 0.03, width, height - 0.06), (-0.015, 0, 0.06))
    shape.box(_darker(board), (depth - 0.08, width - 0.04, 0.06), (-0.02, 0, 0))
    columns = 2 if width < 1.3 else 3
    _fronts(shape, board, METAL, depth / 2 - 0.03, width, 0.07, height, columns, 1, doors=True)
    return piece(shape, color)


def dresser(rng: np.random.Generator) -> Piece:
    """A chest of drawers."""
    depth, width, height = draw(rng, 0.42, 0.5), draw(rng, 0.8, 1.4), draw(rng, 0.75, 0.95)
    color, board = wood(rng)
    shape = Shape().box(board, (depth - 0.03, width, height - 0.09), (-0.015, 0, 0.09))
    x, y = depth / 2 - 0.06, width / 2 - 0.05
    shape.boxes(_darker(board), [[0.05, 0.05, 0.09]], [[i, j, 0] for i in (-x, x - 0.03) for j in (-y, y)])
    knob = BRASS if rng.random() < 0.5 else DARK_METAL
    _fronts(shape, board, knob, depth / 2 - 0.04, width - 0.02, 0.11, height - 0.03, 2, 3, doors=False)
    shape.box(board, (depth, width, 0.025), (0, 0, height - 0.025))
    return piece(shape, color, [(0, 0, height, depth - 0.06, width - 0.06, 1.0)])


def nightstand(rng: np.random.Generator) -> Piece:
    """A small bedside cupboard: a drawer above an open shelf."""
    depth, width, height = draw(rng, 0.36, 0.44), draw(rng, 0.4, 0.52), draw(rng, 0.45, 0.58)
    color, board = wood(rng)
    shape = Shape()
    shape.boxes(
        board, [[depth - 0.02, 0.025, height]], [[-0.01, j, 0] for j in (-width / 2 + 0.013, width / 2 - 0.013)]
    )
    shape.box(board, (0.015, width - 0.04, height - 0.05), (-depth / 2 + 0.01, 0, 0.04))
    shape.boxes(board, [[depth - 0.02, width - 0.04, 0.02]], [[-0.01, 0, 0.05], [-0.01, 0, height * 0.5]])
    shape.box(board, (depth, width, 0.025), (0, 0, height - 0.025))
    _fronts(
        shape, board, BRASS, depth / 2 - 0.035, width - 0.05, height * 0.5 + 0.02, height - 0.03, 1, 1, doors=False
    )
    return piece(shape, color, [(0, 0, height, depth - 0.05, width - 0.05, 1.0)])


def tv_stand(rng: np.random.Generator) -> Piece:
    """A low wide cabinet with open middle and doors at the sides."""
    depth, width, height = draw(rng, 0.38, 0.46), draw(rng, 1.2, 1.8), draw(rng, 0.45, 0.56)
    color, board = wood(rng)
    third = width / 3
    shape = Shape().box(board, (depth, width, 0.03), (0, 0, height - 0.03))
    shape.box(board, (depth - 0.02, width, 0.03), (-0.01, 0, 0.06))
    shape.box(_darker(board), (0.015, width - 0.02, height - 0.1), (-depth / 2 + 0.01, 0, 0.08))
    for side in (-1, 1):
        shape.box(board, (depth - 0.04, third, height - 0.12), (-0.02, side * third, 0.09))
        shape.box(board, (0.02, third - 0.02, height - 0.14), (depth / 2 - 0.03, side * third, 0.1))
        shape.box(METAL, (0.02, 0.015, 0.12), (depth / 2 - 0.012, side * (third / 2 + 0.05), height / 2))
    shape.box(board, (depth - 0.06, third, 0.02), (-0.02, 0, height * 0.52))
    shape.boxes(
        DARK_METAL,
        [[0.04, 0.04, 0.06]],
        [[i, j, 0] for i in (-depth / 2 + 0.05, depth / 2 - 0.06) for j in (-width / 2 + 0.06, width / 2 - 0.06)],
    )
    return piece(shape, color, [(0, 0, height, depth - 0.04, width - 0.06, 1.2)])


def cabinet(rng: np.random.Generator) -> Piece:
    """A sideboard with doors on short legs."""
    depth, width, height = draw(rng, 0.38, 0.46), draw(rng, 0.8, 1.5), draw(rng, 0.78, 1.05)
    color, board = wood(rng)
    shape = Shape().box(board, (depth - 0.03, width - 0.02, height - 0.16), (-0.015, 0, 0.13))
    shape.box(board, (depth, width, 0.03), (0, 0, height - 0.03))
    x, y = depth / 2 - 0.07, width / 2 - 0.07
    for i in (-x, x):
        for j in (-y, y):
            shape.cylinder(DARK_METAL, 0.012, 0.13, (i, j, 0), top=0.02, sides=6)
    _fronts(
        shape,
        _darker(board),
        BRASS,
        depth / 2 - 0.03,
        width - 0.04,
        0.14,
        height - 0.04,
        2 if width < 1.15 else 4,
        1,
        doors=True,
    )
    return piece(shape, color, [(0, 0, height, depth - 0.06, width - 0.08, 1.0)])


def shoe_rack(rng: np.random.Generator) -> Piece:
    """Slatted shelves with pairs of shoes."""
    depth, width, height = draw(rng, 0.28, 0.33), draw(rng, 0.6, 0.9), draw(rng, 0.45, 0.6)
    color, board = wood(rng)
    shape = Shape()
    shape.boxes(board, [[depth, 0.025, height]], [[0, y, 0] for y in (-width / 2 + 0.013, width / 2 - 0.013)])
    levels = (0.08, 0.08 + (height - 0.1) / 2, height - 0.02)
    slats = [[x, 0, z] for z in levels for x in (-depth / 2 + 0.04, 0, depth / 2 - 0.04)]
    shape.boxes(board, [[0.05, width - 0.05, 0.018]], slats)
    pairs = int(width / 0.26)
    for z in levels[:2]:
        for k in range(pairs):
            _, leather = paint(rng, ("black", "brown", "red", "white", "blue", "gray"))
            middle = (k + 0.5) * (width - 0.06) / pairs - (width - 0.06) / 2
            for side in (-0.05, 0.05):
                shape.cushion(leather, (0.25, 0.085, 0.05), (0, middle + side, z + 0.018), radius=0.025)
                shape.cushion(leather, (0.1, 0.08, 0.09), (-0.07, middle + side, z + 0.018), radius=0.03)
    return piece(shape, color, [(0, 0, height - 0.002, depth - 0.04, width - 0.08, 0.8)])


def coat_rack(rng: np.random.Generator) -> Piece:
    """A pole on a round foot with hooks and a coat."""
    height = draw(rng, 1.65, 1.85)
    color, frame = wood(rng, ("brown", "dark brown", "light brown"))
    shape = Shape().lathe(frame, [(0, 0), (0.2, 0), (0.2, 0.02), (0.03, 0.05), (0, 0.05)], sides=14)
    shape.cylinder(frame, 0.022, height - 0.04, (0, 0, 0.04), sides=8)
    for k in range(6):
        x, y = float(np.cos(k * np.pi / 3)), float(np.sin(k * np.pi / 3))
        z = height - (0.12 if k % 2 else 0.22)
        shape.rod(frame, (0, 0, z), (0.14 * x, 0.14 * y, z + 0.1), 0.011, sides=5)
    _, cloth = fabric(rng, ("blue", "red", "green", "dark gray", "brown"))
    shape.prism(
        cloth,
        np.array([[-0.2, 0.0], [0.2, 0.0], [0.14, 0.72], [0.05, 0.82], [-0.05, 0.82], [-0.14, 0.72]]),
        0.1,
        (0.08, 0, height - 1.02),
        along="x",
    )
    return piece(shape, color)


def wall_shelf(rng: np.random.Generator) -> Piece:
    """A board on two brackets."""
    depth, width = draw(rng, 0.22, 0.28), draw(rng, 0.6, 1.1)
    color, board = wood(rng)
    shape = Shape().box(board, (depth, width, 0.03), (0, 0, 0.12))
    for y in (-width / 2 + 0.1, width / 2 - 0.1):
        shape.box(DARK_METAL, (0.012, 0.03, 0.12), (-depth / 2 + 0.006, y, 0))
        shape.prism(
            DARK_METAL, np.array([[0, 0], [depth - 0.05, 0.115], [0, 0.115]]), 0.015, (-depth / 2, y, 0.005), along="y"
        )
    return piece(shape, color, [(0.005, 0, 0.15, depth - 0.02, width - 0.06, 0.4)])


def _woven(shape: Shape, material: Material, radius: float, top: float, height: float) -> None:
    wall = 0.012
    shape.lathe(
        material,
        [(0, 0), (radius, 0), (top, height), (top - wall, height), (radius - wall, 0.02), (0, 0.02)],
        sides=14,
    )


def laundry_basket(rng: np.random.Generator) -> Piece:
    """An open basket with washing in it."""
    height, radius = draw(rng, 0.5, 0.62), draw(rng, 0.19, 0.24)
    color, cane = fabric(rng, ("beige", "white", "gray", "brown"), pattern="checker")
    shape = Shape()
    _woven(shape, cane, radius, radius * 1.2, height)
    _, cloth = fabric(rng, ("white", "light blue", "red", "yellow"))
    shape.ellipsoid(cloth, (2.1 * radius, 2.1 * radius, 0.24), (0, 0, height - 0.17))
    return piece(shape, color)


def trash_bin(rng: np.random.Generator) -> Piece:
    """A pedal bin with a lid, or an open waste-paper bin."""
    height, radius = draw(rng, 0.28, 0.5), draw(rng, 0.11, 0.16)
    color, body = paint(rng, ("gray", "black", "white", "red", "green", "blue"))
    shape = Shape()
    if rng.random() < 0.5:
        _woven(shape, body, radius * 0.85, radius, height)
    else:
        shape.cylinder(body, radius, height * 0.82, sides=14)
        shape.lathe(
            METAL, [(0, height * 0.82), (radius + 0.006, height * 0.82), (radius, height * 0.9), (0, height)], sides=14
        )
        shape.box(BLACK_PEDAL, (0.08, 0.06, 0.015), (radius + 0.02, 0, 0.01))
    return piece(shape, color)


BLACK_PEDAL = plain((0.1, 0.1, 0.1))


def box(rng: np.random.Generator) -> Piece:
    """A cardboard box with tape."""
    depth, width, height = draw(rng, 0.28, 0.45), draw(rng, 0.3, 0.55), draw(rng, 0.22, 0.42)
    card = plain((0.68, 0.52, 0.34), roughness=0.95)
    shape = Shape().box(card, (depth, width, height))
    shape.box(plain((0.82, 0.74, 0.56)), (depth * 1.001, 0.05, height * 0.3), (0, 0, height * 0.7))
    shape.box(plain((0.82, 0.74, 0.56)), (depth, 0.05, 0.002), (0, 0, height))
    return piece(shape, "brown")


def basket(rng: np.random.Generator) -> Piece:
    """A low woven basket with a blanket."""
    radius, height = draw(rng, 0.17, 0.24), draw(rng, 0.2, 0.3)
    color, cane = fabric(rng, ("beige", "brown", "gray"), pattern="checker")
    shape = Shape()
    _woven(shape, cane, radius, radius * 1.1, height)
    _, cloth = fabric(rng)
    shape.cushion(cloth, (1.3 * radius, 1.3 * radius, 0.14), (0, 0, height - 0.08), radius=0.05, steps=2)
    return piece(shape, color)


def toy_box(rng: np.random.Generator) -> Piece:
    """A painted chest with a lid."""
    depth, width, height = draw(rng, 0.38, 0.45), draw(rng, 0.6, 0.8), draw(rng, 0.38, 0.48)
    color, body = paint(rng, ("red", "blue", "green", "yellow", "pink", "teal"))
    _, lid = paint(rng, ("white", "yellow", "orange"))
    shape = Shape().box(body, (depth - 0.02, width - 0.02, height - 0.05), (0, 0, 0))
    shape.cushion(lid, (depth, width, 0.06), (0, 0, height - 0.06), radius=0.02)
    shape.box(METAL, (0.012, 0.1, 0.05), (depth / 2 - 0.006, 0, height - 0.12))
    return piece(shape, color)


def suitcase(rng: np.random.Generator) -> Piece:
    """A standing hard-shell case with wheels and a handle."""
    depth, width, height = draw(rng, 0.24, 0.3), draw(rng, 0.4, 0.5), draw(rng, 0.58, 0.72)
    color, shell = paint(rng, ("black", "red", "blue", "teal", "yellow", "gray"))
    shape = Shape().cushion(shell, (depth, width, height - 0.05), (0, 0, 0.05), radius=0.05, steps=2)
    x, y = depth / 2 - 0.05, width / 2 - 0.06
    for i in (-x, x):
        for j in (-y, y):
            shape.cylinder(BLACK_PEDAL, 0.025, 0.055, (i, j, 0), sides=8)
    shape.boxes(DARK_METAL, [[0.015, 0.015, 0.2]], [[-x, -0.09, height], [-x, 0.09, height]])
    shape.box(BLACK_PEDAL, (0.03, 0.22, 0.03), (-x, 0, height + 0.2))
    shape.boxes(
        DARK_METAL, [[depth * 0.6, 0.004, 0.01]], [[0, s * width / 2, z] for s in (-1, 1) for z in (0.25, 0.4)]
    )
    return piece(shape, color)


CATEGORIES: dict[str, Category] = {
    "bookshelf": Category(
        make=bookshelf,
        spot="wall",
        gap_m=0.4,
        rooms={"living room": 0.8, "office": 1.3, "bedroom": 0.3, "kids room": 0.6, "hallway": 0.2},
    ),
    "wardrobe": Category(
        make=wardrobe, spot="wall", rooms={"bedroom": 1.0, "kids room": 0.7, "hallway": 0.2}, gap_m=0.5
    ),
    "dresser": Category(make=dresser, spot="wall", rooms={"bedroom": 0.7, "kids room": 0.4}, gap_m=0.4),
    "nightstand": Category(make=nightstand, spot="group"),
    "tv stand": Category(make=tv_stand, spot="group"),
    "cabinet": Category(
        make=cabinet,
        spot="wall",
        gap_m=0.4,
        rooms={
            "dining room": 0.9,
            "living room": 0.5,
            "office": 0.5,
            "hallway": 0.3,
            "storage room": 0.8,
            "laundry room": 0.5,
        },
    ),
    "shoe rack": Category(make=shoe_rack, spot="wall", rooms={"hallway": 0.7, "storage room": 0.3}, per_house=1),
    "coat rack": Category(
        make=coat_rack, spot="corner", rooms={"hallway": 0.7, "living room": 0.15, "office": 0.2}, per_house=1
    ),
    "shelf": Category(
        make=wall_shelf,
        spot="hung",
        bottom_m=(1.2, 1.5),
        rooms={
            "kitchen": 0.3,
            "bathroom": 0.4,
            "office": 0.5,
            "laundry room": 0.8,
            "storage room": 1.2,
            "living room": 0.3,
            "kids room": 0.4,
        },
    ),
    "laundry basket": Category(
        make=laundry_basket, spot="corner", per_house=1, rooms={"laundry room": 0.9, "bathroom": 0.5, "bedroom": 0.2}
    ),
    "trash bin": Category(
        make=trash_bin,
        spot="corner",
        rooms={"kitchen": 0.9, "bathroom": 0.7, "office": 0.7, "bedroom": 0.2, "laundry room": 0.3},
    ),
    "box": Category(make=box, spot="corner", rooms={"storage room": 2.6, "office": 0.4, "laundry room": 0.5}),
    "basket": Category(make=basket, spot="corner", rooms={"living room": 0.4, "bedroom": 0.3}, per_house=1),
    "toy box": Category(make=toy_box, spot="wall", rooms={"kids room": 0.8}, per_house=1, gap_m=0.2),
    "suitcase": Category(make=suitcase, spot="corner", rooms={"bedroom": 0.3, "storage room": 0.5}, per_house=1),
}
