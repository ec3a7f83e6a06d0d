"""Beds."""

from __future__ import annotations

import numpy as np

from allocentric.core.types import Material
from allocentric.scenes.furniture.finishes import LINEN, draw, fabric, pick, wood
from allocentric.scenes.furniture.model import Category, Piece, piece
from allocentric.scenes.furniture.parts import Shape

_COVERS = ("blue", "teal", "red", "green", "gray", "beige", "light blue", "purple", "orange", "pink", "white")


def _bedding(
    shape: Shape, rng: np.random.Generator, length: float, width: float, at: tuple[float, float, float], pillows: int
) -> str:
    """Mattress, blanket and pillows; the head is at -x. Returns the blanket's colour."""
    x, y, z = at
    pattern = pick(rng, ("fabric", "fabric", "stripes", "checker"))
    color, cover = fabric(rng, _COVERS, pattern="stripes" if pattern == "stripes" else "fabric")
    shape.cushion(LINEN, (length, width, 0.2), (x, y, z), radius=0.05, steps=2)
    shape.cushion(cover, (length * 0.66, width + 0.04, 0.16), (x + length * 0.17, y, z + 0.07), radius=0.05, steps=2)
    shape.cushion(LINEN, (0.14, width + 0.045, 0.17), (x - length * 0.13, y, z + 0.065), radius=0.05, steps=2)
    each = width / pillows
    for k in range(pillows):
        middle = y + (k + 0.5) * each - width / 2
        shape.cushion(LINEN, (0.4, each - 0.1, 0.13), (x - length / 2 + 0.25, middle, z + 0.18), radius=0.065, steps=2)
    return color


def bed(rng: np.random.Generator) -> Piece:
    """A double or wide single bed: frame with headboard, mattress, blanket, pillows."""
    width, length, head = draw(rng, 1.35, 1.8), draw(rng, 1.98, 2.05), draw(rng, 0.9, 1.15)
    return _framed_bed(rng, width, length, head, 2)


def single_bed(rng: np.random.Generator) -> Piece:
    """A bed for one."""
    return _framed_bed(rng, draw(rng, 0.88, 1.0), draw(rng, 1.9, 2.0), draw(rng, 0.75, 1.0), 1)


def _framed_bed(rng: np.random.Generator, width: float, length: float, head: float, pillows: int) -> Piece:
    _, frame = wood(rng)
    shape = Shape()
    outer = length + 0.1
    shape.boxes(
        frame,
        [[0.06, width + 0.08, head], [0.04, width + 0.08, 0.4]],
        [[-outer / 2 + 0.03, 0, 0], [outer / 2 - 0.02, 0, 0]],
    )
    shape.boxes(frame, [[length, 0.03, 0.2]], [[0, y, 0.14] for y in (-width / 2 - 0.02, width / 2 + 0.02)])
    shape.box(frame, (length, width, 0.05), (0, 0, 0.2))
    shape.boxes(
        frame,
        [[0.07, 0.07, 0.14]],
        [[i * (outer / 2 - 0.2), j * (width / 2 - 0.05), 0] for i in (-1, 1) for j in (-1, 1)],
    )
    color = _bedding(shape, rng, length, width, (0.01, 0, 0.25), pillows)
    return piece(shape, color, [(0.35, 0, 0.48, length - 1.0, width - 0.2, 1.0)])


