"""Published VSI-Bench questions -> the steps that answer them from the metadata.

The text is matched against the very templates that questions are made with, and answered by the very operations that
traces are made of.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allocentric.core.catalog import QUESTIONS
from allocentric.core.errors import DataError
from allocentric.core.types import Scene, Step
from allocentric.datasets.derivation import Derivation
from allocentric.datasets.questions.object_rel_distance import CLOSEST_INSTANCE
from allocentric.datasets.trace import TraceError, replay

_FIELDS = ("id", "scene_name", "question_type", "question", "options", "ground_truth")


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """One published question."""

    id: str
    """Published id."""
    kind: str
    """Question type."""
    scene_id: str
    """Scene name."""
    question: str
    """Text without options."""
    options: tuple[str, ...]
    """Option texts without letters; empty for numeric questions."""
    ground_truth: str
    """Published answer: a number or a letter."""

    def gold_text(self) -> str:
        """The number as published, or the text of the right option."""
        return self.options[ord(self.ground_truth) - ord("A")] if self.options else self.ground_truth


def read_questions(path: Path) -> list[Published]:
    """Read a JSON-lines file of VSI-Bench records. DataError naming line and field where one is wrong."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the questions {path}: {getattr(error, 'strerror', 'not UTF-8')}") from None
    return [_published(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def answer(question: Published, scene: Scene) -> Any | None:
    """What the metadata says, exactly: a number before rounding, or an option's text. None where it can't say."""
    steps = derivation(question)
    if steps is None:
        return None
    try:
        return replay(steps, scene)[-1]
    except TraceError:  # a category that the metadata does not list, or several instances where one is meant
        return None


def derivation(question: Published) -> Sequence[Step] | None:
    """The steps that answer a question by its text; None where boxes, counts and areas can't answer the type.

    DataError where a question of an answerable type fits no template.
    """
    steps = Derivation()
    if question.kind == "room_size_estimation":
        steps.add("floor_area", None)
        return steps.steps
    if question.kind not in _BUILDERS:
        return None
    _BUILDERS[question.kind](steps, _match(question), question)
    return steps.steps


def named_objects(question: Published) -> dict[str, str]:
    """What the template's placeholders stand for."""
    return _match(question)


def _match(question: Published) -> dict[str, str]:
    template = str(QUESTIONS.load(question.kind).TEMPLATE)
    text = question.question.removesuffix(CLOSEST_INSTANCE).replace("the direct distance", "the distance")
    names: set[str] = set()

    def group(match: re.Match[str]) -> str:
        name = match.group(1)
        pattern = f"(?P={name})" if name in names else f"(?P<{name}>.+?)"
        names.add(name)
        return pattern

    found = re.fullmatch(re.sub(r"\\{(\w+)\\}", group, re.escape(template)), text)
    if found is None:
        raise DataError(
            f"question {question.id}: the text does not fit the template of {question.kind}: {text[:80]!r}"
        )
    return found.groupdict()


def _counting(steps: Derivation, names: dict[str, str], question: Published) -> None:  # noqa: ARG001
    steps.add("count", None, objects=steps.add("find", None, label=names["category"]))


def _size(steps: Derivation, names: dict[str, str], question: Published) -> None:  # noqa: ARG001
    size = steps.add("box_size", None, objects=steps.add("find", None, label=names["category"]))
    steps.add("round", None, value=steps.add("longest_dimension", None, size_m=size), scale=100, digits=0)


def _distance(steps: Derivation, names: dict[str, str], question: Published) -> None:  # noqa: ARG001
    first, second = (steps.add("find", None, label=names[key]) for key in ("first", "second"))
    steps.add("box_distance", None, a=first, b=second)


def _nearest(steps: Derivation, names: dict[str, str], question: Published) -> None:
    target = steps.add("find", None, label=names["category"])
    found = [steps.add("find", None, label=option) for option in question.options]
    values = [steps.add("box_distance", None, a=option, b=target) for option in found]
    steps.add("argmin", None, labels=list(question.options), values=values)


def _direction(steps: Derivation, names: dict[str, str], question: Published) -> None:
    points = [
        steps.add("centre", None, objects=steps.add("find", None, label=names[key]))
        for key in ("stand", "face", "target")
    ]
    angle = steps.add("bearing", None, at=points[0], facing=points[1], to=points[2])
    steps.add("sector", None, bearing_rad=angle, level=question.kind.rpartition("_")[2])


_BUILDERS = {
    "object_counting": _counting,
    "object_size_estimation": _size,
    "object_abs_distance": _distance,
    "object_rel_distance": _nearest,
    "object_rel_direction_easy": _direction,
    "object_rel_direction_medium": _direction,
    "object_rel_direction_hard": _direction,
}


def _published(line: str, where: str) -> Published:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where} is not JSON ({error.msg}); expected one record per line") from None
    missing = [key for key in _FIELDS if not isinstance(record, dict) or key not in record]
    if missing:
        raise DataError(f"{where}: the field {missing[0]!r} is missing")
    options = tuple(option.partition(". ")[2] for option in record["options"] or ())
    published = Published(
        id=str(record["id"]),
        kind=record["question_type"],
        scene_id=record["scene_name"],
        question=record["question"],
        options=options,
        ground_truth=str(record["ground_truth"]),
    )
    letters = [chr(ord("A") + index) for index in range(len(options))]
    if options and published.ground_truth not in letters:
        raise DataError(f"{where}, field 'ground_truth': expected one of {letters}, got {published.ground_truth!r}")
    return published
