"""The longest edge of an object's box, in centimetres.

Template and answer as VSI-Bench publishes them: round(100 max(edge lengths)). The `revsi` filters follow ReVSI
(arXiv 2604.24300, 2026): things whose size everybody knows are not asked (our list, shorter than its hundred names),
modal sizes are thinned (its two examples).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from allocentric.core import config
from allocentric.core.types import Item, Number, Scene, View
from allocentric.datasets.derivation import Derivation
from allocentric.datasets.questions._context import Seen, balanced, context_of, settings_of

KIND = "object_size_estimation"
TEMPLATE = (
    "What is the length of the longest dimension (length, width, or height) of the {category}, "
    "measured in centimeters?"
)


class ModalRange(config.Settings):
    """A range of sizes so common for a category that a guess would do."""

    category: str
    """The category."""
    low_cm: int
    """Smallest size of the range."""
    high_cm: int
    """Largest size of the range."""
    keep_probability: float
    """How many of them are asked."""


class Settings(config.Settings):
    """Which objects are measured."""

    excluded: tuple[str, ...] = ()
    """Categories whose size is common knowledge."""
    modal_ranges: tuple[ModalRange, ...] = ()
    """Sizes that are asked only sometimes."""
    max_items: int = 60
    """Most questions per scene."""
    seen: Seen = Seen()
    """When an object counts as shown."""


PROFILES: Mapping[str, Settings] = {
    "vsi": Settings(),
    "revsi": Settings(
        excluded=(
            "bed", "toilet", "microwave", "keyboard", "computer mouse", "telephone", "pillow", "door", "washer",
            "washing machine", "dishwasher", "stove", "oven", "sink", "bathtub", "backpack", "clock", "laptop", "cup",
            "mug", "bottle", "book", "plate", "bowl", "remote control", "trash bin", "printer", "kettle", "toaster",
        ),
        modal_ranges=(
            ModalRange(category="chair", low_cm=75, high_cm=95, keep_probability=0.05),
            ModalRange(category="refrigerator", low_cm=170, high_cm=200, keep_probability=0.05),
        ),
    ),
}  # fmt: skip
"""`vsi`: every category with one instance. `revsi`: without those whose size is common knowledge."""


def ask(scene: Scene, views: Sequence[View], rng: np.random.Generator, profile: str | Settings = "vsi") -> list[Item]:
    """One question per shown object that is the only one of its category."""
    settings = settings_of(PROFILES, profile)
    context = context_of(scene, views, settings.seen)
    candidates = [
        index
        for index in context.unique.tolist()
        if context.label(index) not in settings.excluded
        and _kept(context.label(index), longest_cm(context.sizes_m[index]), settings, rng)
    ]
    sizes = [longest_cm(context.sizes_m[index]) for index in candidates]
    items = []
    for chosen in balanced(sizes, settings.max_items, rng):
        index, answer = candidates[chosen], sizes[chosen]
        label, edges = context.label(index), [float(edge) for edge in context.sizes_m[index]]
        derivation = Derivation()
        size = derivation.add("box_size", edges, objects=context.find(derivation, label))
        longest = derivation.add("longest_dimension", max(edges), size_m=size)
        derivation.add("round", float(answer), value=longest, scale=100, digits=0)
        items.append(
            context.item(
                kind=KIND,
                prompt=TEMPLATE.format(category=label),
                gold=Number(float(answer), "cm"),
                derivation=derivation,
                objects=[index],
                label=str(answer),
            )
        )
    return items


def longest_cm(size_m: Sequence[float] | np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> int:
    """The longest of three edges (3,) in whole centimetres."""
    return round(100 * max(float(edge) for edge in size_m))


def _kept(label: str, size_cm: int, settings: Settings, rng: np.random.Generator) -> bool:
    draw = float(rng.random())  # drawn for every object, so that one setting does not shift the others' draws
    keep = [
        modal.keep_probability
        for modal in settings.modal_ranges
        if modal.category == label and modal.low_cm <= size_cm <= modal.high_cm
    ]
    return draw < min(keep, default=1.0)
