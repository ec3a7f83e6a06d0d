"""Every answer against an independent reckoning, and what mirrors and turns do to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise, permutations

import networkx
import numpy as np
import pytest

from allocentric.core.types import Choice, Item, Number, Order, Text
from allocentric.datasets.sparkle import (
    direction,
    distance,
    localisation,
    shortest_path,
    travelling_salesman,
)
from allocentric.datasets.sparkle._draft import Form, Wish
from allocentric.datasets.sparkle.board import COLOURS, Board, Settings, draw_board

MARGIN = 1.2


def boards(count: int, **settings: object) -> list[Board]:
    """Random boards that could be drawn."""
    rng = np.random.default_rng(7)
    drawn = (draw_board(Settings(**settings), rng) for _ in range(4 * count))  # type: ignore[arg-type]
    return [board for board in drawn if board is not None][:count]


def asked(
    ask: Callable[..., Item | None], *, options: int = 0, form: Form = "choice", label: str = "", **settings: object
) -> list[tuple]:
    """(board, item) of the boards that offer one."""
    wish = Wish(place=0 if options < 2 else 1, options=options, form=form, label=label, margin=MARGIN)
    rng = np.random.default_rng(3)
    pairs = [(board, ask(board, wish, rng)) for board in boards(60, **settings)]
    found = [(board, item) for board, item in pairs if item is not None]
    assert len(found) >= 5
    return found


def legs(text: str) -> list[str]:
    return text.split(" - ")


def way_length(board: Board, names: list[str]) -> float:
    return sum(math.dist(board.points[a], board.points[b]) for a, b in pairwise(names))


def chosen(item: Item) -> str:
    assert isinstance(item.gold, Choice)
    return item.choices[item.gold.index]


def test_directions_are_the_side_on_which_a_point_lies():
    """By signs of the differences, which needs no angle."""
    for label in direction.LABELS:
        for board, item in asked(direction.ask, options=3, label=label):
            seen, origin = item.evidence.object_ids
            dx, dy = np.subtract(board.points[seen], board.points[origin])
            assert chosen(item) == label
            assert ("right" in label) == (dx > 0 and abs(dx) > abs(dy) / 3)
            assert ("left" in label) == (dx < 0 and abs(dx) > abs(dy) / 3)
            assert ("above" in label) == (dy > 0 and abs(dy) > abs(dx) / 3)
            assert ("below" in label) == (dy < 0 and abs(dy) > abs(dx) / 3)


def test_a_mirror_swaps_left_and_right_and_a_turn_moves_a_word_by_two():
    for board in boards(30):
        for pair in permutations(board.names, 2):
            word = direction.word_of(board, *pair)
            other = {"left": "right", "right": "left"}
            swapped = None if word is None else " ".join(other.get(part, part) for part in word.split())
            assert direction.word_of(board.mirrored(), *pair) == swapped
            turned = direction.word_of(board.turned(), *pair)
            expected = None if word is None else direction.LABELS[(direction.LABELS.index(word) + 2) % 8]
            assert turned == expected
        assert board.turned().turned().turned().turned() == board
        assert board.mirrored().mirrored() == board


@pytest.mark.parametrize("move", [Board.mirrored, Board.turned])
def test_lengths_and_best_ways_do_not_change_when_the_board_is_moved(move: Callable[[Board], Board]):
    for board in boards(20):
        moved, (start, goal) = move(board), board.names[:2]
        for ways in (shortest_path.ways, lambda b, s, g: travelling_salesman.tours(b, s)):
            before, after = ways(board, start, goal), ways(moved, start, goal)
            assert [length for length, _ in before] == pytest.approx([length for length, _ in after])
            assert {way for _, way in before} == {way for _, way in after}


def test_the_nearest_pair_is_distinctly_the_nearest():
    for board, item in asked(distance.ask, options=4):
        lengths = {choice: way_length(board, legs(choice)) for choice in item.choices}
        right = lengths.pop(chosen(item))
        assert min(lengths.values()) >= MARGIN * right
    for board, item in asked(distance.ask, form="open", label="3"):
        assert isinstance(item.gold, Number)
        first, second = item.evidence.object_ids
        assert item.gold.value == pytest.approx(math.dist(board.points[first], board.points[second]), abs=0.05)
        assert 2.5 <= item.gold.value <= 3.5


def test_a_point_is_where_its_colour_is_drawn():
    """By the pixels alone: rows count from below."""
    settings = Settings(cells=8, cell_px=16, roads=False, axes=False)
    for board, item in asked(localisation.ask, form="open", cells=8, cell_px=16, roads=False, axes=False):
        assert isinstance(item.gold, Text)
        name, _, cell = item.gold.text.partition(" ")
        assert name == item.evidence.object_ids[0]
        x, y = map(int, cell.strip("()").split(", "))
        picture = board.picture(settings)
        cell = picture[(7 - y) * 16 : (8 - y) * 16, x * 16 : (x + 1) * 16].reshape(-1, 3)
        colour = np.array(COLOURS[item.evidence.object_ids[0]])
        assert (cell == colour).all(axis=1).mean() > 0.3
        assert (picture.reshape(-1, 3) == colour).all(axis=1).sum() == (cell == colour).all(axis=1).sum()
    for board, item in asked(localisation.ask, form="all", cells=5, cell_px=16, roads=False, axes=False):
        assert isinstance(item.gold, Text)
        picture = board.picture(Settings(cells=5, cell_px=16, roads=False, axes=False))
        middles = [picture[16 * row + 8, 16 * column + 8].tolist() for row in range(5) for column in range(5)]
        names = {str(list(colour)): name for name, colour in COLOURS.items()}
        cells = [(names.get(str(middle)), k % 5, 4 - k // 5) for k, middle in enumerate(middles)]
        assert item.gold.text == " ".join(sorted(f"{name} ({x}, {y})" for name, x, y in cells if name))
    for board, item in asked(localisation.ask, options=4):
        assert chosen(item) == localisation.cell_of(board, item.evidence.object_ids[0])
        assert set(item.choices) <= {localisation.cell_of(board, name) for name in board.names}


@pytest.mark.parametrize("roads", [True, False])
def test_the_shortest_path_is_dijkstras(roads: bool):
    for board, item in asked(shortest_path.ask, options=3, roads=roads, points=(6, 6)):
        graph = networkx.Graph()
        for pair in board.roads:
            first, second = sorted(pair)
            graph.add_edge(first, second, weight=math.dist(board.points[first], board.points[second]))
        lengths = {choice: way_length(board, legs(choice)) for choice in item.choices}
        assert all(graph.has_edge(a, b) for choice in item.choices for a, b in pairwise(legs(choice)))
        assert len({len(legs(choice)) for choice in item.choices}) == 1  # the number of stops says nothing
        best = legs(chosen(item))
        if roads:
            assert best == networkx.dijkstra_path(graph, best[0], best[-1])
        else:
            stops = len(best) - 2
            others = permutations([name for name in board.names if name not in (best[0], best[-1])], stops)
            every = [way_length(board, [best[0], *between, best[-1]]) for between in others]
            assert lengths[chosen(item)] == pytest.approx(min(every))
        right = lengths.pop(chosen(item))
        assert min(lengths.values()) >= MARGIN * right
    for board, item in asked(shortest_path.ask, form="open", roads=True):
        assert isinstance(item.gold, Order)
        found = shortest_path.ways(board, item.gold.labels[0], item.gold.labels[-1])
        assert len(found) == 1 or found[1][0] >= MARGIN * found[0][0]  # no second answer is nearly right


def test_the_best_tour_is_the_best_of_all_orders():
    for board, item in asked(travelling_salesman.ask, options=3, points=(5, 6)):
        start = legs(chosen(item))[0]
        others = [name for name in board.names if name != start]
        every = [way_length(board, [start, *order, start]) for order in permutations(others)]
        lengths = {choice: way_length(board, legs(choice)) for choice in item.choices}
        for choice in item.choices:
            assert legs(choice)[0] == legs(choice)[-1] == start
            assert sorted(legs(choice)[:-1]) == sorted(board.names)
        right = lengths.pop(chosen(item))
        assert right == pytest.approx(min(every))
        assert min(lengths.values()) >= MARGIN * right


def test_roads_join_all_points_and_pass_none():
    for board in boards(30, points=(6, 8)):
        graph = networkx.Graph(tuple(sorted(pair)) for pair in board.roads)
        assert networkx.is_connected(graph)
        assert set(graph) == set(board.names)
        for first, second in graph.edges:
            start, end = np.array(board.points[first], float), np.array(board.points[second], float)
            samples = start + np.linspace(0, 1, 200)[:, None] * (end - start)
            for name in set(board.names) - {first, second}:
                assert np.linalg.norm(samples - board.points[name], axis=1).min() > 0.7
