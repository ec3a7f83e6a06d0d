"""Procedural: whole furnished houses from a seed; nothing to download."""

from __future__ import annotations

from functools import partial
from typing import Self

import numpy as np
from pydantic import model_validator

from allocentric.core.types import Scene
from allocentric.scenes.houses.furnish import furnish
from allocentric.scenes.houses.openings import draw_holes
from allocentric.scenes.houses.plan import draw_plan
from allocentric.scenes.houses.structure import build_structure
from allocentric.scenes.sources._seeds import SeedSettings, SeedSource, check_range, seeded_scene

MOST_ROOMS = 12


class Settings(SeedSettings):
    """Which houses."""

    rooms: tuple[int, int] = (1, MOST_ROOMS)
    """Fewest and most rooms of a house; each number in between is as likely."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_range("rooms", *self.rooms, least=1, most=MOST_ROOMS)
        return self


def build(settings: Settings) -> SeedSource:
    """The scene source. A house is a matter of its seed and of the range of rooms."""
    return SeedSource("procedural", settings, partial(build_house, rooms=settings.rooms))


def build_house(seed: int, rooms: tuple[int, int] = (1, MOST_ROOMS)) -> Scene:
    """One furnished house with a number of rooms in the given range, inclusive."""
    rng = np.random.default_rng([seed, *rooms])
    plan = draw_plan(rng, int(rng.integers(rooms[0], rooms[1] + 1)))
    height_m = round(float(rng.uniform(2.4, 3.0)), 2)
    holes = draw_holes(rng, plan)
    objects = furnish(rng, plan, holes, height_m)
    room_records, structure = build_structure(rng, plan, holes, height_m)
    return seeded_scene("procedural", seed, objects=objects, rooms=room_records, structure=structure)
