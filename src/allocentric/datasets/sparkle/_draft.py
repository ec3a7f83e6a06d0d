"""What the tasks share: balanced wishes, options without hints, and the making of items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from allocentric.core.records import item_id
from allocentric.core.types import Answer, Choice, Evidence, Item, Step, View
from allocentric.datasets.sparkle.board import Board
from allocentric.datasets.sparkle.steps import of_shortest

SOURCE = "sparkle"
_ON = " - "
"""Between the points of a way."""
Form = Literal["choice", "open", "all"]
"""choice: a letter. open: words, a number of cells, or an order of points. all: every point of the board in one
answer. Kinds of the latter two end with their names."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What an item is to be like, drawn before there is a board, so that a set is balanced whatever boards offer."""

    place: int
    """Index of the right option."""
    options: int
    """How many there are; 0 where the form is not choice."""
    form: Form = "choice"
    """How it is asked."""
    label: str = ""
    """The answer, for tasks that balance it."""
    margin: float = 1.2
    """Every wrong way is at least this many times as long as the right one."""


class Deck:
    """Draws from a pile, each value once before any comes again."""

    def __init__(self, values: Sequence[str] | Sequence[int], rng: np.random.Generator) -> None:
        self._values, self._rng = list(values), rng
        self._left: list[str | int] = []

    def draw(self) -> str | int:
        """The next value."""
        if not self._left:
            self._left = [self._values[index] for index in self._rng.permutation(len(self._values))]
        return self._left.pop()


def placed(right: str, wrong: Sequence[str], wish: Wish) -> tuple[tuple[str, ...], Choice]:
    """Options with the right one at its place."""
    options = list(wrong)
    options.insert(wish.place, right)
    return tuple(options), Choice(wish.place)


def item_of(
    board: Board,
    kind: str,
    prompt: str,
    gold: Answer,
    *,
    choices: tuple[str, ...],
    names: Sequence[str],
    label: str,
    steps: tuple[Step, ...],
) -> Item:
    """The item, with a picture that is named after its board."""
    return Item(
        id=item_id(kind=kind, scene_id=board.id, prompt=prompt, choices=choices, gold=gold, views=(board.id,)),
        kind=kind,
        prompt=prompt,
        choices=choices,
        gold=gold,
        views=(View(image=Path("pictures", f"{board.id}.png")),),
        scene_id=board.id,
        evidence=Evidence(object_ids=tuple(names), frames=(0,), steps=steps, label=label),
        source=SOURCE,
        extra={"points": {name: list(cell) for name, cell in board.points.items()}},
    )


def said(way: Sequence[str]) -> str:
    """A way in words: "red - blue - green"."""
    return _ON.join(way)


def steps_of(board: Board, options: Sequence[str]) -> tuple[Step, ...]:
    """Why one of some ways, in words, is the shortest."""
    return of_shortest(board, [option.split(_ON) for option in options])


def far_apart(
    candidates: Sequence[tuple[float, tuple[str, ...]]], wish: Wish, rng: np.random.Generator
) -> list[tuple[str, ...]] | None:
    """The shortest of `candidates` (length, way), then `wish.options` - 1 others, all distinctly longer; or None."""
    ranked = sorted(candidates)
    best = ranked[0]
    longer = [way for length, way in ranked[1:] if length >= wish.margin * best[0]]
    if len(longer) < wish.options - 1:
        return None
    chosen = rng.permutation(len(longer))[: wish.options - 1]
    return [best[1], *(longer[index] for index in chosen)]
