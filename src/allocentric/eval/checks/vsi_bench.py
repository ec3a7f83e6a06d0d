"""Regenerate VSI-Bench's published answers from its published metadata and count where they agree.

Every question's text is parsed with the templates that questions are generated with and answered by the operations
that traces are made of, so agreement here is evidence for both. Absolute distances are compared twice: with the exact
distance between boxes, which generated questions use, and with the 5 cm grid distance of published generators. The
published answers came from points inside the objects, which neither can repeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from allocentric.core.scoring import mean_relative_accuracy
from allocentric.core.types import Object, Scene
from allocentric.datasets.grid_distance import grid_distance
from allocentric.eval.checks import CheckResult
from allocentric.eval.checks._vsi_questions import Published, answer, named_objects, read_questions
from allocentric.scenes.sources import vsi_metadata

_DISTANCE = "object_abs_distance"
_DECIMALS = {_DISTANCE: 1, "room_size_estimation": 1, "object_counting": 0, "object_size_estimation": 0}
_LISTED = 10  # largest differences of distances that are shown


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One published question, answered."""

    question: Published
    """The question."""
    answer: Any
    """Ours: a number before rounding or an option's text; None where the metadata can't say."""
    grid_m: float | None = None
    """Absolute distance only: the grid distance."""

    def agrees(self, ours: Any) -> bool:
        """Whether `ours`, rounded as the type is published, is the published answer."""
        if ours is None:
            return False
        gold = self.question.gold_text()
        if self.question.options:
            return str(ours) == gold
        return round(float(ours), _DECIMALS[self.question.kind]) == float(gold)

    def mra(self, ours: float) -> float:
        """Mean relative accuracy of `ours`, in percent."""
        return 100 * float(mean_relative_accuracy(float(ours), float(self.question.ground_truth)))


def check(
    metadata: Annotated[Path, typer.Option(help="Folder with *_meta_info_*.json files, or one such file.")],
    questions: Annotated[Path, typer.Option(help="VSI-Bench questions, one JSON record per line.")],
) -> CheckResult:
    """Regenerate VSI-Bench's published answers from its published metadata and count where they agree."""
    asked = list(read_questions(questions))
    source = vsi_metadata.build(vsi_metadata.Settings(path=metadata))
    scenes = {scene_id: source.load(scene_id) for scene_id in source.scene_ids()}
    outcomes = [_outcome(question, scenes.get(question.scene_id)) for question in asked]
    figures = {kind: _figures([o for o in outcomes if o.question.kind == kind]) for kind in _kinds(outcomes)}
    exact = [o for o in outcomes if o.question.kind not in (_DISTANCE, "object_counting") and o.answer is not None]
    return CheckResult(
        columns=("question type", "questions", "answerable", "agree", "MRA", "agree (5 cm grid)", "MRA (5 cm grid)"),
        rows=[_row(kind, values) for kind, values in figures.items()],
        notes=_notes(outcomes, scenes),
        as_json=figures,
        ok=all(outcome.agrees(outcome.answer) for outcome in exact),
    )


def _outcome(question: Published, scene: Scene | None) -> Outcome:
    ours = None if scene is None else answer(question, scene)
    if scene is None or ours is None or question.kind != _DISTANCE:
        return Outcome(question=question, answer=ours)
    names = named_objects(question)
    grid = grid_distance(_instances(scene, names["first"]), _instances(scene, names["second"]))
    return Outcome(question=question, answer=ours, grid_m=grid)


def _instances(scene: Scene, label: str) -> list[Object]:
    return [thing for thing in scene.objects if thing.label == label]


def _kinds(outcomes: Sequence[Outcome]) -> list[str]:
    return list(dict.fromkeys(outcome.question.kind for outcome in outcomes))


def _figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    answerable = [outcome for outcome in outcomes if outcome.answer is not None]
    numeric = [outcome for outcome in answerable if not outcome.question.options]
    figures = {
        "n": len(outcomes),
        "answerable": len(answerable),
        "agree": sum(outcome.agrees(outcome.answer) for outcome in answerable),
        "mra": _mean([outcome.mra(outcome.answer) for outcome in numeric]),
    }
    grid = [outcome for outcome in answerable if outcome.grid_m is not None]
    if grid:
        figures["agree_grid"] = sum(outcome.agrees(outcome.grid_m) for outcome in grid)
        figures["mra_grid"] = _mean([outcome.mra(outcome.grid_m) for outcome in grid if outcome.grid_m is not None])
    return figures


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def _row(kind: str, figures: dict[str, Any]) -> list[str]:
    def percent(key: str) -> str:
        return "" if figures.get(key) is None else f"{figures[key]:.1f}"

    counts = [str(figures[key]) for key in ("n", "answerable", "agree")]
    return [kind, *counts, percent("mra"), str(figures.get("agree_grid", "")), percent("mra_grid")]


def _notes(outcomes: Sequence[Outcome], scenes: dict[str, Scene]) -> list[str]:
    wrong = [o for o in outcomes if o.answer is not None and not o.agrees(o.answer)]
    distances = sorted(
        (o for o in wrong if o.question.kind == _DISTANCE),
        key=lambda o: -abs(o.answer - float(o.question.ground_truth)),
    )
    notes = [
        f"{o.question.kind} {o.question.id} (scene {o.question.scene_id}): "
        f"metadata {o.answer}, published {o.question.gold_text()}"
        for o in wrong
        if o.question.kind != _DISTANCE
    ]
    for scene in scenes.values():
        boxes = {label: sum(thing.label == label for thing in scene.objects) for label in scene.label_counts}
        notes.extend(
            f"known wrong label: scene {scene.id} publishes the count {count} for {label}, and {boxes[label]} boxes"
            for label, count in scene.label_counts.items()
            if boxes[label] != count
        )
    if distances:
        notes.append(f"largest of {len(distances)} absolute distances that differ at 0.1 m:")
    notes.extend(
        f"  {o.question.id} (scene {o.question.scene_id}): exact {o.answer:.3f} m, 5 cm grid {o.grid_m:.3f} m, "
        f"published {o.question.ground_truth} m"
        for o in distances[:_LISTED]
    )
    return notes
