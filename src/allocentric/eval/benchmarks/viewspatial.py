"""ViewSpatial-Bench: five kinds of questions from the camera's and from a person's point of view, 5,712 in all.

ZJU-REAL/ViewSpatial-Bench.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from allocentric.core.types import Item, Sampling
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks._profiles import Profile, option_lines, strict
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark, PublishedScore
from allocentric.eval.benchmarks._readers import first_letter_of_last_line
from allocentric.eval.benchmarks._rows import Row
from allocentric.eval.benchmarks._sources import Source

REPOSITORY = "lidingm/ViewSpatial-Bench"
KINDS = {
    "Camera perspective - Relative Direction": 1773,
    "Person perspective - Scene Simulation Relative Direction": 1105,
    "Camera perspective - Object View Orientation": 996,
    "Person perspective - Object View Orientation": 996,
    "Person perspective - Relative Direction": 842,
}
"""Type -> number of questions."""
CELLS = {kind: kind for kind in KINDS}
_REQUEST = "\nReply only to the corresponding option.\nAnswer:"


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """The hub's repository, the published ViewSpatial-Bench.json, or its folder."""


def _item(row: Row) -> Item:
    lines = row.text("choices").split("\n")
    choices = row.labelled(lines)
    pictures = row.texts("image_path")
    folder = PurePosixPath(pictures[0])
    # One ScanNet room is one scene; a COCO picture stands for itself.
    scene = folder.parent.parent.name if "scannet" in pictures[0] else folder.name
    return row.item(
        kind=row.one_of("question_type", CELLS),
        prompt=row.text("question"),
        choices=choices,
        gold=row.letter("answer", len(choices)),
        scene=scene,
        views=row.views(pictures),
        options=lines,
    )


def _official(item: Item) -> str:
    return item.prompt + "\n".join(option_lines(item)) + _REQUEST


def _lmms_eval(item: Item) -> str:
    return f"Question: {item.prompt}\nChoices: " + "\n".join(option_lines(item)) + _REQUEST


def _vlmevalkit(item: Item) -> str:
    return f"Question: {item.prompt}\n" + "\n".join(option_lines(item)) + _REQUEST


_ARTICLE = ("the first single letter a to d in any case is the answer, so the article in 'a chair' is A",)

DEFINITION = Definition(
    name="viewspatial",
    source=Source(repository=REPOSITORY, files=("ViewSpatial-Bench.json",)),
    item=_item,
    cells=CELLS,
    counts=KINDS,
    profiles=(
        Profile(
            name="official@0e86b63",
            prompt=_official,
            read=first_letter_of_last_line,
            sampling=Sampling(max_new_tokens=128),
            defects=_ARTICLE,
        ),
        Profile(
            name="lmms-eval@75571cf",
            prompt=_lmms_eval,
            read=first_letter_of_last_line,
            sampling=Sampling(max_new_tokens=128),
            defects=_ARTICLE,
        ),
        strict(_vlmevalkit),
    ),
    composite=Nested(cells=CELLS, across="micro"),
    license="Apache-2.0",
    citation="ViewSpatial-Bench, ZJU-REAL",
    published=(
        PublishedScore(name="GPT-4o", overall=34.98, source="paper"),
        PublishedScore(name="Qwen2.5-VL-3B", overall=35.85, source="paper"),
        PublishedScore(name="Qwen2.5-VL-3B", overall=31.97, scorer="VLMEvalKit", source="EASI"),
        PublishedScore(name="Qwen2.5-VL-3B", overall=32.23, scorer="lmms-eval", source="EASI"),
        PublishedScore(name="Qwen2.5-VL-7B", overall=36.85, source="paper"),
        PublishedScore(name="Qwen2.5-VL-7B", overall=36.85, scorer="VLMEvalKit", source="EASI"),
        PublishedScore(name="Qwen2.5-VL-7B", overall=36.43, scorer="lmms-eval", source="EASI"),
    ),
    unknown="the hub's revision; the script at 0e86b63 asks without the options, which follow the question here",
    examples=(
        {
            "question_type": "Camera perspective - Relative Direction",
            "image_path": ["ViewSpatial-Bench/scannetv2_val/scene0011_00/original_images/280.jpg"],
            "question": "Where is the counter in comparison to the refrigerator?",
            "answer": "A. right",
            "choices": "A. right\nB. front-up\nC. back-left\nD. front",
        },
        {
            "question_type": "Person perspective - Object View Orientation",
            "image_path": ["ViewSpatial-Bench/val2017/000000104619.jpg"],
            "question": "Picture yourself as the giraffe; which way do you look?",
            "answer": "B. left",
            "choices": "A. front\nB. left",
        },
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
