"""What a piece of furniture is, and what a family's table says about each category."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from allocentric.core.types import FloatArray, Mesh
from allocentric.scenes.furniture.parts import Shape

Spot = Literal["wall", "corner", "free", "layer", "on", "hung", "ceiling", "group"]
"""wall: back to a wall; corner: in a corner; free: in the open; layer: flat under things; on: on something; hung: on a
wall; ceiling: below it; group: only where a group of furniture asks for it."""


class Surface(NamedTuple):
    """A level rectangle things can stand on, in the frame of the piece's box."""

    centre_m: tuple[float, float, float]
    """Middle of the rectangle."""
    size_m: tuple[float, float]
    """Edges along x and y."""
    clearance_m: float
    """Free height above it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Piece:
    """One instance of a category, not yet placed."""

    mesh: Mesh
    """Centred on its box."""
    size_m: FloatArray
    """(3,) the mesh's bounding box."""
    color: str
    """Name of the colour a person would say."""
    surfaces: tuple[Surface, ...] = ()
    """Where things can stand."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Category:
    """How a category is made and where it occurs."""

    make: Callable[[np.random.Generator], Piece]
    """A new piece, drawn from the category's range of shapes, sizes and finishes."""
    spot: Spot
    """Kind of place."""
    rooms: Mapping[str, float] = field(default_factory=dict)
    """Room kind -> probability that the room is given one (above 1: that many, and one more with the rest)."""
    on: tuple[str, ...] = ()
    """Labels it may stand on (spot "on")."""
    per_house: int = 99
    """Most instances in a house."""
    bottom_m: tuple[float, float] = (0.0, 0.0)
    """Height of the lower edge for hung things, a range."""
    gap_m: float = 0.0
    """Free floor wanted before its front."""
    together: tuple[int, int] = (1, 1)
    """How many alike stand together on a surface (spot "on"), least and most."""


def piece(shape: Shape, color: str, surfaces: Sequence[tuple[float, float, float, float, float, float]] = ()) -> Piece:
    """Finish a shape. `surfaces` are (x, y, z, size x, size y, clearance) in the frame the shape was drawn in."""
    mesh, size, centre = shape.centred()
    moved = tuple(
        Surface((x - float(centre[0]), y - float(centre[1]), z - float(centre[2])), (sx, sy), clear)
        for x, y, z, sx, sy, clear in surfaces
    )
    return Piece(mesh=mesh, size_m=size, color=color, surfaces=moved)
