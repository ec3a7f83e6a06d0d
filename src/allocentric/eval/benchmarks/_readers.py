"""Published ways of reading an answer that several benchmarks share. Rules only; no text raises."""

from __future__ import annotations

import re

from allocentric.core.types import Choice, Item, Number, Unreadable
from allocentric.eval.benchmarks import _vsi_extraction as vsi
from allocentric.eval.benchmarks._profiles import choice_of_letter

_WORDS = re.compile(r"[a-z0-9]+")
_LEADING_LETTER = re.compile(r"[(\s]*([A-Z])", re.IGNORECASE)
_FIRST_A_TO_D = re.compile(r"\b([A-D])\b", re.IGNORECASE)

NO_LETTER = Unreadable("no option's letter where this scorer looks")


def choice_or(letter: str | Unreadable | None, item: Item) -> Choice | Unreadable:
    """A letter as an option; None is unreadable."""
    if letter is None:
        return NO_LETTER
    return letter if isinstance(letter, Unreadable) else choice_of_letter(letter, item)


def letter_of_first_token(text: str, item: Item) -> Choice | Unreadable:
    """The first word has to be the letter (vision-x-nyu/thinking-in-space@51e089c)."""
    return choice_or(vsi.letter_of_first_token(text), item)


def number_of_first_token(text: str, item: Item) -> Number | Unreadable:
    """The first word has to be the number (vision-x-nyu/thinking-in-space@51e089c)."""
    value = vsi.number_of_first_token(text)
    return value if isinstance(value, Unreadable) else Number(value, unit_of(item))


def leading_letter(text: str, item: Item) -> Choice | Unreadable:
    """The first character after blanks and opening brackets, where it is a letter, also of a word: "The ..." is T.

    EvolvingLMMs-Lab/lmms-eval, tasks/blink and tasks/cv_bench (`_extract_answer_letter`).
    """
    found = _LEADING_LETTER.match(text.strip())
    return choice_or(None if found is None else found.group(1), item)


def first_letter_of_last_line(text: str, item: Item) -> Choice | Unreadable:
    """The first single letter A to D of the last line in any case, so the article "a" is A.

    ZJU-REAL/ViewSpatial-Bench (`extract_option`).
    """
    found = _FIRST_A_TO_D.search(text.split("\n")[-1])
    return choice_or(None if found is None else found.group(1), item)


def yes_or_no(text: str, item: Item) -> Choice | Unreadable:
    """Yes or no (first and second option) where exactly one of the words occurs.

    open-compass/VLMEvalKit (`YOrN_Extraction`).
    """
    words = set(_WORDS.findall(text.lower()))
    yes, no = "yes" in words, "no" in words
    if yes == no:
        return Unreadable("says both yes and no" if yes else "says neither yes nor no")
    del item
    return Choice(0 if yes else 1)


def unit_of(item: Item) -> str:
    """Unit of the right number."""
    return item.gold.unit if isinstance(item.gold, Number) else ""
