"""Localisation: the column and row of a point, or of every point."""

from __future__ import annotations

import numpy as np

from allocentric.core.types import Item, Text
from allocentric.datasets.sparkle._draft import Form, Wish, item_of, placed
from allocentric.datasets.sparkle.board import Board

FORMS: tuple[Form, ...] = ("choice", "open", "all")
EVERY = "Where is every point, row by row from the top?"
"""The one form that asks about a whole board; from it, models that have never seen a picture learn to read one."""


def cell_of(board: Board, name: str) -> str:
    """Column from the left and row from below, both from 0, as "(x, y)"."""
    x, y = board.points[name]
    return f"({x}, {y})"


def in_rows(board: Board) -> list[str]:
    """Points as one reads: the highest row first, in it from the left."""
    return sorted(board.points, key=lambda name: (-board.points[name][1], board.points[name][0]))


def ask(board: Board, wish: Wish, rng: np.random.Generator) -> Item | None:
    """One point, or all; the wrong options are cells of other points. None where there are too few."""
    if wish.form == "all":
        rows = in_rows(board)
        said = " ".join(f"{name} {cell_of(board, name)}" for name in rows)
        return item_of(board, "localisation_all", EVERY, Text(said), choices=(), names=rows, label=said)
    names = [board.names[index] for index in rng.permutation(len(board.names))]
    prompt, right = f"Where is {names[0]}?", cell_of(board, names[0])
    if wish.form == "open":
        return item_of(board, "localisation_open", prompt, Text(right), choices=(), names=names[:1], label=right)
    if len(names) < wish.options:
        return None
    choices, gold = placed(right, [cell_of(board, name) for name in names[1 : wish.options]], wish)
    return item_of(board, "localisation", prompt, gold, choices=choices, names=names[:1], label=right)
