"""ReMindView-Bench: relations between objects and viewpoints over several frames of procedural rooms.

arXiv 2512.02340, pittisl/ReMindView-Bench. Five official system prompts ask for reasoning in four stages; name the
file of one as `system_prompt` to ask as published.
"""

from __future__ import annotations

import re

from allocentric.core.types import Choice, Item, Sampling, Unreadable
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks import _readers as readers
from allocentric.eval.benchmarks._profiles import (
    Profile,
    option_lines,
    our_prompt,
    strict,
    written,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark
from allocentric.eval.benchmarks._rows import Row
from allocentric.eval.benchmarks._sources import Source

KINDS = (
    *("object_centric_object_object", "object_centric_view_object", "object_centric_view_view"),
    *("view_centric_view_object", "view_centric_object_object"),
)
CELLS = {kind: kind for kind in KINDS}
_LINE = re.compile(r"\b([ABCD])[ \t]*\.[ \t]*[^\s]")
_ALONE = re.compile(r"\b([ABCD])\b")
_TAIL = (
    "Follow the Reasoning Path Template strictly. Your last line must match ^[ABCD]\\.[^\\n\\r]+$ and contain only "
    "one choice."
)


class Settings(published.Settings):
    """What is asked."""

    dataset: str = ""
    """The published CSV files (their names hold the kind), or the folder of them."""


def _item(row: Row) -> Item:
    kind = next((name for name in KINDS if name in row.file), None)
    if kind is None:
        raise row.error(f"stands in the file {row.file!r}, whose name should hold one of {', '.join(KINDS)}")
    value = row.value("choices")
    choices = tuple(part.strip() for part in (value.split(",") if isinstance(value, str) else value) if part.strip())
    if not 2 <= len(choices) <= 4:
        raise row.error(f"field 'choices': expected two to four parted by commas, got {value!r}")
    truth = row.text("ground_truth").strip()
    same = [index for index, choice in enumerate(choices) if choice.lower() == truth.lower()]
    gold = Choice(same[0]) if same else row.letter("ground_truth", len(choices))
    return row.item(
        kind=kind,
        prompt=row.text("query"),
        choices=choices,
        gold=gold,
        scene=row.text("folder_path"),
        views=row.views(row.value("images")) if row.has("images") else (),
        query_type=row.text("query_type"),
    )


def _prompt(item: Item) -> str:
    return "\n".join([f"Question: {item.prompt}", "Choices:", *option_lines(item), "", _TAIL])


def _short_prompt(item: Item) -> str:
    return our_prompt(item)


def _read(text: str, item: Item) -> Choice | Unreadable:
    """The last letter A to D with a dot and a text after it, else the last that stands alone."""
    found = _LINE.findall(text) or _ALONE.findall(text)
    return readers.choice_or(found[-1] if found else None, item)


DEFINITION = Definition(
    name="remindview",
    source=Source(repository="", home="huggingface.co/datasets/Xue0823/ReMindView-Bench", files=("*.csv", "*.json*")),
    item=_item,
    cells=CELLS,
    profiles=(
        Profile(
            name="official@810f59c",
            prompt=_prompt,
            read=_read,
            sampling=Sampling(max_new_tokens=5000),
            write=lambda item: f"(4) {written(item)}.it",
            defects=("the last letter with a dot wins, also in an explanation after the answer",),
        ),
        strict(_short_prompt),
    ),
    composite=Nested(cells=CELLS, across="micro"),
    license="research only, all rights reserved; text CC-BY-NC-SA",
    citation="arXiv 2512.02340",
    unknown="scores; the published set has more than 50,000 questions. A comma inside an option splits it",
    examples=tuple(
        {
            "_file": f"{kind}_questions",
            "folder_path": f"room1/{kind}",
            "query_type": "scope|kind|x",
            "query": "Where is the chair seen from the table?",
            "ground_truth": "left",
            "choices": "front, left, right, back",
            "cross_frame": "1",
            "perspective_changing": "0",
            "object_num": "3",
        }
        for kind in KINDS
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
