"""Why an answer about a board is right: cells that are read, then what follows from them.

The steps of an item (`core.types.Step`) are operations of this module. `replay` computes every output again from the
points of a board, one at a time, and `SENTENCES` says each in words; `datasets.trace.rationale` joins them. A step's
inputs are JSON values; {"step": k} stands for the output of step k.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from allocentric.core.types import Step
from allocentric.datasets.derivation import Derivation
from allocentric.datasets.sparkle.board import Board

SIDES = ("right", "above right", "above", "above left", "left", "below left", "below", "below right")
"""Counter-clockwise from +x, 45 degrees apart."""
Cells = Mapping[str, Sequence[int]]


# -------------------------------------------------------------------------------------------------------- operations


def cell(points: Cells, *, point: str) -> list[int]:
    """Column from the left and row from below, both from 0."""
    return [int(value) for value in points[point]]


def offset(points: Cells, *, start: Sequence[int], end: Sequence[int]) -> list[int]:
    """Cells to the right and upwards from one cell to another."""
    del points
    return [end[0] - start[0], end[1] - start[1]]


def side(points: Cells, *, offset: Sequence[int]) -> str:
    """The nearest of eight words."""
    del points
    return SIDES[round(math.atan2(offset[1], offset[0]) / (math.pi / 4)) % len(SIDES)]


def length(points: Cells, *, offset: Sequence[int]) -> float:
    """Straight length in cells."""
    del points
    return math.hypot(*offset)


def option(points: Cells, *, letter: str, way: Sequence[str]) -> list[str]:
    """The way of an option, from point to point."""
    del points, letter
    return list(way)


def total(points: Cells, *, lengths: Sequence[float]) -> float:
    """Length in cells of a way of one leg or several."""
    del points
    return math.fsum(lengths)


def shortest(points: Cells, *, ways: Sequence[Sequence[str]], lengths: Sequence[float]) -> list[str]:
    """The way with the least length."""
    del points
    return list(ways[min(range(len(lengths)), key=lengths.__getitem__)])


def says(points: Cells, *, letter: str, text: str, found: Any) -> bool:
    """Whether the text of an option is what was found: a word, or a cell."""
    del points, letter
    return text == (found if isinstance(found, str) else "({}, {})".format(*found))


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    operation.__name__: operation for operation in (cell, offset, side, length, option, total, shortest, says)
}
"""Name of a step's `op` -> what it computes from the cells of a board's points and its inputs."""


def replay(steps: Sequence[Step], points: Cells) -> list[Any]:
    """Outputs of all steps, from the points alone; recorded outputs are never read.

    Raises:
        KeyError: an operation or a point that isn't there.
    """
    outputs: list[Any] = []
    for step in steps:
        inputs = {name: _resolved(value, outputs) for name, value in step.inputs.items()}
        outputs.append(OPERATIONS[step.op](points, **inputs))
    return outputs


def _resolved(value: Any, outputs: Sequence[Any]) -> Any:
    if isinstance(value, Mapping):
        return outputs[value["step"]]
    return [_resolved(part, outputs) for part in value] if isinstance(value, list | tuple) else value


# -------------------------------------------------------------------------------------------------------- derivations


class Worked(Derivation):
    """The steps of one answer about a board."""

    def __init__(self, board: Board) -> None:
        super().__init__()
        self._board = board

    def do(self, op: str, **inputs: Any) -> dict[str, int]:
        """Append a step with its output."""
        outputs = [step.output for step in self.steps]
        given = {name: _resolved(value, outputs) for name, value in inputs.items()}
        return self.add(op, OPERATIONS[op](self._board.points, **given), **inputs)


def of_cells(board: Board, names: Sequence[str], options: Sequence[str] = ()) -> tuple[Step, ...]:
    """Where points are, and which option says so of the last."""
    worked = Worked(board)
    for name in names:
        found = worked.do("cell", point=name)
    _compare(worked, options, found)
    return tuple(worked.steps)


def of_side(board: Board, seen: str, origin: str, options: Sequence[str] = ()) -> tuple[Step, ...]:
    """Where one point lies seen from another, and which option says so."""
    worked = Worked(board)
    found = worked.do("side", offset=_leg(worked, worked.do("cell", point=origin), worked.do("cell", point=seen)))
    _compare(worked, options, found)
    return tuple(worked.steps)


def of_way(board: Board, names: Sequence[str]) -> tuple[Step, ...]:
    """How long a way is."""
    worked = Worked(board)
    _way(worked, names)
    return tuple(worked.steps)


def of_shortest(board: Board, ways: Sequence[Sequence[str]]) -> tuple[Step, ...]:
    """The shortest of some ways, which are the options A, B ... of a question."""
    worked = Worked(board)
    told = [
        (worked.do("option", letter=letter, way=list(way)), _way(worked, way))
        for letter, way in zip(ascii_uppercase, ways, strict=False)
    ]
    worked.do("shortest", ways=[way for way, _ in told], lengths=[length for _, length in told])
    return tuple(worked.steps)


def _compare(worked: Worked, options: Sequence[str], found: dict[str, int]) -> None:
    """Go through options up to the right one."""
    for letter, text in zip(ascii_uppercase, options, strict=False):
        worked.do("says", letter=letter, text=text, found=found)
        if worked.steps[-1].output:
            break


def _leg(worked: Worked, start: Any, end: Any) -> dict[str, int]:
    return worked.do("offset", start=start, end=end)


def _way(worked: Worked, names: Sequence[str]) -> dict[str, int]:
    """A reference to the length of a way."""
    here, lengths = worked.do("cell", point=names[0]), []
    for name in names[1:]:
        there = worked.do("cell", point=name)
        lengths.append(worked.do("length", offset=_leg(worked, here, there)))
        here = there
    return worked.do("total", lengths=lengths)


# ---------------------------------------------------------------------------------------------------------- sentences


def _cell(step: Step, _: Sequence[Step]) -> str:
    column, row = step.output
    return f"{step.inputs['point']} ({column}, {row})"


def _offset(step: Step, _: Sequence[Step]) -> str:
    right, up = step.output
    return f"({right:+d}, {up:+d})"


SENTENCES: Mapping[str, Callable[[Step, Sequence[Step]], str]] = {
    "cell": _cell,
    "offset": _offset,
    "side": lambda step, _: f"{step.output}.",
    "length": lambda step, _: f"{step.output:.1f}",
    "option": lambda step, _: f"{step.inputs['letter']}:",
    "total": lambda step, _: f"= {step.output:.1f}.",
    "shortest": lambda _, __: "",
    "says": lambda step, _: f"{step.inputs['letter']}. {step.inputs['text']}: {'yes' if step.output else 'no'}.",
}
"""Terse, since small models write them out: "A: red (1, 2) blue (3, 0) (+2, -2) 2.8 = 2.8." """
