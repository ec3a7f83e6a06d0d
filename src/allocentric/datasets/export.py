"""A set folder: what `make` leaves behind, what `datasets.load_dataset` reads, and what `load_set` reads back.

    README.md                        the data card; its presence means the set is complete
    recipe.yaml                      every setting in force
    data/<split>-00000-of-00001.parquet
    scenes/<scene>.json              boxes, rooms and areas of a scene, and the cameras of its frames
    media/<scene>/frame_0000.jpg     the frames
    chat/<split>.<name>.jsonl        chat records, where the recipe asks for them
    audit.json  plots/               blind baselines; balance plots with their figures as CSV

The Parquet columns are VSI-Bench's (id, dataset, scene_name, question_type, question, options, ground_truth) and ours
(label, frames, times_s, rationale, messages, and the JSON texts answer, evidence and extra). Paths are relative to the
folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from allocentric.core.errors import DataError
from allocentric.core.records import (
    answer_to_record,
    evidence_from_record,
    evidence_to_record,
    gold_from_record,
    json_bytes,
    scene_from_record,
    scene_to_record,
    view_from_record,
    view_to_record,
)
from allocentric.core.types import Item, Scene, View
from allocentric.datasets import chat
from allocentric.datasets._rationale import rationale

_SAFE_NAME = re.compile(r"[A-Za-z0-9_][\w.+-]*", re.ASCII)
_COLUMNS_READ = ("id", "dataset", "scene_name", "question_type", "question", "options", "answer", "evidence", "extra")


def safe_name(scene_id: str) -> str:
    """A scene id that may be a file name, or DataError."""
    if not _SAFE_NAME.fullmatch(scene_id):
        raise DataError(f"scene id {scene_id!r} can't be a file name; expected letters, digits, '_', '-', '.', '+'")
    return scene_id


def frame_path(scene_id: str, index: int) -> PurePosixPath:
    """Where a frame lies, relative to the set's folder."""
    return PurePosixPath("media", safe_name(scene_id), f"frame_{index:04d}.jpg")


# ---------------------------------------------------------------------------------------------------------- writing


def row_of(item: Item, answer: chat.AnswerFormat) -> dict[str, Any]:
    """One Parquet row."""
    return {
        "id": item.id,
        "dataset": item.source,
        "scene_name": item.scene_id,
        "question_type": item.kind,
        "question": item.prompt,
        "options": chat.options_of(item) or None,
        "ground_truth": chat.answer_text(item),
        "label": item.evidence.label,
        "frames": [view.image.as_posix() for view in item.views if isinstance(view.image, Path)],
        "times_s": [view.time_s for view in item.views],
        "rationale": rationale(item),
        "messages": chat.messages_of(item, answer),
        "answer": json_bytes(answer_to_record(item.gold)).decode(),
        "evidence": json_bytes(evidence_to_record(item.evidence)).decode(),
        "extra": json_bytes(dict(item.extra)).decode(),
    }


def write_parquet(path: Path, items: Sequence[Item], answer: chat.AnswerFormat) -> None:
    """Write one split."""
    import pyarrow as pa
    from pyarrow import parquet

    text, texts = pa.string(), pa.list_(pa.string())
    part = pa.struct([("type", text), ("text", text)])
    columns = {
        "options": texts,
        "frames": texts,
        "times_s": pa.list_(pa.float64()),
        "messages": pa.list_(pa.struct([("role", text), ("content", pa.list_(part))])),
    }
    names = (
        "id", "dataset", "scene_name", "question_type", "question", "options", "ground_truth", "label", "frames",
        "times_s", "rationale", "messages", "answer", "evidence", "extra",
    )  # fmt: skip
    schema = pa.schema([(name, columns.get(name, text)) for name in names])
    table = pa.Table.from_pylist([row_of(item, answer) for item in items], schema=schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, compression="zstd")


