"""Things to sit on."""

from __future__ import annotations

import numpy as np

from allocentric.core.types import Material
from allocentric.scenes.furniture.finishes import BLACK, DARK_METAL, METAL, draw, fabric, paint, shade, wood
from allocentric.scenes.furniture.model import Category, Piece, piece
from allocentric.scenes.furniture.parts import Shape

_SOFA_COLORS = ("gray", "dark gray", "blue", "teal", "beige", "green", "red", "brown", "cream")


def chair(rng: np.random.Generator) -> Piece:
    """A wooden chair: seat, four legs, a back with slats or a panel, sometimes an upholstered seat."""
    width, depth, seat, height = (
        draw(rng, 0.40, 0.48),
        draw(rng, 0.40, 0.47),
        draw(rng, 0.44, 0.48),
        draw(rng, 0.8, 1.0),
    )
    color, frame = wood(rng)
    shape = Shape()
    leg, x, y = 0.036, depth / 2 - 0.025, width / 2 - 0.025
    shape.boxes(frame, [[leg, leg, seat - 0.03]], [[x, y, 0], [x, -y, 0]])
    shape.boxes(frame, [[leg, leg, height]], [[-x, y, 0], [-x, -y, 0]])
    shape.box(frame, (depth, width, 0.03), (0, 0, seat - 0.03))
    shape.boxes(frame, [[2 * x, 0.02, 0.03]], [[0, y, seat * 0.4], [0, -y, seat * 0.4]])
    if rng.random() < 0.5:
        shape.boxes(frame, [[0.02, 2 * y, 0.06]], [[-x, 0, seat + k * (height - seat) / 3.2] for k in (1, 2, 2.95)])
    else:
        shape.box(frame, (0.02, 2 * y, 0.1), (-x, 0, height - 0.11))
        shape.boxes(frame, [[0.015, 0.03, height - seat - 0.1]], [[-x, t * y, seat] for t in (-0.55, 0, 0.55)])
    if rng.random() < 0.5:
        color, cloth = fabric(rng, _SOFA_COLORS)
        shape.cushion(cloth, (depth - 0.06, width - 0.05, 0.05), (0.02, 0, seat), radius=0.02)
    return piece(shape, color)


def armchair(rng: np.random.Generator) -> Piece:
    """An upholstered chair with arms."""
    return _upholstered(rng, draw(rng, 0.72, 0.92), seats=1)


def sofa(rng: np.random.Generator) -> Piece:
    """An upholstered seat for two or three."""
    seats = 2 + int(rng.random() < 0.6)
    return _upholstered(rng, draw(rng, 0.58, 0.66) * seats + 0.36, seats=seats)


def _upholstered(rng: np.random.Generator, width: float, *, seats: int) -> Piece:
    depth, seat, back, arm = draw(rng, 0.80, 0.95), draw(rng, 0.40, 0.45), draw(rng, 0.78, 0.92), draw(rng, 0.14, 0.2)
    color, cloth = fabric(rng, _SOFA_COLORS)
    _, legs = wood(rng, ("brown", "dark brown"))
    shape = Shape()
    inner, foot = width - 2 * arm, 0.08
    x, y = depth / 2 - 0.07, width / 2 - 0.07
    shape.boxes(legs, [[0.05, 0.05, foot]], [[x, y, 0], [x, -y, 0], [-x, y, 0], [-x, -y, 0]])
    shape.box(cloth, (depth - 0.04, inner + 0.02, seat - 0.16 - foot), (0, 0, foot))
    shape.cushion(cloth, (0.2, width - 0.04, back - foot), (-depth / 2 + 0.1, 0, foot), radius=0.06, steps=2)
    for side in (-1, 1):
        shape.cushion(
            cloth, (depth, arm, seat + 0.18 - foot), (0, side * (width - arm) / 2, foot), radius=0.05, steps=2
        )
    each = inner / seats
    for k in range(seats):
        middle = (k + 0.5) * each - inner / 2
        shape.cushion(cloth, (depth - 0.22, each - 0.01, 0.17), (0.1, middle, seat - 0.17), radius=0.05, steps=2)
        shape.cushion(cloth, (0.16, each - 0.03, 0.36), (-depth / 2 + 0.26, middle, seat), radius=0.07, steps=2)
    surfaces = [(0.16, side * (inner - each) / 2, seat, depth - 0.5, each - 0.04, 0.6) for side in (-1, 1)]
    return piece(shape, color, surfaces if seats > 1 else [(0.16, 0, seat, depth - 0.5, each - 0.04, 0.6)])


