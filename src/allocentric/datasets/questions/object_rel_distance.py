"""Which of four categories is nearest to an object.

Template as VSI-Bench publishes it; distances are exact box distances, to the closest instance of a category. The
`revsi` filters are those of ReVSI (arXiv 2604.24300, 2026).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from allocentric.core import config
from allocentric.core.types import Choice, Item, Scene, View
from allocentric.datasets.derivation import Derivation
from allocentric.datasets.questions._context import (
    Array,
    Context,
    Seen,
    balanced,
    context_of,
    settings_of,
    shuffled,
)

KIND = "object_rel_distance"
TEMPLATE = (
    "Measuring from the closest point of each object, which of these objects ({options}) is the closest to the "
    "{category}?"
)
CLOSEST_INSTANCE = "\nIf there are multiple instances of an object category, measure to the closest."

_ENUMERATED = 2000  # where an object has more combinations of options than this ...
_SAMPLED = 500  # ... so many random ones are looked at


class Settings(config.Settings):
    """Which sets of options are asked about."""

    options: int = 4
    """Number of categories to choose from."""
    min_distance_m: float = 0.15
    """No option is closer to the object than this."""
    min_gap_m: float = 0.15
    """Any two options differ in distance by at least this."""
    say_closest_instance: bool = False
    """Whether the question adds that the closest instance counts, as the public generator does and VSI-Bench's own
    records do not."""
    max_items: int = 100
    """Most questions per scene."""
    seen: Seen = Seen()
    """When an object counts as shown."""


PROFILES: Mapping[str, Settings] = {
    "vsi": Settings(),
    "revsi": Settings(min_distance_m=1.0, min_gap_m=0.3, say_closest_instance=True, max_items=9),
}
"""`vsi`: 0.15 m between options. `revsi`: options beyond 1 m, 0.3 m apart, nine questions a scene."""


def ask(scene: Scene, views: Sequence[View], rng: np.random.Generator, profile: str | Settings = "vsi") -> list[Item]:
    """Questions about shown objects that are the only one of their category, evenly over the nearest category."""
    settings = settings_of(PROFILES, profile)
    context = context_of(scene, views, settings.seen)
    labels = sorted(context.members)
    candidates: list[tuple[int, tuple[int, ...]]] = []
    nearest_instance: list[NDArray[np.int64]] = []
    nearest_m: list[Array] = []
    for row, primary in enumerate(context.unique.tolist()):
        instances, distances = _nearest(context, labels, row)
        nearest_instance.append(instances)
        nearest_m.append(distances)
        usable = [
            k
            for k, label in enumerate(labels)
            if label != context.label(primary)
            and distances[k] >= settings.min_distance_m
            and context.is_shown(int(instances[k]))
        ]
        candidates.extend((row, option_set) for option_set in _option_sets(usable, distances, settings, rng))
    gold = [labels[min(option_set, key=lambda k: nearest_m[row][k])] for row, option_set in candidates]
    items = []
    for chosen in balanced(gold, settings.max_items, rng):
        row, option_set = candidates[chosen]
        options, place = shuffled([labels[k] for k in option_set], gold[chosen], rng)
        primary = int(context.unique[row])
        instances_of = {labels[k]: int(nearest_instance[row][k]) for k in option_set}
        distance_of = {labels[k]: float(nearest_m[row][k]) for k in option_set}
        derivation = _derivation(context, primary, options, distance_of, gold[chosen])
        suffix = CLOSEST_INSTANCE if settings.say_closest_instance else ""
        items.append(
            context.item(
                kind=KIND,
                prompt=TEMPLATE.format(options=", ".join(options), category=context.label(primary)) + suffix,
                choices=options,
                gold=Choice(place),
                derivation=derivation,
                objects=[primary, *(instances_of[option] for option in options)],
                label=gold[chosen],
            )
        )
    return items


def _nearest(context: Context, labels: Sequence[str], row: int) -> tuple[NDArray[np.int64], Array]:
    """Per label, the instance nearest to unique object `row` and its distance in metres."""
    distances = context.distances_m[row]
    instances = np.array([min(context.members[label], key=lambda index: distances[index]) for label in labels])
    return instances, distances[instances]


def _option_sets(
    usable: Sequence[int], distances_m: Array, settings: Settings, rng: np.random.Generator
) -> list[tuple[int, ...]]:
    """Sets of `settings.options` labels whose distances are pairwise far enough apart, nearest first."""
    ordered = sorted(usable, key=lambda k: distances_m[k])
    if len(ordered) < settings.options:
        return []
    if math.comb(len(ordered), settings.options) <= _ENUMERATED:
        picks = np.array(list(combinations(range(len(ordered)), settings.options)))
    else:
        draws = rng.random((_SAMPLED, len(ordered))).argsort(axis=1)[:, : settings.options]
        picks = np.unique(np.sort(draws, axis=1), axis=0)
    gaps = np.diff(distances_m[ordered][picks], axis=1)
    return [tuple(ordered[place] for place in pick) for pick in picks[np.all(gaps >= settings.min_gap_m, axis=1)]]


def _derivation(
    context: Context, primary: int, options: Sequence[str], distance_of: Mapping[str, float], gold: str
) -> Derivation:
    derivation = Derivation()
    target = context.find(derivation, context.label(primary))
    values = [
        derivation.add("box_distance", distance_of[option], a=context.find(derivation, option), b=target)
        for option in options
    ]
    derivation.add("argmin", gold, labels=list(options), values=values)
    return derivation
