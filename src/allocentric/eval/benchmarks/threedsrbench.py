"""3DSRBench: heights, places, orientations and relations of objects in 3D, every question in several forms.

HF ccvl/3DSRBench. Four scores: every question alone, with its mirrored form, with all orders of its options, with
both.
Papers quote different ones (54.8 and 51.9 for one model).
"""

from __future__ import annotations

import re

from allocentric.core.types import Choice, Item, Sampling, Unreadable
from allocentric.eval import aggregation
from allocentric.eval.aggregation import Alongside, Nested
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
from allocentric.eval.benchmarks._vsi_extraction import letter_by_search

REPOSITORY = "ccvl/3DSRBench"
GROUPS = {
    "height": ("height_higher",),
    "location": ("location_above", "location_closer_to_camera", "location_next_to"),
    "orientation": ("orientation_in_front_of", "orientation_on_the_left", "orientation_viewpoint"),
    "multi_object": (
        *("multi_object_closer_to", "multi_object_facing", "multi_object_viewpoint_towards_object"),
        *("multi_object_parallel", "multi_object_same_direction"),
    ),
}
CELLS = {kind: group for group, kinds in GROUPS.items() for kind in kinds}
_BASE_LENGTH = 8
"""Characters of a question id that name the question: "VIN6MS3J", "VIN6MS3J-1" (options in another order),
"VIN6MS3J-flip" (picture mirrored), "VIN6MS3J-flip-1" (both)."""
_ANSWERS = tuple(
    map(
        re.compile,
        (
            r"^([A-D])[.\s)]",
            r"^([A-D])$",
            r"[Aa]nswer[:\s]+([A-D])",
            r"[Tt]he answer is[:\s]+([A-D])",
            r"[Mm]y answer is[:\s]+([A-D])",
            r"\(([A-D])\)",
            r"([A-D])\.",
            r"\b([A-D])\b",
        ),
    )
)


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """The hub's repository, a folder of it, or a file of its records."""


def _item(row: Row) -> Item:
    texts = [str(row.record[letter]) for letter in "ABCD" if row.has(letter)]
    choices = tuple(text for text in texts if text.strip() and text.lower() != "nan")
    qid = row.text("qid") if row.has("qid") else row.text("index")
    return row.item(
        id=f"{qid}/{row.index}",
        kind=row.one_of("category", CELLS),
        prompt=row.text("question"),
        choices=choices,
        gold=row.letter("answer", len(choices)),
        scene=qid[:_BASE_LENGTH],
        views=row.views(row.value("image")) if row.has("image") else (),
        qid=qid,
    )


def _prompt(item: Item) -> str:
    lines = [f"Question: {item.prompt}", "Options:", *option_lines(item)]
    return "\n".join([*lines, "Please select the correct answer from the options above. \n"])


def _read(text: str, item: Item) -> Choice | Unreadable:
    return readers.choice_or(letter_by_search(text), item)


def _cascade(text: str, item: Item) -> Choice | Unreadable:
    """The first of eight forms: a letter at the start, after "answer", in brackets, before a dot, alone."""
    said = text.strip()
    found = next((match for pattern in _ANSWERS if (match := pattern.search(said))), None)
    return readers.choice_or(found and found.group(1), item)


def _question(item: Item) -> str:
    """All forms of a question."""
    return item.scene_id


def _with_mirror(item: Item) -> str:
    """A question and its mirrored picture, the options in the same order."""
    return str(item.extra["qid"]).replace("-flip", "")


def _with_orders(item: Item) -> str:
    """All orders of the options, for the picture or for its mirror image."""
    return item.scene_id + ("-flip" if "-flip" in item.extra["qid"] else "")


def _micro(terms: aggregation.Terms = aggregation.plain) -> Nested:
    return Nested(cells=CELLS, within="micro", across="micro", terms=terms)


DEFINITION = Definition(
    name="threedsrbench",
    source=Source(repository=REPOSITORY, files=("*.tsv", "*.csv", "*.parquet", "*.json*")),
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
        Profile(
            name="lmms-eval@20e1c96",
            prompt=_prompt,
            read=_cascade,
            sampling=Sampling(max_new_tokens=1024),
            defects=("a capital A at the start of a sentence is an answer: 'A cup is higher' is A",),
        ),
        strict(_prompt),
    ),
    composite=Alongside(
        main=_micro(),
        others={
            "flip": _micro(aggregation.circular(_with_mirror)),
            "circular": _micro(aggregation.circular(_with_orders)),
            "flip_circular": _micro(aggregation.circular(_question)),
        },
    ),
    license="UNKNOWN",
    citation="3DSRBench, ccvl",
    published=(
        PublishedScore(name="Cambrian-S-7B", overall=54.8, source="arXiv 2511.04670", note="vanilla"),
        PublishedScore(name="Cambrian-S-7B", overall=51.9, source="EASI", note="circular"),
    ),
    unknown="row counts, licence, the hub's revision; groups are those of EvolvingLMMs-Lab/lmms-eval@20e1c96",
    examples=tuple(
        {
            "qid": f"ABCDEFGH{form}",
            "category": "height_higher",
            "question": "Which is higher?",
            "A": first,
            "B": second,
            "answer": "A" if first == "cup" else "B",
        }
        for form, first, second in (
            ("", "cup", "plate"),
            ("-1", "plate", "cup"),
            ("-flip", "cup", "plate"),
            ("-flip-1", "plate", "cup"),
        )
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