def stool(rng: np.random.Generator) -> Piece:
    """A round seat on splayed legs."""
    radius, height = draw(rng, 0.15, 0.2), draw(rng, 0.42, 0.68)
    color, frame = wood(rng, ("light brown", "brown", "dark brown", "white"))
    shape = Shape().lathe(
        frame,
        [(0, height - 0.04), (radius, height - 0.04), (radius, height - 0.01), (radius - 0.01, height), (0, height)],
    )
    r = radius * 0.95
    for k in range(4):
        angle = np.pi / 4 + k * np.pi / 2
        x, y = float(np.cos(angle)), float(np.sin(angle))
        shape.rod(frame, (0.55 * radius * x, 0.55 * radius * y, height - 0.04), (r * x, r * y, 0), 0.014)
    shape.boxes(frame, [[1.1 * radius, 0.014, 0.014], [0.014, 1.1 * radius, 0.014]], [[0, 0, height * 0.35]])
    return piece(shape, color)


def office_chair(rng: np.random.Generator) -> Piece:
    """A swivel chair: star base on castors, gas lift, padded seat, back and arms."""
    seat, back = draw(rng, 0.45, 0.52), draw(rng, 0.45, 0.62)
    color, cloth = fabric(rng, ("black", "dark gray", "blue", "gray", "red"))
    shape = Shape()
    for k in range(5):
        x, y = 0.29 * float(np.cos(k * 2 * np.pi / 5)), 0.29 * float(np.sin(k * 2 * np.pi / 5))
        shape.rod(DARK_METAL, (0, 0, 0.09), (x, y, 0.07), 0.018)
        shape.ellipsoid(BLACK, (0.06, 0.06, 0.06), (x, y, 0), sides=6)
    shape.cylinder(METAL, 0.025, seat - 0.14, (0, 0, 0.07), sides=8)
    shape.cushion(cloth, (0.48, 0.50, 0.09), (0.01, 0, seat - 0.09), radius=0.04, steps=2)
    shape.cushion(cloth, (0.07, 0.46, back), (-0.23, 0, seat + 0.08), radius=0.035, steps=2)
    shape.box(DARK_METAL, (0.03, 0.08, 0.25), (-0.26, 0, seat - 0.08))
    for side in (-0.27, 0.27):
        shape.box(DARK_METAL, (0.03, 0.03, 0.24), (0, side, seat - 0.05))
        shape.cushion(BLACK, (0.26, 0.05, 0.03), (0, side, seat + 0.19), radius=0.012)
    return piece(shape, color)


def bench(rng: np.random.Generator) -> Piece:
    """A long plank seat."""
    width, depth, height = draw(rng, 0.9, 1.3), draw(rng, 0.32, 0.4), draw(rng, 0.42, 0.47)
    color, frame = wood(rng)
    shape = Shape().box(frame, (depth, width, 0.05), (0, 0, height - 0.05))
    y = width / 2 - 0.12
    shape.boxes(frame, [[depth - 0.06, 0.05, height - 0.05]], [[0, y, 0], [0, -y, 0]])
    shape.box(frame, (0.04, 2 * y, 0.07), (0, 0, height * 0.4))
    return piece(shape, color, [(0, 0, height, depth - 0.06, width - 0.1, 0.8)])


