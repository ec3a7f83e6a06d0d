"""STI-Bench: sizes, distances, speeds and trajectories over a stretch of video, 2,064 questions with five options.

arXiv 2503.23765, MINT-SJTU/STI-Bench.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from allocentric.core.types import Choice, Item, Sampling, Unreadable
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks import _readers as readers
from allocentric.eval.benchmarks._profiles import (
    Profile,
    strict,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark, PublishedScore
from allocentric.eval.benchmarks._rows import Row, letter_of
from allocentric.eval.benchmarks._sources import Source

REPOSITORY = "MINT-SJTU/STI-Bench"
_LABELLED = tuple(
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        r"\(([A-E])\)",
        r"Ans\s*=\s*['\"]?([A-E])['\"]?",
        r"Answer\s*[:=]\s*([A-E])",
        r"Option\s+([A-E])",
        r"\b([A-E])\s*(?:is|was)\s*correct",
        r"\b([A-E])[.)]\s*$",
    )
)


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """The hub's repository, a folder with qa.parquet, or that file."""
    media: Path | None = None
    """Folder of the videos."""


def _item(row: Row) -> Item:
    options = row.value("Candidates")
    if isinstance(options, str):
        try:
            options = json.loads(options)
        except ValueError:
            options = None
    if not isinstance(options, dict) or list(options) != [letter_of(k) for k in range(len(options))]:
        raise row.error(f"field 'Candidates': expected texts by letter, got {row.record.get('Candidates')!r}")
    choices = [str(text) for text in options.values()]
    video = row.text("Video")
    return row.item(
        id=f"{video}/{row.text('ID')}",
        kind=row.text("Task"),
        prompt=row.text("Question"),
        choices=choices,
        gold=row.letter("Answer", len(choices)),
        scene=video,
        video=video,
        time_start_s=row.number("time_start"),
        time_end_s=row.number("time_end"),
        setting=row.text("Scene"),
    )


def _seconds(item: Item) -> tuple[str, str]:
    return f"{item.extra['time_start_s']:g}", f"{item.extra['time_end_s']:g}"


def _prompt(item: Item) -> str:
    start, end = _seconds(item)
    lines = [f"({letter_of(index)}) {choice}" for index, choice in enumerate(item.choices)]
    return "\n".join([f"From {start} s to {end} s. {item.prompt}", *lines, "Please output only the option letter!"])


def _openai_prompt(item: Item) -> str:
    """Without the published remark on the frame rate, which the runner does not know."""
    start, end = _seconds(item)
    lines = [f"{letter_of(index)} {choice}" for index, choice in enumerate(item.choices)]
    question = f"Question: From {start} seconds to {end} seconds. {item.prompt}"
    head = "Answer the question below based on the frames provided."
    return "\n".join([head, question, *lines, "Please output only the option you choose!"])


def _read(text: str, item: Item) -> Choice | Unreadable:
    """The first of six labelled forms; without one the last character of the text, where it is a capital A to E."""
    for pattern in _LABELLED:
        if found := pattern.search(text):
            return readers.choice_or(found.group(1), item)
    last = text.strip()[-1:]
    return readers.choice_or(last if last in "ABCDE" and last else None, item)


DEFINITION = Definition(
    name="sti_bench",
    source=Source(repository=REPOSITORY, files=("qa.parquet", "*.parquet", "*.json*")),
    item=_item,
    cells={},
    profiles=(
        Profile(
            name="official@816155c",
            prompt=_prompt,
            read=_read,
            sampling=Sampling(max_new_tokens=512),
            defects=("without a labelled letter the last character of the text counts: '... PLACE' is E",),
        ),
        Profile(
            name="official-openai@05018e8", prompt=_openai_prompt, read=_read, sampling=Sampling(max_new_tokens=512)
        ),
        strict(_prompt),
    ),
    composite=Nested(cells={}, across="micro"),
    license="MIT",
    citation="arXiv 2503.23765",
    published=(
        PublishedScore(name="Qwen2.5-VL-72B", overall=42.1, scorer="VLMEvalKit", source="VLMEvalKit"),
        *(
            PublishedScore(name=name, overall=score, source="MINT-SJTU/STI-Bench")
            for name, score in {
                "Qwen2.5-VL-72B": 40.8,
                "Gemini-2.5-Pro": 40.5,
                "Claude-3.7": 37.2,
                "Gemini-2.0-Flash": 35.6,
                "InternVL2.5-78B": 29.3,
                "GPT-4o": 28.3,
                "VideoLLaMA3-7B": 27.4,
                "chance": 20.0,
            }.items()
        ),
    ),
    unknown="row counts by task, the hub's revision; types are read from the column Task, not listed here",
    examples=(
        {
            "Video": "scene1.mp4",
            "Source": "ScanNet",
            "Scene": "indoor",
            "Task": "Dimensional Measurement",
            "ID": 1,
            "time_start": 0.0,
            "time_end": 4.5,
            "Question": "How wide is the desk?",
            "Answer": "C",
            "Candidates": {"A": "0.4 m", "B": "0.8 m", "C": "1.2 m", "D": "1.6 m", "E": "2 m"},
        },
        {
            "Video": "scene1.mp4",
            "Source": "ScanNet",
            "Scene": "indoor",
            "Task": "Speed & Acceleration",
            "ID": 2,
            "time_start": 1,
            "time_end": 3,
            "Question": "How fast does the camera move?",
            "Answer": "A",
            "Candidates": '{"A": "0.1 m/s", "B": "1 m/s", "C": "2 m/s", "D": "3 m/s", "E": "4 m/s"}',
        },
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
