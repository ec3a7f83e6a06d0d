"""Search tasks and the folders that hold them.

The layout is the one of H*Bench: one folder per scene with one panorama (`*.png`, `*.jpg`) and an `annotation.json`,
a list of records `{"task": text, "yaw": [a, b], "pitch": [a, b], "initial yaw": [...], "level": [...]}`. A record
without `pitch` asks for a path, with it for an object; one episode per start yaw, four (0, 90, 180, 270) where the
record names none. Angles of a record stay in degrees as the file states them: the published rule decides on whole
degrees, and radians would move its borders.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from allocentric.core.errors import DataError
from allocentric.core.types import Image
from allocentric.envs.panorama.views import require_equirectangular

Interval = tuple[float, float]
Kind = Literal["object", "path"]

ANNOTATION_FILE = "annotation.json"
DEFAULT_START_YAWS = (0.0, 90.0, 180.0, 270.0)
LEVELS: Mapping[Kind, tuple[str, ...]] = {
    "object": ("easy", "medium", "hard"),
    "path": ("easy", "medium", "hard", "extreme"),
}
"""Names by level number, as the benchmark prints them; files may use the numbers 0 to 3 for both kinds."""
_HIGHEST_LEVEL = 3
_PICTURES = (".png", ".jpg", ".jpeg")
_KNOWN = ("task", "yaw", "pitch", "initial yaw", "level")


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotation:
    """One record of an annotation file; angles in degrees, yaw 0 at the panorama's centre column, + to the right."""

    task: str
    """Instruction."""
    yaw: Interval
    """Where the target lies; the first above the second goes over the seam."""
    pitch: Interval | None = None
    """Lower and upper border, up positive; None asks for a path."""
    initial_yaw: tuple[float, ...] | None = None
    """Start headings; None stands for 0, 90, 180, 270."""
    level: tuple[int, ...] | None = None
    """Difficulty by start heading."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the record, kept as they are."""

    @property
    def kind(self) -> Kind:
        """Object or path."""
        return "path" if self.pitch is None else "object"

    @property
    def start_yaws(self) -> tuple[float, ...]:
        """One heading per episode."""
        return DEFAULT_START_YAWS if self.initial_yaw is None else self.initial_yaw


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One episode to play."""

    scene_id: str
    """Name of the scene's folder."""
    panorama: Path
    """Picture file."""
    annotation: Annotation
    """What is asked."""
    start: int
    """Which of the annotation's start headings."""

    @property
    def start_yaw(self) -> float:
        """Start heading, in degrees as annotated."""
        return self.annotation.start_yaws[self.start]

    @property
    def level(self) -> int | None:
        """Difficulty from this start heading, 0 easiest; None where the record has no levels."""
        return None if self.annotation.level is None else self.annotation.level[self.start]


def tasks_of(scene_id: str, panorama: Path, annotations: Iterable[Annotation]) -> list[Task]:
    """One task per annotation and start heading, in order."""
    return [
        Task(scene_id=scene_id, panorama=panorama, annotation=annotation, start=start)
        for annotation in annotations
        for start in range(len(annotation.start_yaws))
    ]


