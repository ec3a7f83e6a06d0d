"""Travelling salesman: the shortest round trip over all points, by straight lines."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from allocentric.core.types import Item
from allocentric.datasets.sparkle._draft import Form, Wish, far_apart, item_of, placed, said, steps_of
from allocentric.datasets.sparkle.board import Board
from allocentric.datasets.sparkle.distance import ASK

FORMS: tuple[Form, ...] = ("choice",)
"""No open one: a tour and its reverse are both right."""


def tours(board: Board, start: str) -> list[tuple[float, tuple[str, ...]]]:
    """Every round trip from `start`, each in one of its two directions, the shortest first, with its length."""
    others = [name for name in board.names if name != start]
    found = [(start, *order, start) for order in permutations(others) if order[0] < order[-1]]
    return sorted((board.length(tour), tour) for tour in found)


def ask(board: Board, wish: Wish, rng: np.random.Generator) -> Item | None:
    """The shortest of all round trips beside distinctly longer ones, each in a random direction.

    None where the board has too few that are.
    """
    start = board.names[int(rng.integers(len(board.names)))]
    options = far_apart(tours(board, start), wish, rng)
    if options is None:
        return None
    told = [said(tour if rng.random() < 0.5 else tour[::-1]) for tour in options]
    choices, choice = placed(told[0], told[1:], wish)
    prompt = f"Visit every point and return. {ASK}"
    return item_of(
        board,
        "travelling_salesman",
        prompt,
        choice,
        choices=choices,
        names=board.names,
        label=said(options[0]),
        steps=steps_of(board, choices),
    )
