"""SAT (real): motion, action and perspective in real photographs, 150 questions with two answers in both orders.

arXiv 2412.07755, arijitray1993/SAT; every record gives two items, 300 in all.
"""

from __future__ import annotations

from allocentric.core.types import Choice, Item, Unreadable
from allocentric.eval import aggregation
from allocentric.eval.aggregation import Alongside, Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks._profiles import (
    Profile,
    strict,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark
from allocentric.eval.benchmarks._rows import Row
from allocentric.eval.benchmarks._sources import Source

REPOSITORY = "array/SAT-v2"
KINDS = ("ego_movement", "obj_movement", "action_consequence", "goal_aim", "perspective")
CELLS = {kind: kind for kind in KINDS}
_EGO = "The first image is from the beginning of the video and the second image is from the end. "


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """The hub's repository (its test split), a folder of it, or a file of its records."""


def _items(row: Row) -> list[Item]:
    answers, right = row.texts("answers"), row.text("correct_answer")
    if len(answers) != 2 or right not in answers:
        raise row.error(
            f"expected two 'answers' with 'correct_answer' among them, got {list(answers)!r} and {right!r}"
        )
    pictures = row.value("images") if row.has("images") else row.record.get("image_bytes") or []
    return [
        row.item(
            id=f"{row.index}/{order}",
            kind=row.one_of("question_type", CELLS),
            prompt=row.text("question").replace("in the first frame", "").strip(),
            choices=choices,
            gold=row.choice("correct_answer", choices),
            scene=str(row.index),
            views=row.views(pictures),
        )
        for order, choices in enumerate((answers, answers[::-1]))
    ]


def _prompt(item: Item) -> str:
    head = _EGO if item.kind == "ego_movement" else ""
    first, second = item.choices
    return (
        f"Answer in natural language. {head}{item.prompt} Answer the question using a single word or phrase. Choose "
        f'between the following options: "{first}" or "{second}".'
    )


def _read(text: str, item: Item) -> Choice | Unreadable:
    """The text as a whole is one of the options, in any case and without a dot or quotes around it."""
    said = text.strip().strip("\"'.").lower()
    same = [index for index, choice in enumerate(item.choices) if choice.strip().strip(".").lower() == said]
    return Choice(same[0]) if same else Unreadable("the text is none of the options")


def _text_of(item: Item) -> str:
    assert isinstance(item.gold, Choice)
    return item.choices[item.gold.index]


def _question(item: Item) -> str:
    return item.scene_id


DEFINITION = Definition(
    name="sat_real",
    source=Source(repository=REPOSITORY, files=("*test*.parquet", "*.json*", "*.parquet")),
    item=_items,
    cells=CELLS,
    profiles=(
        Profile(
            name="official@UNKNOWN",
            prompt=_prompt,
            read=_read,
            write=_text_of,
            defects=("the commit and the exact comparison of the published script were not found",),
        ),
        strict(_prompt),
    ),
    composite=Alongside(
        main=Nested(cells=CELLS, across="micro"),
        others={
            "mean_of_types": Nested(cells=CELLS),
            "both_orders": Nested(cells=CELLS, across="micro", terms=aggregation.circular(_question)),
        },
    ),
    license="MIT",
    citation="arXiv 2412.07755",
    unknown="the score table of the paper, row counts by type, the hub's revision",
    examples=(
        {
            "question_type": "ego_movement",
            "question": "How did the camera move?",
            "correct_answer": "rotated left",
            "answers": ["rotated left", "rotated right"],
        },
        {
            "question_type": "perspective",
            "question": "From the lamp, is the bed on the left or on the right?",
            "correct_answer": "on the right",
            "answers": ["on the left", "on the right"],
        },
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
