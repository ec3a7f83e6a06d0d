"""STARE: shapes turned, nets folded, tangrams filled, views changed, with and without pictures of the steps.

arXiv 2506.04633, kuvvi/STARE. The paper averages six terms, two of them F1 scores; the published script prints plain
accuracy. Both are here.
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
    asked_as_published,
    strict,
    written,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark, PublishedScore
from allocentric.eval.benchmarks._rows import Row, options_within
from allocentric.eval.benchmarks._sources import Source
from allocentric.eval.benchmarks._vsi_extraction import letter_by_search

REPOSITORY = "kuvvi/STARE"
CELLS = {
    "2d_trans": "2d",
    "2d_trans_vsim": "2d",
    "3d_trans": "3d",
    "3d_trans_vsim": "3d",
    "folding_nets": "cube",
    "folding_nets_vsim": "cube",
    "tangram_puzzle": "tangram",
    "tangram_puzzle_vsim": "tangram",
    "temporal": "temporal",
    "perspective": "perspective",
}
BINARY = tuple(kind for kind, cell in CELLS.items() if cell in ("cube", "tangram"))
"""Answered by yes or no, scored by the F1 of yes in the paper."""
_WORDS = {
    "2d": "2d_trans", "3d": "3d_trans", "fold": "folding_nets", "cube": "folding_nets", "tangram": "tangram_puzzle",
    "temporal": "temporal", "perspective": "perspective",
}  # fmt: skip
_BOX = (
    '\n\nAnswer with the option\'s letter from the given choices and put the letter in one "\\boxed{}".\n'
    "Please solve the problem step by step."
)
_TAGS = (
    "\n\nAnswer with the option's letter from the given choices and put the letter in one <answer> answer </answer>\n"
    "Please ensure that your output only contains the final answer (a single option letter) without any additional "
    "content (such as intermediate reasoning steps)."
)
_BOXED = re.compile(r"boxed\{((?:[^{}]|\{[^{}]*\})*)\}")
_TEXT = re.compile(r"\\text\{(.*?)\}")
_CUES = ("final answer is", "correct answer is", "answer should be", "answer is", "answer:")


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """A folder of the hub's repository (it has one configuration a category), or a file of its records."""


def _item(row: Row) -> Item:
    question, kind = row.text("question"), _kind(row)
    choices = options_within(question, "AB" if kind in BINARY else "ABCD")
    name = row.text("pid") if row.has("pid") else row.text("qid")
    return row.item(
        id=f"{kind}/{name}",
        kind=kind,
        prompt=question,
        choices=choices,
        gold=row.letter("answer", len(choices)),
        scene=f"{kind.removesuffix('_vsim')}/{name}",
        views=row.views(row.value("images")) if row.has("images") else (),
    )


def _kind(row: Row) -> str:
    """The category, spelled differently in the hub's files and in re-hosted tables, by the words it holds."""
    category = row.text("category").lower()
    if category in CELLS:
        return category
    kind = next((kind for word, kind in _WORDS.items() if word in category), None)
    if kind is None:
        raise row.error(f"field 'category': expected one with {', '.join(_WORDS)}, got {row.text('category')!r}")
    simulated = f"{kind}_vsim"
    return simulated if simulated in CELLS and "vis" in category.replace("vsim", "vis") else kind


def yes(item: Item) -> int:
    """Position of the option "yes"; the first where none says it."""
    said = [choice.strip().lower().rstrip(".") for choice in item.choices]
    return said.index("yes") if "yes" in said else 0


def _read(text: str, item: Item) -> Choice | Unreadable:
    """One letter, or a text that starts with "B:" or "B."; else the last boxed text; else what follows a cue."""
    said = text.strip()
    if said[:1] in set("ABCDEFGH") and (len(said) == 1 or said[1] in ":."):
        return readers.choice_or(said[0], item)
    if len(said) > 1:
        said = _boxed_or_cued(said)
    return readers.choice_or(said if len(said) == 1 and said.isascii() and said.isalpha() else None, item)


def _boxed_or_cued(said: str) -> str:
    if boxes := _BOXED.findall(said):
        inner = _TEXT.findall(boxes[-1])
        return str(inner[-1] if inner else boxes[-1]).strip()
    lowered = said.lower()
    for cue in _CUES:
        if cue in lowered:
            return lowered.split(cue)[-1].strip().split("\n")[0].split(".")[0]
    return ""


def _search(text: str, item: Item) -> Choice | Unreadable:
    return readers.choice_or(letter_by_search(text), item)


_PAPER = Nested(cells=CELLS, terms_of=dict.fromkeys(BINARY, aggregation.f1_of_option(yes)))

DEFINITION = Definition(
    name="stare",
    source=Source(repository=REPOSITORY, files=("**/*.parquet", "*.json*")),
    item=_item,
    cells=CELLS,
    profiles=(
        Profile(
            name="official@0dcab8c",
            prompt=asked_as_published(_BOX),
            read=_read,
            sampling=Sampling(max_new_tokens=2048),
            write=lambda item: f"So \\boxed{{{written(item)}}}",
        ),
        Profile(
            name="vlmevalkit@e8e78f0",
            prompt=asked_as_published(_TAGS),
            read=_search,
            sampling=Sampling(max_new_tokens=1024),
            unreadable=lambda item: None if item.kind in BINARY else 0.0,
            write=lambda item: f"<answer>{written(item)}</answer>",
            defects=("yes-or-no questions without a readable answer leave the F1 score's denominator",),
        ),
        strict(asked_as_published(_BOX)),
    ),
    composite=Alongside(main=_PAPER, others={"accuracy": Nested(cells=CELLS, across="micro")}),
    license="none given: not to be redistributed",
    citation="arXiv 2506.04633",
    published=(
        PublishedScore(name="Qwen2.5-VL-3B", overall=32.3, source="arXiv 2506.04633"),
        PublishedScore(name="Qwen2.5-VL-3B", overall=33.7, source="EASI", scorer="VLMEvalKit"),
        PublishedScore(name="Qwen2.5-VL-3B", overall=31.29, source="EASI", scorer="lmms-eval", note="plain accuracy"),
        PublishedScore(name="Qwen2.5-VL-7B", overall=36.7, source="arXiv 2506.04633"),
        PublishedScore(name="Qwen2.5-VL-7B", overall=37.6, source="EASI", scorer="VLMEvalKit"),
        PublishedScore(name="Qwen2.5-VL-7B", overall=38.53, source="EASI", scorer="lmms-eval", note="plain accuracy"),
    ),
    unknown="row counts by type, the hub's revision; how the published script compares what is no single letter",
    examples=tuple(
        {
            "pid": f"{kind}_{k}",
            "category": kind,
            "answer": "A",
            "question": "Does it fold into a cube?\nA. yes\nB. no"
            if kind in BINARY
            else "Which is next?\nA. square\nB. star\nC. ring\nD. cross",
        }
        for k, kind in enumerate(CELLS)
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
