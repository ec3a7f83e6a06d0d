"""In which order four categories come into view for the first time.

Template as VSI-Bench publishes it. A category appears in the first view that shows any of its instances well enough,
the first of several in a row that do; the published pixel threshold is not known, so ours is a setting.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from allocentric.core import config
from allocentric.core.types import Choice, Item, Scene, View
from allocentric.datasets.derivation import Derivation
from allocentric.datasets.options import order_options
from allocentric.datasets.questions._context import (
    Context,
    Seen,
    balanced,
    context_of,
    settings_of,
    shuffled,
)

KIND = "obj_appearance_order"
TEMPLATE = "What will be the first-time appearance order of the following categories in the video: {options}?"

_CATEGORIES = 4
_ENUMERATED = 5000  # more sets of categories than this are sampled instead


class Settings(config.Settings):
    """Which sets of categories are asked about."""

    min_frames: int = 1
    """How many views in a row have to show the category."""
    min_gap_s: float = 1.0
    """Any two first appearances are more than this apart."""
    glimpses_agree: bool = True
    """Whether the order of the very first visible pixels has to be the same."""
    max_items: int = 24
    """Most questions per scene."""
    seen: Seen = Seen()
    """When a view shows an object well enough."""


PROFILES: Mapping[str, Settings] = {"vsi": Settings(), "revsi": Settings(min_frames=2, min_gap_s=2.0, max_items=9)}
"""`vsi`: more than a second apart, as published. `revsi`: two seconds, and two views in a row."""


@dataclass(frozen=True, slots=True)
class Appearance:
    """When a category comes into view."""

    label: str
    """The category."""
    objects: tuple[int, ...]
    """Its instances that the first view shows."""
    time_s: float
    """Time of the first view that shows it well enough."""
    glimpse_s: float
    """Time of the first view with any pixel of it."""


def ask(scene: Scene, views: Sequence[View], rng: np.random.Generator, profile: str | Settings = "vsi") -> list[Item]:
    """Sets of four categories with clearly different first appearances; no questions without timed views."""
    settings = settings_of(PROFILES, profile)
    if not views or any(view.time_s is None for view in views):
        return []
    context = context_of(scene, views, settings.seen)
    appearances = sorted(_appearances(context, settings), key=lambda appearance: appearance.time_s)
    sets = [chosen for chosen in _sets(len(appearances), rng) if _is_clear([appearances[k] for k in chosen], settings)]
    items = []
    for chosen in balanced([appearances[picked[0]].label for picked in sets], settings.max_items, rng):
        items.append(_item(context, [appearances[k] for k in sets[chosen]], rng, settings))
    return items


def _appearances(context: Context, settings: Settings) -> list[Appearance]:
    found = []
    for label, members in context.members.items():
        first = _first_run([any(frame in context.frames[k] for k in members) for frame in range(len(context.views))],
                           settings.min_frames)  # fmt: skip
        if first is None:
            continue
        ids = context.ids(members)
        glimpse = next(view for view in context.views if any(key in view.visible for key in ids))
        found.append(
            Appearance(
                label=label,
                objects=tuple(k for k in members if first in context.frames[k]),
                time_s=float(context.views[first].time_s or 0.0),
                glimpse_s=float(glimpse.time_s or 0.0),
            )
        )
    return found


def _first_run(shown: Sequence[bool], length: int) -> int | None:
    """Start of the first run of `length` true values."""
    for start in range(len(shown) - length + 1):
        if all(shown[start : start + length]):
            return start
    return None


def _sets(count: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    if math.comb(count, _CATEGORIES) <= _ENUMERATED:
        return list(combinations(range(count), _CATEGORIES))
    draws = rng.random((_ENUMERATED, count)).argsort(axis=1)[:, :_CATEGORIES]
    return [tuple(row) for row in np.unique(np.sort(draws, axis=1), axis=0).tolist()]


def _is_clear(ordered: Sequence[Appearance], settings: Settings) -> bool:
    pairs = list(pairwise(ordered))
    gaps = all(later.time_s - earlier.time_s > settings.min_gap_s for earlier, later in pairs)
    return gaps and (not settings.glimpses_agree or all(a.glimpse_s < b.glimpse_s for a, b in pairs))


def _item(context: Context, ordered: Sequence[Appearance], rng: np.random.Generator, settings: Settings) -> Item:
    labels = [appearance.label for appearance in ordered]
    gold = ", ".join(labels)
    options, place = shuffled([", ".join(option) for option in order_options(labels, rng)], gold, rng)
    listed = [ordered[k] for k in rng.permutation(len(ordered)).tolist()]
    derivation = Derivation()
    times = [
        derivation.add(
            "first_seen",
            appearance.time_s,
            objects=context.find(derivation, appearance.label),
            min_pixels=settings.seen.min_pixels,
            min_fraction=settings.seen.min_fraction,
            min_frames=settings.min_frames,
        )
        for appearance in listed
    ]
    derivation.add("order", gold, labels=[appearance.label for appearance in listed], values=times)
    return context.item(
        kind=KIND,
        prompt=TEMPLATE.format(options=", ".join(appearance.label for appearance in listed)),
        choices=options,
        gold=Choice(place),
        derivation=derivation,
        objects=[index for appearance in ordered for index in appearance.objects],
        label=gold,
    )
