"""VSI-SUPER-Count (VSC): how many different objects of a kind are there in a video of 10 to 120 minutes?

Cambrian-S, arXiv 2511.04670; 50 questions of every length, and as many streaming ones, answered by a list with one
number for every query time. Looping the video must not change an answer; published ones fall from 42.0 to 0.0
(bethgelab/supersanity, "VSC-Repeat").
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from allocentric.core.parsing import read_answer
from allocentric.core.scoring import MRA_RULES
from allocentric.core.types import Answer, Item, Number, Text, Unreadable
from allocentric.eval import aggregation
from allocentric.eval.aggregation import Alongside, Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks._profiles import (
    STRICT,
    Profile,
    standard_worth,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark, PublishedScore
from allocentric.eval.benchmarks._rows import Row
from allocentric.eval.benchmarks._sources import Source

REPOSITORY = "nyu-visionx/VSI-SUPER-Count"
LENGTHS = ("10mins", "30mins", "60mins", "120mins")
STREAMING = tuple(f"{length}_streaming" for length in LENGTHS)
CELLS = {split: split for split in (*LENGTHS, *STREAMING)}
_VSI = MRA_RULES["vsi"]
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """The hub's repository, a folder of it, or a file of its records."""
    media: Path | None = None
    """Folder in which video_path ("10mins/00000000.mp4") leads to a video."""


def _item(row: Row) -> Item:
    split, path = row.one_of("split", CELLS), row.text("video_path")
    extra = {}
    if split in STREAMING:
        answers, times = row.value("answers"), row.value("query_times")
        if not answers or len(answers) != len(times) or not all(isinstance(one, int | float) for one in answers):
            raise row.error(f"expected one number in 'answers' for each of 'query_times', got {answers!r}")
        extra = {"answers": [float(one) for one in answers], "query_times": list(times)}
    return row.item(
        id=f"{split}/{row.index}",
        kind=split,
        prompt=row.text("question").strip(),
        # The list of a streaming item is text to a reader of answers.
        gold=Text(json.dumps(extra["answers"])) if extra else row.quantity("answer"),
        scene=path,
        video=path,
        **extra,
    )


def _prompt(item: Item) -> str:
    return f"These are frames of a video.\n{item.prompt}\nPlease answer the question using a single word or phrase."


def answer_size(item: Item) -> int:
    """Answers an item stands for: one for every query time."""
    return len(item.extra.get("answers", (0,)))


def _list_of(text: str) -> list[object] | Unreadable:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return Unreadable("not a list of numbers")
    return values if isinstance(values, list) else Unreadable("not a list of numbers")


def _read(text: str, item: Item) -> Answer | Unreadable:
    """The whole text as a number; for streams as a JSON list."""
    if item.kind in STREAMING:
        values = _list_of(text)
        return values if isinstance(values, Unreadable) else Text(json.dumps(values))
    try:
        return Number(float(text))
    except ValueError:
        return Unreadable("the text is not one number")


def _first_number(text: str, item: Item) -> Answer | Unreadable:
    """The first number in digits; where there is none the published code goes on with 0."""
    if item.kind in STREAMING:
        return _read(text, item)
    found = _NUMBER.search(text)
    return Number(float(found.group())) if found else Unreadable("no number in digits")


def _worth(answer: Answer, item: Item, *, as_published: bool) -> float:
    """Mean over the query times that are answered as published, else over all."""
    if not (isinstance(answer, Text) and item.kind in STREAMING):
        return standard_worth(answer, item)
    given, targets = json.loads(answer.text), item.extra["answers"]
    of_one = _published_value if as_published else _value
    worth = [of_one(one, target) for one, target in zip(given, targets, strict=False)]
    count = len(worth) if as_published else len(targets)
    return sum(worth) / count if count else 0.0


def _value(given: object, target: float) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float):
        return 0.0
    return _VSI.of(float(given), target)


def _published_value(given: object, target: float) -> float:
    """An exception is an error of 0: for what is no number, and for a division by a right count of 0."""
    if target == 0 or not isinstance(given, int | float):
        return 1.0
    return _VSI.of(float(given), target)


def _official_worth(answer: Answer, item: Item) -> float:
    return _worth(answer, item, as_published=True)


def _strict_worth(answer: Answer, item: Item) -> float:
    return _worth(answer, item, as_published=False)


def _strict_read(text: str, item: Item) -> Answer | Unreadable:
    return _read(text, item) if item.kind in STREAMING else read_answer(text, item)


def _strict_prompt(item: Item) -> str:
    if item.kind not in STREAMING:
        return _prompt(item)
    times = ", ".join(str(time) for time in item.extra["query_times"])
    return f"{item.prompt}\nAnswer with a JSON list of numbers: the count so far at each of these times: {times}."


_STREAM = (
    "missing predictions at the end of a list are dropped from the average",
    "a value that is no number gets full credit, as the error of an exception is taken as 0",
    "at a time with a right count of 0 every value gets full credit, as the division by it is such an exception",
)

DEFINITION = Definition(
    name="vsi_super_count",
    source=Source(repository=REPOSITORY, files=("*.parquet", "*.json*")),
    item=_item,
    cells=CELLS,
    counts={"10mins": 50},
    profiles=(
        Profile(
            name="official@6c4728b",
            prompt=_prompt,
            read=_read,
            worth=_official_worth,
            defects=(*_STREAM, "a text that is no number stops the published batch scorer; here it is worth 0"),
        ),
        Profile(name="lmms-eval@75571cf", prompt=_prompt, read=_first_number, worth=_official_worth, defects=_STREAM),
        Profile(name=STRICT, prompt=_strict_prompt, read=_strict_read, worth=_strict_worth),
    ),
    composite=Alongside(
        main=Nested(cells=CELLS, partial=True),
        others={"pooled_answers": Nested(cells=CELLS, across="micro", terms=aggregation.pooled(answer_size))},
    ),
    chance=lambda _: None,
    license="UNKNOWN; code MIT (bethgelab/supersanity)",
    citation="arXiv 2511.04670",
    published=(
        PublishedScore(
            name="Cambrian-S-7B (128 frames)",
            overall=None,
            source="arXiv 2511.04670",
            cells=dict(zip(LENGTHS, (16.0, 0.0, 0.0, 0.0), strict=True)),
        ),
        PublishedScore(
            name="Cambrian-S-7B with surprise",
            overall=None,
            source="arXiv 2511.04670",
            cells={"10mins": 42.0, "30mins": 42.0, "60mins": 35.0},
        ),
        PublishedScore(
            name="Cambrian-S-7B with surprise, video looped five times",
            overall=None,
            cells={"10mins": 0.0},
            source="bethgelab/supersanity@296c8c3",
            note="nothing new is there to count",
        ),
    ),
    unknown="row counts of 30, 60 and 120 minutes; no overall score is published, ours is the mean of what is there",
    examples=(
        {
            "video_path": "10mins/00000000.mp4",
            "question": "How many different socket(s) are there in the video?",
            "query_times": [],
            "answer": 27.0,
            "answers": None,
            "split": "10mins",
        },
        {
            "video_path": "10mins/00000001.mp4",
            "question": "How many different chair(s) are there in the video?",
            "query_times": [60, 120, 180],
            "answer": None,
            "answers": [2, 5, 9],
            "split": "10mins_streaming",
        },
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
