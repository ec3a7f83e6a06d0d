"""Numbers with units in English text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

UNIT_SCALES: dict[str, tuple[str, float]] = {
    "mm": ("length", 0.001),
    "cm": ("length", 0.01),
    "m": ("length", 1.0),
    "km": ("length", 1000.0),
    "inch": ("length", 0.0254),
    "ft": ("length", 0.3048),
    "yd": ("length", 0.9144),
    "cm2": ("area", 0.0001),
    "m2": ("area", 1.0),
    "ft2": ("area", 0.09290304),
}
"""Unit -> dimension, and its size in metres or square metres."""
_SPELLINGS = {
    **dict.fromkeys(("millimeter", "millimetre"), "mm"),
    **dict.fromkeys(("centimeter", "centimetre"), "cm"),
    **dict.fromkeys(("meter", "metre"), "m"),
    **dict.fromkeys(("kilometer", "kilometre"), "km"),
    **dict.fromkeys(("inche", '"'), "inch"),
    **dict.fromkeys(("foot", "feet"), "ft"),
    "yard": "yd",
    "sqcm": "cm2",
    "sqm": "m2",
    "sqft": "ft2",
}
"""Singular as written -> unit."""

_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = {word: value for value, word in enumerate(_SMALL)} | {w: 10 * k for k, w in enumerate(_TENS, start=2)}
_MULTIPLIERS = {"hundred": 100, "thousand": 1000, "dozen": 12}
_WORD = rf"(?:{'|'.join([*_WORDS, *_MULTIPLIERS])})"
_PHRASE = re.compile(rf"{_WORD}(?:(?:\s|-|\sand\s){_WORD}){{0,9}}(?:\sand\sa\shalf)?\b")
_DIGITS = re.compile(r"[-+\u2212]?(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)(?:e[-+]?\d+)?")
_FRACTION = re.compile(r"\s?/\s?(\d+)(?![\d/])")
_SQUARE = re.compile(r"[\s-]?(?:square|sq\.?)[\s-]?")
_UNIT = re.compile(r"[\s-]?([a-z]+|\")([\u00b2\u00b32]|\^2|\s?squared)?(?![\w])")
_STARTS = re.compile(rf"(?<![\w.,])(?=[-+\u2212.]?\d|{_WORD}\b)|(?<=[~$<>=(\[\u2248])(?=[-+.]?\d)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """A number in a text."""

    value: float
    """As written."""
    unit: str
    """Normalised unit of length or area ("cm", "m2"); "" for any other word, or none."""
    start: int
    """Where it starts in the text."""
    end: int
    """Where it ends, unit included."""

    def in_unit(self, unit: str) -> float | None:
        """The value in another unit; as written where either has none; None where the dimensions differ."""
        if unit not in UNIT_SCALES or not self.unit or self.unit == unit:
            return self.value
        (own, scale), (wanted, wanted_scale) = UNIT_SCALES[self.unit], UNIT_SCALES[unit]
        return self.value * scale / wanted_scale if own == wanted else None


def quantities(text: str) -> Iterator[Quantity]:
    """Every number of a text, in digits (1,200.5, 1e3, 3/4, 1,5) or English words (twenty-five, two and a half).

    Digits inside words (bed2, 3D) do not count.
    """
    text = text.lower()
    position = 0
    while (start := _STARTS.search(text, position)) is not None:
        read = _number_at(text, start.start())
        if read is None:
            position = start.start() + 1
            continue
        value, end = read
        unit, unit_end = _unit_at(text, end)
        if unit is None:
            position = unit_end
            continue
        yield Quantity(value=value, unit=unit, start=start.start(), end=unit_end)
        position = unit_end


def _number_at(text: str, start: int) -> tuple[float, int] | None:
    phrase = _PHRASE.match(text, start)
    if phrase is not None:
        return _value_of_words(phrase.group()), phrase.end()
    digits = _DIGITS.match(text, start)
    if digits is None:
        return None
    written = digits.group().replace("\u2212", "-")
    value = float(re.sub(r",(?=\d{3})", "", written) if _has_thousands(written) else written.replace(",", "."))
    fraction = _FRACTION.match(text, digits.end())
    if fraction is not None and float(fraction.group(1)) > 0:
        return value / float(fraction.group(1)), fraction.end()
    return value, digits.end()


def _has_thousands(written: str) -> bool:
    return re.fullmatch(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?(?:e[-+]?\d+)?", written) is not None


def _value_of_words(phrase: str) -> float:
    total, current = 0.0, 0.0
    words = phrase.removesuffix(" and a half").replace("-", " ").split()
    for word in words:
        if word in _MULTIPLIERS:
            current = max(current, 1.0) * _MULTIPLIERS[word]
            if word == "thousand":
                total, current = total + current, 0.0
        elif word != "and":
            current += _WORDS[word]
    return total + current + (0.5 if phrase.endswith(" and a half") else 0.0)


def _unit_at(text: str, end: int) -> tuple[str | None, int]:
    """The unit after a number: "" where another word or nothing follows, None where the digits are part of a word."""
    square = _SQUARE.match(text, end)
    found = _UNIT.match(text, square.end() if square else end)
    if found is not None:
        name = found.group(1) if len(found.group(1)) < 3 else found.group(1).removesuffix("s")  # "ms" are no metres
        name = _SPELLINGS.get(name, name) + ("2" if square or found.group(2) else "")
        if name in UNIT_SCALES:
            return name, found.end()
    if end < len(text) and (text[end].isalnum() or text[end] == "_"):
        return None, end
    return "", end
