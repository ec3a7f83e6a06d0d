"""MindCube-Tiny: where things are around a viewer who moved, 1,050 questions over a few pictures.

mll-lab-nu/MindCube. The data was corrected on 2026-03-23; older scores are not comparable.
"""

from __future__ import annotations

import re

from allocentric.core.types import Choice, Item, Sampling, Unreadable
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks import _readers as readers
from allocentric.eval.benchmarks._profiles import (
    Profile,
    strict,
    written,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark, PublishedScore
from allocentric.eval.benchmarks._rows import Row, options_within
from allocentric.eval.benchmarks._sources import Source

REPOSITORY = "MLL-Lab/MindCube"
COUNTS = {"among": 600, "around": 250, "rotation": 200}
CELLS = {**{kind: kind for kind in COUNTS}, "translation": "translation"}
_HEAD = (
    "[Task]\nYour task is to analyze the spatial arrangement of objects in the scene by examining the provided "
    "images, which show the scene from different viewpoints.\n[Answer Instruction]\nYou only need to provide *ONE* "
    "correct answer selecting from the options listed below. For example, if you think the correct answer is "
    "'A. Above' from 'A. Above B. Under C. Front D. Behind', your response should **only** be "
    "'<answer>A. Above</answer>'.\n"
)
_LABEL = re.compile(r"([A-E])\.")
_BLOCK = re.compile(r"<Answer>(.*?)(?:<|$)", re.DOTALL)
_IN_BLOCK = tuple(map(re.compile, (r"[Mm]y answer is ([A-E])", r"[Tt]he answer is ([A-E])", r"\b([A-E])\b")))
_CASCADE = tuple(
    map(
        re.compile,
        (
            r"(?:^|\n)(?:Answer: )?([A-E])(?:$|\s)",
            r"[*\"]([A-E])[*\"]",
            r"\bAnswer:?\s*([A-E])\b",
            r"[Mm]y answer is ([A-E])",
            r"answer is ([A-E])",
        ),
    )
)
_ALONE = re.compile(r"\b([A-E])\b")


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """The hub's repository, a folder with MindCube_tinybench.jsonl, or that file."""


def _item(row: Row) -> Item:
    question, name = row.text("question"), row.text("id")
    prefix = name.split("_", 1)[0]
    kind = "around" if prefix == "aroundnew" else prefix
    if kind not in CELLS:
        raise row.error(f"field 'id': expected one that starts with {', '.join(CELLS)}, got {name!r}")
    choices = options_within(question, "ABCDE")
    pictures = row.value("images") if row.has("images") else []
    return row.item(
        id=name,
        kind=kind,
        prompt=question,
        choices=choices,
        gold=row.letter("gt_answer", len(choices)),
        scene="_".join(name.split("_")[:2]),
        views=row.views(pictures),
    )


def _prompt(item: Item) -> str:
    return f"{_HEAD}[Question]\n{item.prompt}"


def _read(text: str, item: Item) -> Choice | Unreadable:
    """The last letter with a dot anywhere; else in <Answer> or the whole text by a cascade, the last of each kind."""
    return readers.choice_or(_letter(text.strip()), item)


def _letter(text: str) -> str | None:
    if found := _LABEL.findall(text):
        return str(found[-1])
    block = _BLOCK.search(text)
    for patterns, part in ((_IN_BLOCK, block.group(1) if block else ""), (_CASCADE, text)):
        for pattern in patterns:
            if found := pattern.findall(part):
                return str(found[-1])
    alone = [match.group(1) for line in reversed(text.split("\n")) if (match := _ALONE.search(line))]
    return alone[0] if alone else None


def _index(item: Item) -> int:
    assert isinstance(item.gold, Choice)
    return item.gold.index


DEFINITION = Definition(
    name="mindcube_tiny",
    source=Source(repository=REPOSITORY, files=("MindCube_tinybench.jsonl", "*tiny*.json*")),
    item=_item,
    cells=CELLS,
    counts=COUNTS,
    profiles=(
        Profile(
            name="official@19085f3",
            prompt=_prompt,
            read=_read,
            sampling=Sampling(max_new_tokens=1024),
            write=lambda item: f"<answer>{written(item)}. {item.choices[_index(item)]}</answer>",
            defects=("the last letter with a dot wins, also after the answer: 'A. Above, not option B.' is B",),
        ),
        strict(_prompt),
    ),
    composite=Nested(cells=CELLS, across="micro", outside=frozenset({"translation"})),
    license="UNKNOWN",
    citation="MindCube, mll-lab-nu/MindCube",
    published=(
        PublishedScore(name="Qwen2.5-VL-3B", overall=37.81, source="paper"),
        PublishedScore(name="Qwen2.5-VL-3B", overall=37.88, source="EASI", scorer="VLMEvalKit"),
        PublishedScore(name="Qwen2.5-VL-3B", overall=36.86, source="EASI", scorer="lmms-eval"),
    ),
    unknown="the hub's revision after the correction; the licence of the data",
    examples=(
        {
            "id": "among_group012_q1_2_3",
            "gt_answer": "B",
            "images": [],
            "question": "If you turn right, what is in front of you? A. Chair B. Table C. Lamp D. Sofa",
        },
        {
            "id": "aroundnew_scene3_q7",
            "gt_answer": "A",
            "images": [],
            "question": "What is behind you? A. Window B. Door C. Bed",
        },
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
