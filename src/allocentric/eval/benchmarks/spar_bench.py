"""SPAR-Bench: 20 tasks of three levels on ScanNet, ScanNet++ and Structured3D pictures.

arXiv 2503.22976. The overall score is the plain mean of the tasks.
"""

from __future__ import annotations

import re

from allocentric.core.parsing import final_part, read_answer
from allocentric.core.scoring import MRA_RULES
from allocentric.core.types import Answer, Item, Number, Text, Unreadable
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks import _readers as readers
from allocentric.eval.benchmarks._profiles import (
    STRICT,
    Profile,
    standard_worth,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark
from allocentric.eval.benchmarks._rows import Row, options_within
from allocentric.eval.benchmarks._sources import Source

REPOSITORY = "jasonzhango/SPAR-Bench"
LEVELS = {
    "low": (
        *("depth_prediction_oc", "depth_prediction_oo", "distance_prediction_oc", "distance_prediction_oo"),
        *(
            "depth_prediction_oc_mv",
            "depth_prediction_oo_mv",
            "distance_prediction_oo_mv",
            "distance_prediction_oc_mv",
        ),
    ),
    "middle": ("view_change_infer", "position_matching", "camera_motion_infer"),
    "high": (
        *("obj_spatial_relation_oo", "obj_spatial_relation_oc_mv", "obj_spatial_relation_oo_mv"),
        *(
            "spatial_imagination_oc",
            "spatial_imagination_oo",
            "spatial_imagination_oc_mv",
            "spatial_imagination_oo_mv",
        ),
        *("distance_infer_center_oo", "distance_infer_center_oo_mv"),
    ),
}
CELLS = {task: level for level, tasks in LEVELS.items() for task in tasks}
NUMERIC = LEVELS["low"]
MOVES = (
    *(("move_right", "move_left"), ("move_up", "move_down"), ("move_forward", "move_backward")),
    *(("rotate_right", "rotate_left"), ("rotate_up", "rotate_down")),
)
"""Pairs of opposite actions of view_change_infer; the first counts positive."""
_VSI = MRA_RULES["vsi"]
_NUMBERS = re.compile(r"(?<!\^)\d+\.\d+|(?<!\^)\d+")
_BOX = (
    "The values represent the bounding box coordinates normalized to a 0-1000 scale, with the top-left corner as the "
    "origin of the image."
)
_LETTER = "Answer with the option's letter from the given choices directly."
_WORD = "Please answer the question using a single word or phrase."


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """The hub's repository, a folder of it, or a file of its records."""


def _item(row: Row) -> Item:
    kind, question = row.one_of("task", CELLS), row.text("question")
    choices: tuple[str, ...] = ()
    if kind == "view_change_infer":
        gold: Answer = Text(row.text("answer"))
        if actions_in(row.text("answer")) is None:
            raise row.error(f"field 'answer': expected actions like move_right:0.3, got {row.text('answer')!r}")
    elif kind in NUMERIC:
        gold = row.quantity("answer", "m")
    else:
        choices = options_within(question)
        gold = row.letter("answer", len(choices))
    return row.item(
        id=row.text("id"),
        kind=kind,
        prompt=question,
        choices=choices,
        gold=gold,
        scene=row.text("id"),
        views=row.views(row.value("image")) if row.has("image") else (),
    )


def actions_in(text: str) -> dict[str, float] | None:
    """A list like "move_right:0.3,rotate_up:10" as amounts by action; None where the text is no such list."""
    try:
        return {name: float(amount) for name, amount in (part.split(":") for part in text.split(","))}
    except ValueError:
        return None


def _signed(actions: dict[str, float]) -> list[float]:
    return [actions.get(plus, 0.0) - actions.get(minus, 0.0) for plus, minus in MOVES]


def _read(text: str, item: Item) -> Answer | Unreadable:
    """The first character, or the whole text, as the letter; the first number (over several views the last)."""
    if item.kind == "view_change_infer":
        return Text(text) if actions_in(text) is not None else Unreadable("no list of actions")
    if item.kind in NUMERIC:
        found = _NUMBERS.findall(text)
        return Number(float(found[-1 if item.kind.endswith("_mv") else 0]), "m") if found else Unreadable("no number")
    return readers.choice_or(text[0] if text[0].isascii() and text[0].isalpha() else None, item)


def _strict_read(text: str, item: Item) -> Answer | Unreadable:
    if item.kind != "view_change_infer":
        return read_answer(text, item)
    part = final_part(text)
    said = part if isinstance(part, Unreadable) else "".join(part.split())
    if isinstance(said, Unreadable) or actions_in(said) is None:
        return Unreadable("no list of actions")
    return Text(said)


def _moves_worth(answer: Answer, item: Item, *, by_prediction: bool) -> float:
    if not (isinstance(answer, Text) and isinstance(item.gold, Text)):
        return _number_worth(answer, item)
    said, true = actions_in(answer.text), actions_in(item.gold.text)
    assert said is not None
    assert true is not None
    pairs = zip(_signed(said), _signed(true), strict=True)
    return sum(_of(t, p) if by_prediction else _of(p, t) for p, t in pairs) / len(MOVES)


def _of(prediction: float, target: float) -> float:
    """Absolute error where the target is 0."""
    error = abs(prediction - target) if target == 0 else abs((prediction - target) / target)
    return _VSI.of_error(error)


def _number_worth(answer: Answer, item: Item) -> float:
    if isinstance(answer, Number) and isinstance(item.gold, Number):
        return _of(answer.value, item.gold.value)
    return standard_worth(answer, item)


def _published_worth(answer: Answer, item: Item) -> float:
    return _moves_worth(answer, item, by_prediction=True)


def _strict_worth(answer: Answer, item: Item) -> float:
    return _moves_worth(answer, item, by_prediction=False)


def _prompt(item: Item) -> str:
    if item.kind == "view_change_infer":
        return f"\n{item.prompt}\n\n"
    if item.kind in NUMERIC:
        return f"\n{item.prompt}\n{_WORD}"
    box = _BOX if item.kind in ("position_matching", "camera_motion_infer") else ""
    return f"\n{item.prompt}\n{box}\n{_LETTER}"


def _example(k: int, task: str) -> dict[str, object]:
    question, answer = "Which is nearer?\nA. chair\nB. table\nC. bed\nD. lamp", "B"
    if task in NUMERIC:
        question, answer = "How far is the chair, in meters?", "2.5"
    elif task == "view_change_infer":
        question, answer = "How did the camera move?", "move_right:0.3,rotate_left:15"
    return {"id": f"scene{k}", "task": task, "question": question, "answer": answer}


DEFINITION = Definition(
    name="spar_bench",
    source=Source(repository=REPOSITORY, files=("*.parquet", "*.json*")),
    item=_item,
    cells=CELLS,
    profiles=(
        Profile(
            name="lmms-eval@1741440",
            prompt=_prompt,
            read=_read,
            worth=_published_worth,
            empty=lambda item: float(bool(item.choices)),
            blank_is_empty=False,
            defects=(
                "an empty text is part of the right letter and so right, for choices",
                "the actions of view_change_infer are compared relative to the prediction, not to the truth",
            ),
        ),
        Profile(name=STRICT, prompt=_prompt, read=_strict_read, worth=_strict_worth),
    ),
    composite=Nested(cells=CELLS, across="kinds"),
    license="UNKNOWN",
    citation="arXiv 2503.22976",
    unknown="row counts, licence, the hub's revision",
    examples=tuple(_example(k, task) for k, task in enumerate(CELLS)),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
