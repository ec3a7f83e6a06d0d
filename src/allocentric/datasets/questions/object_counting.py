"""How many instances of a category there are.

Template and answer as VSI-Bench publishes them. The `revsi` probabilities are those of ReVSI (arXiv 2604.24300, 2026),
which has nine common categories and a list of left-out ones; which they are is our choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from allocentric.core import config
from allocentric.core.types import Item, Number, Scene, View
from allocentric.datasets.derivation import Derivation
from allocentric.datasets.questions._context import Seen, balanced, context_of, settings_of

KIND = "object_counting"
TEMPLATE = "How many {category}(s) are in this room?"


class Settings(config.Settings):
    """Which categories are counted."""

    min_count: int = 2
    """Smallest count that is asked; 1 would be the answer most of the time."""
    keep_probability: Mapping[int, float] = {}
    """Count -> probability of keeping it where it is asked of a common category; flattens the prior."""
    common: tuple[str, ...] = ()
    """The common categories to which `keep_probability` applies."""
    excluded: tuple[str, ...] = ()
    """Categories whose instances can't be told apart."""
    max_items: int = 40
    """Most questions per scene."""
    seen: Seen = Seen()
    """When an object counts as shown; every instance has to be."""


PROFILES: Mapping[str, Settings] = {
    "vsi": Settings(),
    "revsi": Settings(
        min_count=1,
        keep_probability={1: 0.4, 2: 0.05},
        common=("chair", "table", "door", "sofa", "bed", "monitor", "cabinet", "pillow", "trash bin"),
        excluded=("window", "blinds", "curtain", "shoes", "clothes", "books", "book", "paper", "papers", "bottle"),
    ),
}
"""`vsi`: any category with two instances or more. `revsi`: common categories keep the counts 1 and 2 only with the
published probabilities, rare ones keep all; things that come in heaps are never counted."""


def ask(scene: Scene, views: Sequence[View], rng: np.random.Generator, profile: str | Settings = "vsi") -> list[Item]:
    """One question per category of which every instance is shown and the number of boxes is the published count."""
    settings = settings_of(PROFILES, profile)
    context = context_of(scene, views, settings.seen)
    labels = [
        label
        for label, members in context.members.items()
        if len(members) >= settings.min_count
        and label not in settings.excluded
        and context.count_is_certain(label)
        and all(context.is_shown(index) for index in members)
        and _kept(label, len(members), settings, rng)
    ]
    items = []
    for index in balanced([len(context.members[label]) for label in labels], settings.max_items, rng):
        label = labels[index]
        members = context.members[label]
        derivation = Derivation()
        derivation.add("count", len(members), objects=context.find(derivation, label))
        items.append(
            context.item(
                kind=KIND,
                prompt=TEMPLATE.format(category=label),
                gold=Number(float(len(members))),
                derivation=derivation,
                objects=members,
                label=str(len(members)),
            )
        )
    return items


def _kept(label: str, count: int, settings: Settings, rng: np.random.Generator) -> bool:
    draw = float(rng.random())  # drawn for every category, so that one setting does not shift the others' draws
    return label not in settings.common or draw < settings.keep_probability.get(count, 1.0)
