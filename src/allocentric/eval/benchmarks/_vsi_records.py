"""Published VSI-Bench records -> items: from the Hugging Face hub, a snapshot of it, or one file.

A record is `{"id", "dataset", "scene_name", "question_type", "question", "options", "ground_truth"}`, newer files add
`pruned`; the video is `{dataset}/{scene_name}.mp4`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from allocentric.core.errors import DataError, SettingsError, suggestion
from allocentric.core.records import json_bytes_of_texts, parse_json
from allocentric.core.types import Answer, Choice, Item, Number
from allocentric.eval.benchmarks._vsi_profiles import letter_of, option_lines

Subset: TypeAlias = Literal["full", "debiased", "pruned"]

REPOSITORY = "nyu-visionx/VSI-Bench"
"""Hugging Face data set."""
REVISION = "bdcadb3fea447621a828a24911801faba3587c12"
"""Its state with the subsets of arXiv 2511.04655 (2,768 of 5,130 questions pruned)."""
PUBLISHED_COUNTS: dict[str, int] = {
    "object_counting": 565,
    "object_abs_distance": 834,
    "object_size_estimation": 953,
    "room_size_estimation": 288,
    "object_rel_distance": 710,
    "object_rel_direction_easy": 217,
    "object_rel_direction_medium": 378,
    "object_rel_direction_hard": 373,
    "route_planning": 194,
    "obj_appearance_order": 618,
}
"""Questions by type in the full set; 5,130 in all, about 288 videos."""
NUMERIC_UNITS: dict[str, str] = {
    "object_counting": "",
    "object_abs_distance": "m",
    "object_size_estimation": "cm",
    "room_size_estimation": "m2",
}
"""Types answered by a number, and the unit the question asks for. The others have options."""
CELLS: dict[str, str] = {
    kind: "object_rel_direction" if kind.startswith("object_rel_direction") else kind for kind in PUBLISHED_COUNTS
}
"""Question type -> column of the leaderboard: three difficulties share one, so ten types make eight columns."""

_FIELDS = ("id", "dataset", "scene_name", "question_type", "question", "ground_truth")
_LETTERS = 26
"""Options a question may have: A to Z."""
_REPOSITORY_NAME = re.compile(r"[\w.-]+/[\w.-]+")


# ------------------------------------------------------------------------------------------------------------- reading


def read_records(dataset: str, *, revision: str, subset: Subset) -> tuple[list[dict[str, Any]], str]:
    """Records of a subset and where they came from.

    Args:
        dataset: A .jsonl or .parquet file, a folder (a snapshot of the published repository), or a repository.
        revision: Commit, tag or branch of a repository.
        subset: "full", or by the records' `pruned` flag "debiased" (not pruned) or "pruned".

    Raises:
        DataError: nothing there, nothing readable, or the records do not say what is pruned.
    """
    path = Path(dataset).expanduser()
    if path.exists():
        file = _file_in(path, subset) if path.is_dir() else path
        return select(_records_of_file(file), subset, where=str(file)), str(file)
    if not _REPOSITORY_NAME.fullmatch(dataset):
        raise DataError(f"no such file or folder: {dataset}")
    where = f"{dataset}@{revision[:7]}"
    return select(_records_of_repository(dataset, revision, subset), subset, where=where), where


def select(records: list[dict[str, Any]], subset: Subset, *, where: str) -> list[dict[str, Any]]:
    """The records of a subset by their `pruned` flag; where none has the flag, only the full set is known."""
    if subset == "full":
        return records
    if any(record.get("pruned") is None for record in records):
        raise DataError(f"{where}: the records carry no `pruned` flag, so the {subset} subset is unknown; use full")
    return [record for record in records if record["pruned"] == (subset == "pruned")]


def _file_in(folder: Path, subset: Subset) -> Path:
    candidates = [folder / "test.jsonl", folder / f"test_{subset}.parquet", *sorted(folder.glob("test-*.parquet"))]
    others = sorted([*folder.glob("*.jsonl"), *folder.glob("*.parquet")])
    for file in candidates:
        if file.is_file():
            return file
    if len(others) == 1:
        return others[0]
    raise DataError(f"{folder}: expected test.jsonl, or one .jsonl or .parquet file; found {len(others)} of them")


def _records_of_file(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".parquet":
        return _records_of_parquet(file)
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(f"can't read the questions {file}: {reason}") from None
    return [_record_of_line(line, file, number) for number, line in enumerate(lines, 1) if line.strip()]


def _record_of_line(line: str, file: Path, number: int) -> dict[str, Any]:
    try:
        record = parse_json(line)
    except ValueError as error:
        raise DataError(f"{file} line {number} is not JSON ({error}); the file may be truncated") from None
    if not isinstance(record, dict):
        raise DataError(f"{file} line {number}: expected one JSON object, got {type(record).__name__}")
    return record


def _records_of_parquet(file: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        records: list[dict[str, Any]] = parquet.read_table(file).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"can't read the questions {file}: {str(error).splitlines()[0]}") from None
    return records


def _records_of_repository(repository: str, revision: str, subset: Subset) -> list[dict[str, Any]]:
    import datasets

    try:
        rows = datasets.load_dataset(repository, subset, split="test", revision=revision)
    except (OSError, ValueError) as error:  # offline, unknown repository, revision or configuration
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"{repository} is no folder here and can't be fetched ({reason}); "
            "download it and give the folder as `dataset`"
        ) from None
    return [dict(row) for row in rows]


# --------------------------------------------------------------------------------------------------------------- items


def items_of_records(records: Iterable[Mapping[str, Any]], *, where: str, video_dir: Path | None) -> list[Item]:
    """Items in the order of the records. DataError naming record and field where one is wrong, or an id repeats."""
    items = [_item(record, where, video_dir) for record in records]
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise DataError(f"{where}: the id {item.id} occurs twice")
        seen.add(item.id)
    return items


def check_settings(kinds: Iterable[str]) -> None:
    """SettingsError for a question type that VSI-Bench does not have."""
    for kind in kinds:
        if kind not in CELLS:
            raise SettingsError(f"unknown question type {kind!r}" + suggestion(kind, CELLS))


def check_kinds(items: Iterable[Item], where: str) -> None:
    """DataError for a question type that VSI-Bench does not have, or one answered in another form."""
    for item in items:
        if item.kind not in CELLS:
            hint = suggestion(item.kind, CELLS)
            raise DataError(f"{where}: item {item.id} has the unknown question type {item.kind!r}{hint}")
        expected = Number if item.kind in NUMERIC_UNITS else Choice
        if not isinstance(item.gold, expected):
            form = "a number" if expected is Number else "an option"
            raise DataError(f"{where}: item {item.id} ({item.kind}) is answered by {form}, got {item.gold!r}")


def check_videos(items: Iterable[Item]) -> None:
    """DataError naming the first missing video and how many there are."""
    videos = dict.fromkeys(item.video for item in items if item.video is not None)
    missing = [path for path in videos if not path.is_file()]
    if missing:
        raise DataError(
            f"missing video {missing[0]} ({len(missing)} of {len(videos)} are missing); unpack the zip files of "
            f"{REPOSITORY} so that video_dir holds <dataset>/<scene>.mp4"
        )


def fingerprint(items: Sequence[Item]) -> dict[str, Any]:
    """`{"row_count", "sha256"}` over (id, question, options, ground truth) of every item, in order."""
    content = json_bytes_of_texts([[i.id, i.prompt, option_lines(i), _ground_truth(i)] for i in items])
    return {"row_count": len(items), "sha256": hashlib.sha256(content).hexdigest()}


def _ground_truth(item: Item) -> str:
    published = item.extra.get("ground_truth")
    if published is not None:
        return str(published)
    return letter_of(item.gold.index) if isinstance(item.gold, Choice) else repr(getattr(item.gold, "value", None))


def _item(record: Mapping[str, Any], where: str, video_dir: Path | None) -> Item:
    for field in _FIELDS:
        if record.get(field) is None:
            raise DataError(f"{where}: record {record.get('id', '?')} lacks the field {field!r}")
    where = f"{where}: record {record['id']}"
    kind, truth, options = str(record["question_type"]), str(record["ground_truth"]), record.get("options")
    choices = () if options is None else tuple(_choice_text(line, k, where) for k, line in enumerate(options))
    dataset, scene = str(record["dataset"]), str(record["scene_name"])
    video = None if video_dir is None else video_dir / _plain(dataset, where) / f"{_plain(scene, where)}.mp4"
    extra: dict[str, Any] = {"dataset": dataset, "ground_truth": truth, "pruned": record.get("pruned")}
    if choices:
        extra["options"] = [str(line) for line in record["options"]]
    return Item(
        id=str(record["id"]),
        kind=kind,
        prompt=str(record["question"]),
        choices=choices,
        gold=_gold_choice(truth, len(choices), where) if choices else _gold_number(truth, kind, where),
        video=video,
        scene_id=scene,
        source=f"vsi_bench/{dataset}",
        extra=extra,
    )


def _choice_text(line: Any, index: int, where: str) -> str:
    text, label = str(line), f"{letter_of(index)}."
    if index >= _LETTERS or not text.startswith(label):
        raise DataError(f"{where}: expected an option like '{label} text', got {line!r}")
    return text[3:] if text[2:3] == " " else text[2:]


def _gold_choice(truth: str, count: int, where: str) -> Answer:
    if len(truth) == 1 and 0 <= ord(truth) - ord("A") < count:
        return Choice(ord(truth) - ord("A"))
    raise DataError(f"{where}: expected a ground truth from A to {letter_of(count - 1)}, got {truth!r}")


def _gold_number(truth: str, kind: str, where: str) -> Answer:
    try:
        value = float(truth)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise DataError(f"{where}: expected a ground truth that is a number >= 0, got {truth!r}")
    return Number(value, NUMERIC_UNITS.get(kind, ""))


def _plain(name: str, where: str) -> str:
    if not name or name in (".", "..") or "/" in name or "\\" in name:
        raise DataError(f"{where}: {name!r} can't be part of a video's path")
    return name
