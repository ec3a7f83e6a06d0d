"""MMSI-Bench: spatial questions over several pictures, 1,000 with four options.

InternRobotics/MMSI-Bench.
"""

from __future__ import annotations

import re

from allocentric.core.types import Choice, Item, Sampling, Unreadable
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks import _readers as readers
from allocentric.eval.benchmarks._profiles import (
    Profile,
    asked_as_published,
    strict,
    written,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark, PublishedScore
from allocentric.eval.benchmarks._rows import Row, options_within
from allocentric.eval.benchmarks._sources import Source

REPOSITORY = "RunsenXu/MMSI-Bench"
_REQUEST = "\nAnswer with the option's letter from the given choices directly. Enclose the option's letter within ``."
_QUOTES = (re.compile(r"``([^`]*)``"), re.compile(r"`([^`]*)`"), re.compile(r"\{([^}]*)\}"))
_ALONE = re.compile(r"\b[A-D]\b(?!\s[a-zA-Z])")


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """The hub's repository, a folder of it, or a file of its records."""


def _item(row: Row) -> Item:
    question = row.text("question")
    choices = options_within(question)
    pictures = row.value("images") if row.has("images") else []
    return row.item(
        id=row.text("id"),
        kind=row.text("question_type"),
        prompt=question,
        choices=choices,
        gold=row.letter("answer", len(choices)),
        scene=row.text("id"),
        views=row.views(pictures),
    )


def _read(text: str, item: Item) -> Choice | Unreadable:
    """What stands in double backticks, in backticks, in braces (each the first); in that the first capital A to D
    that no word follows.
    """
    for quotes in _QUOTES:
        if found := quotes.search(text):
            text = found.group(1)
    found = _ALONE.search(text)
    return readers.choice_or(found and found.group(), item)


DEFINITION = Definition(
    name="mmsi_bench",
    source=Source(repository=REPOSITORY, files=("*.parquet", "*.json*")),
    item=_item,
    cells={},
    profiles=(
        Profile(
            name="official@0bbdc15",
            prompt=asked_as_published(_REQUEST),
            read=_read,
            sampling=Sampling(max_new_tokens=1024),
            write=lambda item: f"``{written(item)}``",
            defects=("a letter before a word is not seen: 'B because' is unreadable",),
        ),
        strict(asked_as_published(_REQUEST)),
    ),
    composite=Nested(cells={}, across="micro"),
    license="CC-BY-NC-4.0",
    citation="MMSI-Bench, InternRobotics",
    published=tuple(
        PublishedScore(name=name, overall=score, source="InternRobotics/MMSI-Bench")
        for name, score in {
            "human": 97.2,
            "o3": 41.0,
            "GPT-4.5": 40.3,
            "GPT-5": 37.2,
            "Gemini-2.5-Pro": 36.9,
            "Qwen2.5-VL-72B": 30.7,
            "random": 25.0,
            "GPT-4o, blind": 22.7,
        }.items()
    ),
    unknown="row counts by type, the hub's revision; types are read from the records, not listed here",
    examples=(
        {
            "id": 1,
            "question_type": "Motion (Cam.)",
            "answer": "B",
            "question": "How did the camera move? Options: A: left, B: right, C: up, D: down",
        },
        {
            "id": 2,
            "question_type": "Positional Relationship (Cam.-Obj.)",
            "answer": "D",
            "question": "Where is the bed? Options: A: north, B: south, C: east, D: west",
        },
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
