"""ReVSI: the questions of VSI-Bench made anew on re-annotated rooms, with ground truth by number of frames.

ICML 2026, arXiv 2604.24300, 3dlg-hcvc/revsi. To be reported beside VSI-Bench.
"""

from __future__ import annotations

from pathlib import Path

from allocentric.core.types import Answer, Item, Number, Unreadable
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks import _readers as readers
from allocentric.eval.benchmarks._profiles import (
    Profile,
    option_lines,
    standard_worth,
    strict,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark, PublishedScore
from allocentric.eval.benchmarks._rows import Row
from allocentric.eval.benchmarks._sources import Source

REPOSITORY = "3dlg-hcvc/ReVSI"
CELLS = {
    "object_counting_single": "object_counting",
    "object_counting_multiple": "object_counting",
    "object_abs_distance": "object_abs_distance",
    "object_size_estimation": "object_size_estimation",
    "room_size_estimation_single": "room_size_estimation",
    "room_size_estimation_multiple": "room_size_estimation",
    "object_rel_distance_closest": "object_rel_distance",
    "object_rel_distance_farthest": "object_rel_distance",
    "object_rel_direction_forward_easy": "object_rel_direction",
    "object_rel_direction_backward_easy": "object_rel_direction",
    "object_rel_direction_forward_hard": "object_rel_direction",
    "object_rel_direction_backward_hard": "object_rel_direction",
    "route_planning": "route_planning",
}
"""Question type -> column of the leaderboard: seven columns."""
UNITS = {
    "object_counting": "",
    "object_abs_distance": "m",
    "object_size_estimation": "cm",
    "room_size_estimation": "m2",
}
"""Columns answered by a number."""
_NUMBER = "Answer the question using a single integer or decimal number."
_LETTER = "Answer with the option's letter from the given choices directly."


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """The hub's repository, a folder of it, or a file of its records."""
    media: Path | None = None
    """Folder with <frames>_frame/<scene>.mp4."""


def _item(row: Row) -> Item:
    kind = row.one_of("question_type", CELLS)
    column, scene = CELLS[kind], row.text("scene_id")
    lines = row.texts("options") if column not in UNITS else ()
    choices = row.labelled(lines)
    frames = row.text("num_frames") if row.has("num_frames") else "all"
    return row.item(
        id=row.text("id"),
        kind=kind,
        prompt=row.text("question"),
        choices=choices,
        gold=row.letter("ground_truth", len(choices)) if choices else row.quantity("ground_truth", UNITS[column]),
        scene=scene,
        video=f"{frames}_frame/{scene}.mp4",
    )


def _prompt(item: Item) -> str:
    if item.choices:
        return "\n".join([item.prompt, "Options:", *option_lines(item), _LETTER])
    return f"{item.prompt}\n{_NUMBER}"


def _read(text: str, item: Item) -> Answer | Unreadable:
    reader = readers.letter_of_first_token if item.choices else readers.number_of_first_token
    return reader(text.strip(), item)


def _worth(answer: Answer, item: Item) -> float:
    """Nothing where the truth is 0: the published code divides by it and counts the exception as wrong."""
    if isinstance(item.gold, Number) and item.gold.value == 0:
        return 0.0
    return standard_worth(answer, item)


DEFINITION = Definition(
    name="revsi",
    source=Source(repository=REPOSITORY, files=("*.json*", "*.parquet"), config="all"),
    item=_item,
    cells=CELLS,
    profiles=(
        Profile(
            name="lmms-eval@6c3e853",
            prompt=_prompt,
            read=_read,
            worth=_worth,
            defects=("where the right number is 0 every answer is wrong",),
        ),
        strict(_prompt),
    ),
    composite=Nested(cells=CELLS),
    license="Apache-2.0; the terms of ScanNet, ScanNet++ and ARKitScenes hold for the scenes",
    citation="arXiv 2604.24300",
    published=tuple(
        PublishedScore(name=name, overall=score, source="ReVSI page")
        for name, score in {
            "Gemini 3 Pro": 60.9,
            "InternVL3.5-38B": 54.1,
            "GPT-5.2": 50.9,
            "VLM3R": 50.1,
            "Cambrian-S-7B": 49.1,
            "frequency": 31.4,
        }.items()
    ),
    unknown="row counts, the hub's revision",
    examples=(
        {
            "id": 1,
            "scene_id": "scene0088_01",
            "num_frames": 64,
            "question_type": "object_counting_single",
            "question": "How many chair(s) are in this room?",
            "options": None,
            "ground_truth": "4",
        },
        {
            "id": 2,
            "scene_id": "scene0088_01",
            "num_frames": 64,
            "question_type": "object_rel_distance_closest",
            "question": "Which is closest to the door?",
            "options": ["A. chair", "B. table"],
            "ground_truth": "B",
        },
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
