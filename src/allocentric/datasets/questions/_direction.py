"""The geometry shared by the three direction types: standing by one object, facing another, where is a third?

All in the ground plane, from box centres: origin = centre of the first object, forward = towards the centre of the
second; the bearing of the third is counter-clockwise, so + is left. The three levels cut the circle differently, see
`SECTORS`. Rules and thresholds: VSI-Bench's public adaptation (VITA-Group/VLM-3R@6dd1264) and ReVSI
(3dlg-hcvc/ReVSI@9299454).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from allocentric.core import config
from allocentric.core.geometry import bearing_rad, box_corners, box_footprint
from allocentric.core.types import Choice, Item
from allocentric.datasets.derivation import Derivation
from allocentric.datasets.questions._context import Array, Context, Seen, balanced, shuffled

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sectors:
    """How a level cuts the circle: sector k reaches from bound k to bound k + 1, counter-clockwise from ahead."""

    bounds_rad: tuple[float, ...]
    """Rising from 0 to a full turn."""
    words: tuple[str, ...]
    """Name of each sector."""
    answers: tuple[str, ...]
    """The words that are options."""


SECTORS: Mapping[str, Sectors] = {
    "hard": Sectors(
        (0.0, math.pi / 2, math.pi, 3 * math.pi / 2, math.tau),
        ("front-left", "back-left", "back-right", "front-right"),
        ("front-left", "front-right", "back-left", "back-right"),
    ),
    "medium": Sectors(
        (0.0, 3 * math.pi / 4, 5 * math.pi / 4, math.tau), ("left", "back", "right"), ("left", "right", "back")
    ),
    "easy": Sectors((0.0, 3 * math.pi / 4, 5 * math.pi / 4, math.tau), ("left", "back", "right"), ("left", "right")),
}
"""The easy level cuts like the medium one and does not ask where the answer would be "back"."""


class Settings(config.Settings):
    """Which triples of objects are asked about."""

    min_separation_m: float = 0.3
    """Least box distance between any two of the three objects."""
    max_separation_m: float | None = 5.0
    """Largest box distance between any two of them; None for no limit."""
    min_ground_separation_m: float = 0.0
    """Least distance between any two footprints."""
    min_heading_m: float = 0.3
    """Least distance in the ground plane between the centres: below it "facing" means nothing."""
    max_extent_m: float | None = None
    """Largest horizontal edge of any of the three boxes; None for no limit."""
    margin_rad: float = math.radians(10)
    """Bearings closer than this to a sector's bound are left out."""
    two_sided_margin: bool = True
    """False repeats the published rule of the hard level, which tests only the side below each bound, so that bearings
    0 to 10 degrees beyond one pass. The other levels test both sides as published."""
    max_stray_corners: int = 2
    """How many of the 8 corners of the third object's box may lie in another sector than its centre."""
    max_items: int = 60
    """Most questions per scene."""
    seen: Seen = Seen()
    """When an object counts as shown."""


PROFILES: Mapping[str, Settings] = {
    "vsi": Settings(),
    "revsi": Settings(
        min_separation_m=1.5,
        max_separation_m=None,
        min_ground_separation_m=1.5,
        max_extent_m=1.4,
        margin_rad=math.radians(35),
        max_items=4,
    ),
}
"""`vsi`: 10 degrees from a bound, boxes 0.3 to 5 m apart. `revsi`: 35 degrees, 1.5 m in space and on the ground,
objects no wider than 1.4 m, four questions a scene and level."""


@dataclass(frozen=True, slots=True, eq=False)
class Triples:
    """Ordered triples of unique objects: (T,) rows into `Context.unique` and the bearing of each."""

    stand: Indices
    """Where one stands."""
    face: Indices
    """What one faces."""
    target: Indices
    """What is asked about."""
    bearing_rad: Array
    """Bearing of the target, + left."""
    words: tuple[str, ...]
    """Its sector."""

    def take(self, keep: NDArray[np.bool_]) -> Triples:
        """Those where `keep` (T,) holds."""
        words = tuple(word for word, kept in zip(self.words, keep, strict=True) if kept)
        return Triples(self.stand[keep], self.face[keep], self.target[keep], self.bearing_rad[keep], words)


def triples(context: Context, level: str, settings: Settings) -> Triples:
    """Every triple that passes the filters of `settings` at `level`."""
    centres = context.poses[context.unique][:, :2, 3]
    stand, face, target = _separated_triples(context, centres, settings)
    bearing = bearing_rad(centres[stand], centres[face] - centres[stand], centres[target])
    words = _words(bearing, level)
    found = Triples(stand, face, target, bearing, tuple(words.tolist()))
    found = found.take(_clear_of_bounds(bearing, level, settings) & np.isin(words, SECTORS[level].answers))
    return found.take(_stray_corners(context, centres, found, level) <= settings.max_stray_corners)


