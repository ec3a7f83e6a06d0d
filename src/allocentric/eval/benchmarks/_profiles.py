"""Scoring profiles as data: how a benchmark is asked, how a text is read, what an answer is worth.

A published scorer is a profile named after its origin and commit, defects included and listed; beside it stands
`strict@allocentric`, which reads what a person would accept (`core.parsing`) and refuses to guess. So a known defect
is switched off by naming the other profile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from allocentric.core import scoring
from allocentric.core.parsing import read_answer
from allocentric.core.types import Answer, Choice, Item, Number, Order, Sampling, Score, Text, Unreadable
from allocentric.eval.benchmarks._rows import letter_of

Read: TypeAlias = Callable[[str, Item], Answer | Unreadable]
Worth: TypeAlias = Callable[[Answer, Item], float | None]

Missing: TypeAlias = Callable[[Item], float | None]
"""Score of an item without an answer; None leaves it out of the average."""

STRICT = "strict@allocentric"
"""Name of our own profile."""


def written(item: Item) -> str:
    """The right answer as a plain reader expects it: "B", "3.4", "yes", "chair, table"."""
    match item.gold:
        case Choice(index):
            return letter_of(index)
        case Number(value):
            return np.format_float_positional(value, trim="-")
        case Text(text):
            return text
        case Order(labels):
            return ", ".join(labels)
    raise TypeError(f"no plain form of {item.gold!r}")


def standard_worth(answer: Answer, item: Item) -> float:
    """1 or 0 for options, texts and orders, mean relative accuracy for numbers (`core.scoring`)."""
    value = scoring.score(answer, item.gold).value
    assert value is not None
    return value


def counted_wrong(_: Item) -> float | None:
    """No answer is a wrong answer."""
    return 0.0


def left_out(_: Item) -> float | None:
    """No answer leaves the denominator."""
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """One way of asking and scoring."""

    name: str
    """Origin@commit, or origin@UNKNOWN where rules were published without code."""
    prompt: Callable[[Item], str]
    """The full user text."""
    read: Read
    """Text -> answer."""
    worth: Worth = standard_worth
    """Answer -> score in [0, 1]; None leaves the item out of the average."""
    unreadable: Missing = counted_wrong
    """Score of a text without a readable answer."""
    empty: Missing = counted_wrong
    """Score of an empty text."""
    blank_is_empty: bool = True
    """Whether a text of blanks counts as empty; False reads it."""
    sampling: Sampling = field(default_factory=Sampling)
    """Decoding settings."""
    write: Callable[[Item], str] = written
    """The right answer in the form this profile asks for."""
    defects: tuple[str, ...] = ()
    """Known defects that are kept, one sentence each."""
    gold_fails: bool = False
    """Whether a defect keeps some right answers, written as asked, from scoring 1."""

    def score(self, item: Item, text: str, chance: float | None) -> Score:
        """Score a raw text."""
        if not (text.strip() if self.blank_is_empty else text):
            return Score(value=self.empty(item), answer=Unreadable("the text is empty"), chance=chance)
        answer = self.read(text, item)
        value = self.unreadable(item) if isinstance(answer, Unreadable) else self.worth(answer, item)
        return Score(value=value, answer=answer, chance=chance)


def option_lines(item: Item) -> list[str]:
    """The options with their letters: "A. chair"."""
    return [f"{letter_of(index)}. {choice}" for index, choice in enumerate(item.choices)]


def asked_as_published(request: str) -> Callable[[Item], str]:
    """Wording for questions whose published text holds the options already: that text and a last request."""
    return lambda item: f"{item.prompt}{request}"


def our_prompt(item: Item) -> str:
    """Our own wording: the question, its options, and one line on the form of the answer."""
    match item.gold:
        case Choice():
            request = "Answer with the letter of the right option only."
        case Number(_, unit):
            request = f"Answer with one number only{f', in {unit}' if unit else ''}."
        case _:
            request = "Answer with a few words only."
    return "\n".join([item.prompt, *option_lines(item), request])


def strict(
    prompt: Callable[[Item], str] = our_prompt, *, read: Read = read_answer, worth: Worth = standard_worth
) -> Profile:
    """Our own profile, with the published wording where that is short."""
    return Profile(name=STRICT, prompt=prompt, read=read, worth=worth)


def choice_of_letter(letter: str, item: Item) -> Choice | Unreadable:
    """The option with a letter, in any case."""
    index = ord(letter.upper()) - ord("A")
    if 0 <= index < len(item.choices):
        return Choice(index)
    return Unreadable(f"{letter} is none of the options A-{letter_of(len(item.choices) - 1)}")


def chance_of_options(item: Item) -> float | None:
    """1 / number of options; None where there are none."""
    return 1 / len(item.choices) if isinstance(item.gold, Choice) and item.choices else None
