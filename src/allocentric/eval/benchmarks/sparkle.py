"""Sparkle: direction, distance and localisation in drawn pictures, paths and tours (arXiv 2410.16162).

No data are published; `allocentric make-sparkle` makes sets after the paper's description, and this asks them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from allocentric.core.errors import DataError
from allocentric.core.parsing import final_part, read_answer
from allocentric.core.records import item_from_record, item_to_record
from allocentric.core.types import Answer, Choice, Item, Number, Sampling, Text, Unreadable
from allocentric.datasets.chat import AnswerFormat, answer_of_steps, options_of, request_of
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks._profiles import Profile, strict
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark, refuse
from allocentric.eval.benchmarks._rows import Row
from allocentric.eval.benchmarks._sources import FILE, ROW, Record, Source

REASON = (
    "YihongT/Sparkle publishes neither data nor prompts (arXiv 2410.16162); make a set with `allocentric make-sparkle "
    "configs/sparkle.yaml --out DIR` and give DIR/test.jsonl as `dataset`"
)
REASONED = "reasoned@allocentric"
"""The profile that asks for the steps before the answer: where points are, offsets, lengths."""


class Settings(published.Settings):
    """What is asked."""

    dataset: str = ""
    """The .jsonl file of a split."""
    media: Path | None = None
    """Folder with the pictures; None takes that of `dataset`."""


def _item(row: Row) -> Item:
    try:
        item = item_from_record({key: value for key, value in row.record.items() if key not in (FILE, ROW)})
    except (DataError, TypeError, ValueError) as error:
        raise row.error(f"is no item record: {error}") from None
    names = [str(view.image) for view in item.views]
    return replace(item, views=row.views(names) if names else (), source=row.benchmark)


def _prompt(item: Item, answer: AnswerFormat = "short") -> str:
    """The question, its options, and the request that generated sets are trained with."""
    return "\n".join([item.prompt, *options_of(item), request_of(item, answer)])


def _read_end(text: str, item: Item) -> Answer | Unreadable:
    """What the last sentence says; a text that ends while thinking says nothing."""
    end = final_part(text)
    return end if isinstance(end, Unreadable) else read_answer(answer_of_steps(end), item)


_REASONED = Profile(
    name=REASONED,
    prompt=partial(_prompt, answer="steps"),
    read=_read_end,
    sampling=Sampling(max_new_tokens=640),
)


def _example(kind: str, prompt: str, gold: Choice | Number | Text, choices: tuple[str, ...] = ()) -> Record:
    item = Item(id=kind, kind=kind, prompt=prompt, gold=gold, choices=choices, scene_id="a", source="sparkle")
    return item_to_record(item)


DEFINITION = Definition(
    name="sparkle",
    source=Source(repository="", home="`allocentric make-sparkle`", files=("test.jsonl", "test.json")),
    item=_item,
    cells={},
    profiles=(strict(_prompt), _REASONED),
    composite=Nested(cells={}),
    license="generated here",
    citation="arXiv 2410.16162",
    unknown="the published data, prompts, counts and scores; the profiles are our own",
    examples=(
        _example("direction", "Where is red seen from blue?", Choice(1), ("left", "above")),
        _example("distance", "Which way is shortest?", Choice(0), ("red - blue", "red - green")),
        _example("distance_open", "How many cells is red from blue?", Number(3.6)),
        _example("localisation_open", "Where is red?", Text("red (3, 5)")),
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; refuses without a set. Nothing is read before it is asked for."""
    if not settings.dataset:
        refuse("sparkle", REASON)
    if settings.media is None and (folder := Path(settings.dataset).parent / "pictures").is_dir():
        settings = settings.model_copy(update={"media": folder.parent})
    return PublishedBenchmark(DEFINITION, settings)
