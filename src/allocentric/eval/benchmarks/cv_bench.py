"""CV-Bench: counting, relations, depth and distance in 2D and 3D, 2,638 questions.

nyu-visionx/CV-Bench. The official score is the mean of 2D (the mean of two sources) and 3D.
"""

from __future__ import annotations

from allocentric.core.types import Item
from allocentric.eval.aggregation import Alongside, Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks import _readers as readers
from allocentric.eval.benchmarks._profiles import (
    Profile,
    asked_as_published,
    strict,
    written,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark
from allocentric.eval.benchmarks._rows import Row
from allocentric.eval.benchmarks._sources import Source

REPOSITORY = "nyu-visionx/CV-Bench"
CELLS = {"ADE20K": "2D", "COCO": "2D", "Omni3D": "3D"}
"""Source of the pictures -> half of the score."""
_REQUEST = "\nAnswer with the letter of the right option only."


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """The hub's repository, a folder of it (test_2d.parquet, test_3d.parquet), or a file of its records."""


def _item(row: Row) -> Item:
    choices = row.texts("choices")
    return row.item(
        id=f"{row.text('type')}/{row.text('idx')}",
        kind=row.one_of("source", CELLS),
        prompt=row.text("prompt"),
        choices=choices,
        gold=row.letter("answer", len(choices)),
        scene=f"{row.text('source')}/{row.record.get('filename', row.text('idx'))}",
        views=row.views(row.value("image")) if row.has("image") else (),
        task=row.text("task"),
    )


DEFINITION = Definition(
    name="cv_bench",
    source=Source(repository=REPOSITORY, files=("test_2d.parquet", "test_3d.parquet", "*.parquet", "*.json*")),
    item=_item,
    cells=CELLS,
    profiles=(
        Profile(
            name="lmms-eval@9328c2f",
            prompt=asked_as_published(_REQUEST),
            read=readers.leading_letter,
            write=lambda item: f"({written(item)})",
            defects=("the first character of the text is taken as the letter: 'Based on ...' is B",),
        ),
        strict(asked_as_published(_REQUEST)),
    ),
    composite=Alongside(main=Nested(cells=CELLS), others={"micro": Nested(cells=CELLS, across="micro")}),
    license="Apache-2.0",
    citation="arXiv 2406.16860 (Cambrian-1)",
    unknown="row counts by source, the hub's revision",
    examples=tuple(
        {
            "idx": k,
            "type": kind,
            "task": "Relation",
            "source": source,
            "question": "Which is closer?",
            "choices": ["chair", "table"],
            "answer": "(A)",
            "filename": f"{k}.png",
            "prompt": "Which is closer? Select from the following choices.\n(A) chair\n(B) table",
        }
        for k, (source, kind) in enumerate((("ADE20K", "2D"), ("COCO", "2D"), ("Omni3D", "3D")))
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
