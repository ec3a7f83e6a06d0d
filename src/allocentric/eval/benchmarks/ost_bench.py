"""OST-Bench: what an agent that walks through a scene knows at every turn about itself, what it saw, and objects.

arXiv 2507.07984. All turns of a scan are one dialogue; an item holds the pictures seen up to its turn, so single
questions can be asked, which gives other scores than the dialogue by design.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from allocentric.core.errors import SettingsError
from allocentric.core.scoring import MRA_RULES
from allocentric.core.types import Answer, Choice, Item, Number, Sampling, Text, Unreadable, View
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks._profiles import (
    Profile,
    left_out,
    our_prompt,
    standard_worth,
    strict,
    written,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark, PublishedScore
from allocentric.eval.benchmarks._rows import Row
from allocentric.eval.benchmarks._sources import Source

REPOSITORY = "rbler/OST-Bench"
GROUPS = {
    "A_state(Judge)": ("Agent_state-orientation(Judgement)", "Agent_state-position(Judgement)"),
    "A_state(Esti)": ("Agent_state-orientation(Estimation)", "Agent_state-position(Estimation)"),
    "A_info(Judge)": tuple(f"Agent_visible_info-{what}(Judgement)" for what in ("existence", "order", "diversity")),
    "A_info(Temp)": tuple(f"Agent_visible_info-existence(Temporal-loc{k})" for k in (1, 2)),
    "A_info(Count)": ("Agent_visible_info-quantity(Counting)",),
    "AO(Judge)": tuple(
        f"Agent_object_spatial-{what}(Judgement{k})" for what in ("direction", "distance") for k in (1, 2, 3)
    ),
    "AO(Esti)": tuple(f"Agent_object_spatial-{what}(Estimation)" for what in ("direction", "distance")),
    "AO(Temp)": tuple(f"Agent_object_spatial-{what}(Temporal-loc)" for what in ("direction", "distance")),
}
"""Column -> question types; the overall score is the mean of the eight columns."""
CELLS = {kind: cell for cell, kinds in GROUPS.items() for kind in kinds}
UNSCORED = "None"
"""Type of the turns that only show pictures."""
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """The hub's repository, a folder with OST_bench.json, or that file."""
    media: Path | None = None
    """Folder in which new_observations lead to pictures."""
    dialogue: bool = False
    """Ask the turns of a scan one after another, each with the model's own answers before it, as the published scores
    were made; False asks every question alone."""


def _item(row: Row) -> Item:
    if row.text("type") == UNSCORED:
        return _turn(row, UNSCORED, (), Text(""))
    kind = row.one_of("type", CELLS)
    if "Judgement" in kind:
        choices = row.texts("option")
        return _turn(row, kind, choices, row.choice("answer", [choice.strip('"') for choice in choices]))
    return _turn(row, kind, (), row.quantity("answer"))


def _turn(row: Row, kind: str, choices: Sequence[str], gold: Answer) -> Item:
    scan = row.text("scan_id")
    pictures = row.value("new_observations")
    turn = int(row.number("turn"))
    return row.item(
        id=f"{scan}/{turn}",
        kind=kind,
        prompt=row.text("user_message"),
        choices=choices,
        gold=gold,
        scene=scan,
        views=row.views(pictures),
        turn=turn,
        system_prompt=row.text("system_prompt") if row.has("system_prompt") else "",
    )


def _with_earlier_pictures(items: list[Item]) -> list[Item]:
    """Every scored item with the pictures of its scan's earlier turns before its own."""
    seen: dict[str, tuple[View, ...]] = {}
    whole = {}
    for item in sorted(items, key=lambda one: one.extra["turn"]):
        seen[item.scene_id] = (*seen.get(item.scene_id, ()), *item.views)
        whole[item.id] = replace(item, views=seen[item.scene_id])
    return [whole[item.id] for item in items if item.kind != UNSCORED]


def said_as_answer(text: str) -> str:
    """What stands between "answer" and "reason"; the whole text where one of the two words is missing."""
    text = text.replace("'", '"')
    if "reason" not in text or "answer" not in text:
        return text.strip('"')
    for opening, closing in (('"answer":', '"reason"'), ("answer:", "reason")):
        if opening in text:
            part = text.split(opening)[1].split(closing)[0].split("\n")[0]
            return part.strip().strip(",").strip().strip('"')
    return ""


def likest_option(said: str, options: Sequence[str]) -> int:
    """The option with the longest common subsequence of characters, the first of equals: always one of them."""
    lengths = [_common_length(said.strip().lower(), option.strip().lower()) for option in options]
    return lengths.index(max(lengths))


