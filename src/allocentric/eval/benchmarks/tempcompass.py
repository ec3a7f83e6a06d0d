"""TempCompass: action, direction, speed, order and change of attributes in 410 videos, in three answer forms.

ACL Findings 2024, llyx97/TempCompass. Rules read what they can; the published scripts hand the rest to a language
model that is retired, so an unreadable answer is wrong here. Captioning, which only that model scored, is left out.
"""

from __future__ import annotations

from pathlib import Path

from allocentric.core.parsing import read_choice
from allocentric.core.types import Choice, Item, Sampling, Unreadable
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks import _readers as readers
from allocentric.eval.benchmarks._profiles import (
    STRICT,
    Profile,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark, PublishedScore
from allocentric.eval.benchmarks._rows import Row
from allocentric.eval.benchmarks._sources import Source

COUNTS = {"multi-choice": 1580, "yes_no": 2453, "caption_matching": 1503}
"""Questions by form; captioning has 2,004."""
ASPECTS = ("action", "direction", "speed", "order", "attribute_change")
CELLS = {f"{form}/{aspect}": form for form in COUNTS for aspect in ASPECTS}
_REQUESTS = {
    "multi-choice": "\nPlease directly give the best option:",
    "caption_matching": "\nPlease directly give the best option:",
    "yes_no": "\nPlease answer yes or no:",
}


_LABELS = tuple(letter + mark for letter in "ABCD" for mark in ".)")


class Settings(published.Settings):
    """What is asked."""

    dataset: str = ""
    """The published folder questions/, or one of its files."""
    media: Path | None = None
    """Folder with <video>.mp4."""


def _items(row: Row) -> list[Item]:
    if row.file == "captioning":
        return []
    if row.file not in COUNTS:
        raise row.error(f"stands in the file {row.file!r}; expected one of {', '.join(COUNTS)}")
    aspects = row.value("value")
    if not isinstance(aspects, dict):
        raise row.error(f"expected questions by aspect, got {aspects!r}")
    items = []
    for aspect, questions in aspects.items():
        for k, question in enumerate(questions):
            part = Row({**question, "_file": row.file, "_row": row.index}, row.where, row.media, row.benchmark)
            items.append(_item(part, row.text("key"), aspect, k))
    return items


def _item(row: Row, video: str, aspect: str, k: int) -> Item:
    if aspect not in ASPECTS:
        raise row.error(f"has the aspect {aspect!r}; expected one of {', '.join(ASPECTS)}")
    question, answer = row.text("question"), row.text("answer")
    if row.file == "yes_no":
        choices: tuple[str, ...] = ("yes", "no")
        gold = row.choice("answer", choices)
    else:
        choices = tuple(line for line in question.split("\n")[1:] if line.strip())
        if answer not in choices:
            raise row.error(f"field 'answer': {answer!r} is none of the options {list(choices)!r}")
        if row.file == "caption_matching" and not all(": " in choice for choice in choices):
            raise row.error(f"has options without a label and a colon: {list(choices)!r}")
        gold = Choice(choices.index(answer))
    return row.item(
        id=f"{row.file}/{video}/{aspect}/{k}",
        kind=f"{row.file}/{aspect}",
        prompt=question,
        choices=choices,
        gold=gold,
        scene=video.split("_")[0],  # a reversed or joined video shows the same
        video=f"{video}.mp4",
        form=row.file,
    )


def _prompt(item: Item) -> str:
    return item.prompt + _REQUESTS[item.extra["form"]]


def _read(text: str, item: Item) -> Choice | Unreadable:
    """By form: how the text starts for yes or no ("not sure" is no); a whole line, its letter, or a text that starts
    with "B." or "B)" for options; a whole line, its sentence or its label for captions.
    """
    said = text.replace("</s>", "")
    if item.extra["form"] == "yes_no":
        start = said.lower()
        if start.startswith("yes"):
            return Choice(0)
        return Choice(1) if start.startswith("no") else Unreadable("starts with neither yes nor no")
    found = _option_read(said, item) if item.extra["form"] == "multi-choice" else _caption_read(said, item)
    return Unreadable("the text is no option where this scorer looks") if found is None else found


def _option_read(said: str, item: Item) -> Choice | Unreadable | None:
    if said in item.choices:
        return Choice(item.choices.index(said))
    if (said in "ABCD" and len(said) == 1) or said[:2] in _LABELS:
        return readers.choice_or(said[0], item)
    return None


def _caption_read(said: str, item: Item) -> Choice | None:
    labels, sentences = zip(*(option.split(": ")[:2] for option in item.choices), strict=True)
    after_bracket = said.split(") ")[1] if ") " in said else said
    for known, forms in ((labels, (said, said.replace(".", ""))), (sentences, (said, after_bracket))):
        for form in forms:
            if form in known:
                return Choice(known.index(form))
    return Choice(item.choices.index(said)) if said in item.choices else None


def _strict_read(text: str, item: Item) -> Choice | Unreadable:
    if item.extra["form"] == "yes_no":
        return readers.yes_or_no(text, item)
    exact = _read(text.strip(), item)
    if isinstance(exact, Choice):
        return exact
    mark = ". " if item.extra["form"] == "multi-choice" else ": "
    return read_choice(text, [option.partition(mark)[2] or option for option in item.choices])


def _line_of(item: Item) -> str:
    assert isinstance(item.gold, Choice)
    return item.choices[item.gold.index]


DEFINITION = Definition(
    name="tempcompass",
    source=Source(
        repository="", home="github.com/llyx97/TempCompass, questions", files=tuple(f"{form}.json" for form in COUNTS)
    ),
    item=_items,
    cells=CELLS,
    profiles=(
        Profile(
            name="official@75361fd",
            prompt=_prompt,
            read=_read,
            write=_line_of,
            sampling=Sampling(max_new_tokens=128),
            defects=("yes or no is how the text starts: 'not sure' and 'nothing' are no",),
        ),
        Profile(name=STRICT, prompt=_prompt, read=_strict_read, write=_line_of, sampling=Sampling(max_new_tokens=128)),
    ),
    composite=Nested(cells=CELLS, within="micro", across="micro"),
    license="CC-BY-NC-4.0",
    citation="ACL Findings 2024, TempCompass",
    published=(
        PublishedScore(
            name="Gemini-1.5-Pro",
            overall=None,
            source="llyx97/TempCompass",
            cells={"multi-choice": 63.9, "yes_no": 70.3, "caption_matching": 77.4},
            note="with the retired judge; captioning 57.9",
        ),
    ),
    unknown="a human score; no overall score over the forms is published, ours pools their questions",
    examples=(
        {
            "_file": "multi-choice",
            "key": "1",
            "value": {"action": [{"question": "What is he doing?\nA. dunking\nB. walking", "answer": "A. dunking"}]},
        },
        {
            "_file": "yes_no",
            "key": "1",
            "value": {"speed": [{"question": "Is it fast?", "answer": "no"}]},
        },
        {
            "_file": "caption_matching",
            "key": "1",
            "value": {
                "order": [
                    {
                        "question": "Which fits?\nSentence A: he runs\nSentence B: he sits",
                        "answer": "Sentence B: he sits",
                    }
                ]
            },
        },
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
