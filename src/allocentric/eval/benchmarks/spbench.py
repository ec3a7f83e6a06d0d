"""SPBench: the question types of VSI-Bench over one picture (SI) or several (MV).

SpatialLadder, ZJU-REAL/SpatialLadder.
"""

from __future__ import annotations

import re
from pathlib import Path

from allocentric.core.types import Answer, Item, Number, Sampling, Unreadable
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks import _readers as readers
from allocentric.eval.benchmarks._profiles import (
    Profile,
    option_lines,
    strict,
    written,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark
from allocentric.eval.benchmarks._rows import Row
from allocentric.eval.benchmarks._sources import Source

REPOSITORY = "hongxingli/SPBench"
UNITS = {
    "object_counting": "",
    "object_abs_distance": "m",
    "object_size_estimation": "cm",
    "room_size_estimation": "m2",
}
KINDS = (*UNITS, "object_rel_distance", "object_rel_direction", "obj_appearance_order", "route_planning")
CELLS = {kind: kind for kind in KINDS}
_WORDS = {
    **{
        word: value
        for value, word in enumerate(
            (
                "one",
                "two",
                "three",
                "four",
                "five",
                "six",
                "seven",
                "eight",
                "nine",
                "ten",
                "eleven",
                "twelve",
                "thirteen",
                "fourteen",
                "fifteen",
                "sixteen",
                "seventeen",
                "eighteen",
                "nineteen",
                "twenty",
            ),
            start=1,
        )
    },
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
    "sixty": 60,
    "seventy": 70,
    "eighty": 80,
    "ninety": 90,
    "zero": 0,
    "a": 1,
    "an": 1,
}
_BLOCK = re.compile(r"<answer>\s*(.*?)\s*</answer>", re.DOTALL)
_DIGITS = re.compile(r"\d+(?:\.\d+)?")


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """The hub's repository, a folder with SPBench-SI.parquet and SPBench-MV.parquet, or one of them."""
    media: Path | None = None
    """Folder in which the pictures' names lead to files."""


def _item(row: Row) -> Item:
    published_kind = row.text("question_type")
    kind = re.sub(r"_(easy|medium|hard)$", "", published_kind)
    if kind not in CELLS:
        raise row.error(f"field 'question_type': expected one of {', '.join(CELLS)}, got {published_kind!r}")
    choices = () if kind in UNITS else row.labelled(row.texts("options"))
    return row.item(
        id=f"{row.file}/{row.text('id')}",
        kind=kind,
        prompt=row.text("question"),
        choices=choices,
        gold=row.letter("ground_truth", len(choices)) if choices else row.quantity("ground_truth", UNITS[kind]),
        scene=str(row.record.get("scene_name") or row.text("id")),
        views=row.views(row.value("images")) if row.has("images") else (),
    )


def _prompt(item: Item) -> str:
    request = "Please answer with the option letter only." if item.choices else "Please answer with one number only."
    return "\n".join([item.prompt, *option_lines(item), request])


def _read(text: str, item: Item) -> Answer | Unreadable:
    """In the <answer> block, else everywhere: the first word with at most a dot as the letter; the number of the first
    number word of a fixed list that occurs (one to ninety, zero, "a" and "an"), only then digits.
    """
    block = _BLOCK.search(text)
    said = (block.group(1) if block else text).strip()
    if item.choices:
        return readers.letter_of_first_token(said, item)
    lowered = said.lower()
    for word, value in _WORDS.items():
        if re.search(rf"\b{word}\b", lowered):
            return Number(float(value), readers.unit_of(item))
    found = _DIGITS.search(lowered)
    return Number(float(found.group()), readers.unit_of(item)) if found else Unreadable("no number")


DEFINITION = Definition(
    name="spbench",
    source=Source(repository=REPOSITORY, files=("SPBench-SI.parquet", "SPBench-MV.parquet", "*.parquet", "*.json*")),
    item=_item,
    cells=CELLS,
    profiles=(
        Profile(
            name="official@62bab46",
            prompt=_prompt,
            read=_read,
            sampling=Sampling(max_new_tokens=1024),
            write=lambda item: f"<answer>{written(item)}</answer>",
            defects=("the article is a number: 'a distance of 5 m' is 1",),
        ),
        strict(_prompt),
    ),
    composite=Nested(cells=CELLS, partial=True),
    license="Apache-2.0",
    citation="SpatialLadder, ZJU-REAL",
    unknown="row counts, the published wording, the hub's revision; field names are taken to be those of VSI-Bench",
    examples=(
        {
            "_file": "SPBench-SI",
            "id": 1,
            "question_type": "object_abs_distance",
            "question": "How far is the bed?",
            "ground_truth": "2.5",
            "options": None,
        },
        {
            "_file": "SPBench-MV",
            "id": 1,
            "question_type": "object_rel_direction_hard",
            "ground_truth": "A",
            "question": "Where is the bed?",
            "options": ["A. front-left", "B. back-left"],
        },
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
