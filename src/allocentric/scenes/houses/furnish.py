"""Furnishing a house: windows, the main groups, single pieces, things on the walls, and things on things."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from allocentric.core.types import Object
from allocentric.scenes.houses.groups import MAIN_GROUPS
from allocentric.scenes.houses.household import Household, Placed, candidates
from allocentric.scenes.houses.openings import Hole
from allocentric.scenes.houses.placement import RoomSpace, Spots
from allocentric.scenes.houses.plan import Plan

_THINGS_ON: dict[str, tuple[int, int]] = {
    "dining table": (2, 5), "kitchen counter": (1, 3), "desk": (1, 4), "coffee table": (1, 4), "bookshelf": (1, 3),
    "dresser": (1, 3), "cabinet": (1, 4), "console table": (1, 3), "shelf": (1, 4), "nightstand": (0, 2),
    "side table": (0, 1), "tv stand": (0, 1), "sink": (0, 1), "bench": (0, 1), "washing machine": (0, 1),
    "refrigerator": (0, 1), "piano": (0, 1), "bed": (0, 1), "single bed": (0, 1),
}  # fmt: skip
"""How many kinds of things stand on a piece, least and most."""


def furnish(rng: np.random.Generator, plan: Plan, holes: Sequence[Hole], height_m: float) -> tuple[Object, ...]:
    """Everything questions are about, without collisions and with every room still walkable."""
    house = Household(rng)
    spaces = [RoomSpace(plan, index, holes, height_m) for index in range(len(plan.rooms))]
    for space in spaces:
        main = MAIN_GROUPS.get(space.kind)
        if main is not None:
            main(house, space)
        _dress_windows(house, space)
    for spot in ("wall", "corner", "ceiling", "hung", "free", "layer"):
        for space in spaces:
            _single_pieces(house, space, spot)
    for placed in list(house.placed):
        if placed.piece.surfaces and placed.label in _THINGS_ON:
            _fill(house, placed)
    return tuple(house.objects)


def _dress_windows(house: Household, space: RoomSpace) -> None:
    """Curtains beside a window, and a radiator below it."""
    rng = house.rng
    if not space.windows:
        return
    curtains = space.kind not in ("bathroom", "kitchen", "laundry room", "storage room") and rng.random() < 0.65
    curtain = house.make("curtain") if curtains else None
    for edge, low, high, hole in space.windows:
        if curtain is not None:
            top = min(hole.top_m + 0.14, space.height_m - 0.04)
            bottom = top - float(curtain.size_m[2])
            out = float(curtain.size_m[1]) / 2 + 0.06
            for along in (low - out, high + out):
                at = edge.start + edge.along * along + edge.inward * (0.05 + 0.02 + float(curtain.size_m[0]) / 2)
                yaw = float(np.arctan2(edge.inward[1], edge.inward[0]))
                house.put_at(space, "curtain", curtain, at, yaw, bottom_m=bottom, air_m=0.0)
        if hole.bottom_m > 0.7 and rng.random() < 0.6:
            radiator = house.make("radiator")
            at = edge.start + edge.along * ((low + high) / 2) + edge.inward * (0.09 + float(radiator.size_m[0]) / 2)
            yaw = float(np.arctan2(edge.inward[1], edge.inward[0]))
            house.put_at(space, "radiator", radiator, at, yaw, bottom_m=0.1)


def _single_pieces(house: Household, space: RoomSpace, spot: str) -> None:
    """Pieces that stand, hang or lie by themselves, as often as their category says for this kind of room."""
    rng = house.rng
    labels = [label for label, category in house.categories.items() if category.spot == spot]
    for k in rng.permutation(len(labels)):
        label = labels[int(k)]
        category = house.categories[label]
        wanted = category.rooms.get(space.kind, 0.0)
        for _ in range(int(wanted) + int(rng.random() < wanted % 1)):
            if not house.allowed(label):
                break
            piece = category.make(rng)
            if spot == "layer":
                house.lay(space, label, piece, candidates(rng, space, category, piece))
            elif spot == "ceiling":
                _hang_from_ceiling(house, space, label)
            elif spot == "hung":
                bottom = float(rng.uniform(*category.bottom_m))
                house.put(space, label, piece, candidates(rng, space, category, piece), bottom_m=bottom)
            else:
                house.put(space, label, piece, candidates(rng, space, category, piece), gap_m=category.gap_m)


def _hang_from_ceiling(house: Household, space: RoomSpace, label: str) -> None:
    piece = house.make(label)
    middle = (space.low + space.high) / 2
    spots = Spots(middle + np.array([[0.0, 0.0], [0.6, 0.0], [0.0, 0.6], [-0.6, -0.6], [0.6, 0.6]]), np.zeros(5))
    house.put(space, label, piece, spots, bottom_m=space.height_m - float(piece.size_m[2]) - 1e-4)


def _fill(house: Household, below: Placed) -> None:
    """Stand a few kinds of small things on a piece; kinds the house lacks so far come first more often."""
    rng = house.rng
    labels = [label for label, category in house.categories.items() if below.label in category.on]
    if not labels:
        return
    least, most = _THINGS_ON[below.label]
    weight = np.array([1.0 / (1 + house.counts[label]) for label in labels])
    count = min(int(rng.integers(least, most + 1)), len(labels))
    for k in rng.choice(len(labels), size=count, replace=False, p=weight / weight.sum()):
        label = labels[int(k)]
        category = house.categories[label]
        if not house.allowed(label):
            continue
        piece = category.make(rng)
        for _ in range(int(rng.integers(category.together[0], category.together[1] + 1))):
            house.put_on(below, label, piece)