def ottoman(rng: np.random.Generator) -> Piece:
    """A padded footstool, round or square."""
    size, height = draw(rng, 0.45, 0.62), draw(rng, 0.36, 0.44)
    color, cloth = fabric(rng, (*_SOFA_COLORS, "pink", "yellow"))
    shape = Shape()
    if rng.random() < 0.5:
        r = size / 2
        shape.lathe(cloth, [(0, 0), (r, 0), (r, height - 0.05), (r - 0.04, height), (0, height)], sides=16)
        shape.lathe(
            _darker(cloth.color),
            [(r, 0.5 * height), (r + 0.006, 0.5 * height), (r + 0.006, 0.54 * height), (r, 0.54 * height)],
            sides=16,
        )
    else:
        shape.cushion(cloth, (size, size, height - 0.06), (0, 0, 0.06), radius=0.06, steps=2)
        x = size / 2 - 0.08
        shape.boxes(DARK_METAL, [[0.04, 0.04, 0.07]], [[i, j, 0] for i in (-x, x) for j in (-x, x)])
    return piece(shape, color)


def _darker(color: tuple[float, float, float]) -> Material:
    return Material(color=shade(color, 0.7), color2=shade(color, 0.6))


def bean_bag(rng: np.random.Generator) -> Piece:
    """A slumped bag chair."""
    size = draw(rng, 0.75, 0.95)
    color, cloth = fabric(rng, ("red", "orange", "blue", "green", "purple", "yellow", "gray"))
    profile = [(0, 0), (0.46, 0.0), (0.54, 0.12), (0.5, 0.3), (0.36, 0.48), (0.14, 0.58), (0, 0.6)]
    shape = Shape().lathe(cloth, [(r * size, z * size) for r, z in profile], sides=14, smooth=True)
    shape.ellipsoid(cloth, (0.5 * size, 0.8 * size, 0.42 * size), (-0.2 * size, 0, 0.32 * size))
    return piece(shape, color)


def bar_stool(rng: np.random.Generator) -> Piece:
    """A tall stool on one column, with a low back."""
    height = draw(rng, 0.66, 0.78)
    color, seat = paint(rng, ("white", "black", "red", "teal", "orange", "gray"))
    shape = Shape().lathe(METAL, [(0, 0), (0.21, 0), (0.21, 0.012), (0.04, 0.04), (0, 0.04)], sides=14)
    shape.cylinder(METAL, 0.028, height - 0.08, (0, 0, 0.03), sides=8)
    shape.lathe(METAL, [(0.13, 0.28), (0.145, 0.28), (0.145, 0.3), (0.13, 0.3), (0.13, 0.28)], sides=12)
    shape.boxes(METAL, [[0.27, 0.015, 0.015], [0.015, 0.27, 0.015]], [[0, 0, 0.282]])
    shape.lathe(
        seat, [(0, height - 0.06), (0.17, height - 0.06), (0.19, height - 0.02), (0.17, height), (0, height)], sides=14
    )
    shape.cushion(seat, (0.04, 0.3, 0.16), (-0.17, 0, height), radius=0.02)
    return piece(shape, color)


CATEGORIES: dict[str, Category] = {
    "chair": Category(make=chair, spot="wall", rooms={"bedroom": 0.35, "hallway": 0.3, "kitchen": 0.2}, gap_m=0.3),
    "armchair": Category(make=armchair, spot="corner", rooms={"living room": 0.8, "bedroom": 0.2, "office": 0.3}),
    "sofa": Category(make=sofa, spot="wall", rooms={"office": 0.25}, gap_m=0.5),
    "stool": Category(
        make=stool, spot="wall", rooms={"bathroom": 0.3, "storage room": 0.4, "laundry room": 0.2}, per_house=2
    ),
    "office chair": Category(make=office_chair, spot="group"),
    "bench": Category(make=bench, spot="wall", rooms={"hallway": 0.6, "bedroom": 0.1}, per_house=1, gap_m=0.3),
    "ottoman": Category(make=ottoman, spot="free", rooms={"living room": 0.5, "bedroom": 0.15}, per_house=2),
    "bean bag": Category(make=bean_bag, spot="corner", rooms={"kids room": 0.6, "living room": 0.15}, per_house=1),
    "bar stool": Category(make=bar_stool, spot="wall", rooms={"kitchen": 0.8}, per_house=3, gap_m=0.2),
}
