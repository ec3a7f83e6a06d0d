"""What every published benchmark is made of, so that its own file holds only what is its own.

A benchmark's file declares where the records are, how a record becomes an item, the scoring profiles, the average, the
scores others have published, and a few invented records in the published format that the contract tests load.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from allocentric.core import config
from allocentric.core.errors import DataError, SettingsError, UserError, suggestion
from allocentric.core.records import answer_to_record, digest
from allocentric.core.types import FloatArray, Item, Sampling, Scene, Score
from allocentric.eval.aggregation import Composite, Sums, partial
from allocentric.eval.benchmarks._media import Media, check_files, media_folder
from allocentric.eval.benchmarks._profiles import Profile, chance_of_options
from allocentric.eval.benchmarks._rows import Row
from allocentric.eval.benchmarks._sources import Record, Source, read_records, text_of_file


class Settings(config.Settings):
    """What is asked. Benchmarks add their own subsets."""

    dataset: str
    """A Hugging Face repository, a folder with the published files, or one such file."""
    revision: str | None = None
    """Commit of the repository (40 digits); unused for local files."""
    media: Path | None = None
    """Folder in which the records' picture and video names lead somewhere, or a zip of it; None asks without them."""
    kinds: tuple[str, ...] = ()
    """Only these question types; empty takes all."""
    ids: Path | None = None
    """Text file with one item id a line (a "tiny" set); a second word on a line is the row's digest, which is checked.
    Needs `ids_sha256`."""
    ids_sha256: str | None = None
    """SHA-256 of that file: sets of the same name differ."""
    row_count: int | None = None
    """Number of records that must be there."""
    sha256: str | None = None
    """Content hash the items must have, as a report or an earlier run printed it."""
    partial: bool = False
    """Average over the types and columns that occur; otherwise a plain mean of columns needs all of them."""
    system_prompt: Path | None = None
    """File with the official system prompt, put before the question; None asks without one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedScore:
    """One published row."""

    name: str
    """Model or baseline."""
    overall: float | None
    """As printed, in percent; None where it is not."""
    cells: Mapping[str, float] = field(default_factory=dict)
    """By leaderboard column, in percent, as far as printed."""
    subset: str = "full"
    """Which questions."""
    scorer: str = "official"
    """Whose scorer."""
    source: str
    """Where it stands."""
    note: str = ""
    """What is odd about it."""


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A published benchmark."""

    name: str
    """As in the catalog."""
    source: Source
    """Where its records are."""
    item: Callable[[Row], Item | Sequence[Item] | None]
    """A record -> an item or several; None for records that are not questions of this set."""
    finish: Callable[[list[Item]], list[Item]] | None = None
    """What is done to all items at once, in order (earlier turns of a dialogue)."""
    read: Callable[[str], tuple[list[Record], str]] | None = None
    """Reads `dataset` where the records are in no usual file; None reads what `source` says."""
    cells: Mapping[str, str]
    """Question type -> column of the leaderboard; empty where the records alone say which types there are."""
    profiles: tuple[Profile, ...]
    """The first is the default."""
    composite: Composite
    """The published average."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Published number of questions by type, as far as known; checked where the whole set is loaded from the hub."""
    chance: Callable[[Item], float | None] = chance_of_options
    """Expected score of a uniform guess."""
    license: str
    """Of the data: SPDX id, or what is known of it."""
    citation: str
    """arXiv number or venue."""
    published: tuple[PublishedScore, ...] = ()
    """Scores of others."""
    unknown: str = ""
    """What was looked for and not found, in one sentence."""
    examples: tuple[Record, ...] = ()
    """Invented records in the published format; `_file` where the benchmark has several files."""


