"""SpookyBench: what is seen only in the motion of noise, 451 videos of words, objects, scenes and shapes.

arXiv 2505.24867, TimeBlindness/time-blindness. The published code collects answers and scores nothing: the matcher
here is our own. A text is right where it names the answer or one of its synonyms as whole words, in any case.
"""

from __future__ import annotations

import re
from pathlib import Path

from allocentric.core.parsing import final_part
from allocentric.core.types import Answer, Item, Text, Unreadable
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks._profiles import (
    Profile,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark, PublishedScore
from allocentric.eval.benchmarks._rows import Row
from allocentric.eval.benchmarks._sources import Source

COUNTS = {"text": 210, "object_images": 156, "dynamic_scenes": 57, "shapes": 28}
CELLS = {kind: kind for kind in COUNTS}
_WORDS = re.compile(r"[a-z0-9]+")
_REQUESTS = {
    "text": "The video shows a word that only motion reveals. Which word is it? Answer with the word only.",
    "object_images": "The video shows an object that only motion reveals. What is it? Answer with its name only.",
    "dynamic_scenes": "The video shows a scene that only motion reveals. What happens? Answer with a few words only.",
    "shapes": "The video shows a shape that only motion reveals. Which shape is it? Answer with its name only.",
}


class Settings(published.Settings):
    """What is asked."""

    dataset: str = ""
    """A .jsonl or .csv of `video`, `category`, `answer` (synonyms parted by |): the published zip has no such list."""
    media: Path | None = None
    """The published zip of videos, or its folder."""


def _item(row: Row) -> Item:
    video = row.text("video")
    names = [name.strip() for name in row.text("answer").split("|")]
    if not all(_WORDS.search(name.lower()) for name in names):
        raise row.error(f"field 'answer': expected words parted by |, got {row.text('answer')!r}")
    kind = row.one_of("category", CELLS)
    return row.item(
        id=video, kind=kind, prompt=_REQUESTS[kind], gold=Text(names[0]), scene=video, video=video, synonyms=names
    )


def _prompt(item: Item) -> str:
    return item.prompt


def _words(text: str) -> str:
    return f" {' '.join(_WORDS.findall(text.lower()))} "


def _read(text: str, _: Item) -> Text | Unreadable:
    part = final_part(text)
    if isinstance(part, Unreadable):
        return part
    return Text(part) if _WORDS.search(part.lower()) else Unreadable("no words")


def worth(answer: Answer, item: Item) -> float:
    """Whether one of the names stands in the answer; letters spelled apart ("H E L L O") count as a word."""
    assert isinstance(answer, Text)
    said = _words(answer.text)
    spelled = said.replace(" ", "")
    for name in item.extra["synonyms"]:
        if _words(name) in said:
            return 1.0
        if (
            item.kind == "text"
            and all(len(word) == 1 for word in said.split())
            and spelled == _words(name).replace(" ", "")
        ):
            return 1.0
    return 0.0


DEFINITION = Definition(
    name="spookybench",
    source=Source(
        repository="", home="huggingface.co/datasets/timeblindness/spooky-bench", files=("*.json*", "*.csv")
    ),
    item=_item,
    cells=CELLS,
    counts=COUNTS,
    profiles=(Profile(name="own-matcher@allocentric", prompt=_prompt, read=_read, worth=worth),),
    composite=Nested(cells=CELLS, within="micro", across="micro"),
    chance=lambda _: 0.0,
    license="MIT",
    citation="arXiv 2505.24867",
    published=(
        PublishedScore(name="human", overall=98.0, source="arXiv 2505.24867", note="+- 0.6"),
        PublishedScore(name="every model tried", overall=0.0, source="arXiv 2505.24867"),
    ),
    unknown="a published scorer; how the zip names its answers",
    examples=(
        {"video": "words/1.mp4", "category": "text", "answer": "hello"},
        {"video": "shapes/1.mp4", "category": "shapes", "answer": "circle|disc"},
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
