"""MulSeT: distances, hidden blocks and directions over two views of a scene.

arXiv 2509.02359, WanyueZhang-ai/spatial-understanding.
"""

from __future__ import annotations

import re
from pathlib import Path

from allocentric.core.types import Choice, Item, Sampling, Unreadable
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks import _readers as readers
from allocentric.eval.benchmarks._profiles import (
    Profile,
    asked_as_published,
    strict,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark
from allocentric.eval.benchmarks._rows import Row, options_within
from allocentric.eval.benchmarks._sources import Source

FILES = {
    "merged_distance_questions": "Distance_Assessment",
    "merged_mask_questions": "Block_Restoration",
    "merged_direction_questions": "Direction_Relationship_Transmission",
}
"""File -> task."""
CELLS = {task: task for task in FILES.values()}


class Settings(published.Settings):
    """What is asked."""

    dataset: str = ""
    """A folder with the published merged_*_questions.jsonl, or one of them."""
    media: Path | None = None
    """Folder in which image_1, image_2 and mask_image lead to pictures."""


def _item(row: Row) -> Item:
    if row.file not in FILES:
        raise row.error(f"stands in the file {row.file!r}; expected one of {', '.join(FILES)}")
    question = row.text("query")
    choices = options_within(question)
    second = "mask_image" if row.has("mask_image") else "image_2"
    return row.item(
        id=f"{FILES[row.file]}/{row.text('id')}",
        kind=FILES[row.file],
        prompt=question,
        choices=choices,
        gold=row.letter("answer", len(choices)),
        scene=row.text("image_1"),
        views=row.views([row.text("image_1"), row.text(second)]),
    )


def _read(text: str, item: Item) -> Choice | Unreadable:
    """The text is one letter, or starts with one that no letter follows and names no other capital A to D later."""
    said = text.strip()
    if len(said) == 1 and said.upper() in "ABCD":
        return readers.choice_or(said, item)
    found = re.match(r"([A-D])(?:[^a-zA-Z]|$)", said, re.IGNORECASE)
    if found is None:
        return readers.NO_LETTER
    letter, rest = found.group(1).upper(), said[found.end() :].strip()
    if re.search(rf"\b[{'ABCD'.replace(letter, '')}]\b", rest):
        return Unreadable("names another letter later")
    return readers.choice_or(letter, item)


DEFINITION = Definition(
    name="mulset",
    source=Source(
        repository="",
        home="huggingface.co/datasets/WanyueZhang/MulSeT",
        files=tuple(f"{name}.json*" for name in FILES),
    ),
    item=_item,
    cells=CELLS,
    profiles=(
        Profile(
            name="official@27a64a0", prompt=asked_as_published(""), read=_read, sampling=Sampling(max_new_tokens=200)
        ),
        strict(asked_as_published("")),
    ),
    composite=Nested(cells=CELLS),
    license="Apache-2.0 (code); of the data UNKNOWN",
    citation="arXiv 2509.02359",
    unknown="row counts and scores; no overall score is published, ours is the mean of the three tasks",
    examples=tuple(
        {
            "_file": name,
            "id": 1,
            "image_1": "a/1.png",
            second: "a/2.png",
            "answer": "B",
            "query": "Which is nearest?\nA. chair\nB. table\nC. bed\nD. lamp\nAnswer with the letter.",
        }
        for name, second in zip(FILES, ("image_2", "mask_image", "image_2"), strict=True)
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
