"""What sources that make scenes from a seed share: consecutive seeds, ids that hold them, and totals of a scene."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from pydantic import Field, model_validator

from allocentric.core.config import Settings
from allocentric.core.errors import DataError
from allocentric.core.geometry import polygon_area
from allocentric.core.types import Object, Room, Scene

_SEEDS = 1_000_000  # six digits in an id


class SeedSettings(Settings):
    """Which scenes."""

    first_seed: int = Field(default=0, ge=0, lt=_SEEDS)
    """Seed of the first scene."""
    count: int = Field(default=100, ge=1)
    """Number of scenes, with consecutive seeds."""

    @model_validator(mode="after")
    def _seeds_have_six_digits(self) -> Self:
        if self.first_seed + self.count > _SEEDS:
            raise ValueError(f"first_seed + count: seeds end at {_SEEDS - 1}")
        return self


@dataclass(frozen=True, slots=True)
class SeedSource:
    """Scenes by id; cheap to construct and to send to other processes."""

    name: str
    """First part of the ids."""
    settings: SeedSettings
    """Which seeds."""
    scene_of_seed: Callable[[int], Scene]
    """Builds a scene; the same seed gives the same bytes in any process. A picklable function."""

    def scene_ids(self) -> list[str]:
        """Ids like procedural-000042, in order of seeds."""
        first = self.settings.first_seed
        return [scene_id(self.name, seed) for seed in range(first, first + self.settings.count)]

    def load(self, scene_id: str) -> Scene:
        """Build a scene. DataError for an id of another form."""
        match = re.fullmatch(rf"{self.name}-(\d{{6}})", scene_id)
        if match is None:
            raise DataError(f"expected a scene id like '{self.name}-000042', got {scene_id!r}")
        return self.scene_of_seed(int(match[1]))


def scene_id(name: str, seed: int) -> str:
    """The id of a source's scene."""
    return f"{name}-{seed:06d}"


def seeded_scene(
    name: str, seed: int, *, objects: Sequence[Object], rooms: Sequence[Room], structure: Sequence[Object]
) -> Scene:
    """A made scene with its floor area and label counts, in the public domain."""
    return Scene(
        id=scene_id(name, seed),
        objects=tuple(objects),
        rooms=tuple(rooms),
        structure=tuple(structure),
        floor_area_m2=float(sum(polygon_area(room.floor_polygon_m) for room in rooms)),
        label_counts=dict(sorted(Counter(thing.label for thing in objects).items())),
        source=name,
        license="CC0-1.0",
    )


def check_range(name: str, low: int, high: int, *, least: int, most: int) -> None:
    """ValueError unless least <= low <= high <= most."""
    if not least <= low <= high <= most:
        raise ValueError(f"{name}: expected two numbers from {least} to {most} in order, got {low} and {high}")
