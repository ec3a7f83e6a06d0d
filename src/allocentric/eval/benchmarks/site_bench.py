"""SITE-Bench: six abilities over pictures and videos, scored by chance-adjusted accuracy over both together.

arXiv 2505.05456. CAA = (hits - sum of 1/n) / (N - sum of 1/n) with n options each.
"""

from __future__ import annotations

import ast
from pathlib import Path

from allocentric.core.types import Choice, Item, Sampling, Unreadable
from allocentric.eval import aggregation
from allocentric.eval.aggregation import Alongside, Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks import _readers as readers
from allocentric.eval.benchmarks._profiles import (
    Profile,
    strict,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark, PublishedScore
from allocentric.eval.benchmarks._rows import Row, letter_of
from allocentric.eval.benchmarks._sources import Source
from allocentric.eval.benchmarks._vsi_extraction import letter_by_search

REPOSITORY = "franky-veteran/SITE-Bench"
KINDS = (
    *("counting & existence", "object localization & positioning", "3d information understanding"),
    *("multi-view & cross-image reasoning", "spatial relationship reasoning", "movement prediction & navigation"),
)
CELLS = {kind: kind for kind in KINDS}
_REQUEST = "Give me the answer letter directly. The best answer is:"
_VIDEO = (
    "Select the best answer to the following multiple-choice question based on the video. Respond with only the "
    "letter of the correct option.\n"
)


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """The hub's repository, a folder of it, or a file of its records (SiteBenchImage.tsv, SiteBenchVideo.tsv)."""
    media: Path | None = None
    """Folder in which image_path and video_path lead to files."""


def _listed(row: Row, field: str) -> tuple[str, ...]:
    """A list, or text of one as the tables write it."""
    value = row.value(field)
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)  # literals only; nothing is run
        except (ValueError, SyntaxError):
            value = [value]
    if not isinstance(value, list) or not value:
        raise row.error(f"field {field!r}: expected a list, got {value!r}")
    return tuple(str(part) for part in value)


def _item(row: Row) -> Item:
    choices = _listed(row, "candidates" if row.has("candidates") else "options")
    video = row.text("video_path") if row.has("video_path") else None
    pictures = _listed(row, "image_path") if row.has("image_path") else ()
    name = f"{'video' if video else 'image'}/{row.text('index') if row.has('index') else row.index}"
    return row.item(
        id=name,
        kind=row.one_of("category", CELLS),
        prompt=row.text("question"),
        choices=choices,
        gold=row.letter("answer", len(choices)),
        scene=video or (pictures[0] if pictures else name),
        views=row.views(pictures),
        video=video,
        is_video=video is not None,
    )


def _prompt(item: Item) -> str:
    lines = [f"{letter_of(index)}: {choice}" for index, choice in enumerate(item.choices)]
    head = _VIDEO if item.extra["is_video"] else ""
    return head + "\n".join([f"Question: {item.prompt}", "Options:", *lines, _REQUEST])


def _read(text: str, item: Item) -> Choice | Unreadable:
    return readers.choice_or(letter_by_search(text), item)


_MICRO = Nested(cells=CELLS, within="micro", across="micro")

DEFINITION = Definition(
    name="site_bench",
    source=Source(repository=REPOSITORY, files=("SiteBench*.tsv", "*.json*", "*.parquet")),
    item=_item,
    cells=CELLS,
    profiles=(
        Profile(
            name="vlmevalkit@e8e78f0",
            prompt=_prompt,
            read=_read,
            sampling=Sampling(max_new_tokens=1024),
            defects=("'the answer is a chair' is read as A",),
        ),
        strict(_prompt),
    ),
    composite=Alongside(
        main=Nested(cells=CELLS, within="micro", across="micro", terms=aggregation.chance_adjusted),
        others={"accuracy": _MICRO},
    ),
    license="UNKNOWN",
    citation="arXiv 2505.05456",
    published=(
        PublishedScore(name="Qwen2.5-VL-7B", overall=31.4, source="arXiv 2505.05456"),
        PublishedScore(
            name="Qwen2.5-VL-7B", overall=37.6, source="EASI", scorer="VLMEvalKit", note="its own interleaving"
        ),
        PublishedScore(name="Qwen2.5-VL-7B", overall=37.98, source="EASI", scorer="lmms-eval"),
    ),
    unknown="row counts, licence, the hub's revision; pictures stand before the text here, not between its parts",
    examples=(
        {
            "index": 0,
            "category": "counting & existence",
            "question": "How many cups?",
            "answer": "C",
            "options": "['1', '2', '3']",
            "image_path": "['a/1.jpg']",
        },
        {
            "index": 0,
            "category": "movement prediction & navigation",
            "question": "Where does it go?",
            "answer": "A",
            "candidates": ["left", "right"],
            "video_path": "b/2.mp4",
        },
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
