"""Streets: whole street scenes with shops, parked cars, trees and a square from a seed; nothing to download."""

from __future__ import annotations

from functools import partial
from typing import Self

import numpy as np
from pydantic import model_validator

from allocentric.core.types import Object, Scene
from allocentric.scenes.houses.structure import numbered, part_at
from allocentric.scenes.sources._seeds import SeedSettings, SeedSource, check_range, seeded_scene
from allocentric.scenes.streets.arrange import furnish_streets
from allocentric.scenes.streets.blocks import Layout, draw_layout, rooms_of
from allocentric.scenes.streets.buildings import Awning, building
from allocentric.scenes.streets.paving import ground, pavement, road

MOST_BLOCKS = 3


class Settings(SeedSettings):
    """Which streets."""

    blocks: tuple[int, int] = (2, MOST_BLOCKS)
    """Fewest and most blocks along each axis; each number in between is as likely."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_range("blocks", *self.blocks, least=2, most=MOST_BLOCKS)
        return self


def build(settings: Settings) -> SeedSource:
    """The scene source. A scene is a matter of its seed and of the range of blocks."""
    return SeedSource("streets", settings, partial(build_streets, blocks=settings.blocks))


def build_streets(seed: int, blocks: tuple[int, int] = (2, MOST_BLOCKS)) -> Scene:
    """Streets between a number of blocks along each axis in the given range, inclusive."""
    rng = np.random.default_rng([seed, *blocks, 2])
    columns, rows = (int(number) for number in rng.integers(blocks[0], blocks[1] + 1, 2))
    layout = draw_layout(rng, columns, rows)
    structure, awnings = _structure(rng, layout)
    objects = furnish_streets(rng, layout, awnings)
    return seeded_scene("streets", seed, objects=objects, rooms=rooms_of(layout), structure=structure)


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
