"""VSTI-Bench: how camera and objects move and lie to each other over time.

VLM-3R, arXiv 2505.20279. Prompts, extraction and metric are those of VSI-Bench. The paper averages five groups, the
released code all question types, which gives other numbers (58.8 and about 67 for one model); both are here.
"""

from __future__ import annotations

from pathlib import Path

from allocentric.core.scoring import MRA_RULES
from allocentric.core.types import Answer, Item, Number, Unreadable
from allocentric.eval.aggregation import Alongside, Nested
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

REPOSITORY = "Journey9ni/vstibench"
CELLS = {
    "camera_obj_abs_dist": "camera_obj_abs_dist",
    "camera_displacement": "camera_displacement",
    "camera_movement_direction": "camera_movement_direction",
    "obj_obj_relative_pos_nf": "obj_obj_relative_pos",
    "obj_obj_relative_pos_ud": "obj_obj_relative_pos",
    "obj_obj_relative_pos_lr": "obj_obj_relative_pos",
    "camera_obj_rel_dist_v1": "camera_obj_rel_dist",
    "camera_obj_rel_dist_v2": "camera_obj_rel_dist",
    "camera_obj_rel_dist_v3": "camera_obj_rel_dist",
    "camera_obj_dist_change": "camera_obj_dist_change",
}
NUMERIC = ("camera_obj_abs_dist", "camera_displacement", "camera_obj_dist_change")
_FRAMES = "These are frames of a video."
_LETTER = "Answer with the option's letter from the given choices directly."
_WORD = "Please answer the question using a single word or phrase."


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """The hub's repository, a folder of it, or a file of its records."""
    media: Path | None = None
    """Folder in which video_path leads to a video."""


def _item(row: Row) -> Item:
    kind, video = row.one_of("question_type", CELLS), row.text("video_path")
    truth = "mc_answer" if row.has("mc_answer") else "ground_truth"
    choices = () if kind in NUMERIC else row.labelled(row.texts("options"))
    return row.item(
        id=row.text("id"),
        kind=kind,
        prompt=row.text("question"),
        choices=choices,
        gold=row.letter(truth, len(choices)) if choices else row.quantity("ground_truth", "m"),
        scene=video,
        video=video,
    )


def _prompt(item: Item) -> str:
    if item.choices:
        return "\n".join([_FRAMES, item.prompt, "Options:", *option_lines(item), _LETTER])
    return "\n".join([_FRAMES, item.prompt, _WORD])


def _read(text: str, item: Item) -> Answer | Unreadable:
    return (readers.letter_of_first_token if item.choices else readers.number_of_first_token)(text, item)


def _published_worth(answer: Answer, item: Item) -> float | None:
    """|p - t| / t as published: below 0 the error is negative, which passes; at 0 the division stops the scorer."""
    if isinstance(answer, Number) and isinstance(item.gold, Number):
        target = item.gold.value
        return None if target == 0 else MRA_RULES["vsi"].of_error(abs(answer.value - target) / target)
    return standard_worth(answer, item)


def _worth(answer: Answer, item: Item) -> float:
    """Changes of distance have a sign: the error is taken relative to the truth's size."""
    if isinstance(answer, Number) and isinstance(item.gold, Number):
        return MRA_RULES["vsi"].of(answer.value, item.gold.value)
    return standard_worth(answer, item)


DEFINITION = Definition(
    name="vsti_bench",
    source=Source(repository=REPOSITORY, files=("*.parquet", "*.json*")),
    item=_item,
    cells=CELLS,
    profiles=(
        Profile(
            name="cambrian-p@8b33fb1",
            prompt=_prompt,
            read=_read,
            worth=_published_worth,
            defects=("where the right number is negative every number is right",),
        ),
        strict(_prompt, worth=_worth),
    ),
    composite=Alongside(
        main=Nested(cells=CELLS, outside=frozenset({"camera_obj_dist_change"})),
        others={"mean_of_types": Nested(cells=CELLS, across="kinds")},
    ),
    license="Apache-2.0",
    citation="arXiv 2505.20279",
    published=tuple(
        PublishedScore(name=name, overall=score, source="arXiv 2505.20279 and later papers")
        for name, score in {
            "GPT-4o": 38.2,
            "LLaVA-NeXT-Video-72B": 44.0,
            "VLM-3R-7B": 58.8,
            "GeoThinker-8B": 67.4,
            "Cambrian-P": 68.9,
        }.items()
    ),
    unknown="row counts of the evaluation split, the hub's revision; the scorer is read from its copy in cambrian-p",
    examples=(
        {
            "id": 1,
            "question_type": "camera_displacement",
            "video_path": "scannet/scene0.mp4",
            "options": None,
            "question": "How far did the camera move (in meters)?",
            "ground_truth": 1.4,
        },
        {
            "id": 2,
            "question_type": "camera_obj_rel_dist_v3",
            "video_path": "scannet/scene0.mp4",
            "question": "Which is closer to the camera?",
            "options": ["A. chair", "B. bed"],
            "mc_answer": "B",
        },
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
