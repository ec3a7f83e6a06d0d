"""Published records: from a repository of the Hugging Face hub at a pinned commit, a local copy of it, or one file."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from allocentric.core.errors import DataError

Record: TypeAlias = dict[str, Any]

FILE = "_file"
"""Key added to every record: the stem of the file it came from ("real_mc")."""
ROW = "_row"
"""Key added to every record: its position in that file, from 0."""

_REPOSITORY_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a benchmark publishes its records."""

    repository: str
    """Data set of the Hugging Face hub; "" where the records are published elsewhere."""
    files: tuple[str, ...]
    """Names or patterns of the files with records, in the order they are read, relative to a local copy."""
    home: str = ""
    """Other place that publishes the files ("github.com/cambridgeltl/visual-spatial-reasoning, data/splits")."""
    config: str | None = None
    """Configuration of the hub's data set."""
    split: str = "test"
    """Split of the hub's data set."""


def read_records(dataset: str, source: Source, *, revision: str | None) -> tuple[list[Record], str]:
    """Records and where they came from.

    Args:
        dataset: A file (.json, .jsonl, .txt with JSON, .parquet, .csv, .tsv), a folder with the published files, or a
            repository.
        source: What is published.
        revision: Commit of a repository.

    Raises:
        DataError: nothing there, nothing readable, or a repository without a commit.
    """
    path = Path(dataset).expanduser()
    if dataset and path.exists():
        files = _files_in(path, source) if path.is_dir() else [path]
        return [record for file in files for record in records_of_file(file)], str(path)
    if not dataset:
        raise DataError(f"these records are on no hub: get {source.home} and give the folder or file as `dataset`")
    if not _REPOSITORY_NAME.fullmatch(dataset):
        raise DataError(f"no such file or folder: {dataset}")
    if revision is None or not _COMMIT.fullmatch(revision):
        raise DataError(
            f"{dataset} is a repository, whose branches move: give the 40-digit commit as `revision`, got {revision!r}"
        )
    return _records_of_repository(dataset, revision, source), f"{dataset}@{revision[:7]}"


def _files_in(folder: Path, source: Source) -> list[Path]:
    found = [file for pattern in source.files for file in sorted(folder.glob(pattern)) if file.is_file()]
    if not found:
        raise DataError(f"{folder}: expected {' or '.join(source.files)}, found none of them")
    return list(dict.fromkeys(found))


def _records_of_repository(repository: str, revision: str, source: Source) -> list[Record]:
    import datasets

    names = [repository] if source.config is None else [repository, source.config]
    try:
        table = datasets.load_dataset(*names, split=source.split, revision=revision)
    except (OSError, ValueError) as error:  # offline, unknown repository, commit, configuration or split
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"{repository} is no folder here and can't be fetched ({reason}); "
            "download it and give the folder as `dataset`"
        ) from None
    rows = _without_decoding(table)
    return [{**row, FILE: source.split, ROW: index} for index, row in enumerate(rows)]


def _without_decoding(table: Any) -> Any:
    """Pictures stay compressed until they are shown."""
    import datasets

    for name, feature in getattr(table, "features", {}).items():
        if isinstance(feature, datasets.Image):
            table = table.cast_column(name, datasets.Image(decode=False))
        elif isinstance(getattr(feature, "feature", None), datasets.Image):
            table = table.cast_column(name, datasets.List(datasets.Image(decode=False)))
    return table


# --------------------------------------------------------------------------------------------------------------- files


def records_of_file(file: Path) -> list[Record]:
    """Records of one file, each with `FILE` and `ROW`. DataError names file and line."""
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        rows: Sequence[Any] | Iterator[Any] = _parquet(file)
    elif suffix in (".csv", ".tsv"):
        rows = _table(file, "," if suffix == ".csv" else "\t")
    else:
        rows = _json(file)
    records = []
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(f"{file} record {index}: expected one JSON object, got {type(row).__name__}")
        records.append({**row, FILE: file.stem, ROW: index})
    return records


def text_of_file(file: Path) -> str:
    """UTF-8 text, with or without a byte order mark. DataError where it can't be read."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(f"can't read {file}: {reason}") from None


def _json(file: Path) -> Sequence[Any]:
    """A list of objects, one object a line, or one object of objects, of which `{"key", "value"}` are made."""
    text = text_of_file(file)
    if text.lstrip()[:1] == "[":
        try:
            rows: list[Any] = json.loads(text)
        except ValueError as error:
            raise DataError(f"{file} is not JSON ({error}); the file may be truncated") from None
        return rows
    if (entries := _entries(text)) is not None:
        return entries
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise DataError(f"{file} line {number} is not JSON ({error}); the file may be truncated") from None
    return rows


def _entries(text: str) -> list[Any] | None:
    """The entries of one object that fills the file and holds nothing but objects and lists."""
    try:
        whole = json.loads(text)
    except ValueError:
        return None
    if isinstance(whole, dict) and whole and all(isinstance(value, dict | list) for value in whole.values()):
        return [{"key": key, "value": value} for key, value in whole.items()]
    return None


def _table(file: Path, delimiter: str) -> Iterator[Record]:
    csv.field_size_limit(2**31 - 1)  # pictures in base64
    reader = csv.DictReader(io.StringIO(text_of_file(file), newline=""), delimiter=delimiter, strict=True)
    try:
        for number, row in enumerate(reader, start=2):
            if None in row or None in row.values():
                raise DataError(
                    f"{file} record {number - 2}: expected {len(reader.fieldnames or ())} columns, got more or fewer; "
                    "a value with a comma needs quotes"
                )
            yield dict(row)
    except csv.Error as error:
        raise DataError(f"{file} line {reader.line_num} is no table row ({error})") from None


def _parquet(file: Path) -> list[Record]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        records: list[Record] = parquet.read_table(file).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"can't read {file}: {str(error).splitlines()[0]}") from None
    return records
