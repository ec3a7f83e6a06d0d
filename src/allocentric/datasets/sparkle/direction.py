"""Direction: where one point lies seen from another, in eight words."""

from __future__ import annotations

import math
from functools import partial
from itertools import permutations

import numpy as np

from allocentric.core.types import Item, Text
from allocentric.datasets.sparkle._draft import Form, Wish, item_of, placed
from allocentric.datasets.sparkle.board import Board
from allocentric.datasets.sparkle.steps import SIDES as LABELS
from allocentric.datasets.sparkle.steps import of_side

FORMS: tuple[Form, ...] = ("choice", "open")
CLEAR_RAD = math.radians(12)
"""A bearing this near to one of the eight is that one; others are not asked about."""


def labels(cells: int) -> tuple[str, ...]:
    """What is balanced: the eight words, on a board of any size."""
    del cells
    return LABELS


def word_of(board: Board, seen: str, origin: str) -> str | None:
    """Where `seen` lies from `origin`; None where the bearing is between two words."""
    (x0, y0), (x1, y1) = board.points[origin], board.points[seen]
    eighths = math.atan2(y1 - y0, x1 - x0) / (math.pi / 4)
    nearest = round(eighths)
    return LABELS[nearest % 8] if abs(eighths - nearest) * math.pi / 4 <= CLEAR_RAD else None


def ask(board: Board, wish: Wish, rng: np.random.Generator) -> Item | None:
    """A pair that lies as `wish.label` says; None where the board has none."""
    pairs = [pair for pair in permutations(board.names, 2) if word_of(board, *pair) == wish.label]
    if not pairs:
        return None
    seen, origin = pairs[int(rng.integers(len(pairs)))]
    prompt = f"Where is {seen} seen from {origin}?"
    made = partial(item_of, board, names=(seen, origin), label=wish.label)
    if wish.form == "open":
        steps = of_side(board, seen, origin)
        return made("direction_open", prompt, Text(wish.label), choices=(), steps=steps)
    others = [word for word in LABELS if word != wish.label]
    wrong = [others[index] for index in rng.permutation(len(others))[: wish.options - 1]]
    choices, gold = placed(wish.label, wrong, wish)
    return made("direction", prompt, gold, choices=choices, steps=of_side(board, seen, origin, choices))
