"""One published record, read field by field; what is missing or wrong is named with its row."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from allocentric.core.errors import DataError
from allocentric.core.types import Answer, Choice, Item, Number, View
from allocentric.eval.benchmarks._media import Media
from allocentric.eval.benchmarks._sources import FILE, ROW

_LABEL = re.compile(r"\s*\(?([A-Z])\s*[.):]\s?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Row:
    """A record, its place and where its pictures are."""

    record: Mapping[str, Any]
    """As published, with the keys that reading added."""
    where: str
    """File or repository, for messages."""
    media: Media
    """Where names lead."""
    benchmark: str
    """Name of the benchmark."""

    @property
    def file(self) -> str:
        """Stem of the file the record came from, or the split."""
        return str(self.record[FILE])

    @property
    def index(self) -> int:
        """Position in that file."""
        return int(self.record[ROW])

    def error(self, message: str) -> DataError:
        """A DataError that starts with the row."""
        name = next((f" (id {self.record[key]})" for key in ("id", "problem_id", "qid") if self.record.get(key)), "")
        return DataError(f"{self.where}: {self.file} record {self.index}{name} {message}")

    def has(self, field: str) -> bool:
        """Whether the record has a value there."""
        return self.record.get(field) is not None

    def value(self, field: str) -> Any:
        """The value of a field that must be there."""
        if self.record.get(field) is None:
            raise self.error(f"lacks the field {field!r}")
        return self.record[field]

    def text(self, field: str) -> str:
        """Text that is not blank; numbers are written out."""
        value = self.value(field)
        if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
            raise self.error(f"field {field!r}: expected text, got {value!r}")
        return str(value)

    def number(self, field: str) -> float:
        """A finite number, or text of one."""
        value = self.value(field)
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise self.error(f"field {field!r}: expected a number, got {value!r}")
        return number

    def texts(self, field: str) -> tuple[str, ...]:
        """A list of texts, none blank."""
        value = self.value(field)
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise self.error(f"field {field!r}: expected a list, got {value!r}")
        found = tuple(str(part) for part in value)
        if not found or not all(part.strip() for part in found):
            raise self.error(f"field {field!r}: expected texts, got {list(found)!r}")
        return found

    def one_of(self, field: str, known: Iterable[str]) -> str:
        """Text that is one of `known`."""
        value, names = self.text(field), list(known)
        if value not in names:
            raise self.error(f"field {field!r}: expected one of {', '.join(names)}, got {value!r}")
        return value

    def labelled(self, lines: Sequence[str]) -> tuple[str, ...]:
        """Option texts of lines like "A. chair", "(A) chair", "A: chair", which have to count up from A."""
        texts = []
        for index, line in enumerate(lines):
            found = _LABEL.fullmatch(line)
            if found is None or found.group(1) != letter_of(index):
                raise self.error(f"has the option {line!r}; expected one like '{letter_of(index)}. text'")
            texts.append(found.group(2))
        return tuple(texts)

    def letter(self, field: str, count: int) -> Choice:
        """The option whose letter a field names ("B", "(B)", "B. chair")."""
        value = self.text(field).strip()
        found = re.match(r"\(?([A-Z])(?:[.):\s]|$)", value)
        index = ord(found.group(1)) - ord("A") if found else -1
        if not 0 <= index < count:
            raise self.error(f"field {field!r}: expected an option from A to {letter_of(count - 1)}, got {value!r}")
        return Choice(index)

    def choice(self, field: str, choices: Sequence[str]) -> Choice:
        """The first option whose text a field holds."""
        value = str(self.value(field)).strip()
        for index, choice in enumerate(choices):
            if choice.strip() == value:
                return Choice(index)
        raise self.error(f"field {field!r}: {value!r} is none of the options {', '.join(choices)}")

    def quantity(self, field: str, unit: str = "") -> Number:
        """A right number."""
        return Number(self.number(field), unit)

    def views(self, pictures: Any) -> tuple[View, ...]:
        """The pictures of a field, one or a list; none where they are only named and no folder is given."""
        listed = pictures if isinstance(pictures, Sequence) and not isinstance(pictures, str | bytes) else [pictures]
        views = [self.media.view(picture, f"{self.where}: {self.file} record {self.index}") for picture in listed]
        return tuple(view for view in views if view is not None)

    def item(
        self,
        *,
        id: str | None = None,
        kind: str,
        prompt: str,
        gold: Answer,
        choices: Sequence[str] = (),
        scene: str,
        views: Sequence[View] = (),
        video: str | None = None,
        **extra: Any,
    ) -> Item:
        """An item of this row. `id` None takes "<file>/<row>", as most benchmarks number nothing."""
        where = f"{self.where}: {self.file} record {self.index}"
        return Item(
            id=f"{self.file}/{self.index}" if id is None else id,
            kind=kind,
            prompt=prompt,
            choices=tuple(choices),
            gold=gold,
            views=tuple(views),
            video=None if video is None else self.media.path(video, where),
            scene_id=scene,
            source=self.benchmark,
            extra=extra,
        )


_WITHIN = re.compile(r"(?:^|(?<=[\s,;(]))\(?([A-H])[.:)]\s")


def options_within(question: str, letters: str = "ABCD") -> tuple[str, ...]:
    """Options written into a question ("... A. left B. right", "Options: A: left, B: right").

    Where they can't be told apart, "option A", "option B" ... for every letter of `letters`.
    """
    found = list(_WITHIN.finditer(question))
    while found and "".join(mark.group(1) for mark in found) != "ABCDEFGH"[: len(found)]:
        found = found[1:]  # letters before the options belong to the question
    if len(found) < 2:
        return tuple(f"option {letter}" for letter in letters)
    ends = [*(mark.start() for mark in found[1:]), len(question)]
    texts = [question[mark.end() : end].strip(" ,;\n") for mark, end in zip(found, ends, strict=True)]
    return tuple(texts) if all(texts) and len(set(texts)) == len(texts) else options_within("", letters)


def letter_of(index: int) -> str:
    """Option letter of a position, "A" for 0."""
    return chr(ord("A") + index)
