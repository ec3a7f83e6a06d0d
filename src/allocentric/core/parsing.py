r"""A model's text -> an answer, or the reason why none can be read.

One careful reader for everything that has no published scorer. It reads what a person would accept as an answer and
refuses to guess: several options, several numbers or a range are unreadable, not wrong. Reasoning in <think> is left
out; a final <answer> block or \boxed{} wins over the rest. No text raises, and time is linear in the text.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

from allocentric.core.quantities import Quantity, quantities
from allocentric.core.types import Answer, Boxes, Choice, Item, Number, Order, Path2D, Text, Unreadable

_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))
_THINK_CLOSES = re.compile(r"</\s*think(?:ing)?\s*>", re.IGNORECASE)
_THINK_OPENS = re.compile(r"<\s*think(?:ing)?\s*>", re.IGNORECASE)
_ANSWER_OPENS = re.compile(r"<\s*answer\s*>", re.IGNORECASE)
_ANSWER_CLOSES = re.compile(r"<\s*/\s*answer\s*>", re.IGNORECASE)
_MARKUP = str.maketrans("", "", "*`$")

# -------------------------------------------------------------------------------------------------------------- entry


def read_answer(text: str, item: Item) -> Answer | Unreadable:
    """Read an answer of the kind of the item's gold answer.

    Raises:
        TypeError: there is no reader for this kind (options, numbers, texts, orders, boxes and paths have one).
    """
    match item.gold:
        case Choice():
            return read_choice(text, item.choices)
        case Number(_, unit):
            return read_number(text, unit)
        case Text():
            return read_text(text)
        case Order(labels):
            return read_order(text, labels)
        case Boxes():
            return read_boxes(text)
        case Path2D():
            return read_path(text)
    raise TypeError(f"no reader for answers like {item.gold!r}")


def final_part(text: str) -> str | Unreadable:
    r"""What a text says in the end.

    Thinking is left out, then the last <answer> block (closed or not) or else the last \boxed{} is taken, else
    everything. Invisible characters and Markdown emphasis are removed. Unreadable where nothing is left.
    """
    text = text.translate(_INVISIBLE)
    closed = _last(_THINK_CLOSES, text)
    if closed is not None:
        text = text[closed.end() :]
    elif (opened := _THINK_OPENS.search(text)) is not None:
        text = text[: opened.start()]
        if not text.strip():
            return Unreadable("the text ends while thinking")
    tag = _last(_ANSWER_OPENS, text)
    if tag is not None:
        rest = text[tag.end() :]
        closing = _ANSWER_CLOSES.search(rest)
        text = rest if closing is None else rest[: closing.start()]
    elif (boxed := _last_boxed(text)) is not None:
        text = boxed
    text = text.translate(_MARKUP).strip()
    return text or Unreadable("the text is empty")


def read_text(text: str) -> Text | Unreadable:
    """The final part with single spaces and without a dot at its end."""
    part = final_part(text)
    if isinstance(part, Unreadable):
        return part
    return Text(" ".join(part.split()).removesuffix(".").strip()) if part.strip(". ") else Unreadable("no words")


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(iter(deque(pattern.finditer(text), maxlen=1)), None)


def _last_boxed(text: str) -> str | None:
    r"""Content of the last \boxed{...} or \boxed{\text{...}}, without nested braces."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    end = text.find("}", start)
    content = text[start + len("\\boxed{") : end if end >= 0 else len(text)]
    return content.removeprefix("\\text{").removeprefix("\\mathrm{")


# ------------------------------------------------------------------------------------------------------------ options

