"""Vehicles at the kerb; the driver looks along +x."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from allocentric.core.types import Material
from allocentric.scenes.furniture.finishes import BLACK, DARK_METAL, METAL, PALETTE, RUBBER, draw, paint, plain
from allocentric.scenes.furniture.model import Piece, piece
from allocentric.scenes.furniture.parts import Shape

_GLASS = Material(color=(0.13, 0.17, 0.21), color2=(0.10, 0.13, 0.16), roughness=0.1)
_LAMP = Material(color=(0.98, 0.97, 0.90), roughness=0.2)
_TAIL = Material(color=(0.75, 0.08, 0.07), roughness=0.3)
_PAINTS = ("white", "gray", "black", "red", "blue", "green", "dark gray", "light blue", "orange", "teal")


def _wheels(shape: Shape, axles: tuple[float, ...], track: float, radius: float) -> None:
    for x in axles:
        for side in (-1, 1):
            outer, inner = side * track / 2, side * (track / 2 - 0.2)
            shape.rod(RUBBER, (x, inner, radius), (x, outer, radius), radius, sides=18)
            shape.rod(
                METAL, (x, outer - side * 0.02, radius), (x, outer + side * 0.01, radius), radius * 0.6, sides=14
            )


def _lamps(shape: Shape, front: float, back: float, wide: float, z: float) -> None:
    for side in (-1, 1):
        shape.box(_LAMP, (0.05, 0.36, 0.13), (front - 0.015, side * (wide / 2 - 0.28), z))
        shape.box(_TAIL, (0.05, 0.30, 0.15), (back + 0.015, side * (wide / 2 - 0.24), z + 0.04))
    shape.box(BLACK, (0.04, wide * 0.4, 0.12), (front, 0.0, z - 0.1))
    shape.box(plain((0.92, 0.92, 0.9)), (0.03, 0.5, 0.11), (front + 0.02, 0.0, z - 0.22))
    shape.box(plain((0.92, 0.92, 0.9)), (0.03, 0.5, 0.11), (back - 0.01, 0.0, z - 0.12))


def _car_shape(body: Material, long: float, wide: float, high: float, *, estate: bool) -> Shape:
    half = long / 2
    belt = 0.62 * high
    shape = Shape()
    lower = [
        (-half, 0.34), (-half + 0.1, 0.22), (half - 0.1, 0.22), (half, 0.34), (half - 0.03, belt - 0.2),
        (half - 0.25, belt - 0.07), (half * 0.42, belt), (-half + 0.2, belt), (-half + 0.02, belt - 0.1),
    ]  # fmt: skip
    shape.prism(body, lower, wide, along="y")
    back = -half + (0.12 if estate else 0.42)
    top_back = back + (0.25 if estate else 0.6)
    cabin = [(back, belt - 0.02), (half * 0.46, belt - 0.02), (half * 0.1, high - 0.05), (top_back, high - 0.05)]
    shape.prism(_GLASS, cabin, wide - 0.2, along="y")
    roof = [
        (top_back - 0.05, high - 0.09),
        (half * 0.1 + 0.05, high - 0.09),
        (half * 0.1 - 0.1, high),
        (top_back + 0.1, high),
    ]
    shape.prism(body, roof, wide - 0.18, along="y")
    middle = (top_back + half * 0.1) / 2
    for side in (-1, 1):
        y = side * (wide / 2 - 0.095)
        shape.rod(body, (back + 0.03, y, belt), (top_back, y, high - 0.06), 0.045)
        shape.rod(body, (half * 0.45, y, belt), (half * 0.1, y, high - 0.06), 0.04)
        shape.rod(body, (middle, y, belt - 0.02), (middle, y, high - 0.05), 0.04)
        shape.box(body, (0.18, 0.14, 0.12), (half * 0.34, side * (wide / 2 + 0.03), belt + 0.02))
        shape.box(DARK_METAL, (0.16, 0.03, 0.03), (middle - 0.15, side * wide / 2, belt - 0.16))
        shape.box(BLACK, (0.012, 0.012, belt - 0.34), (middle, side * (wide / 2), 0.3))
    _wheels(shape, (-half * 0.62, half * 0.62), wide + 0.02, 0.31)
    _lamps(shape, half, -half, wide, 0.5)
    return shape


def car(rng: np.random.Generator) -> Piece:
    """A saloon or an estate car."""
    body = paint(rng, _PAINTS, roughness=0.2)
    made = _car_shape(body.material, draw(rng, 3.9, 4.5), draw(rng, 1.68, 1.78), draw(rng, 1.42, 1.52),
                      estate=bool(rng.random() < 0.5))  # fmt: skip
    return piece(made, body.color)


def taxi(rng: np.random.Generator) -> Piece:
    """A yellow car with a sign on its roof and a chequered band."""
    high = draw(rng, 1.45, 1.5)
    body = plain((0.95, 0.76, 0.10), roughness=0.25)
    shape = _car_shape(body, draw(rng, 4.4, 4.6), 1.76, high, estate=False)
    shape.box(plain((0.98, 0.97, 0.9)), (0.22, 0.6, 0.17), (-0.2, 0.0, high))
    band = Material(pattern="checker", color=(0.1, 0.1, 0.1), color2=(0.95, 0.95, 0.92), scale_m=0.24)
    for side in (-1, 1):
        shape.box(band, (2.0, 0.02, 0.14), (-0.1, side * 0.885, 0.6))
    return piece(shape, "yellow")


def van(rng: np.random.Generator) -> Piece:
    """A delivery van."""
    body = paint(rng, ("white", "blue", "red", "orange", "green", "cream"), roughness=0.3)
    long, wide, high = draw(rng, 5.0, 5.5), 1.92, draw(rng, 2.25, 2.45)
    half = long / 2
    outline = [(-half, 0.3), (half, 0.3), (half, 1.0), (half - 0.8, 1.25), (half - 1.5, high), (-half, high)]
    shape = Shape().prism(body.material, outline, wide, along="y")
    screen = [(half - 0.75, 1.3), (half - 0.73, 1.3), (half - 1.37, high - 0.14), (half - 1.41, high - 0.14)]
    shape.prism(_GLASS, screen, wide - 0.2, along="y")
    window = [(half - 1.75, 1.32), (half - 0.98, 1.32), (half - 1.42, 2.0), (half - 1.75, 2.0)]
    shape.prism(_GLASS, window, wide + 0.02, along="y")
    stripe = plain(PALETTE["yellow"] if body.color != "orange" else PALETTE["white"])
    shape.box(stripe, (half + 0.4, wide + 0.015, 0.3), (-half / 2 - 0.05, 0.0, 1.1))
    _wheels(shape, (-half * 0.62, half * 0.66), wide + 0.02, 0.35)
    _lamps(shape, half, -half, wide, 0.62)
    return piece(shape, body.color)


def bus(rng: np.random.Generator) -> Piece:
    """A city bus, its doors on the right."""
    body = paint(rng, ("red", "blue", "green", "orange"), roughness=0.3)
    long, wide, high = draw(rng, 9.0, 10.5), 2.45, 3.0
    half = long / 2
    shape = Shape().cushion(body.material, (long, wide, high - 0.3), (0, 0, 0.3), radius=0.14, steps=2)
    shape.box(_GLASS, (long - 0.9, wide + 0.02, 1.0), (-0.1, 0.0, 1.4))
    posts = np.arange(-half + 1.5, half - 1.2, 1.45)
    shape.boxes(body.material, (0.1, wide + 0.03, 1.0), [(float(x), 0.0, 1.4) for x in posts])
    shape.box(_GLASS, (0.03, wide - 0.3, 1.35), (half, 0.0, 1.1))
    shape.box(_GLASS, (0.03, wide - 0.5, 0.9), (-half, 0.0, 1.5))
    shape.box(BLACK, (0.03, wide - 0.9, 0.5), (-half, 0.0, 0.75))
    shape.box(plain((0.95, 0.75, 0.15)), (0.03, 1.4, 0.28), (half + 0.01, 0.0, 2.55))
    shape.boxes(_GLASS, (1.1, 0.03, 2.1), [(x, -wide / 2 - 0.005, 0.4) for x in (half - 1.1, -0.6)])
    shape.boxes(DARK_METAL, (0.05, 0.05, 2.1), [(x, -wide / 2 - 0.01, 0.4) for x in (half - 1.1, -0.6)])
    shape.box(plain((0.95, 0.95, 0.93)), (long - 0.4, wide + 0.012, 0.16), (0.0, 0.0, 1.12))
    _wheels(shape, (-half * 0.55, half * 0.58), wide + 0.03, 0.46)
    _lamps(shape, half, -half, wide, 0.72)
    return piece(shape, body.color)


@lru_cache(maxsize=1)
def _wheel() -> Shape:
    """A spoked wheel about y, its hub at the origin."""
    radius, thick = 0.32, 0.022
    tyre = [(radius, -thick), (radius + thick, 0.0), (radius, thick), (radius - thick, 0.0), (radius, -thick)]
    lying = Shape().lathe(RUBBER, tyre, sides=20)
    for angle in np.arange(6) * np.pi / 6:
        tip = (0.3 * float(np.cos(angle)), 0.3 * float(np.sin(angle)), 0.0)
        lying.rod(METAL, (-tip[0], -tip[1], 0.0), tip, 0.004, sides=4)
    return Shape().put(lying.tipped_forward(), yaw_rad=np.pi / 2)


def bicycle(rng: np.random.Generator) -> Piece:
    """A city bicycle."""
    frame = paint(rng)
    shape = Shape()
    for x in (-0.52, 0.52):
        shape.put(_wheel(), (x, 0.0, 0.342))
    rear, crank, seat, head = (-0.52, 0.0, 0.342), (-0.08, 0.0, 0.30), (-0.2, 0.0, 0.78), (0.36, 0.0, 0.80)
    for start, end in (
        (rear, crank),
        (crank, seat),
        (rear, seat),
        (seat, head),
        (crank, head),
        (head, (0.52, 0.0, 0.342)),
    ):
        shape.rod(frame.material, start, end, 0.02)
    shape.rod(METAL, seat, (-0.23, 0.0, 0.9), 0.014).rod(METAL, head, (0.32, 0.0, 0.98), 0.014)
    shape.cushion(BLACK, (0.26, 0.15, 0.07), (-0.24, 0.0, 0.89), radius=0.03)
    shape.rod(METAL, (0.32, -0.28, 0.98), (0.32, 0.28, 0.98), 0.014)
    shape.boxes(BLACK, (0.12, 0.03, 0.03), [(0.27, y, 0.965) for y in (-0.27, 0.27)])
    shape.rod(DARK_METAL, (-0.08, -0.03, 0.30), (-0.08, 0.03, 0.30), 0.09, sides=12)
    return piece(shape, frame.color)


def scooter(rng: np.random.Generator) -> Piece:
    """A motor scooter on its stand."""
    body = paint(rng, ("red", "light blue", "cream", "green", "black"), roughness=0.25)
    shape = Shape()
    for x in (-0.6, 0.62):
        shape.rod(RUBBER, (x, -0.06, 0.22), (x, 0.06, 0.22), 0.22, sides=16)
        shape.rod(METAL, (x, -0.065, 0.22), (x, 0.065, 0.22), 0.11, sides=12)
    shape.cushion(body.material, (0.85, 0.34, 0.42), (-0.48, 0.0, 0.3), radius=0.14, steps=2)
    shape.box(body.material, (0.5, 0.3, 0.08), (0.12, 0.0, 0.22))
    shape.prism(body.material, [(0.34, 0.24), (0.5, 0.24), (0.42, 0.92), (0.32, 0.92)], 0.36, along="y")
    shape.cushion(BLACK, (0.75, 0.28, 0.12), (-0.42, 0.0, 0.7), radius=0.05)
    shape.rod(DARK_METAL, (0.62, 0.0, 0.22), (0.38, 0.0, 1.0), 0.03).rod(
        DARK_METAL, (0.36, -0.32, 1.02), (0.36, 0.32, 1.02), 0.018
    )
    shape.ellipsoid(_LAMP, (0.12, 0.16, 0.16), (0.44, 0.0, 0.9))
    return piece(shape, body.color)
