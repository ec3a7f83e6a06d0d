"""Procedural: whole furnished houses from a seed; nothing to download."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
from pydantic import Field, model_validator

from allocentric.core.config import Settings as _Settings
from allocentric.core.errors import DataError
from allocentric.core.geometry import polygon_area
from allocentric.core.types import Scene
from allocentric.scenes.houses.furnish import furnish
from allocentric.scenes.houses.openings import draw_holes
from allocentric.scenes.houses.plan import draw_plan
from allocentric.scenes.houses.structure import build_structure

MOST_ROOMS = 12


class Settings(_Settings):
    """Which houses."""

    first_seed: int = Field(default=0, ge=0, lt=1_000_000)
    """Seed of the first house."""
    count: int = Field(default=100, ge=1)
    """Number of houses, with consecutive seeds."""
    rooms: tuple[int, int] = (1, MOST_ROOMS)
    """Fewest and most rooms of a house; each number in between is as likely."""

    @model_validator(mode="after")
    def _check(self) -> Settings:
        low, high = self.rooms
        if not 1 <= low <= high <= MOST_ROOMS:
            raise ValueError(f"rooms: expected two numbers from 1 to {MOST_ROOMS} in order, got {low} and {high}")
        if self.first_seed + self.count > 1_000_000:
            raise ValueError("first_seed + count: seeds end at 999999")
        return self


@dataclass(frozen=True, slots=True)
class Source:
    """Houses by id; cheap to construct and to send to other processes."""

    settings: Settings

    def scene_ids(self) -> list[str]:
        """Ids like procedural-000042, in order of seeds."""
        first = self.settings.first_seed
        return [f"procedural-{seed:06d}" for seed in range(first, first + self.settings.count)]

    def load(self, scene_id: str) -> Scene:
        """Build a house. The same id and `rooms` give the same bytes in any process."""
        match = re.fullmatch(r"procedural-(\d{6})", scene_id)
        if match is None:
            raise DataError(f"expected a scene id like 'procedural-000042', got {scene_id!r}")
        return build_house(int(match[1]), self.settings.rooms)


def build(settings: Settings) -> Source:
    """The scene source."""
    return Source(settings)


def build_house(seed: int, rooms: tuple[int, int] = (1, MOST_ROOMS)) -> Scene:
    """One furnished house with a number of rooms in the given range, inclusive."""
    rng = np.random.default_rng([seed, *rooms])
    plan = draw_plan(rng, int(rng.integers(rooms[0], rooms[1] + 1)))
    height_m = round(float(rng.uniform(2.4, 3.0)), 2)
    holes = draw_holes(rng, plan)
    objects = furnish(rng, plan, holes, height_m)
    room_records, structure = build_structure(rng, plan, holes, height_m)
    return Scene(
        id=f"procedural-{seed:06d}",
        objects=objects,
        rooms=room_records,
        structure=structure,
        floor_area_m2=float(sum(polygon_area(room.floor_polygon_m) for room in room_records)),
        label_counts=dict(sorted(Counter(o.label for o in objects).items())),
        source="procedural",
        license="CC0-1.0",
    )