_LABEL_AT_START = re.compile(r"[(\[]?([A-Z])(?:[)\].:]|\s*$|\s*\n|\s+-\s)")
_LONE_LETTER = re.compile(r"[(\[{\"']?\s?([A-Za-z])\s?[)\]}\"']?[.:,!]?")
_CUE = re.compile(
    r"\b(?:answer|option|choice|choose|pick|select|go with)\b(?:\s+(?:is|would be|must be|should be))?"
    r"(?:\s+(?:option|choice|letter|the letter|definitely|clearly|probably))?"
    r"\s?[:=]?\s?\\?[(\[\"']?\s?([A-Za-z])(?![\w-]|'\w)",
    re.IGNORECASE,
)
_BRACKETED = re.compile(r"[(\[]([A-Z])[)\]]")
_STANDALONE = re.compile(r"(?<![\w'-])([A-Z])(?![\w-]|'\w)")
_ARTICLE = re.compile(r"A\s+[a-z]")
_REASON = re.compile(r"\s+(?:or|because|as|since|is|which|and|for|with|due|based)\b")
_ALTERNATIVE = re.compile(r"\s*(?:or|and|/)\s*[(\[]?([A-Z])(?![\w-]|'\w)")
_FINAL = re.compile(
    r"(?:\bfinal\s+(?:answer|choice)\b(?:\s+(?:is|was|could be|would be|should be|must be)\b|(?=\s?[:=]))"
    r"|(?:\u6700\u7ec8)?\u7b54\u6848[\u662f\u4e3a]?)\s?[:\uff1a=]?",
    re.IGNORECASE,
)
_SAYS_LETTER = re.compile(
    r"[\W_]*(?:(?:option|choice|letter|definitely|clearly|probably)\s+)?[(\[{\"']?\s?([A-Z])(?![\w/-]|'\w)",
    re.IGNORECASE,
)
_OTHER_LETTER = re.compile(r"(?:\b(?:or|and|otherwise|either)\b|/)\s?[(\[\"']?([A-Z])(?![\w-]|'\w)")
_CONDITION = re.compile(r"\b(?:if|or|otherwise|depending|assuming|without)\b", re.IGNORECASE)
_NOT_AVAILABLE = re.compile(r"\bn/a\b", re.IGNORECASE)
_WORDS = re.compile(r"[\w'-]+")
NO_OPTION = Unreadable("names no option")
"""Read from a text whose conclusion is none of the options."""


def read_choice(text: str, choices: Sequence[str]) -> Choice | Unreadable:
    """Read which option is meant.

    In this order: the text is an option's letter, or starts with a label ("B. table", "(b)"); what follows the last
    "final answer is" or "final answer:", unreadable where that names no option, several ("B or C"), or one per
    condition; "the answer is B", "option C", the last such phrase; the text is an option's text; letters in brackets,
    if all agree; the only option whose text occurs as whole words (longer options first, so "front-left" does not name
    "left"); the only capital letter that stands alone, not counting the article "A".

    Args:
        text: Raw text.
        choices: Option texts without letters, at most 26.
    """
    part = final_part(text)
    if isinstance(part, Unreadable):
        return part
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(choices)]
    found = _labelled(part, letters) or _concluded(part, choices, letters) or _cued(part, letters)
    if found is None:
        found = _exact_option(part, choices)
    if found is None:
        found = _agreeing(_BRACKETED.findall(part), letters)
    if found is None:
        found = _mentioned_option(part, choices)
    if found is None:
        capitals = [m.group(1) for m in _STANDALONE.finditer(part) if _names_letter(part, m.start(), letters)]
        found = _agreeing(capitals, letters)
    return found or NO_OPTION


def _labelled(part: str, letters: str) -> Choice | Unreadable | None:
    lone = _LONE_LETTER.fullmatch(part) if len(part) < 8 else None
    if lone is not None:
        return _choice_of(lone.group(1), letters)
    label = _LABEL_AT_START.match(part)
    if label is None or label.group(1) not in letters:
        return None
    if (other := _ALTERNATIVE.match(part, label.end())) is not None:
        return _agreeing([label.group(1), other.group(1)], letters)
    return _choice_of(label.group(1), letters)


def _concluded(part: str, choices: Sequence[str], letters: str) -> Choice | Unreadable | None:
    """What the final answer is said to be; None where no final answer is announced."""
    ends = [cue.end() for cue in _FINAL.finditer(part)]
    if not ends:
        return None
    found = _announced_option(part, ends[-1], choices, letters)
    if isinstance(found, Choice) and len(ends) > 1:
        earlier = _announced_option(part, ends[-2], choices, letters)
        if isinstance(earlier, Choice) and earlier != found and _CONDITION.search(part, ends[-2]):
            return Unreadable("gives a different final answer under each condition")
    return found


def _announced_option(part: str, start: int, choices: Sequence[str], letters: str) -> Choice | Unreadable:
    """The option named on the rest of the line from `start`, or on the next line where that is empty."""
    lines = (line for line in part[start:].split("\n") if _WORDS.search(line))
    said = _NOT_AVAILABLE.sub(" ", next(lines, ""))
    first = _SAYS_LETTER.match(said)
    if first is not None and _names_letter(said, first.start(1), letters):
        others = {other.group(1) for other in _OTHER_LETTER.finditer(said, first.end(1))} & set(letters)
        return _agreeing([first.group(1).upper(), *others], letters) or NO_OPTION
    capitals = [one.group(1) for one in _STANDALONE.finditer(said) if _names_letter(said, one.start(), letters)]
    return (
        _agreeing(capitals, letters) or _exact_option(said, choices) or _mentioned_option(said, choices) or NO_OPTION
    )


