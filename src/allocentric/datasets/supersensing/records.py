"""Quizzes as files: records in the format of VSI-SUPER, and their videos.

Questions with options are VSI-SUPER-Recall records, numbers and lists of numbers VSI-SUPER-Count records, so that the
benchmarks `vsi_super_recall` and `vsi_super_count` load and score them; each kind of question has a folder of its own.
Those benchmarks know the published lengths (10, 30, 60, 120 and, for recall, 240 minutes).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from pydantic import Field

from allocentric.core.config import Settings as BaseSettings
from allocentric.core.errors import UserError
from allocentric.core.progress import Progress, SilentProgress
from allocentric.core.types import Choice, Item, Number
from allocentric.datasets.supersensing import quiz as quizzes
from allocentric.datasets.supersensing._course import Perturbation
from allocentric.datasets.supersensing.quiz import Quiz
from allocentric.scenes.stream_video import write_video

Record = dict[str, Any]


class Recipe(BaseSettings):
    """A set of quizzes."""

    quiz: quizzes.Settings = quizzes.Settings()
    """What they share; seeds, lengths and perturbations are set below."""
    minutes: tuple[float, ...] = (10.0,)
    """Lengths."""
    perturbations: tuple[Perturbation, ...] = ("plain",)
    """What is done to the course."""
    streams: int = Field(default=5, ge=1)
    """Videos of each length and perturbation, with consecutive seeds."""
    videos: bool = True
    """Write the videos too; without them the set is only good for counting and checking."""
    crf: int = Field(default=23, ge=0, le=51)
    """Quality of x264: 0 is lossless, 51 the worst."""


def quizzes_of(recipe: Recipe) -> Iterator[Quiz]:
    """One quiz after the other. SettingsError where a length does not fit its stretches."""
    for perturbation in recipe.perturbations:
        for minutes in recipe.minutes:
            for number in range(recipe.streams):
                update = {"minutes": minutes, "perturbation": perturbation, "seed": recipe.quiz.seed + number}
                values = recipe.quiz.model_dump(mode="python") | update
                yield quizzes.make(quizzes.Settings.model_validate(values))


def length_name(minutes: float) -> str:
    """As VSI-SUPER names it: "10mins"."""
    return f"{minutes:g}mins"


def video_path(made: Quiz) -> str:
    """Where a quiz's video lies in the set."""
    settings = made.settings
    return f"{length_name(settings.minutes)}/{settings.perturbation}-{settings.seed:05d}-{made.id[-8:]}.mp4"


def record_of(item: Item, made: Quiz) -> Record:
    """One question as VSI-SUPER writes it."""
    length, where = length_name(made.settings.minutes), video_path(made)
    if isinstance(item.gold, Choice):
        options = [f"{letter}. {text}" for letter, text in zip(ascii_uppercase, item.choices, strict=False)]
        answer = ascii_uppercase[item.gold.index]
        return {"video_path": where, "question": item.prompt, "options": options, "answer": answer, "type": length}
    times = list(item.extra["asks"].get("query_times", ()))
    number = isinstance(item.gold, Number)
    return {
        "video_path": where,
        "question": item.prompt,
        "query_times": times,
        "answer": item.gold.value if isinstance(item.gold, Number) else None,
        "answers": None if number else json.loads(getattr(item.gold, "text", "[]")),
        "split": length if number else f"{length}_streaming",
    }


def write_set(
    quizzes: Iterable[Quiz], folder: Path, *, videos: bool, crf: int = 23, progress: Progress | None = None
) -> dict[str, int]:
    """Write quizzes as they come and say how many questions of each kind there are.

    `folder` holds <kind>/test_<length>.jsonl and videos/<length>/<name>.mp4. The record files appear when all quizzes
    are written.

    Raises:
        UserError: the folder holds records already, or can't be written.
    """
    told = progress or SilentProgress()
    if any(folder.glob("*/test_*.jsonl")):
        raise UserError(f"{folder} holds a set already; remove it or give another folder")
    lines: dict[Path, list[Record]] = {}
    for made in quizzes:
        if videos:
            fps = made.settings.stream.walk.fps
            write_video(made.stream.views(), folder / "videos" / video_path(made), fps=fps, crf=crf)
        made.stream.close()
        for item in made.items:
            file = folder / item.kind / f"test_{length_name(made.settings.minutes)}.jsonl"
            lines.setdefault(file, []).append(record_of(item, made))
        told.advance(1, made.id)
    try:
        for file, records in lines.items():
            _write(file, records)
    except OSError as error:
        raise UserError(f"cannot write the set {folder}: {error.strerror}") from None
    counts: dict[str, int] = {}
    for file, records in sorted(lines.items()):
        counts[file.parent.name] = counts.get(file.parent.name, 0) + len(records)
    return counts


def _write(file: Path, records: Sequence[Record]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    part.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    part.replace(file)
