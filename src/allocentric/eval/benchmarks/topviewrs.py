"""TopViewRS: recognition, localisation and reasoning on realistic and semantic maps from above, 11,384 questions.

EMNLP 2024, arXiv 2406.02537. Exact match, and partial match over the words of a label.
"""

from __future__ import annotations

from pathlib import Path

from allocentric.core.parsing import read_answer
from allocentric.core.types import Answer, Choice, Item
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks._profiles import (
    Profile,
    our_prompt,
    strict,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark
from allocentric.eval.benchmarks._rows import Row
from allocentric.eval.benchmarks._sources import Source

TASKS = ("recognition", "localization", "static_reasoning", "dynamic_reasoning")
CELLS = {task: task for task in TASKS}


class Settings(published.Settings):
    """What is asked."""

    dataset: str = ""
    """A .jsonl or .csv of `id`, `scene`, `task`, `question`, `choices` and `answer` (the text of a choice), made from
    the hub's chengzu/topviewrs: its own field names were not found."""
    media: Path | None = None
    """Folder in which `image`, where given, leads to a map."""


def _item(row: Row) -> Item:
    choices = row.texts("choices")
    return row.item(
        id=row.text("id"),
        kind=row.one_of("task", CELLS),
        prompt=row.text("question"),
        choices=choices,
        gold=row.choice("answer", choices),
        scene=row.text("scene"),
        views=row.views(row.value("image")) if row.has("image") else (),
    )


def partial_match(answer: Answer, item: Item) -> float:
    """Share of the right label's words that the chosen label has."""
    assert isinstance(answer, Choice)
    assert isinstance(item.gold, Choice)
    said, true = (set(item.choices[one.index].lower().split()) for one in (answer, item.gold))
    return len(said & true) / len(true)


DEFINITION = Definition(
    name="topviewrs",
    source=Source(repository="", home="huggingface.co/datasets/chengzu/topviewrs", files=("*.json*", "*.csv")),
    item=_item,
    cells=CELLS,
    profiles=(
        strict(),
        Profile(name="partial-match@allocentric", prompt=our_prompt, read=read_answer, worth=partial_match),
    ),
    composite=Nested(cells=CELLS, across="micro"),
    license="none given: not to be redistributed",
    citation="arXiv 2406.02537",
    unknown="the published prompt, code, field names, counts by task and scores; both profiles are our own",
    examples=(
        {
            "id": "1",
            "scene": "a",
            "task": "recognition",
            "question": "What is marked?",
            "answer": "living room",
            "choices": ["living room", "dining room", "bath"],
        },
        {
            "id": "2",
            "scene": "a",
            "task": "dynamic_reasoning",
            "question": "Which way?",
            "answer": "left",
            "choices": ["left", "right"],
        },
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