def _cued(part: str, letters: str) -> Choice | Unreadable | None:
    cues = [cue for cue in _CUE.finditer(part) if _names_letter(part, cue.start(1), letters)]
    if not cues:
        return None
    other = _ALTERNATIVE.match(part, cues[-1].end(1))
    if other is not None and other.group(1) in letters:
        return _agreeing([cues[-1].group(1).upper(), other.group(1)], letters)
    return _choice_of(cues[-1].group(1), letters)


def _names_letter(part: str, start: int, letters: str) -> bool:
    """Whether the letter at `start` is an option's: no article, and in lower case not the start of more prose."""
    letter, rest = part[start], part[start + 1 : start + 3]
    if letter.upper() not in letters:
        return False
    if letter.isupper():
        return _ARTICLE.match(part, start) is None or _REASON.match(part, start + 1) is not None
    return not (rest[:1].isspace() and rest[1:2].isalnum())


def _exact_option(part: str, choices: Sequence[str]) -> Choice | None:
    plain = _plain(part)
    same = [index for index, choice in enumerate(choices) if _plain(choice) == plain]
    return Choice(same[0]) if len(same) == 1 and plain else None


def _mentioned_option(part: str, choices: Sequence[str]) -> Choice | Unreadable | None:
    words = _plain(part)
    mentioned = []
    for index in sorted(range(len(choices)), key=lambda k: -len(choices[k])):
        option = _plain(choices[index])
        if option and f" {option} " in f" {words} ":
            mentioned.append(index)
            words = f" {words} ".replace(f" {option} ", " | ").strip()
    if len(mentioned) > 1:
        named = ", ".join(sorted(choices[index] for index in mentioned))
        return Unreadable(f"names several options: {named}")
    return Choice(mentioned[0]) if mentioned else None


def _plain(text: str) -> str:
    """Lower-case words with single spaces; hyphens stay inside words."""
    return " ".join(_WORDS.findall(text.casefold()))


def _agreeing(found: Sequence[str], letters: str) -> Choice | Unreadable | None:
    named = sorted(set(found) & set(letters))
    if len(named) > 1:
        return Unreadable(f"names several options: {', '.join(named)}")
    return _choice_of(named[0], letters) if named else None


def _choice_of(letter: str, letters: str) -> Choice | Unreadable:
    index = letters.find(letter.upper())
    return Choice(index) if index >= 0 else Unreadable(f"{letter} is none of the options {letters[:1]}-{letters[-1:]}")


# ------------------------------------------------------------------------------------------------------------ numbers

_SAME = 0.03  # relative difference up to which a number said again in another unit is the same number
_CUE_REACH = 40  # characters between a cue and the number it announces
_NUMBER_CUE = re.compile(
    r"\b(?:answer|total|therefore|thus|hence|so|estimate[ds]?|conclude|conclusion|equals?)\b|[=\u2248]", re.IGNORECASE
)
_RANGE = re.compile(r"\s?(?:-|\u2013|\u2014|~|\bto\b|\bor\b|\bup to\b)\s?", re.IGNORECASE)
_RANGE_OPENS = re.compile(r"\b(?:between|from)\s{0,3}$", re.IGNORECASE)
_RANGE_MIDDLE = re.compile(r"\s?(?:and|to)\s?", re.IGNORECASE)


def read_number(text: str, unit: str = "") -> Number | Unreadable:
    """Read the one number that a text gives as its answer, in `unit`.

    Numbers may be digits or English words. Lengths and areas are converted ("250 cm" is 2.5 m); a number without a
    unit is taken in `unit`. Of several different numbers the one announced last ("the answer is", "so", "=") counts,
    else those with a unit where one is asked for, if they agree, else a line that holds nothing but a number.

    Args:
        text: Raw text.
        unit: What the question asks for: "" (a count), "m", "cm", "m2" ...

    Returns:
        A finite number, or Unreadable: no number, a range, several numbers, a length where an area is asked for.
    """
    part = final_part(text)
    if isinstance(part, Unreadable):
        return part
    found = list(quantities(part))
    fitting = [(quantity, value) for quantity in found if (value := quantity.in_unit(unit)) is not None]
    if not fitting:
        return Unreadable(f"gives {found[0].unit}, not {unit}" if found else "no number in the text")
    chosen = _announced(part, fitting) or _only_one(fitting) or _only_one(_with_unit(fitting, unit))
    chosen = chosen or _only_one([(q, value) for q, value in fitting if _fills_line(part, q)])
    every = [quantity for quantity, _ in fitting]
    around = every if chosen is None else _neighbours(every, chosen[0])
    if any(_are_range(part, first, second) for first, second in pairwise(around)):
        return Unreadable("gives a range, not one number")
    if chosen is None:
        return Unreadable("gives several numbers: " + ", ".join(f"{value:g}" for _, value in fitting[:4]))
    value = chosen[1]
    return Number(value, unit) if math.isfinite(value) else Unreadable("the number is too large")


