"""LV-Haystack: questions about long videos that a few frames answer.

arXiv 2504.02259, LongVideoHaystack/TStar. Frames that a search found are scored by
`core.scoring.keyframe_scores`.
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
    left_out,
    our_prompt,
    strict,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark, PublishedScore
from allocentric.eval.benchmarks._rows import Row
from allocentric.eval.benchmarks._sources import Source

REPOSITORY = "LVHaystack/LongVideoHaystack"
CELLS = {"question": "question"}
_LETTER = re.compile(r"[A-F]", re.IGNORECASE)


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """The hub's repository, a folder of it, or a file of its records."""
    media: Path | None = None
    """Folder with <video_id>.mp4."""


def _item(row: Row) -> Item:
    options = row.value("options")
    texts = list(options.values()) if isinstance(options, dict) else options
    lines = texts.split("\n") if isinstance(texts, str) else [str(text) for text in texts]
    choices = row.labelled(lines) if lines and re.match(r"\(?A[.):]", lines[0]) else tuple(lines)
    video = row.text("video_id")
    answer = row.text("answer").strip()
    gold = row.choice("answer", choices) if answer in choices else row.letter("answer", len(choices))
    return row.item(
        id=f"{video}/{row.index}",  # several questions share a video
        kind="question",
        prompt=row.text("question"),
        choices=choices,
        gold=gold,
        scene=video,
        video=f"{video}.mp4",
        keyframes=list(row.value("frame_indexes_video")) if row.has("frame_indexes_video") else [],
    )


def _read(text: str, item: Item) -> Choice | Unreadable:
    """The first character, where it is a letter A to F in any case: "Because" is B."""
    found = _LETTER.match(text)
    return readers.choice_or(found and found.group(), item)


DEFINITION = Definition(
    name="lv_haystack",
    source=Source(repository=REPOSITORY, files=("*.parquet", "*.json*")),
    item=_item,
    cells=CELLS,
    profiles=(
        Profile(
            name="official@UNKNOWN",
            prompt=our_prompt,
            read=_read,
            empty=left_out,
            sampling=Sampling(max_new_tokens=64),
            defects=("the first letter is the answer, also of a word: 'Because' is B", "empty answers are skipped"),
        ),
        strict(),
    ),
    composite=Nested(cells=CELLS),
    license="none given for the code: not to be redistributed",
    citation="arXiv 2504.02259",
    published=(
        PublishedScore(
            name="GPT-4o with T*", overall=53.1, source="arXiv 2504.02259", note="LongVideoBench XL, 32 frames"
        ),
        PublishedScore(name="GPT-4o", overall=50.5, source="arXiv 2504.02259", note="LongVideoBench XL, 32 frames"),
        PublishedScore(name="LLaVA-OneVision-72B with T*", overall=62.4, source="arXiv 2504.02259"),
        PublishedScore(name="LLaVA-OneVision-72B", overall=55.5, source="arXiv 2504.02259"),
    ),
    unknown="the size, stated as 3,874, 15,092 and 11,000; the published prompt; the commit of the scorer",
    examples=(
        {
            "video_id": "v1",
            "question": "Where was the cup?",
            "options": {"A": "table", "B": "sink"},
            "answer": "sink",
            "frame_indexes_video": [120, 150],
            "video_metadata": {"fps": 30},
        },
        {
            "video_id": "v1",
            "question": "Who came in?",
            "options": {"A": "a man", "B": "a dog"},
            "answer": "A",
            "frame_indexes_video": [900],
        },
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
