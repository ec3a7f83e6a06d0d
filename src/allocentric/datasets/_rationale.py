"""A derivation in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from allocentric.core.types import Boxes, Choice, Item, Number, Order, Path2D, Step, Text
from allocentric.datasets.sparkle.steps import SENTENCES as OF_BOARDS

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LAST = "The answer is "
"""Opens the last sentence of a derivation."""


def rationale(item: Item) -> str:
    """The steps of `item` as sentences that end with the answer; "" for an item without steps.

    Figures are those of the trace, rounded for reading.
    """
    steps = item.evidence.steps
    if not steps:
        return ""
    sentences = [_SENTENCES[step.op](step, steps) for step in steps if step.op in _SENTENCES]
    return " ".join([*(sentence for sentence in sentences if sentence), f"{LAST}{_spoken_answer(item)}."])


def training_text(item: Item) -> str:
    """`<think>rationale</think><answer>answer</answer>`; the answer is a letter or a number, as a scorer expects."""
    return f"<think>{rationale(item)}</think><answer>{short_answer(item)}</answer>"


def short_answer(item: Item) -> str:
    """The answer as `core.parsing` reads it back: a letter, a number, words, labels, boxes or points."""
    match item.gold:
        case Choice(index):
            return _LETTERS[index]
        case Number(value, _):
            return f"{value:g}"
        case Text(text):
            return text
        case Order(labels):
            return ", ".join(labels)
        case Boxes(boxes_px):
            return ", ".join("[" + ", ".join(f"{edge:g}" for edge in box) + "]" for box in boxes_px)
        case Path2D(points_m):
            return ", ".join(f"({x:g}, {y:g})" for x, y in points_m)
    raise TypeError(f"no words for an answer like {item.gold!r}")


def _spoken_answer(item: Item) -> str:
    if isinstance(item.gold, Choice):
        return f"{_LETTERS[item.gold.index]}. {item.choices[item.gold.index]}"
    return short_answer(item)


def _count(step: Step, steps: Sequence[Step]) -> str:
    label = _name(step.inputs["objects"], steps)
    return f"I look for every {label} and find {step.output} of them."


def _box_size(step: Step, steps: Sequence[Step]) -> str:
    edges = " x ".join(f"{edge:.2f}" for edge in step.output)
    return f"The {_name(step.inputs['objects'], steps)} measures {edges} m."


def _longest(step: Step, steps: Sequence[Step]) -> str:  # noqa: ARG001
    return f"Its longest dimension is {step.output:.2f} m."


def _floor_area(step: Step, steps: Sequence[Step]) -> str:  # noqa: ARG001
    return f"The floor that is shown covers {step.output:.1f} square meters."


def _distance(step: Step, steps: Sequence[Step]) -> str:
    a, b = _name(step.inputs["a"], steps), _name(step.inputs["b"], steps)
    several = len(_value(step.inputs["a"], steps)) > 1 or len(_value(step.inputs["b"], steps)) > 1
    nearest = f"the nearest {a}" if several else f"the {a}"
    return f"Between their closest points, {nearest} and the {b} are {step.output:.2f} m apart."


def _round(step: Step, steps: Sequence[Step]) -> str:
    scale = step.inputs.get("scale", 1)
    if scale == 100:
        return f"In centimeters that is {step.output:g}."
    changed = abs(_value(step.inputs["value"], steps) - step.output) > 1e-9
    return f"Rounded, that is {step.output:g}." if changed else ""


def _stand(step: Step, steps: Sequence[Step]) -> str:
    x, y = step.output
    return f"I begin beside the {_name(step.inputs['objects'], steps)}, at ({x:.1f}, {y:.1f})."


def _centre(step: Step, steps: Sequence[Step]) -> str:
    x, y = step.output
    return f"Seen from above, the {_name(step.inputs['objects'], steps)} is at ({x:.1f}, {y:.1f})."


def _bearing(step: Step, steps: Sequence[Step]) -> str:
    at, facing, to = (_name(step.inputs[key], steps) for key in ("at", "facing", "to"))
    degrees = math.degrees(step.output)
    side = "left" if degrees >= 0 else "right"
    heading = "looking ahead" if at == facing else f"facing the {facing}"
    return f"At the {at}, {heading}, the {to} is {abs(degrees):.0f} degrees to the {side}."


def _sector(step: Step, steps: Sequence[Step]) -> str:  # noqa: ARG001
    return f"That is {step.output}." if step.inputs["level"] != "turn" else f"So I turn {step.output}."


def _argmin(step: Step, steps: Sequence[Step]) -> str:  # noqa: ARG001
    return f"The smallest of these is that of the {step.output}."


def _first_seen(step: Step, steps: Sequence[Step]) -> str:
    return f"The {_name(step.inputs['objects'], steps)} first comes into view at {step.output:.1f} s."


def _order(step: Step, steps: Sequence[Step]) -> str:  # noqa: ARG001
    return f"In order of appearance: {step.output}."


def _walk(step: Step, steps: Sequence[Step]) -> str:
    return f"I go forward until the {_name(step.inputs['objects'], steps)}."


def _turns(step: Step, steps: Sequence[Step]) -> str:  # noqa: ARG001
    return f"The turns are: {step.output}."


_SENTENCES: Mapping[str, Callable[[Step, Sequence[Step]], str]] = {
    "count": _count,
    "box_size": _box_size,
    "longest_dimension": _longest,
    "floor_area": _floor_area,
    "box_distance": _distance,
    "round": _round,
    "centre": _centre,
    "bearing": _bearing,
    "sector": _sector,
    "argmin": _argmin,
    "first_seen": _first_seen,
    "order": _order,
    "stand": _stand,
    "walk": _walk,
    "turns": _turns,
    **OF_BOARDS,
}


def _value(value: Any, steps: Sequence[Step]) -> Any:
    return steps[value["step"]].output if isinstance(value, Mapping) else value


def _name(value: Any, steps: Sequence[Step]) -> str:
    """The category that a reference leads back to."""
    while isinstance(value, Mapping):
        step = steps[value["step"]]
        if step.op == "find":
            return str(step.inputs["label"])
        value = step.inputs.get("objects")
    return "object"
