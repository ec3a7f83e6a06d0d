"""SIBench: 23 settings from some 20 data sets; options, yes or no, and numbers, over pictures and videos.

arXiv 2509.18905, song2yu/SIBench-VSR. The published scorer ran eval() on model text; here numbers are read as numbers.
"""

from __future__ import annotations

import re
from pathlib import Path

from allocentric.core.scoring import MRA_RULES
from allocentric.core.types import Answer, Choice, Item, Number, Sampling, Unreadable
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks import _readers as readers
from allocentric.eval.benchmarks._profiles import (
    Profile,
    standard_worth,
    strict,
    written,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark, PublishedScore
from allocentric.eval.benchmarks._rows import Row, options_within
from allocentric.eval.benchmarks._sources import Source

REPOSITORY = "Two-hot/SIBench"
_REQUESTS = {
    "MCQ": "\nSelect from the given options, answer with letters only.",
    "YN": "\nAnswer with 'Yes' or 'No' only.",
    "Number": "\nAnswer using a single number and nothing else.",
    "Number_Int": "\nAnswer using a single number and nothing else.",
}
_PREFIXES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option is",
    "The correct option is",
    "Best answer:",
    "Best option:",
)


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """A folder with the published tables (data/*.tsv), or one of them; its name is the setting."""
    media: Path | None = None
    """Folder in which image_path and video_path lead to files."""


def _item(row: Row) -> Item:
    form, question = row.one_of("type", _REQUESTS), row.text("question")
    choices: tuple[str, ...] = ()
    if form == "MCQ":
        choices = options_within(question, "ABCDEF")
        gold: Answer = row.letter("answer", len(choices))
    elif form == "YN":
        choices = ("yes", "no")
        gold = _yes_or_no(row)
    else:
        gold = row.quantity("answer")
    video = row.text("video_path") if row.record.get("video_path") else None
    pictures = [name.strip() for name in str(row.record.get("image_path") or "").split(",") if name.strip()]
    return row.item(
        id=f"{row.file}/{row.text('index') if row.has('index') else row.index}",
        kind=row.file,
        prompt=question,
        choices=choices,
        gold=gold,
        scene=video or (pictures[0] if pictures else f"{row.file}/{row.index}"),
        views=row.views(pictures),
        video=video,
        form=form,
    )


def _yes_or_no(row: Row) -> Choice:
    said = row.text("answer").strip().lower()
    if said not in ("yes", "no"):
        raise row.error(f"field 'answer': expected yes or no, got {row.text('answer')!r}")
    return Choice(("yes", "no").index(said))


def _prompt(item: Item) -> str:
    return item.prompt + _REQUESTS[item.extra["form"]]


def _read(text: str, item: Item) -> Answer | Unreadable:
    """The first capital A to E anywhere after common prefixes; the first three characters; the text as a number."""
    form, said = item.extra["form"], text.strip()
    if form == "MCQ":
        for prefix in _PREFIXES:
            said = said.replace(prefix, "")
        found = re.search("[A-E]", said)
        return readers.choice_or(found and found.group(), item)
    if form == "YN":
        start = said[:3].strip(" .,!").lower()
        return (
            Choice(0 if start == "yes" else 1)
            if start in ("yes", "no")
            else Unreadable("starts with neither yes nor no")
        )
    try:
        return Number(float(said))
    except ValueError:
        return Unreadable("the text is not one number")


def worth(answer: Answer, item: Item) -> float:
    """Numbers by the strict comparison of SIBench, whole numbers exactly."""
    if isinstance(answer, Number) and isinstance(item.gold, Number):
        if item.extra["form"] == "Number_Int":
            return float(answer.value == item.gold.value)
        return MRA_RULES["sibench"].of(answer.value, item.gold.value)
    return standard_worth(answer, item)


def _write(item: Item) -> str:
    if item.choices == ("yes", "no") and isinstance(item.gold, Choice):
        return item.choices[item.gold.index]
    return written(item)


DEFINITION = Definition(
    name="sibench",
    source=Source(repository=REPOSITORY, files=("data/*.tsv", "*.tsv", "*.json*")),
    item=_item,
    cells={},
    profiles=(
        Profile(
            name="official@1b4c188",
            prompt=_prompt,
            read=_read,
            worth=worth,
            write=_write,
            sampling=Sampling(max_new_tokens=1024),
            defects=(
                "the first capital A to E anywhere is the answer, so 'Because' is B",
                "published figures had answers cleaned by Gemini-1.5-Flash, which is not in the code",
            ),
        ),
        strict(_prompt, worth=worth),
    ),
    composite=Nested(cells={}, across="micro"),
    license="UNKNOWN; its sources' terms hold",
    citation="arXiv 2509.18905",
    published=(
        PublishedScore(
            name="GPT-5",
            overall=63.41,
            source="SIBench leaderboard",
            cells={"perception": 69.34, "understanding": 61.58, "planning": 62.96},
        ),
        PublishedScore(name="Doubao-Seed-1.6-Vision", overall=60.12, source="SIBench leaderboard"),
        PublishedScore(
            name="Gemini-2.5-Pro",
            overall=58.83,
            source="SIBench leaderboard",
            cells={"perception": 64.25, "understanding": 58.51, "planning": 80.17},
        ),
        PublishedScore(name="InternVL-3.5-38B", overall=52.52, source="SIBench leaderboard"),
        PublishedScore(name="InternVL3-78B", overall=51.97, source="SIBench leaderboard"),
        PublishedScore(name="Qwen2.5-VL-72B", overall=51.14, source="SIBench leaderboard"),
        PublishedScore(name="Qwen2.5-VL-7B", overall=41.72, source="SIBench leaderboard"),
    ),
    unknown="row counts by setting, which settings make the three columns, how the overall score weighs them",
    examples=(
        {
            "_file": "Maze_Navigation",
            "index": 1,
            "type": "MCQ",
            "answer": "C",
            "input_type": "image",
            "question": "Where to?\nA. left\nB. right\nC. up\nD. down",
            "image_path": "a/1.png",
            "data_source": "x",
        },
        {
            "_file": "Counting",
            "index": 1,
            "type": "Number_Int",
            "answer": "12",
            "question": "How many cups?",
            "input_type": "video",
            "video_path": "b/2.mp4",
            "data_source": "x",
        },
        {
            "_file": "Counting",
            "index": 2,
            "type": "Number",
            "answer": "2.5",
            "question": "How wide?",
            "input_type": "image",
            "image_path": "a/3.png",
            "data_source": "x",
        },
        {
            "_file": "Existence",
            "index": 1,
            "type": "YN",
            "answer": "No",
            "question": "Is there a cup?",
            "input_type": "image",
            "image_path": "a/4.png",
            "data_source": "x",
        },
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
