"""VSI-SUPER-Recall (VSR): in which order did an object appear beside others in a video of 10 to 240 minutes?

Cambrian-S, arXiv 2511.04670. 60 questions of every length. Frame retrieval without any understanding solves 95 to 98 %
of them (bethgelab/supersanity, "NoSense"), so such a baseline belongs beside every score.
"""

from __future__ import annotations

import re
from pathlib import Path

from allocentric.core.types import Choice, Item, Unreadable
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks import _readers as readers
from allocentric.eval.benchmarks._profiles import (
    Profile,
    option_lines,
    strict,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark, PublishedScore
from allocentric.eval.benchmarks._rows import Row
from allocentric.eval.benchmarks._sources import Source

REPOSITORY = "nyu-visionx/VSI-SUPER-Recall"
LENGTHS = ("10mins", "30mins", "60mins", "120mins", "240mins")
CELLS = {length: length for length in LENGTHS}
_LETTER = "Answer with the option's letter from the given choices directly."


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """The hub's repository, a folder with the published test_*.parquet, or one of them."""
    media: Path | None = None
    """Folder in which video_path ("10mins/video_001.mp4") leads to a video."""


def _item(row: Row) -> Item:
    path = row.text("video_path")
    choices = row.labelled(row.texts("options"))
    return row.item(
        id=f"{row.text('type')}/{row.index}",
        kind=row.one_of("type", LENGTHS),
        prompt=row.text("question").strip(),  # holds "These are frames of a video." already
        choices=choices,
        gold=row.letter("answer", len(choices)),
        scene=path,
        video=path,
    )


def _prompt(item: Item) -> str:
    return "\n".join([item.prompt, "Options:", *option_lines(item), _LETTER])


def _first_capital(text: str, item: Item) -> Choice | Unreadable:
    """The first letter A to D of the text in capitals: "The answer is B" is A, from ANSWER."""
    found = re.search("[A-D]", text.upper())
    return readers.choice_or(found and found.group(), item)


DEFINITION = Definition(
    name="vsi_super_recall",
    source=Source(repository=REPOSITORY, files=("test_*.parquet", "test*.json*")),
    item=_item,
    cells=CELLS,
    counts=dict.fromkeys(LENGTHS, 60),
    profiles=(
        Profile(name="official@6c4728b", prompt=_prompt, read=readers.letter_of_first_token),
        Profile(
            name="lmms-eval@75571cf",
            prompt=_prompt,
            read=_first_capital,
            defects=("the text is put in capitals and searched for A to D, so ANSWER is A",),
        ),
        strict(_prompt),
    ),
    composite=Nested(cells=CELLS),
    license="UNKNOWN; code MIT (bethgelab/supersanity)",
    citation="arXiv 2511.04670",
    published=(
        PublishedScore(
            name="Cambrian-S-7B (128 frames)",
            overall=None,
            source="arXiv 2511.04670",
            cells=dict(zip(LENGTHS, (26.7, 21.7, 23.3, 30.0, 28.2), strict=True)),
        ),
        PublishedScore(
            name="Cambrian-S-7B (128 frames)",
            overall=None,
            source="EASI",
            scorer="VLMEvalKit",
            cells=dict(zip(LENGTHS, (26.7, 21.7, 23.3, 30.0, 30.0), strict=True)),
        ),
        PublishedScore(
            name="Cambrian-S-7B (1 frame a second)",
            overall=None,
            source="arXiv 2511.04670",
            cells=dict(zip(LENGTHS, (38.3, 35.0, 6.0, 0.0, 0.0), strict=True)),
        ),
        PublishedScore(
            name="NoSense (SigLIP2 frame retrieval)",
            overall=None,
            source="bethgelab/supersanity@296c8c3",
            cells=dict(zip(LENGTHS, (98.0, 98.0, 97.0, 95.0, 95.0), strict=True)),
            note="no understanding of the video",
        ),
    ),
    unknown="an overall score over the lengths is not published; ours is their plain mean",
    examples=tuple(
        {
            "_file": f"test_{length}",
            "video_path": f"{length}/video_001.mp4",
            "question": "These are frames of a video.\nWhich of the following correctly represents the order in which "
            "the teddy bear appeared in the video?",
            "options": [
                "A. sofa, bed, desk, sink",
                "B. bed, sofa, desk, sink",
                "C. sink, bed, desk, sofa",
                "D. desk, bed, sofa, sink",
            ],
            "answer": "C",
            "type": length,
        }
        for length in LENGTHS
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