def _separated_triples(context: Context, centres: Array, settings: Settings) -> tuple[Indices, Indices, Indices]:
    unique = context.unique
    distances = context.distances_m[:, unique]
    apart = distances >= settings.min_separation_m
    apart &= np.linalg.norm(centres[:, None] - centres[None], axis=-1) >= settings.min_heading_m
    if settings.max_separation_m is not None:
        apart &= distances <= settings.max_separation_m
    if settings.min_ground_separation_m > 0:
        apart &= _ground_distances(context) >= settings.min_ground_separation_m
    if settings.max_extent_m is not None:
        slim = _horizontal_extent(context) <= settings.max_extent_m
        apart &= slim[:, None] & slim[None]
    np.fill_diagonal(apart, val=False)
    stand, face, target = np.nonzero(apart[:, :, None] & apart[:, None, :] & apart[None, :, :])
    return stand, face, target


def _ground_distances(context: Context) -> Array:
    """(U, U) distances between footprints."""
    footprints = np.array(
        [shapely.Polygon(box_footprint(context.poses[index], context.sizes_m[index])) for index in context.unique]
    )
    return np.asarray(shapely.distance(footprints[:, None], footprints[None]), dtype=float).reshape(
        len(footprints), len(footprints)
    )


def _horizontal_extent(context: Context) -> Array:
    """(U,) longest edge of each box as seen from above."""
    axes_xy = context.poses[context.unique][:, :2, :3]  # columns are the box's axes in the ground plane
    return np.asarray(np.max(np.linalg.norm(axes_xy, axis=1) * context.sizes_m[context.unique], axis=1, initial=0.0))


def _words(bearing: Array, level: str) -> NDArray[np.str_]:
    cut = SECTORS[level]
    return np.array(cut.words)[np.searchsorted(cut.bounds_rad[1:-1], bearing % math.tau, side="right")]


def _clear_of_bounds(bearing: Array, level: str, settings: Settings) -> NDArray[np.bool_]:
    past = bearing[:, None] % math.tau - np.array(SECTORS[level].bounds_rad)[None]
    if settings.two_sided_margin or level != "hard":
        return np.asarray(np.all(np.abs(past) >= settings.margin_rad, axis=1))
    return np.asarray(~np.any((past < 0) & (past > -settings.margin_rad), axis=1))


def _stray_corners(context: Context, centres: Array, found: Triples, level: str) -> Indices:
    """(T,) corners of the target's box that lie in another sector than its centre."""
    unique = context.unique
    corners = box_corners(context.poses[unique], context.sizes_m[unique])[found.target][..., :2]
    origin, forward = centres[found.stand], centres[found.face] - centres[found.stand]
    words = _words(bearing_rad(origin[:, None], forward[:, None], corners), level)
    return np.asarray(np.sum(words != np.array(found.words, dtype=words.dtype)[:, None], axis=1))


def ask_direction(
    context: Context, rng: np.random.Generator, settings: Settings, kind: str, template: str
) -> list[Item]:
    """Questions of one level, evenly over the answer's word. `kind` ends in the level's name."""
    level = kind.rpartition("_")[2]
    found = triples(context, level, settings)
    items = []
    for chosen in balanced(found.words, settings.max_items, rng):
        rows = (found.stand[chosen], found.face[chosen], found.target[chosen])
        objects = [int(context.unique[row]) for row in rows]
        labels = [context.label(index) for index in objects]
        word = found.words[chosen]
        options, place = shuffled(SECTORS[level].answers, word, rng)
        items.append(
            context.item(
                kind=kind,
                prompt=template.format(stand=labels[0], face=labels[1], target=labels[2]),
                choices=options,
                gold=Choice(place),
                derivation=_derivation(context, objects, float(found.bearing_rad[chosen]), level, word),
                objects=objects,
                label=word,
            )
        )
    return items


def _derivation(context: Context, objects: Sequence[int], bearing: float, level: str, word: str) -> Derivation:
    derivation = Derivation()
    centres = [
        derivation.add(
            "centre",
            [float(value) for value in context.poses[index, :2, 3]],
            objects=context.find(derivation, context.label(index)),
        )
        for index in objects
    ]
    angle = derivation.add("bearing", bearing, at=centres[0], facing=centres[1], to=centres[2])
    derivation.add("sector", word, bearing_rad=angle, level=level)
    return derivation
