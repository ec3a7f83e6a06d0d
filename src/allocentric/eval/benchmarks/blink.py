"""BLINK: 14 perception tasks that people solve in a blink, 1,901 validation questions with public answers.

zeyofu/BLINK_Benchmark. The official total is the plain mean of the 14 tasks.
"""

from __future__ import annotations

from allocentric.core.types import Item, Sampling
from allocentric.eval.aggregation import Alongside, Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks import _readers as readers
from allocentric.eval.benchmarks._profiles import (
    Profile,
    asked_as_published,
    strict,
    written,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark, PublishedScore
from allocentric.eval.benchmarks._rows import Row
from allocentric.eval.benchmarks._sources import Source

REPOSITORY = "BLINK-Benchmark/BLINK"
TASKS = (
    *("Visual_Similarity", "Counting", "Relative_Depth", "Jigsaw", "Art_Style", "Functional_Correspondence"),
    *("Semantic_Correspondence", "Spatial_Relation", "Object_Localization", "Visual_Correspondence"),
    *("Multi-view_Reasoning", "Relative_Reflectance", "Forensic_Detection", "IQ_Test"),
)
CELLS = {task: task for task in TASKS}


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """The hub's repository (one task at a time: give its folder for all), a folder of it, or a file of its records."""


def _item(row: Row) -> Item:
    choices = row.texts("choices")
    pictures = [row.value(f"image_{k}") for k in range(1, 5) if row.has(f"image_{k}")]
    return row.item(
        id=row.text("idx"),
        kind=row.one_of("sub_task", TASKS),
        prompt=row.text("prompt"),
        choices=choices,
        gold=row.letter("answer", len(choices)),
        scene=row.text("idx"),
        views=row.views(pictures),
    )


DEFINITION = Definition(
    name="blink",
    source=Source(repository=REPOSITORY, files=("*/val*.parquet", "val*.parquet", "*.json*"), split="val"),
    item=_item,
    cells=CELLS,
    profiles=(
        Profile(
            name="lmms-eval@75571cf",
            prompt=asked_as_published(""),
            read=readers.leading_letter,
            write=lambda item: f"({written(item)})",
            sampling=Sampling(max_new_tokens=128),
            defects=("the first character of the text is taken as the letter: 'The answer is (B)' is T",),
        ),
        strict(asked_as_published("")),
    ),
    composite=Alongside(main=Nested(cells=CELLS), others={"micro": Nested(cells=CELLS, across="micro")}),
    license="Apache-2.0",
    citation="ECCV 2024, BLINK",
    published=(
        PublishedScore(name="human", overall=95.7, source="zeyofu/BLINK_Benchmark"),
        PublishedScore(name="GPT-4o", overall=60.0, source="zeyofu/BLINK_Benchmark", subset="val"),
        PublishedScore(name="GPT-4o", overall=59.0, source="zeyofu/BLINK_Benchmark", subset="test"),
        PublishedScore(name="random", overall=38.1, source="zeyofu/BLINK_Benchmark"),
    ),
    unknown="row counts by task; the official extraction asks gpt-3.5-turbo, which no rule reproduces",
    examples=tuple(
        {
            "idx": f"val_{task}_{k}",
            "sub_task": task,
            "question": "Which point is closer?",
            "prompt": "Which point is closer?\nSelect from the following choices.\n(A) A is closer\n(B) B is closer",
            "choices": ["A is closer", "B is closer"],
            "answer": "(B)",
        }
        for k, task in enumerate(TASKS)
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
