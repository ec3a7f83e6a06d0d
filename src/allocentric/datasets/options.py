"""Options that do not give the answer away.

Whatever makes the set of options treats the right one like any other: the rank of a right number is drawn first and
uniformly, the gaps between neighbours are drawn alike on both sides, and wrong orders are held to a distance from
every option, not only from the right one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from itertools import combinations, permutations

import numpy as np

from allocentric.core.records import item_id
from allocentric.core.types import Choice, Item, Number

GAP = (1.2, 1.6)
"""Bounds of the ratio between neighbouring numeric options, drawn log-uniformly."""
KENDALL = (2, 4)
"""Bounds of the Kendall distance between any two orders of four."""

_DECIMALS = {"": 0, "cm": 0, "m": 1, "m2": 1}


def as_choice(item: Item, rng: np.random.Generator, *, options: int = 4) -> Item | None:
    """The multiple-choice form of an item with a numeric answer; its kind gets the suffix "_choice".

    The rank of the right number among the options is drawn first. None where that rank has no room below the answer
    (a count of 2 can't be the largest of four): leaving such items out keeps the rank uniform over a set, while
    drawing again would make small answers the smallest option more often than not. Other items are returned as they
    are.
    """
    if not isinstance(item.gold, Number):
        return item
    numbers = numeric_options(item.gold.value, decimals=_DECIMALS.get(item.gold.unit, 1), options=options, rng=rng)
    if numbers is None:
        return None
    texts = tuple(numbers[index] for index in rng.permutation(options))
    gold = Choice(texts.index(_text(item.gold.value, _DECIMALS.get(item.gold.unit, 1))))
    kind = f"{item.kind}_choice"
    identity = item_id(
        kind=kind, scene_id=item.scene_id, prompt=item.prompt, choices=texts, gold=gold, views=(item.id,)
    )
    return dataclasses.replace(item, id=identity, kind=kind, choices=texts, gold=gold)


def numeric_options(value: float, *, decimals: int, options: int, rng: np.random.Generator) -> list[str] | None:
    """Rising option texts around `value`, pairwise different after rounding to `decimals`; None where they don't fit.

    The rank of `value` is uniform; neighbours differ by a ratio drawn from `GAP`, at least by one unit of the last
    decimal; all options are above 0.
    """
    rank = int(rng.integers(options))
    ratios = np.exp(rng.uniform(math.log(GAP[0]), math.log(GAP[1]), options - 1))
    unit = 10**decimals
    middle = round(value * unit)
    below, above = [middle], [middle]
    for ratio in ratios[:rank]:
        below.append(min(round(below[-1] / ratio), below[-1] - 1))
    for ratio in ratios[rank:]:
        above.append(max(round(above[-1] * ratio), above[-1] + 1))
    if below[-1] < 1:
        return None
    return [_text(number / unit, decimals) for number in [*reversed(below[1:]), *above]]


def order_options(gold: Sequence[str], rng: np.random.Generator, *, options: int = 4) -> list[tuple[str, ...]]:
    """`gold` and other orders of it, every two of them `KENDALL` apart; the first is `gold`.

    Meant for four labels (Kendall distances 0 to 6). ValueError where no such set exists.
    """
    orders = [tuple(order) for order in permutations(gold)]
    taken = [tuple(gold)]
    for index in rng.permutation(len(orders)).tolist():
        if all(KENDALL[0] <= kendall_distance(orders[index], other) <= KENDALL[1] for other in taken):
            taken.append(orders[index])
        if len(taken) == options:
            return taken
    raise ValueError(f"no {options} orders of {len(gold)} labels are {KENDALL[0]} to {KENDALL[1]} apart")


def kendall_distance(left: Sequence[str], right: Sequence[str]) -> int:
    """Number of pairs that two orders of the same labels put the other way round."""
    place = {label: index for index, label in enumerate(right)}
    return sum(place[first] > place[second] for first, second in combinations(left, 2))


def _text(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}"