class PublishedBenchmark:
    """Implements `eval.protocol.Benchmark` for a definition."""

    def __init__(self, definition: Definition, settings: Settings) -> None:
        _check_settings(definition, settings)
        self.definition = definition
        self.name: str = definition.name
        self.profiles: tuple[str, ...] = tuple(profile.name for profile in definition.profiles)
        self.cells: Mapping[str, str] = definition.cells
        self.published: tuple[PublishedScore, ...] = definition.published
        self._settings = settings
        self._by_name = {profile.name: profile for profile in definition.profiles}

    def items(self) -> list[Item]:
        """Every item, in the published order.

        Raises:
            DataError: records, pictures or videos are missing, damaged or not what they should be.
        """
        return self._items

    @cached_property
    def _items(self) -> list[Item]:
        settings, definition = self._settings, self.definition
        if definition.read is not None:
            records, where = definition.read(settings.dataset)
        else:
            records, where = read_records(settings.dataset, definition.source, revision=settings.revision)
        if settings.row_count is not None and len(records) != settings.row_count:
            raise DataError(f"{where}: expected {settings.row_count} records, found {len(records)}; the data changed")
        media = Media(None if settings.media is None else media_folder(settings.media))
        rows = (Row(record, where, media, definition.name) for record in records)
        items = [item for row in rows for item in _as_items(definition.item(row))]
        _check_ids(items, where)
        if definition.finish is not None:
            items = definition.finish(items)
        if settings.dataset == definition.source.repository:
            _check_counts(items, definition.counts, where)
        if settings.kinds:
            items = [item for item in items if item.kind in settings.kinds]
        if settings.ids is not None:
            items = listed(items, settings.ids, settings.ids_sha256)
        if not items:
            raise DataError(f"{where}: no questions are left with these settings")
        _check_hash(items, settings.sha256, where)
        if media.folder is not None:
            check_files(items, f"`media` has to hold the names of {where}")
        return items

    def prompt_text(self, item: Item, profile: str) -> str:
        """The user text as the profile's origin words it, after the system prompt's file where one is named."""
        text = self.profile(profile).prompt(item)
        return text if self._system_prompt is None else f"{self._system_prompt}\n{text}"

    @cached_property
    def _system_prompt(self) -> str | None:
        path = self._settings.system_prompt
        return None if path is None else text_of_file(path).strip()

    def profile(self, name: str) -> Profile:
        """A profile by name. SettingsError with a suggestion for an unknown one."""
        if name not in self._by_name:
            raise SettingsError(f"{self.name} has no profile {name!r}" + suggestion(name, self._by_name))
        return self._by_name[name]

    def sampling(self, profile: str) -> Sampling:
        """Decoding settings of the profile."""
        return self.profile(profile).sampling

    def score(self, item: Item, text: str, profile: str) -> Score:
        """Score a raw text as the profile says; `value` is None where it leaves the item out."""
        return self.profile(profile).score(item, text, self.definition.chance(item))

    def composite(self, items: Sequence[Item], values: FloatArray) -> Sums:
        """The published average, before it is taken."""
        composite = self.definition.composite
        return (partial(composite) if self._settings.partial else composite)(items, values)

    def chance(self, item: Item) -> float | None:
        """Expected score of a uniform guess; None where none is defined."""
        return self.definition.chance(item)

    def fingerprint(self) -> dict[str, Any]:
        """Row count and SHA-256 over (id, question, options, right answer), licence, and the system prompt's file."""
        found = fingerprint(self.items())
        if self.definition.counts:
            found["published_row_count"] = sum(self.definition.counts.values())
        path = self._settings.system_prompt
        used = "none" if path is None else f"{path.name} sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
        return {**found, "license": self.definition.license, "system_prompt": used}

    def scene(self, scene_id: str) -> Scene | None:
        """None: no geometry is published with the questions."""
        del scene_id
        return None


def fingerprint(items: Sequence[Item]) -> dict[str, Any]:
    """`{"row_count", "sha256"}` over (id, question, options, right answer) of every item, in order."""
    return {"row_count": len(items), "sha256": digest([_content(item) for item in items])}


