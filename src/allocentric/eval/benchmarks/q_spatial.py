"""Q-Spatial Bench: how far or how large, in any unit, right within a factor of two; 271 questions.

arXiv 2409.09788, andrewliao11/Q-Spatial-Bench-code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from allocentric.core.parsing import read_number
from allocentric.core.types import Answer, Item, Number, Sampling, Unreadable
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks._profiles import (
    STRICT,
    Profile,
    Worth,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark
from allocentric.eval.benchmarks._rows import Row
from allocentric.eval.benchmarks._sources import Source

REPOSITORY = "andrewliao11/Q-Spatial-Bench"
COUNTS = {"QSpatial_plus": 101, "QSpatial_scannet": 170}
CELLS = {kind: kind for kind in COUNTS}
SYSTEM = (
    "You will be provided with a question and a 2D image. The question involves measuring the precise distance in 3D "
    "space through a 2D image. You will answer the question by providing a numeric answer consisting of a scalar and "
    'a distance unit in the format of """\\scalar{scalar} \\distance_unit{distance unit}""" at the end of your '
    "response."
)
"""The published system prompt; it stands before the question here."""
_PUBLISHED_CM = {
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 100.0),
    **dict.fromkeys(("cm", "centimeter", "centimeters"), 1.0),
    **dict.fromkeys(("ft", "foot", "feet"), 30.48),
    **dict.fromkeys(("in", "inch", "inches"), 2.54),
    "mm": 0.1,
}
"""Units that the published scorer knows, in centimetres."""
_CENTIMETRES = {
    **_PUBLISHED_CM,
    **dict.fromkeys(("centimetre", "centimetres"), 1.0),
    **dict.fromkeys(("millimeter", "millimeters", "millimetre", "millimetres"), 0.1),
}
_SCALAR = re.compile(r"scalar\{([^}]*)\}")
_UNIT = re.compile(r"distance_unit\{([^}]*)\}")
_NUMBER = re.compile(r"\d+\.?\d*")
_STEPS = "\nLet's think step by step."
_OBJECTS = "\nLet's thinkg step by step and start by finding good reference objects or object parts in the image."
"""The misspelling is in the published file."""


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """The hub's repository, a folder of it, or a file of its records (QSpatial_plus, QSpatial_scannet)."""
    media: Path | None = None
    """Folder of the ScanNet pictures, which have to be asked for."""


def _item(row: Row) -> Item:
    kind = next((name for name in COUNTS if name in row.file), None)
    if kind is None:
        raise row.error(f"stands in {row.file!r}; expected a file or split named {' or '.join(COUNTS)}")
    value = row.number("answer_value")
    if value <= 0:
        raise row.error(f"field 'answer_value': expected a length > 0, got {value!r}")
    name = row.text("image_path")
    picture = row.value("image") if row.has("image") else name
    return row.item(
        id=f"{kind}/{row.index}",
        kind=kind,
        prompt=row.text("question"),
        gold=Number(value, row.text("answer_unit")),
        scene=name,
        views=row.views(picture),
        question_type=row.text("question_type"),
    )


def _asked(tail: str) -> Callable[[Item], str]:
    return lambda item: f"{SYSTEM}\nQuestion: {item.prompt}{tail}"


def _read(text: str, _: Item) -> Answer | Unreadable:
    """The last scalar{...} (the mean of several numbers in it) and the last distance_unit{...}."""
    scalars, units = _SCALAR.findall(text), _UNIT.findall(text)
    numbers = [float(number) for number in _NUMBER.findall(scalars[-1])] if scalars else []
    if not numbers or not units:
        return Unreadable("no scalar{...} and distance_unit{...}")
    return Number(sum(numbers) / len(numbers), units[-1])


def _within(factor: float, units: Mapping[str, float], *, of_unknown: float | None) -> Worth:
    """1 where the larger of prediction and truth is less than `factor` times the smaller."""

    def worth(answer: Answer, item: Item) -> float:
        assert isinstance(answer, Number)
        assert isinstance(item.gold, Number)
        scale = units.get(answer.unit.lower(), of_unknown)
        true = item.gold.value * _CENTIMETRES.get(item.gold.unit.lower(), 1.0)
        if scale is None or answer.value * scale <= 0:
            return 0.0
        said = answer.value * scale
        return float(max(said / true, true / said) < factor)

    return worth


def _written(item: Item) -> str:
    assert isinstance(item.gold, Number)
    return f"It is \\scalar{{{item.gold.value}}} \\distance_unit{{{item.gold.unit}}}"


def _strict_read(text: str, item: Item) -> Answer | Unreadable:
    found = _read(text, item)
    if isinstance(found, Number):
        return Number(found.value, found.unit.strip())
    assert isinstance(item.gold, Number)
    scale = _CENTIMETRES.get(item.gold.unit.lower())
    number = read_number(text, "cm" if scale is not None else "")
    return Number(number.value, "cm") if isinstance(number, Number) else number


_UNKNOWN_UNIT = "an unknown unit, also a known one with a space or in full (millimeters), counts as centimetres"

DEFINITION = Definition(
    name="q_spatial",
    source=Source(
        repository=REPOSITORY, files=("*QSpatial*.parquet", "data/*.parquet", "*.json*"), split="QSpatial_plus"
    ),
    item=_item,
    cells=CELLS,
    profiles=(
        Profile(
            name="official@723d6e4",
            prompt=_asked(""),
            read=_read,
            worth=_within(2, _PUBLISHED_CM, of_unknown=1.0),
            write=_written,
            sampling=Sampling(max_new_tokens=1024),
            defects=(_UNKNOWN_UNIT,),
        ),
        Profile(
            name="official-steps@723d6e4",
            prompt=_asked(_STEPS),
            read=_read,
            worth=_within(2, _PUBLISHED_CM, of_unknown=1.0),
            write=_written,
            sampling=Sampling(max_new_tokens=1024),
            defects=(_UNKNOWN_UNIT,),
        ),
        Profile(
            name="official-objects@723d6e4",
            prompt=_asked(_OBJECTS),
            read=_read,
            worth=_within(2, _PUBLISHED_CM, of_unknown=1.0),
            write=_written,
            sampling=Sampling(max_new_tokens=1024),
            defects=(_UNKNOWN_UNIT,),
        ),
        Profile(
            name="vlmevalkit@e8e78f0",
            prompt=_asked(""),
            read=_read,
            worth=_within(2, _PUBLISHED_CM, of_unknown=None),
            write=_written,
            sampling=Sampling(max_new_tokens=1024),
        ),
        Profile(
            name=STRICT,
            prompt=_asked(""),
            read=_strict_read,
            worth=_within(2, _CENTIMETRES, of_unknown=None),
            write=_written,
            sampling=Sampling(max_new_tokens=1024),
        ),
    ),
    composite=Nested(cells=CELLS, across="micro"),
    license="Apache-2.0 (code); the terms of ScanNet hold for its pictures",
    citation="arXiv 2409.09788",
    unknown="the hub's revision; the prompt of four steps (spatial_prompt_steps.txt) can be named as `system_prompt`",
    examples=(
        {
            "_file": "QSpatial_plus",
            "question": "How far apart are the cups?",
            "answer_value": 30,
            "image": None,
            "answer_unit": "cm",
            "question_type": "object_distance",
            "image_path": "plus/1.jpg",
        },
        {
            "_file": "QSpatial_scannet",
            "question": "How tall is the door?",
            "answer_value": 2.1,
            "image": None,
            "answer_unit": "meters",
            "question_type": "object_height",
            "image_path": "scannet/2.jpg",
        },
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