def _common_length(first: str, second: str) -> int:
    first = first[:_LONGEST]
    row = [0] * (len(second) + 1)
    for character in first:
        above = row
        row = [0]
        for column, other in enumerate(second):
            same = above[column] + 1 if character == other else max(above[column + 1], row[column])
            row.append(same)
    return row[-1]


_LONGEST = 4000
"""Characters of an answer that are compared: time grows with their number times the option's."""


def _read(text: str, item: Item, *, whole: bool) -> Answer | Unreadable:
    said = said_as_answer(text)
    if item.choices:
        return Choice(likest_option(said, item.choices))
    try:
        return Number(_number(said, item.kind, whole=whole))
    except (ValueError, OverflowError):
        return Unreadable("no number where this scorer looks")


def _number(said: str, kind: str, *, whole: bool) -> float:
    if "Estimation" in kind:
        return float(said)
    for value, word in enumerate(WORDS):
        if word in said.lower():
            return float(value)
    return float(int(said)) if whole else float(int(float(said)))


def _read_whole(text: str, item: Item) -> Answer | Unreadable:
    """Counts are whole numbers without a decimal point."""
    return _read(text, item, whole=True)


def _read_decimal(text: str, item: Item) -> Answer | Unreadable:
    """Counts may be written "3.0"."""
    return _read(text, item, whole=False)


def worth(answer: Answer, item: Item) -> float:
    """Options as usual; estimates by the strict comparison of OST-Bench; counts and turns have to be exact."""
    if isinstance(answer, Number) and isinstance(item.gold, Number):
        if "Estimation" in item.kind:
            return MRA_RULES["ost"].of(answer.value, item.gold.value)
        return float(answer.value == item.gold.value)
    return standard_worth(answer, item)


def _prompt(item: Item) -> str:
    return "\n".join(part for part in (item.extra["system_prompt"], item.prompt) if part)


def _text_of(item: Item) -> str:
    said = item.choices[item.gold.index] if isinstance(item.gold, Choice) else written(item)
    return json.dumps({"answer": said, "reason": "seen"})


_DEFECTS = (
    "an answer without sense is given the option that shares most characters with it",
    "number words are found inside others: none, phone and someone are 1",
    "empty answers leave the denominator",
)

DEFINITION = Definition(
    name="ost_bench",
    source=Source(repository=REPOSITORY, files=("OST_bench.json", "*.json*")),
    item=_item,
    finish=_with_earlier_pictures,
    cells=CELLS,
    profiles=(
        Profile(
            name="official@UNKNOWN",
            prompt=_prompt,
            read=_read_decimal,
            worth=worth,
            empty=left_out,
            write=_text_of,
            sampling=Sampling(max_new_tokens=4096),
            defects=_DEFECTS,
            blank_is_empty=False,
        ),
        Profile(
            name="official@5437457",
            prompt=_prompt,
            read=_read_whole,
            worth=worth,
            empty=left_out,
            blank_is_empty=False,
            write=lambda item: _text_of(item).replace('.0"', '"'),
            sampling=Sampling(max_new_tokens=4096),
            defects=(*_DEFECTS, "a count written 3.0 is wrong"),
        ),
        strict(our_prompt, worth=worth),
    ),
    composite=Nested(cells=CELLS),
    license="CC-BY-NC-4.0",
    citation="arXiv 2507.07984",
    published=(
        PublishedScore(name="InternVL2.5-8B", overall=44.63, source="README", note="the site says 38.98"),
        *(
            PublishedScore(name=name, overall=score, source="arXiv 2507.07984")
            for name, score in {
                "human": 84.05,
                "chance": 35.73,
                "Gemini-2.0-Flash-Thinking": 54.25,
                "GPT-4.1": 53.40,
                "InternVL2.5-78B": 51.08,
            }.items()
        ),
    ),
    unknown="row counts by type, the hub's revision, the commit of the newer scorer",
    examples=tuple(
        {
            "scan_id": "1mp3d_0004_region0",
            "turn": turn,
            "new_observations": [f"{turn}.jpg"],
            "type": kind,
            "user_message": f"What about {kind}? Options: left, right, behind",
            "system_prompt": "You walk through a room.",
            "option": ["left", "right", "behind"] if "Judgement" in kind else [],
            "answer": "right" if "Judgement" in kind else 3,
        }
        for turn, kind in enumerate(CELLS)
    ),
)


class OstBench(PublishedBenchmark):
    """The published benchmark, asked question by question or as dialogues."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(DEFINITION, settings)
        self.dialogue: bool = settings.dialogue
        """Whether the turns of a scan are one dialogue."""


def build(settings: Settings) -> OstBench:
    """The benchmark; nothing is read before it is asked for. SettingsError: a dialogue with another system prompt."""
    if settings.dialogue and settings.system_prompt is not None:
        raise SettingsError("the records of a dialogue bring their own system prompt; leave out system_prompt")
    return OstBench(settings)
