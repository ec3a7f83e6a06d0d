"""Localisation: the column and row of a point, or of every point."""

from __future__ import annotations

from functools import partial

import numpy as np

from allocentric.core.types import Item, Text
from allocentric.datasets.sparkle._draft import Form, Wish, item_of, placed
from allocentric.datasets.sparkle.board import Board
from allocentric.datasets.sparkle.steps import of_cells

FORMS: tuple[Form, ...] = ("choice", "open", "all")
HOW = "Answer: name (column, row)"
EVERY = f"Where is every point? {HOW}, in alphabetical order."
"""The one form that asks about a whole board; from it, models that have never seen a picture learn to read one."""


def cell_of(board: Board, name: str) -> str:
    """Column from the left and row from below, both from 0, as "(x, y)"."""
    x, y = board.points[name]
    return f"({x}, {y})"


def named(board: Board, name: str) -> str:
    """A point with its cell: "red (3, 1)"."""
    return f"{name} {cell_of(board, name)}"


def ask(board: Board, wish: Wish, rng: np.random.Generator) -> Item | None:
    """One point, or all; the wrong options are cells of other points. None where there are too few."""
    if wish.form == "all":
        every = sorted(board.names)
        told = " ".join(named(board, name) for name in every)
        steps = of_cells(board, every)
        return item_of(board, "localisation_all", EVERY, Text(told), choices=(), names=every, label=told, steps=steps)
    names = [board.names[index] for index in rng.permutation(len(board.names))]
    prompt, right = f"Where is {names[0]}?", cell_of(board, names[0])
    made = partial(item_of, board, names=names[:1], label=right)
    if wish.form == "open":
        prompt, said = f"{prompt} {HOW}.", Text(named(board, names[0]))
        return made("localisation_open", prompt, said, choices=(), steps=of_cells(board, names[:1]))
    if len(names) < wish.options:
        return None
    choices, gold = placed(right, [cell_of(board, name) for name in names[1 : wish.options]], wish)
    return made("localisation", prompt, gold, choices=choices, steps=of_cells(board, names[:1], choices))
