"""EmbSpatial-Bench: six relations in indoor scenes as an agent sees them.

arXiv 2406.05756, FlagEval/EmbSpatial-Bench. Groups by the source of the pictures.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from allocentric.core.types import Choice, Item, Sampling, Unreadable, View
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks import _readers as readers
from allocentric.eval.benchmarks._profiles import (
    Profile,
    strict,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark
from allocentric.eval.benchmarks._rows import Row, letter_of
from allocentric.eval.benchmarks._sources import Source
from allocentric.eval.benchmarks._vsi_extraction import letter_by_search

REPOSITORY = "FlagEval/EmbSpatial-Bench"
KINDS = ("mp3d", "ai2thor", "scannet")
CELLS = {kind: kind for kind in KINDS}
_REQUEST = "Give me the answer letter directly. The best answer is:"


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """The hub's repository, a folder of it, or a file of its records."""


def _item(row: Row) -> Item:
    choices = row.texts("answer_options")
    index = row.number("answer")
    if index not in range(len(choices)):
        raise row.error(f"field 'answer': expected the position of an option, 0 to {len(choices) - 1}, got {index!r}")
    return row.item(
        id=row.text("question_id"),
        kind=row.one_of("data_source", CELLS),
        prompt=row.text("question"),
        choices=choices,
        gold=Choice(int(index)),
        scene=row.text("image_name") if row.has("image_name") else row.text("question_id"),
        views=_pictures(row),
        relation=row.text("relation"),
    )


def _pictures(row: Row) -> Sequence[View]:
    """The record holds the picture as text in base 64."""
    value = row.record.get("image")
    if not isinstance(value, str):
        return () if value is None else row.views(value)
    try:
        return row.views({"bytes": base64.b64decode(value, validate=True)})
    except ValueError:
        raise row.error("field 'image': expected a picture in base 64") from None


def _prompt(item: Item) -> str:
    lines = [f"{letter_of(index)}: {choice}" for index, choice in enumerate(item.choices)]
    return "\n".join([f"Question: {item.prompt}", "Options:", *lines, _REQUEST])


def _lmms_prompt(item: Item) -> str:
    lines = [f"{letter_of(index)}) {choice}" for index, choice in enumerate(item.choices)]
    return "\n".join([item.prompt, *lines])


def _read(text: str, item: Item) -> Choice | Unreadable:
    return readers.choice_or(letter_by_search(text), item)


DEFINITION = Definition(
    name="embspatial",
    source=Source(repository=REPOSITORY, files=("*.json*", "*.parquet")),
    item=_item,
    cells=CELLS,
    profiles=(
        Profile(
            name="vlmevalkit@e8e78f0",
            prompt=_prompt,
            read=_read,
            sampling=Sampling(max_new_tokens=1024),
            defects=("'the answer is a chair' is read as A",),
        ),
        Profile(
            name="lmms-eval@2bb5e98",
            prompt=_lmms_prompt,
            read=readers.leading_letter,
            sampling=Sampling(max_new_tokens=1024),
            defects=("the first character of the text is taken as the letter: 'Based on ...' is B",),
        ),
        strict(_prompt),
    ),
    composite=Nested(cells=CELLS, across="micro"),
    license="UNKNOWN",
    citation="arXiv 2406.05756",
    unknown="row counts, licence, the hub's revision, the official prompt",
    examples=(
        {
            "question_id": "mp3d_0",
            "data_source": "mp3d",
            "relation": "above",
            "answer": 1,
            "question": "What is above the chair?",
            "answer_options": ["table", "lamp", "bed", "door"],
        },
        {
            "question_id": "scannet_3",
            "data_source": "scannet",
            "relation": "close",
            "answer": 0,
            "question": "What is closest to you?",
            "answer_options": ["sink", "lamp"],
        },
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