_Reading: TypeAlias = tuple[Quantity, float]


def _announced(part: str, fitting: Sequence[_Reading]) -> _Reading | None:
    chosen = None
    following = iter(fitting)
    current = next(following, None)
    for cue in _NUMBER_CUE.finditer(part):
        while current is not None and current[0].start < cue.end():
            current = next(following, None)
        if current is not None and current[0].start - cue.end() <= _CUE_REACH:
            chosen = current
    return chosen


def _only_one(fitting: Sequence[_Reading]) -> _Reading | None:
    if fitting and all(math.isclose(value, fitting[0][1], rel_tol=1e-9) for _, value in fitting):
        return fitting[0]
    return None


def _with_unit(fitting: Sequence[_Reading], unit: str) -> list[_Reading]:
    """The readings with a unit; where all of them mean about the same, those written in the unit asked for."""
    known = [(quantity, value) for quantity, value in fitting if quantity.unit]
    exact = [(quantity, value) for quantity, value in known if quantity.unit == unit]
    if exact and all(math.isclose(value, exact[0][1], rel_tol=_SAME) for _, value in known):
        return exact
    return known


def _fills_line(part: str, quantity: Quantity) -> bool:
    """Whether nothing but a number stands on its line (looking no further than a short line)."""
    before = part[max(0, quantity.start - _CUE_REACH) : quantity.start].rpartition("\n")
    after = part[quantity.end : quantity.end + _CUE_REACH].partition("\n")
    starts = bool(before[1]) or quantity.start < _CUE_REACH
    ends = bool(after[1]) or quantity.end + _CUE_REACH >= len(part)
    return starts and ends and not before[2].strip(" \t(~") and not after[0].strip(" \t.)")


def _neighbours(every: Sequence[Quantity], chosen: Quantity) -> Sequence[Quantity]:
    index = next(k for k, other in enumerate(every) if other is chosen)
    return every[max(0, index - 1) : index + 2]


def _are_range(part: str, first: Quantity, second: Quantity) -> bool:
    if first.value == second.value:
        return False
    link = part[first.end : second.start]
    if _RANGE_OPENS.search(part[max(0, first.start - 12) : first.start]):
        return _RANGE_MIDDLE.fullmatch(link) is not None
    return _RANGE.fullmatch(link) is not None


# ------------------------------------------------------------------------------------------------------------- orders


def read_order(text: str, labels: Sequence[str]) -> Order | Unreadable:
    """The order in which a text first mentions all of `labels` (longer ones first, as whole words, in any case)."""
    part = final_part(text)
    if isinstance(part, Unreadable):
        return part
    words = f" {_plain(part)} "
    place = {}
    for label in sorted(labels, key=len, reverse=True):
        option = f" {_plain(label)} "
        place[label] = words.find(option)
        if place[label] < 0:
            return Unreadable(f"does not mention {label!r}")
        words = words.replace(option, " " + "|" * (len(option) - 2) + " ")
    return Order(tuple(sorted(labels, key=lambda label: place[label])))


# ----------------------------------------------------------------------------------------------------- boxes and paths

_GROUP = re.compile(r"[\[(]([^\[\]()]{1,200})[\])]")
_COORDINATE = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*")


def read_boxes(text: str) -> Boxes | Unreadable:
    """Every bracketed group of four numbers, (x0, y0, x1, y1) with x0 <= x1 and y0 <= y1, in order."""
    groups = _groups(text, 4)
    if isinstance(groups, Unreadable):
        return groups
    boxes = tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in groups)
    if any(x0 > x1 or y0 > y1 for x0, y0, x1, y1 in boxes):
        return Unreadable("a box ends before it begins")
    return Boxes(boxes)


def read_path(text: str) -> Path2D | Unreadable:
    """Every bracketed pair of numbers, (x, y), in order."""
    groups = _groups(text, 2)
    return groups if isinstance(groups, Unreadable) else Path2D(tuple((x, y) for x, y in groups))


def _groups(text: str, size: int) -> list[list[float]] | Unreadable:
    part = final_part(text)
    if isinstance(part, Unreadable):
        return part
    found = []
    for group in _GROUP.finditer(part):
        numbers = [_COORDINATE.fullmatch(number) for number in group.group(1).split(",")]
        if len(numbers) == size and all(numbers):
            found.append([float(number.group(1)) for number in numbers if number is not None])
    return found or Unreadable(f"no {size} numbers in brackets")
