"""Pillars: an open square with a ring of plain coloured pillars from a seed; the simplest world to search in.

No two pillars of a scene have the same colour, and from anywhere in the middle each is seen whole, so "Find the red
pillar." asks for one direction and for nothing but colour. For first experiments and small models.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from allocentric.core.geometry import pose
from allocentric.core.types import Object, Room, Scene
from allocentric.scenes.furniture.finishes import PALETTE, plain
from allocentric.scenes.furniture.parts import Shape
from allocentric.scenes.houses.structure import numbered, part_at
from allocentric.scenes.sources._seeds import SeedSettings, SeedSource, seeded_scene

Color = Literal["red", "blue", "yellow", "black", "white", "purple", "orange", "pink"]
_RING_M = 4.0
"""From the middle of the square to the middle of a pillar."""
_MIDDLE_M = 1.0
"""Edge of the part of the square that is stood on."""
_SIDE_M, _HEIGHT_M = 1.4, 4.0
_GROUND_M = 24.0
_SLAB_M = 0.2
_HALF_SLOT = 0.3  # pillars keep off each other by this much of the way between two of them, either way
_PAVING = plain((0.62, 0.62, 0.60), roughness=0.95)


class Settings(SeedSettings):
    """Which squares."""

    colors: tuple[Color, ...] = ("red", "blue", "yellow", "black")
    """What pillars may look like."""
    pillars: int = Field(default=3, ge=1, le=8)
    """Number of pillars, each of another colour."""

    @model_validator(mode="after")
    def _enough_colors(self) -> Settings:
        if len(set(self.colors)) < max(self.pillars, len(self.colors)):
            raise ValueError(f"colors: {self.pillars} pillars need as many different colours, got {list(self.colors)}")
        return self


def build(settings: Settings) -> SeedSource:
    """The scene source. A scene is a matter of its seed, the colours and the number of pillars."""
    make = partial(build_square, colors=settings.colors, pillars=settings.pillars)
    return SeedSource("pillars", settings, make)


def build_square(seed: int, colors: tuple[str, ...], pillars: int) -> Scene:
    """A ring of pillars at even distances but for some play, in a random order of random colours."""
    rng = np.random.default_rng([seed, pillars, 3])
    chosen = rng.permutation(colors)[:pillars]
    play = rng.uniform(-_HALF_SLOT, _HALF_SLOT, pillars)
    angles = rng.uniform(0, 2 * math.pi) + (np.arange(pillars) + play) * 2 * math.pi / pillars
    objects = [_pillar(str(color), float(angle)) for color, angle in zip(chosen, angles, strict=True)]
    half = _MIDDLE_M / 2
    corners = np.array([(-half, -half), (half, -half), (half, half), (-half, half)])
    square = Room(id="square-1", kind="square", floor_polygon_m=corners, floor_z_m=0.0, height_m=_HEIGHT_M)
    ground = Shape().box(_PAVING, (_GROUND_M, _GROUND_M, _SLAB_M), (0.0, 0.0, -_SLAB_M / 2))
    structure = numbered([part_at("ground", ground)])
    return seeded_scene("pillars", seed, objects=objects, rooms=[square], structure=structure)


def _pillar(color: str, angle_rad: float) -> Object:
    mesh, size, _ = Shape().box(plain(PALETTE[color], roughness=0.9), (_SIDE_M, _SIDE_M, _HEIGHT_M)).centred()
    at = (_RING_M * math.cos(angle_rad), _RING_M * math.sin(angle_rad), _HEIGHT_M / 2)
    return Object(
        id=f"{color}-pillar",
        label=f"{color} pillar",
        world_from_object=pose(at, angle_rad + math.pi),  # it faces the middle
        size_m=size,
        mesh=mesh,
        attributes={"color": color},
    )
