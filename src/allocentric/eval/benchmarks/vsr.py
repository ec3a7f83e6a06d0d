"""VSR (Visual Spatial Reasoning): is a caption about two objects in a photograph true?

TACL 2023, Liu, Emerson and Collier. The zero-shot split has 1,222 test captions (the README says 616). Not the
"VSR" of VSI-SUPER-Recall, nor the one of SIBench.
"""

from __future__ import annotations

from pathlib import Path

from allocentric.core.types import Choice, Item
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks._profiles import Profile, strict
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark, PublishedScore
from allocentric.eval.benchmarks._readers import yes_or_no
from allocentric.eval.benchmarks._rows import Row
from allocentric.eval.benchmarks._sources import Source

HOME = "github.com/cambridgeltl/visual-spatial-reasoning, data/splits/zeroshot/test.jsonl"


class Settings(published.Settings):
    """What is asked."""

    dataset: str = ""
    """The published test.jsonl (data/splits/zeroshot or random), or its folder."""
    media: Path | None = None
    """Folder with the COCO pictures, named as in the records ("000000017697.jpg")."""


def _item(row: Row) -> Item:
    label = row.number("label")
    if label not in (0, 1):
        raise row.error(f"field 'label': expected 0 or 1, got {label!r}")
    picture = row.text("image")
    return row.item(
        kind="caption",
        prompt=row.text("caption"),
        choices=("yes", "no"),
        gold=Choice(0 if label else 1),
        scene=picture,
        views=row.views(picture),
        relation=row.text("relation"),
    )


def _prompt(item: Item) -> str:
    return f"{item.prompt} Please answer yes or no. Please answer strictly Yes or No."


DEFINITION = Definition(
    name="vsr",
    source=Source(repository="", home=HOME, files=("test.jsonl", "zeroshot_test.jsonl")),
    item=_item,
    cells={"caption": "caption"},
    counts={"caption": 1222},
    profiles=(
        Profile(
            name="vlmevalkit@e8e78f0",
            prompt=_prompt,
            read=yes_or_no,
            write=lambda item: item.choices[item.gold.index] if isinstance(item.gold, Choice) else "",
        ),
        strict(_prompt),
    ),
    composite=Nested(cells={"caption": "caption"}),
    license="Apache-2.0",
    citation="TACL 2023, Visual Spatial Reasoning",
    published=(
        PublishedScore(name="human", overall=95.4, source="TACL 2023"),
        PublishedScore(name="LXMERT", overall=61.2, subset="zeroshot", source="TACL 2023"),
        PublishedScore(name="LXMERT", overall=70.1, subset="random", source="TACL 2023"),
        PublishedScore(name="ViLT", overall=63.0, subset="zeroshot", source="TACL 2023"),
        PublishedScore(name="ViLT", overall=69.3, subset="random", source="TACL 2023"),
        PublishedScore(
            name="GPT-4o-mini", overall=76.84, subset="zeroshot", scorer="VLMEvalKit", source="VLMEvalKit PR #1164"
        ),
    ),
    examples=(
        {"image": "1.jpg", "caption": "The cup is on the table.", "label": 1, "relation": "on", "subj": "cup"},
        {"image": "2.jpg", "caption": "The dog is under the bed.", "label": 0, "relation": "under", "subj": "dog"},
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