def write_scene(folder: Path, record: Mapping[str, Any], views: Iterable[Mapping[str, Any]]) -> None:
    """Write scenes/<id>.json from a scene's record and its views' records."""
    path = folder / "scenes" / f"{safe_name(record['id'])}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json_bytes({**record, "views": list(views)}) + b"\n")


def write_chat(
    folder: Path, split: str, items: Iterable[Item], file: chat.Settings, answer: chat.AnswerFormat
) -> Path:
    """Write one split as chat records, one JSON object a line."""
    path = folder / "chat" / f"{split}.{file.stem}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as lines:
        for item in items:
            lines.write(json_bytes(chat.record_of(item, file, answer)) + b"\n")
    return path


# ---------------------------------------------------------------------------------------------------------- reading


def load_set(folder: Path, split: str | None = None) -> list[Item]:
    """The items of a set, views with absolute image paths, cameras and visibility.

    Args:
        folder: As `make` wrote it.
        split: One split by name; None is all of them, in the order of their names.

    Raises:
        DataError: The folder is no complete set, a record is damaged, or a path points out of the folder.
    """
    files = sorted((folder / "data").glob("*.parquet"))
    if not (folder / "README.md").is_file() or not files:
        raise DataError(f"{folder} is no complete set (README.md and data/*.parquet expected); run `allocentric make`")
    known = [file.name.rpartition("-of-")[0].rpartition("-")[0] for file in files]
    if split is not None and split not in known:
        raise DataError(f"{folder} has no split {split!r}; it has {', '.join(known)}")
    views: dict[str, tuple[View, ...]] = {}
    items = []
    for name, file in zip(known, files, strict=True):
        if split in (None, name):
            for row in _rows(file):
                scene_id = row["scene_name"]
                if scene_id not in views:
                    views[scene_id] = _views(folder, scene_id)
                items.append(_item(row, views[scene_id], file))
    return items


def load_scene(folder: Path, scene_id: str) -> Scene:
    """The scene an item of the set was asked about (boxes and rooms, no meshes)."""
    return scene_from_record(_scene_record(folder, scene_id))


def confined(folder: Path, text: str) -> Path:
    """The absolute path of a relative path in a set; DataError where it leaves the folder."""
    relative = PurePosixPath(text)
    path = (folder / relative).resolve()
    if relative.is_absolute() or ".." in relative.parts or not path.is_relative_to(folder.resolve()):
        raise DataError(f"{folder}: the path {text!r} points out of the set; expected one like media/<scene>/<file>")
    return path


def _rows(file: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(file, columns=list(_COLUMNS_READ))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"can't read {file}: {str(error).splitlines()[0]}") from None
    missing = set(_COLUMNS_READ) - set(table.column_names)
    if missing:
        raise DataError(f"{file}: the columns {', '.join(sorted(missing))} are missing")
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _scene_record(folder: Path, scene_id: str) -> dict[str, Any]:
    path = folder / "scenes" / f"{safe_name(scene_id)}.json"
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"can't read {path}: {error}") from None
    return record


def _views(folder: Path, scene_id: str) -> tuple[View, ...]:
    views = []
    for record in _scene_record(folder, scene_id).get("views", []):
        path = record.get("path")
        view = view_from_record(record)
        views.append(view if path is None else replace(view, image=confined(folder, path)))
    return tuple(views)


def _item(row: Mapping[str, Any], views: tuple[View, ...], file: Path) -> Item:
    try:
        return Item(
            id=row["id"],
            kind=row["question_type"],
            prompt=row["question"],
            choices=tuple(option.partition(". ")[2] for option in row["options"] or ()),
            gold=gold_from_record(json.loads(row["answer"])),
            views=views,
            scene_id=row["scene_name"],
            evidence=evidence_from_record(json.loads(row["evidence"])),
            source=row["dataset"],
            extra=json.loads(row["extra"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: the record {row.get('id')!r} is damaged ({error})") from None


def scene_records(scene: Scene, views: Sequence[View]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Scene and views as the records `write_scene` takes."""
    return scene_to_record(scene), [view_to_record(view) for view in views]
