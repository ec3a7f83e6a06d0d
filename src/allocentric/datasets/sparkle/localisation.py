"""Localisation: the column and row of a point."""

from __future__ import annotations

import numpy as np

from allocentric.core.types import Item, Text
from allocentric.datasets.sparkle._draft import Wish, item_of, placed
from allocentric.datasets.sparkle.board import Board


def cell_of(board: Board, name: str) -> str:
    """Column from the left and row from below, both from 0, as "(x, y)"."""
    x, y = board.points[name]
    return f"({x}, {y})"


def ask(board: Board, wish: Wish, rng: np.random.Generator) -> Item | None:
    """One point; the wrong options are cells of other points. None where there are too few."""
    names = [board.names[index] for index in rng.permutation(len(board.names))]
    prompt, right = f"Where is {names[0]}?", cell_of(board, names[0])
    if not wish.options:
        return item_of(board, "localisation_open", prompt, Text(right), choices=(), names=names[:1], label=right)
    if len(names) < wish.options:
        return None
    choices, gold = placed(right, [cell_of(board, name) for name in names[1 : wish.options]], wish)
    return item_of(board, "localisation", prompt, gold, choices=choices, names=names[:1], label=right)
