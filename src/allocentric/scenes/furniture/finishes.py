"""Colours with names, and the materials furniture is finished in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from allocentric.core.types import Material, Pattern

Color = tuple[float, float, float]

PALETTE: dict[str, Color] = {
    "white": (0.93, 0.92, 0.90),
    "cream": (0.91, 0.86, 0.74),
    "gray": (0.56, 0.57, 0.58),
    "dark gray": (0.28, 0.29, 0.31),
    "black": (0.09, 0.09, 0.10),
    "red": (0.72, 0.15, 0.13),
    "orange": (0.88, 0.48, 0.14),
    "yellow": (0.92, 0.78, 0.25),
    "green": (0.25, 0.50, 0.28),
    "teal": (0.13, 0.50, 0.52),
    "blue": (0.18, 0.36, 0.66),
    "light blue": (0.56, 0.72, 0.86),
    "purple": (0.44, 0.28, 0.56),
    "pink": (0.88, 0.58, 0.66),
    "beige": (0.80, 0.72, 0.58),
    "brown": (0.42, 0.27, 0.16),
}
CALM = ("white", "cream", "gray", "beige", "light blue", "green", "teal", "blue", "dark gray")
BRIGHT = ("red", "orange", "yellow", "green", "teal", "blue", "light blue", "purple", "pink", "white")
_WOODS: dict[str, tuple[Color, Color]] = {
    "light brown": ((0.76, 0.58, 0.38), (0.66, 0.47, 0.29)),
    "brown": ((0.55, 0.36, 0.21), (0.44, 0.28, 0.15)),
    "dark brown": ((0.33, 0.20, 0.12), (0.24, 0.14, 0.08)),
    "white": ((0.92, 0.91, 0.88), (0.88, 0.87, 0.83)),
    "gray": ((0.58, 0.56, 0.53), (0.49, 0.47, 0.44)),
}


class Finish(NamedTuple):
    """A material and the name of its colour."""

    color: str
    material: Material


def draw(rng: np.random.Generator, low: float, high: float) -> float:
    """A length between `low` and `high`, in whole centimetres below 3 m so that sizes are plausible."""
    return round(float(rng.uniform(low, high)), 2)


def pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    """One of several names."""
    return options[int(rng.integers(len(options)))]


def shade(color: Color, factor: float) -> Color:
    """The colour made darker (below 1) or lighter (above 1)."""
    r, g, b = (min(1.0, max(0.0, channel * factor)) for channel in color)
    return (r, g, b)


def _varied(rng: np.random.Generator, color: Color, spread: float = 0.06) -> Color:
    return shade(color, float(rng.uniform(1 - spread, 1 + spread)))


def plain(color: Color, *, roughness: float = 0.6) -> Material:
    """One even colour."""
    return Material(color=color, color2=shade(color, 0.9), roughness=roughness)


def wood(rng: np.random.Generator, names: Sequence[str] = tuple(_WOODS)) -> Finish:
    """Wood with grain, or painted wood."""
    name = pick(rng, names)
    light, dark = _WOODS[name]
    scale = 0.12 if name in ("light brown", "brown", "dark brown") else 0.3
    return Finish(
        name, Material(pattern="wood", color=_varied(rng, light), color2=dark, scale_m=scale, roughness=0.55)
    )


def fabric(rng: np.random.Generator, names: Sequence[str] = CALM, *, pattern: Pattern = "fabric") -> Finish:
    """Woven cloth."""
    name = pick(rng, names)
    color = _varied(rng, PALETTE[name])
    scale = {"stripes": 0.12, "checker": 0.14}.get(pattern, 0.02)
    other = shade(color, 0.8) if pattern == "fabric" else PALETTE["cream" if name != "cream" else "gray"]
    return Finish(name, Material(pattern=pattern, color=color, color2=other, scale_m=scale, roughness=0.95))


def paint(rng: np.random.Generator, names: Sequence[str] = BRIGHT, *, roughness: float = 0.4) -> Finish:
    """Lacquer or plastic."""
    name = pick(rng, names)
    return Finish(name, plain(_varied(rng, PALETTE[name]), roughness=roughness))


METAL = Material(color=(0.72, 0.73, 0.75), color2=(0.62, 0.63, 0.65), roughness=0.25)
DARK_METAL = Material(color=(0.20, 0.20, 0.22), color2=(0.15, 0.15, 0.16), roughness=0.35)
BRASS = Material(color=(0.78, 0.62, 0.32), color2=(0.68, 0.52, 0.25), roughness=0.3)
CERAMIC = Material(color=(0.95, 0.95, 0.94), color2=(0.88, 0.88, 0.87), roughness=0.15)
BLACK = Material(color=(0.07, 0.07, 0.08), color2=(0.05, 0.05, 0.05), roughness=0.4)
RUBBER = Material(color=(0.14, 0.14, 0.15), color2=(0.10, 0.10, 0.11), roughness=0.9)
GLASS = Material(color=(0.62, 0.74, 0.78), color2=(0.55, 0.68, 0.72), roughness=0.08)
WATER = Material(color=(0.60, 0.76, 0.82), color2=(0.52, 0.70, 0.78), roughness=0.05)
PAPER = Material(color=(0.93, 0.91, 0.84), color2=(0.85, 0.82, 0.74), roughness=0.9)
LINEN = Material(pattern="fabric", color=(0.94, 0.93, 0.90), color2=(0.86, 0.85, 0.82), scale_m=0.02, roughness=0.95)
SOIL = Material(pattern="noise", color=(0.24, 0.16, 0.10), color2=(0.15, 0.10, 0.06), scale_m=0.03, roughness=1.0)
LIGHT = Material(color=(1.0, 0.96, 0.84), color2=(1.0, 0.92, 0.75), roughness=0.9)
SCREEN = Material(pattern="screen", color=(0.10, 0.18, 0.34), color2=(0.45, 0.62, 0.80), scale_m=0.5, roughness=0.1)