def read_tasks(folder: Path) -> list[Task]:
    """All tasks below a folder, by scene name. DataError names the first file and field that is wrong."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; expected one with a folder per panorama")
    scenes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    tasks = [task for scene in scenes for task in read_scene(scene)]
    if not tasks:
        raise DataError(f"no task below {folder}; expected <scene>/{ANNOTATION_FILE} beside a panorama")
    return tasks


def read_scene(folder: Path) -> list[Task]:
    """The tasks of one scene folder. DataError where something is missing or wrong."""
    pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() in _PICTURES)
    if len(pictures) != 1:
        names = ", ".join(path.name for path in pictures) or "none"
        raise DataError(f"{folder}: expected one panorama (*.png or *.jpg), got {names}")
    annotations = read_annotations(folder / ANNOTATION_FILE)
    try:
        with PillowImage.open(pictures[0]) as picture:
            require_equirectangular(*picture.size, str(pictures[0]))
    except UnidentifiedImageError:
        raise DataError(f"{pictures[0]} is not a picture; expected PNG or JPEG") from None
    return tasks_of(folder.name, pictures[0], annotations)


def read_annotations(path: Path) -> list[Annotation]:
    """The records of an annotation file. DataError names the file, the record and the field."""
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"{path.parent}: {path.name} is missing; expected a list of tasks beside the panorama"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not JSON ({error}); expected a list of tasks") from None
    if not isinstance(records, list):
        raise DataError(f"{path}: expected a list of tasks, got {type(records).__name__}")
    return [annotation_from_record(record, f"{path}, task {index}") for index, record in enumerate(records)]


def annotation_from_record(record: Any, where: str) -> Annotation:
    """Check one record. `where` starts the message of the DataError."""
    if not isinstance(record, dict):
        raise DataError(f"{where}: expected a record with 'task' and 'yaw', got {type(record).__name__}")
    task = record.get("task")
    if not isinstance(task, str) or not task.strip():
        raise DataError(f"{where}, field 'task': expected an instruction, got {task!r}")
    yaw = _interval(record, "yaw", where)
    pitch = None if record.get("pitch") is None else _interval(record, "pitch", where)
    if pitch is not None and not (pitch[0] <= pitch[1] and pitch[0] >= -90 and pitch[1] <= 90):
        raise DataError(
            f"{where}, field 'pitch': expected [low, high] within -90 and 90, got {list(pitch)}"
            + ("; the borders are inverted" if pitch[0] > pitch[1] else "")
        )
    starts = _start_yaws(record, where)
    level = _levels(record, len(starts or DEFAULT_START_YAWS), where)
    extra = {key: value for key, value in record.items() if key not in _KNOWN}
    return Annotation(task=task, yaw=yaw, pitch=pitch, initial_yaw=starts, level=level, extra=extra)


def record_from_annotation(annotation: Annotation) -> dict[str, Any]:
    """The annotation as a record of an annotation file."""
    record: dict[str, Any] = {"task": annotation.task, "yaw": list(annotation.yaw)}
    if annotation.pitch is not None:
        record["pitch"] = list(annotation.pitch)
    if annotation.initial_yaw is not None:
        record["initial yaw"] = list(annotation.initial_yaw)
    if annotation.level is not None:
        record["level"] = list(annotation.level)
    return record | dict(annotation.extra)


def write_scene(folder: Path, scene_id: str, panorama: Image | Path, annotations: Sequence[Annotation]) -> Path:
    """Write one scene folder, whole or not at all; one that exists is left as it is. Returns it.

    Args:
        folder: Folder of the set.
        scene_id: Name of the scene's folder.
        panorama: (H, 2H, 3) picture, written as PNG, or a picture file, copied as it is.
        annotations: Its tasks.

    Raises:
        DataError: The panorama is not 2:1 or an annotation is wrong.
    """
    target = folder / scene_id
    if target.exists():
        return target
    records = [record_from_annotation(annotation) for annotation in annotations]
    for index, record in enumerate(records):
        annotation_from_record(record, f"{target}, task {index}")
    partial = folder / f".{scene_id}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if isinstance(panorama, Path):
        shutil.copyfile(panorama, partial / f"panorama{panorama.suffix.lower()}")
    else:
        require_equirectangular(panorama.shape[1], panorama.shape[0], str(target))
        _, encoded = cv2.imencode(".png", np.ascontiguousarray(panorama[..., ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 3])
        (partial / "panorama.png").write_bytes(encoded.tobytes())
    text = json.dumps(records, ensure_ascii=False, indent=1) + "\n"
    (partial / ANNOTATION_FILE).write_text(text, encoding="utf-8")
    return partial.rename(target)


def _interval(record: Mapping[str, Any], key: str, where: str) -> Interval:
    value = record.get(key)
    if not isinstance(value, list) or len(value) != 2 or not all(_is_angle(part) for part in value):
        raise DataError(f"{where}, field {key!r}: expected two angles in degrees, got {value!r}")
    return (value[0], value[1])


def _start_yaws(record: Mapping[str, Any], where: str) -> tuple[float, ...] | None:
    value = record.get("initial yaw")
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(_is_angle(part) for part in value):
        raise DataError(f"{where}, field 'initial yaw': expected a list of start angles in degrees, got {value!r}")
    return tuple(value)


def _levels(record: Mapping[str, Any], count: int, where: str) -> tuple[int, ...] | None:
    value = record.get("level")
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != count:
        raise DataError(f"{where}, field 'level': expected a list of {count} levels, one per start yaw, got {value!r}")
    unknown = [part for part in value if isinstance(part, bool) or part not in range(_HIGHEST_LEVEL + 1)]
    if unknown:
        raise DataError(f"{where}, field 'level': unknown level {unknown[0]!r}; expected 0 to {_HIGHEST_LEVEL}")
    return tuple(int(part) for part in value)


def _is_angle(value: Any) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and abs(value) <= 720
    )