def row_digest(item: Item) -> str:
    """What pins one row in a list of ids (16 hexadecimal digits)."""
    return digest(_content(item), length=16)


def listed(items: Sequence[Item], path: Path, sha256: str | None) -> list[Item]:
    """The items of an id list, in the published order.

    Raises:
        DataError: the list is not the one with this hash, names an id twice or one that is not there, or pins other
            content for a row.
    """
    text = text_of_file(path)
    actual = hashlib.sha256(path.read_bytes()).hexdigest()
    if sha256 is None:
        raise SettingsError(f"ids needs ids_sha256, as sets of the same name differ; {path} has {actual}")
    if actual != sha256:
        raise DataError(f"{path} is another list: expected SHA-256 {sha256}, got {actual}")
    known = {item.id: item for item in items}
    wanted: set[str] = set()
    for number, line in enumerate(text.splitlines(), start=1):
        name, *rest = line.split()[:2] or [""]
        if not name:
            continue
        if name not in known:
            raise DataError(f"{path} line {number}: the data has no item {name!r}")
        if name in wanted:
            raise DataError(f"{path} line {number}: the item {name!r} is listed twice")
        if rest and rest[0] != row_digest(known[name]):
            raise DataError(f"{path} line {number}: the item {name!r} has changed since the list was made")
        wanted.add(name)
    return [item for item in items if item.id in wanted]


def facts(definition: Definition) -> list[str]:
    """What `allocentric show` prints beside the settings: profiles with their defects, licence, published scores."""
    lines = [f"license: {definition.license}", f"source: {definition.citation}"]
    for profile in definition.profiles:
        lines.append(f"profile {profile.name}" + (":" if profile.defects else ""))
        lines += [f"  known defect: {defect}" for defect in profile.defects]
    for row in definition.published:
        cells = ", ".join(f"{name} {value:g}" for name, value in row.cells.items())
        score = " ".join(part for part in ("" if row.overall is None else f"{row.overall:g}", cells) if part)
        note = f"; {row.note}" if row.note else ""
        lines.append(f"published: {row.name} {score} ({row.scorer}, {row.subset}, {row.source}{note})")
    return [*lines, f"not found: {definition.unknown}"] if definition.unknown else lines


def refuse(name: str, reason: str) -> NoReturn:
    """What building a benchmark without public data or scorer ends with."""
    raise UserError(f"{name} can't be run: {reason}")


def _as_items(made: Item | Sequence[Item] | None) -> Sequence[Item]:
    if made is None:
        return ()
    return (made,) if isinstance(made, Item) else made


def _content(item: Item) -> list[Any]:
    return [item.id, item.prompt, list(item.choices), answer_to_record(item.gold)]


def _check_settings(definition: Definition, settings: Settings) -> None:
    for kind in settings.kinds:
        if definition.cells and kind not in definition.cells:
            raise SettingsError(
                f"{definition.name} has no question type {kind!r}" + suggestion(kind, definition.cells)
            )
    if settings.ids_sha256 is not None and settings.ids is None:
        raise SettingsError("ids_sha256 is given without ids, the list it belongs to")


def _check_ids(items: Sequence[Item], where: str) -> None:
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise DataError(f"{where}: the id {item.id} occurs twice")
        seen.add(item.id)


def _check_counts(items: Sequence[Item], counts: Mapping[str, int], where: str) -> None:
    found = Counter(item.kind for item in items)
    for kind, count in counts.items():
        if found[kind] != count:
            raise DataError(
                f"{where}: expected the published {count} questions of type {kind!r}, found {found[kind]}; "
                "the data changed: pin another revision or give a local copy"
            )


def _check_hash(items: Sequence[Item], sha256: str | None, where: str) -> None:
    if sha256 is not None and (actual := fingerprint(items)["sha256"]) != sha256:
        raise DataError(
            f"{where}: the items have SHA-256 {actual}, expected {sha256}; the data or the settings changed"
        )
