"""How an environment asks an item and judges what is said: the readers and scores are those of `core`."""

from __future__ import annotations

from collections.abc import Iterable
from string import ascii_uppercase

from allocentric.core.errors import DataError
from allocentric.core.parsing import read_answer
from allocentric.core.scoring import score
from allocentric.core.types import Choice, Item, Number, Order, Score, Text

LONGEST_ANSWER = 4096
"""Characters of an answer; longer ones are cut before they are read."""


def question_text(item: Item) -> str:
    """The question and its options with letters, without answering instructions."""
    options = [f"{ascii_uppercase[index]}. {text}" for index, text in enumerate(item.choices)]
    return "\n".join([item.prompt, *options])


def judge(item: Item, answer: str) -> Score:
    """Worth of an answering text; an unreadable one is worth 0 and stays unreadable."""
    read = read_answer(answer[:LONGEST_ANSWER], item)
    return score(read, item.gold, option_count=len(item.choices) or None)


def check_items(items: Iterable[Item]) -> tuple[Item, ...]:
    """The items; DataError where one has an answer that texts are not read for."""
    checked = tuple(items)
    for item in checked:
        if not isinstance(item.gold, Choice | Number | Text | Order):
            raise DataError(
                f"item {item.id}: answers like {type(item.gold).__name__} can't be said in a text; "
                "expected an option, a number, a text or an order"
            )
    return checked
