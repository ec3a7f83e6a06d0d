"""The distance between the closest points of two objects, in metres.

Template as VSI-Bench publishes it. The answer is the exact distance between the two boxes to 0.1 m (0 where they
meet); the published answers came from points on a 5 cm grid inside the boxes, see `datasets.grid_distance`. The
`revsi` filters are those of ReVSI (arXiv 2604.24300, 2026).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from allocentric.core import config
from allocentric.core.types import Item, Number, Scene, View
from allocentric.datasets.derivation import Derivation
from allocentric.datasets.questions._context import Seen, balanced, context_of, settings_of

KIND = "object_abs_distance"
TEMPLATE = (
    "Measuring from the closest point of each object, what is the distance between the {first} and the {second} "
    "(in meters)?"
)


class Settings(config.Settings):
    """Which pairs are asked about."""

    min_distance_m: float = 0.2
    """Closer pairs are left out."""
    keep_below: Mapping[float, float] = {}
    """Distance in metres -> probability of keeping a pair below it (the smallest that applies counts)."""
    excluded: tuple[str, ...] = ()
    """Categories whose box says little about where their surface is."""
    max_items: int = 60
    """Most questions per scene."""
    seen: Seen = Seen()
    """When an object counts as shown."""


PROFILES: Mapping[str, Settings] = {
    "vsi": Settings(),
    "revsi": Settings(
        min_distance_m=1.0, keep_below={2.0: 0.2, 3.0: 0.5}, excluded=("sofa", "l-shaped sofa", "bench", "bed")
    ),
}
"""`vsi`: pairs of unique objects 0.2 m or more apart. `revsi`: 1 m or more, near pairs thinned (20 % below 2 m, 50 %
below 3 m are kept), without things whose box is mostly air."""


def ask(scene: Scene, views: Sequence[View], rng: np.random.Generator, profile: str | Settings = "vsi") -> list[Item]:
    """One question per pair of shown objects that are each the only one of their category."""
    settings = settings_of(PROFILES, profile)
    context = context_of(scene, views, settings.seen)
    unique = context.unique
    allowed = [row for row in range(len(unique)) if context.label(int(unique[row])) not in settings.excluded]
    distances = context.distances_m[:, unique]
    pairs = [
        (a, b)
        for position, a in enumerate(allowed)
        for b in allowed[position + 1 :]
        if distances[a, b] >= settings.min_distance_m and _kept(float(distances[a, b]), settings, rng)
    ]
    answers = [round(float(distances[a, b]), 1) for a, b in pairs]
    items = []
    for chosen in balanced(answers, settings.max_items, rng):
        a, b = pairs[chosen] if rng.random() < 0.5 else pairs[chosen][::-1]
        first, second = int(unique[a]), int(unique[b])
        derivation = Derivation()
        distance = derivation.add(
            "box_distance",
            float(distances[a, b]),
            a=context.find(derivation, context.label(first)),
            b=context.find(derivation, context.label(second)),
        )
        derivation.add("round", answers[chosen], value=distance, digits=1)
        items.append(
            context.item(
                kind=KIND,
                prompt=TEMPLATE.format(first=context.label(first), second=context.label(second)),
                gold=Number(answers[chosen], "m"),
                derivation=derivation,
                objects=[first, second],
                label=f"{answers[chosen]:.1f}",
            )
        )
    return items


def _kept(distance_m: float, settings: Settings, rng: np.random.Generator) -> bool:
    draw = float(rng.random())
    bounds = [bound for bound in settings.keep_below if distance_m < bound]
    return draw < (settings.keep_below[min(bounds)] if bounds else 1.0)
