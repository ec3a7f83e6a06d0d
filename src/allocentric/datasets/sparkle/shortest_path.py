"""Shortest path: between two points along roads, with one or two stops."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np

from allocentric.core.types import Item, Order
from allocentric.datasets.sparkle._draft import Form, Wish, far_apart, item_of, placed, said, steps_of
from allocentric.datasets.sparkle.board import Board
from allocentric.datasets.sparkle.distance import ASK
from allocentric.datasets.sparkle.steps import of_way

FORMS: tuple[Form, ...] = ("choice", "open")
MOST_STOPS = 2


def ways(board: Board, start: str, goal: str) -> list[tuple[float, tuple[str, ...]]]:
    """Every way along roads that visits no point twice, the shortest first, with its length in cells."""
    between = [name for name in board.names if name not in (start, goal)]
    orders = [(start, *stops, goal) for count in range(len(between) + 1) for stops in permutations(between, count)]
    passable = [way for way in orders if all(map(board.joined.__contains__, pairwise(way)))]
    return sorted((board.length(way), way) for way in passable)


def ask(board: Board, wish: Wish, rng: np.random.Generator) -> Item | None:
    """Two points whose shortest way has stops, among other ways with as many; None where the board has none.

    With roads the right way is the shortest of all ways. Without, the straight way would always be; the question then
    names the number of stops and the right way is the shortest of all with so many.
    """
    pairs = list(permutations(board.names, 2))
    for index in rng.permutation(len(pairs)).tolist():
        start, goal = pairs[index]
        found = ways(board, start, goal)
        stops = len(found[0][1]) - 2 if board.roads_drawn else int(rng.integers(1, MOST_STOPS + 1))
        if not 1 <= stops <= MOST_STOPS:
            continue
        if board.roads_drawn and len(found) > 1 and found[1][0] < wish.margin * found[0][0]:
            continue
        alike = [(length, way) for length, way in found if len(way) == stops + 2]
        options = far_apart(alike, wish, rng) if len(alike) >= max(1, wish.options) else None
        if options is not None:
            return _item(board, wish, options, stops)
    return None


def _item(board: Board, wish: Wish, options: list[tuple[str, ...]], stops: int) -> Item:
    best = options[0]
    how = "by road" if board.roads_drawn else f"with {stops} stop{'s' if stops > 1 else ''}"
    prompt, label = f"Go from {best[0]} to {best[-1]} {how}. {ASK}", said(best)
    if wish.form == "open":
        gold, steps = Order(best), of_way(board, best)
        return item_of(board, "shortest_path_open", prompt, gold, choices=(), names=best, label=label, steps=steps)
    choices, choice = placed(label, [said(way) for way in options[1:]], wish)
    names = sorted({name for way in options for name in way})
    steps = steps_of(board, choices)
    return item_of(board, "shortest_path", prompt, choice, choices=choices, names=names, label=label, steps=steps)
