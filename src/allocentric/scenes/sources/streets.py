"""Streets: whole street scenes with shops, parked cars, trees and a square from a seed; nothing to download."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
from pydantic import Field, model_validator

from allocentric.core.config import Settings as _Settings
from allocentric.core.errors import DataError
from allocentric.core.geometry import polygon_area
from allocentric.core.types import Object, Scene
from allocentric.scenes.houses.structure import numbered, part_at
from allocentric.scenes.streets.arrange import furnish_streets
from allocentric.scenes.streets.blocks import Layout, draw_layout, rooms_of
from allocentric.scenes.streets.buildings import Awning, building
from allocentric.scenes.streets.paving import ground, pavement, road

MOST_BLOCKS = 3


class Settings(_Settings):
    """Which streets."""

    first_seed: int = Field(default=0, ge=0, lt=1_000_000)
    """Seed of the first scene."""
    count: int = Field(default=100, ge=1)
    """Number of scenes, with consecutive seeds."""
    blocks: tuple[int, int] = (2, MOST_BLOCKS)
    """Fewest and most blocks along each axis; each number in between is as likely."""

    @model_validator(mode="after")
    def _check(self) -> Settings:
        low, high = self.blocks
        if not 2 <= low <= high <= MOST_BLOCKS:
            raise ValueError(f"blocks: expected two numbers from 2 to {MOST_BLOCKS} in order, got {low} and {high}")
        if self.first_seed + self.count > 1_000_000:
            raise ValueError("first_seed + count: seeds end at 999999")
        return self


@dataclass(frozen=True, slots=True)
class Source:
    """Street scenes by id; cheap to construct and to send to other processes."""

    settings: Settings

    def scene_ids(self) -> list[str]:
        """Ids like streets-000042, in order of seeds."""
        first = self.settings.first_seed
        return [f"streets-{seed:06d}" for seed in range(first, first + self.settings.count)]

    def load(self, scene_id: str) -> Scene:
        """Build a scene. The same id and `blocks` give the same bytes in any process."""
        match = re.fullmatch(r"streets-(\d{6})", scene_id)
        if match is None:
            raise DataError(f"expected a scene id like 'streets-000042', got {scene_id!r}")
        return build_streets(int(match[1]), self.settings.blocks)


def build(settings: Settings) -> Source:
    """The scene source."""
    return Source(settings)


def build_streets(seed: int, blocks: tuple[int, int] = (2, MOST_BLOCKS)) -> Scene:
    """Streets between a number of blocks along each axis in the given range, inclusive."""
    rng = np.random.default_rng([seed, *blocks, 2])
    columns, rows = (int(number) for number in rng.integers(blocks[0], blocks[1] + 1, 2))
    layout = draw_layout(rng, columns, rows)
    structure, awnings = _structure(rng, layout)
    objects = furnish_streets(rng, layout, awnings)
    rooms = rooms_of(layout)
    return Scene(
        id=f"streets-{seed:06d}",
        objects=objects,
        rooms=rooms,
        structure=structure,
        floor_area_m2=float(sum(polygon_area(room.floor_polygon_m) for room in rooms)),
        label_counts=dict(sorted(Counter(thing.label for thing in objects).items())),
        source="streets",
        license="CC0-1.0",
    )


def _structure(rng: np.random.Generator, layout: Layout) -> tuple[tuple[Object, ...], list[Awning]]:
    """Ground, roads, floors and buildings, and the awnings that hang on the buildings."""
    parts = [part_at("ground", ground(layout))]
    parts += [part_at("road", road(layout, index)) for index in range(len(layout.roads))]
    parts += [part_at(area.kind, pavement(area), room_id=area.id) for area in layout.areas]
    awnings: list[Awning] = []
    for lot in layout.lots:
        shape, own = building(rng, lot)
        parts.append(part_at("building", shape))
        awnings += own
    return numbered(parts), awnings