def bunk_bed(rng: np.random.Generator) -> Piece:
    """Two beds above each other with a ladder and a rail."""
    width, length, height = draw(rng, 0.88, 0.96), draw(rng, 1.9, 2.0), draw(rng, 1.55, 1.7)
    _, frame = wood(rng, ("light brown", "brown", "white"))
    x, y = length / 2 + 0.04, width / 2 + 0.02
    shape = Shape().boxes(frame, [[0.07, 0.07, height]], [[i, j, 0] for i in (-x, x) for j in (-y, y)])
    color = ""
    for level in (0.25, height - 0.5):
        shape.boxes(frame, [[length, 0.03, 0.14]], [[0, j, level - 0.06] for j in (-y, y)])
        shape.boxes(frame, [[0.03, width, 0.14]], [[i, 0, level - 0.06] for i in (-x, x)])
        shape.box(frame, (length, width, 0.03), (0, 0, level - 0.03))
        color = _bedding(shape, rng, length, width - 0.05, (0, 0, level), 1)
    shape.boxes(frame, [[length, 0.025, 0.07]], [[0, j, height - 0.08] for j in (-y, y)])
    shape.boxes(frame, [[0.025, width, 0.07]], [[i, 0, height - 0.08] for i in (-x, x)])
    side = length / 2 - 0.1
    shape.boxes(frame, [[0.04, 0.04, height]], [[side - 0.4, y + 0.06, 0], [side, y + 0.06, 0]])
    shape.boxes(frame, [[0.4, 0.03, 0.03]], [[side - 0.2, y + 0.06, z] for z in np.arange(0.25, height - 0.2, 0.25)])
    return piece(shape, color)


def crib(rng: np.random.Generator) -> Piece:
    """A small bed with bars all round."""
    length, width, height = draw(rng, 1.2, 1.3), draw(rng, 0.64, 0.72), draw(rng, 0.85, 0.95)
    color, frame = wood(rng, ("white", "light brown", "gray"))
    shape = Shape()
    x, y = length / 2 - 0.02, width / 2 - 0.02
    shape.boxes(frame, [[0.04, 0.04, height]], [[i, j, 0] for i in (-x, x) for j in (-y, y)])
    for z in (0.22, height - 0.05):
        shape.boxes(frame, [[length, 0.035, 0.04]], [[0, j, z] for j in (-y, y)])
        shape.boxes(frame, [[0.035, width, 0.04]], [[i, 0, z] for i in (-x, x)])
    bars = [[i, j, 0.24] for i in np.linspace(-x, x, 12)[1:-1] for j in (-y, y)]
    bars += [[i, j, 0.24] for j in np.linspace(-y, y, 7)[1:-1] for i in (-x, x)]
    shape.boxes(frame, [[0.015, 0.015, height - 0.28]], bars)
    shape.box(frame, (length - 0.06, width - 0.06, 0.02), (0, 0, 0.28))
    _, cover = fabric(rng, ("light blue", "pink", "yellow", "green"))
    shape.cushion(LINEN, (length - 0.08, width - 0.08, 0.1), (0, 0, 0.3), radius=0.03)
    shape.cushion(cover, (length * 0.55, width - 0.09, 0.05), (length * 0.17, 0, 0.38), radius=0.02)
    return piece(shape, color)


def _cushion_material(rng: np.random.Generator) -> tuple[str, Material]:
    pattern = pick(rng, ("fabric", "stripes", "checker"))
    if pattern == "stripes":
        return fabric(rng, _COVERS, pattern="stripes")
    return fabric(rng, _COVERS, pattern="checker" if pattern == "checker" else "fabric")


def pillow(rng: np.random.Generator) -> Piece:
    """A throw cushion lying flat."""
    size = draw(rng, 0.32, 0.4)
    color, cloth = _cushion_material(rng)
    return piece(Shape().cushion(cloth, (size, size, 0.13), radius=0.065, steps=2), color)


def blanket(rng: np.random.Generator) -> Piece:
    """A folded blanket."""
    depth, width = draw(rng, 0.34, 0.42), draw(rng, 0.42, 0.55)
    color, cloth = _cushion_material(rng)
    shape = Shape()
    for k in range(3):
        shape.cushion(cloth, (depth - 0.01 * k, width - 0.01 * k, 0.036), (0, 0, k * 0.033), radius=0.017)
    return piece(shape, color)


CATEGORIES: dict[str, Category] = {
    "bed": Category(make=bed, spot="group"),
    "single bed": Category(make=single_bed, spot="group"),
    "bunk bed": Category(make=bunk_bed, spot="group"),
    "crib": Category(make=crib, spot="wall", rooms={"bedroom": 0.15, "kids room": 0.3}, per_house=1, gap_m=0.4),
    "pillow": Category(make=pillow, spot="on", on=("sofa", "armchair", "bed", "bench"), rooms={}),
    "blanket": Category(make=blanket, spot="on", on=("sofa", "bed", "bench", "single bed"), per_house=2),
}
