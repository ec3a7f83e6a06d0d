"""Distance: which two points are nearest to each other, or how many cells lie between two."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from allocentric.core.types import Item, Number
from allocentric.datasets.sparkle._draft import Form, Wish, far_apart, item_of, placed, said, steps_of
from allocentric.datasets.sparkle.board import Board
from allocentric.datasets.sparkle.steps import of_way

FORMS: tuple[Form, ...] = ("choice", "open")
ASK = "Which way is shortest?"
"""Last sentence of every question about ways, of one leg or of several."""
_TRIES = 20


def labels(cells: int) -> tuple[str, ...]:
    """Whole cells, rounded, that the open form balances."""
    return tuple(str(length) for length in range(1, cells))


def ask(board: Board, wish: Wish, rng: np.random.Generator) -> Item | None:
    """A comparison of straight ways between two points, or the length of one; None where the board has none."""
    pairs = list(permutations(board.names, 2))
    if wish.form == "open":
        fitting = [pair for pair in pairs if str(round(board.distances[pair])) == wish.label]
        if not fitting:
            return None
        first, second = fitting[int(rng.integers(len(fitting)))]
        prompt = f"How many cells is {first} from {second}?"
        gold, names = Number(round(board.distances[first, second], 1)), [first, second]
        steps = of_way(board, names)
        return item_of(board, "distance_open", prompt, gold, choices=(), names=names, label=wish.label, steps=steps)
    for _ in range(_TRIES):
        some = [pairs[index] for index in rng.permutation(len(pairs))[: wish.options]]
        ways = far_apart([(board.distances[pair], pair) for pair in some], wish, rng)
        if ways is not None:
            choices, choice = placed(said(ways[0]), [said(way) for way in ways[1:]], wish)
            names = sorted({name for way in ways for name in way})
            label, steps = said(ways[0]), steps_of(board, choices)
            return item_of(board, "distance", ASK, choice, choices=choices, names=names, label=label, steps=steps)
    return None
