"""Length of a way: how many cells it is from point to point along several. No task of the paper.

It lies between a distance and the composite tasks, which choose among ways: a model that has learnt it has seen ways
of several legs, but has never chosen one.
"""

from __future__ import annotations

import numpy as np

from allocentric.core.types import Item, Number
from allocentric.datasets.sparkle._draft import Form, Wish, item_of, said
from allocentric.datasets.sparkle.board import Board
from allocentric.datasets.sparkle.steps import of_way

FORMS: tuple[Form, ...] = ("open",)
MOST_LEGS = 3


def labels(cells: int) -> tuple[str, ...]:
    """Numbers of legs, on a board of any size."""
    del cells
    return tuple(str(legs) for legs in range(2, MOST_LEGS + 1))


def ask(board: Board, wish: Wish, rng: np.random.Generator) -> Item | None:
    """A way of `wish.label` legs along straight lines, no point twice; None where there are too few points."""
    points = int(wish.label) + 1
    if len(board.names) < points:
        return None
    way = [board.names[index] for index in rng.permutation(len(board.names))[:points]]
    prompt = f"How many cells long is the way {said(way)}?"
    gold = Number(round(board.length(tuple(way)), 1))
    return item_of(
        board, "way_length_open", prompt, gold, choices=(), names=way, label=wish.label, steps=of_way(board, way)
    )
