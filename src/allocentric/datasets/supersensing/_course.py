"""Which house is walked when: the plain course and how a perturbation changes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from allocentric.core.errors import SettingsError

Perturbation = Literal["plain", "revisit", "repeat", "shuffle"]
PERTURBATIONS: tuple[Perturbation, ...] = ("plain", "revisit", "repeat", "shuffle")
LEAST_STRETCHES = 5
"""Four places for an object, and one house seen twice."""

Thing = TypeVar("Thing")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """One stretch of a course."""

    house: int
    """Which house."""
    route: int
    """Which walk through it."""
    passing: int
    """0 where questions are about this stretch, 1 where the house is walked again for nothing but confusion."""


def course(stretches: int, perturbation: Perturbation, rng: np.random.Generator) -> tuple[Stop, ...]:
    """The stretches on which things are placed.

    Plain: every house once, but one twice, early and late, for what changes in between. Revisit: the first half is a
    plain course, the second half walks its houses again in another order along other ways. Repeat and shuffle are made
    of a plain course by `performed`.

    Raises:
        SettingsError: too few stretches, or an odd number to repeat.
    """
    if perturbation == "repeat" and stretches % 2:
        raise SettingsError(f"a repeated stream has an even number of stretches, got {stretches}; change its length")
    asked = {"repeat": stretches // 2, "revisit": (stretches + 1) // 2}.get(perturbation, stretches)
    if asked < LEAST_STRETCHES:
        raise SettingsError(
            f"{stretches} stretches are too few for {perturbation!r}: questions need {LEAST_STRETCHES} of them, "
            f"{perturbation!r} leaves {asked}; make the stream longer or its stretches shorter"
        )
    first = _plain(asked, rng)
    if perturbation != "revisit":
        return first
    later = [Stop(house=stop.house, route=stop.route + 1, passing=1) for stop in first]
    order = _another_order(len(later), rng)
    return (*first, *(later[index] for index in order[: stretches - asked]))


def performed(stretches: Sequence[Thing], perturbation: Perturbation, rng: np.random.Generator) -> tuple[Thing, ...]:
    """What is shown: the course itself, the course twice, or its stretches in another order."""
    if perturbation == "repeat":
        return (*stretches, *stretches)
    if perturbation == "shuffle":
        return tuple(stretches[index] for index in _another_order(len(stretches), rng))
    return tuple(stretches)


def _plain(count: int, rng: np.random.Generator) -> tuple[Stop, ...]:
    houses = rng.permutation(count - 1).tolist()
    twice = houses[int(rng.integers(max(1, len(houses) // 3)))]
    again = int(rng.integers(count - 1 - max(1, count // 3), count)) if count > LEAST_STRETCHES else count - 1
    houses.insert(max(again, houses.index(twice) + 2), twice)
    return tuple(Stop(house=house, route=0, passing=0) for house in houses)


def _another_order(count: int, rng: np.random.Generator) -> list[int]:
    while True:
        order: list[int] = rng.permutation(count).tolist()
        if order != sorted(order):
            return order
