"""Central types <-> JSON values, and the content hashes made from them.

Every record that leaves the process (set folders, run logs, reports) goes through here, so that a generated item, a
logged answer and a page show the same thing. Meshes and pixels are not part of records: a scene's record holds what
answers and maps need.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import fields as fields_of
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import PydanticSerializationError, from_json, to_json

from allocentric.core import types
from allocentric.core.errors import DataError
from allocentric.core.types import (
    Answer,
    Camera,
    Episode,
    Evidence,
    Image,
    Item,
    Object,
    Opening,
    Response,
    Room,
    Scene,
    Score,
    Step,
    Turn,
    Unreadable,
    View,
    Visibility,
)

Record = dict[str, Any]

_ANSWERS: dict[str, type[Any]] = {
    "choice": types.Choice,
    "number": types.Number,
    "text": types.Text,
    "boxes": types.Boxes,
    "point": types.Point,
    "span": types.Span,
    "direction": types.Direction,
    "path": types.Path2D,
    "order": types.Order,
}
_ANSWER_FIELDS = {name: tuple(field.name for field in fields_of(cls)) for name, cls in _ANSWERS.items()}
_ANSWER_NAMES = {cls: name for name, cls in _ANSWERS.items()}
_RESPONSE_FIELDS = tuple(field.name for field in fields_of(Response))


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def json_bytes(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no spaces, UTF-8, no NaN. Equal values give equal bytes."""
    return _encode(value).encode()


def json_bytes_of_texts(values: Any) -> bytes:
    """`json_bytes` of texts and lists of them: the same bytes, three times as fast. UnicodeEncodeError as there."""
    try:
        return to_json(values)
    except PydanticSerializationError:  # half a character
        return json_bytes(values)


def parse_json(text: str | bytes) -> Any:
    """A JSON value, read by pydantic's parser: three times as fast as the standard library's, and always there.

    What it refuses goes to the other one, which alone takes half a character (an escaped surrogate without its other
    half). ValueError: no JSON.
    """
    try:
        return from_json(text)
    except ValueError:
        return json.loads(text)


def digest(value: Any, *, length: int = 64) -> str:
    """SHA-256 of a JSON value's canonical bytes, in hexadecimal."""
    return hashlib.sha256(json_bytes(value)).hexdigest()[:length]


# ---------------------------------------------------------------------------------------------------------- answers


def answer_to_record(answer: Answer | Unreadable) -> Record:
    """{"type": "choice", "index": 2} and the like; {"type": "unreadable", "reason": ...}."""
    if isinstance(answer, Unreadable):
        return {"type": "unreadable", "reason": answer.reason}
    name = _ANSWER_NAMES[type(answer)]
    return {"type": name, **{field: getattr(answer, field) for field in _ANSWER_FIELDS[name]}}


def answer_bytes(answer: Answer) -> bytes:
    """`json_bytes` of an answer's record; few different options and numbers are right in many items."""
    if isinstance(answer, types.Choice):
        return _choice_bytes(answer.index)
    if isinstance(answer, types.Number) and answer.value != 0:  # 0.0 and -0.0 are equal and written differently
        return _number_bytes(answer.value, answer.unit)
    return json_bytes(answer_to_record(answer))


@lru_cache(maxsize=1024, typed=True)
def _choice_bytes(index: int) -> bytes:
    return json_bytes(answer_to_record(types.Choice(index)))


@lru_cache(maxsize=65536, typed=True)
def _number_bytes(value: float, unit: str) -> bytes:
    return json_bytes(answer_to_record(types.Number(value, unit)))


def answer_from_record(record: Mapping[str, Any]) -> Answer | Unreadable:
    """Inverse of `answer_to_record`. DataError for an unknown type or wrong fields."""
    fields = {key: _tuples(value) for key, value in record.items() if key != "type"}
    name = record.get("type")
    if name == "unreadable":
        return Unreadable(**fields)
    if name not in _ANSWERS:
        raise DataError(f"expected an answer of type {', '.join(_ANSWERS)}; got {name!r}")
    try:
        answer: Answer = _ANSWERS[name](**fields)
    except TypeError as error:
        raise DataError(f"an answer of type {name!r} has wrong fields: {error}") from None
    return answer


def gold_from_record(record: Mapping[str, Any]) -> Answer:
    """`answer_from_record` for gold answers, which can't be unreadable."""
    answer = answer_from_record(record)
    if isinstance(answer, Unreadable):
        raise DataError(f"a gold answer can't be unreadable ({answer.reason})")
    return answer


def score_to_record(score: Score) -> Record:
    """A score as JSON values."""
    return {"value": score.value, "answer": answer_to_record(score.answer), "chance": score.chance}


def response_to_record(response: Response) -> Record:
    """A response as JSON values."""
    return {field: getattr(response, field) for field in _RESPONSE_FIELDS}


def response_from_record(record: Mapping[str, Any]) -> Response:
    """Inverse of `response_to_record`."""
    return Response(**record)


# --------------------------------------------------------------------------------------------------- cameras, views


def camera_to_record(camera: Camera) -> Record:
    """A camera as JSON values."""
    return {
        "model": camera.model,
        "world_from_camera": _lists(camera.world_from_camera),
        "width_px": camera.width_px,
        "height_px": camera.height_px,
        "intrinsics_px": None if camera.intrinsics_px is None else _lists(camera.intrinsics_px),
    }


def camera_from_record(record: Mapping[str, Any]) -> Camera:
    """Inverse of `camera_to_record`."""
    intrinsics = record["intrinsics_px"]
    return Camera(
        model=record["model"],
        world_from_camera=np.array(record["world_from_camera"], dtype=float),
        width_px=record["width_px"],
        height_px=record["height_px"],
        intrinsics_px=None if intrinsics is None else np.array(intrinsics, dtype=float),
    )


def view_to_record(view: View) -> Record:
    """A view as JSON values: path (POSIX text) but never pixels."""
    return {
        "path": view.image.as_posix() if isinstance(view.image, Path) else None,
        "camera": None if view.camera is None else camera_to_record(view.camera),
        "time_s": view.time_s,
        "visible": {key: [int(seen.pixels), round(float(seen.fraction), 6)] for key, seen in view.visible.items()},
    }


def view_from_record(record: Mapping[str, Any]) -> View:
    """Inverse of `view_to_record`."""
    return View(
        image=None if record["path"] is None else Path(record["path"]),
        camera=None if record["camera"] is None else camera_from_record(record["camera"]),
        time_s=record["time_s"],
        visible={key: Visibility(pixels, fraction) for key, (pixels, fraction) in record["visible"].items()},
    )


# ------------------------------------------------------------------------------------------------------------ items


def item_to_record(item: Item) -> Record:
    """An item as JSON values; views as `view_to_record` gives them."""
    return {
        "id": item.id,
        "kind": item.kind,
        "prompt": item.prompt,
        "choices": list(item.choices),
        "gold": answer_to_record(item.gold),
        "views": [view_to_record(view) for view in item.views],
        "video": None if item.video is None else item.video.as_posix(),
        "scene_id": item.scene_id,
        "evidence": evidence_to_record(item.evidence),
        "source": item.source,
        "extra": dict(item.extra),
    }


def item_from_record(record: Mapping[str, Any]) -> Item:
    """Inverse of `item_to_record`. DataError where a field is missing."""
    try:
        return Item(
            id=record["id"],
            kind=record["kind"],
            prompt=record["prompt"],
            choices=tuple(record["choices"]),
            gold=gold_from_record(record["gold"]),
            views=tuple(view_from_record(view) for view in record["views"]),
            video=None if record["video"] is None else Path(record["video"]),
            scene_id=record["scene_id"],
            evidence=evidence_from_record(record["evidence"]),
            source=record["source"],
            extra=record["extra"],
        )
    except KeyError as error:
        raise DataError(f"item {record.get('id', '?')!r}: the field {error} is missing") from None


def evidence_to_record(evidence: Evidence) -> Record:
    """Evidence as JSON values."""
    return {
        "object_ids": list(evidence.object_ids),
        "frames": list(evidence.frames),
        "steps": [{"op": step.op, "inputs": dict(step.inputs), "output": step.output} for step in evidence.steps],
        "label": evidence.label,
    }


def evidence_from_record(record: Mapping[str, Any]) -> Evidence:
    """Inverse of `evidence_to_record`."""
    return Evidence(
        object_ids=tuple(record["object_ids"]),
        frames=tuple(record["frames"]),
        steps=tuple(Step(op=step["op"], inputs=step["inputs"], output=step["output"]) for step in record["steps"]),
        label=record["label"],
    )


def item_id(
    *, kind: str, scene_id: str, prompt: str, choices: Sequence[str], gold: Answer, views: Sequence[str] = ()
) -> str:
    """Content hash (16 hexadecimal digits) of what is asked; `views` are names or digests of the pictures."""
    content = [kind, scene_id, prompt, list(choices), answer_to_record(gold), list(views)]
    return digest(content, length=16)


# --------------------------------------------------------------------------------------------------------- episodes

_LARGEST_WRITTEN = 64
"""Values of an array that is written out; larger ones are named by their digest."""


@dataclass(frozen=True, slots=True)
class ArrayRef:
    """An array that was seen but isn't kept: a picture, a depth map."""

    sha256: str
    """Of its shape, type and bytes."""
    shape: tuple[int, ...]
    """(H, W, 3) for pictures."""
    dtype: str
    """NumPy's name of the type."""
    path: str | None = None
    """Where it was saved, as POSIX text."""


def episode_to_record(episode: Episode, *, picture: Callable[[Image], str | None] | None = None) -> Record:
    """An episode as JSON values: small arrays written out, pictures and other large ones as digests.

    Args:
        episode: Observations, actions and infos may hold texts, numbers, arrays, mappings and sequences.
        picture: Saves a picture (H, W, 3) and returns its path, or None.

    Raises:
        DataError: A value has another type.
    """
    steps = [
        {
            "observation": _plain(turn.observation, picture),
            "text": turn.text,
            "action": _plain(turn.action, picture),
            "reward": float(turn.reward),
            "terminated": bool(turn.terminated),
            "truncated": bool(turn.truncated),
            "info": _plain(turn.info, picture),
        }
        for turn in episode.steps
    ]
    return {"seed": episode.seed, "outcome": _plain(episode.outcome, picture), "steps": steps}


def episode_from_record(record: Mapping[str, Any]) -> Episode:
    """Inverse of `episode_to_record`, with an `ArrayRef` for a large array. DataError where a field is missing."""
    try:
        steps = tuple(Turn(**{key: _unplain(value) for key, value in step.items()}) for step in record["steps"])
        return Episode(steps=steps, seed=record["seed"], outcome=_unplain(record["outcome"]))
    except KeyError as error:
        raise DataError(f"an episode's field {error} is missing") from None
    except TypeError as error:
        raise DataError(f"a step of an episode has wrong fields: {error}") from None


def _plain(value: Any, picture: Callable[[Image], str | None] | None) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else {"$float": str(value)}
    if isinstance(value, np.ndarray):
        return _array_to_record(value, picture)
    if isinstance(value, ArrayRef):
        known = {"sha256": value.sha256, "shape": list(value.shape), "dtype": value.dtype}
        return {"$array": known if value.path is None else {**known, "path": value.path}}
    if isinstance(value, Mapping):
        return {str(key): _plain(part, picture) for key, part in value.items()}
    if isinstance(value, Sequence):
        return [_plain(part, picture) for part in value]
    raise DataError(f"a {type(value).__name__} can't be part of an episode's record; expected text, numbers or arrays")


def _array_to_record(array: Any, picture: Callable[[Image], str | None] | None) -> Record:
    if array.size <= _LARGEST_WRITTEN:
        return {"$values": _plain(array.tolist(), None), "dtype": str(array.dtype)}
    head = f"{array.shape} {array.dtype} ".encode()
    known: Record = {"sha256": hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()}
    known |= {"shape": list(array.shape), "dtype": str(array.dtype)}
    is_picture = array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3
    path = picture(array) if picture is not None and is_picture else None
    return {"$array": known if path is None else {**known, "path": path}}


def _unplain(value: Any) -> Any:
    if isinstance(value, list):
        return [_unplain(part) for part in value]
    if not isinstance(value, Mapping):
        return value
    if "$float" in value:
        return float(value["$float"])
    if "$values" in value:
        return np.array(_unplain(value["$values"]), dtype=value["dtype"])
    if "$array" in value:
        return ArrayRef(**{**value["$array"], "shape": tuple(value["$array"]["shape"])})
    return {key: _unplain(part) for key, part in value.items()}


# ----------------------------------------------------------------------------------------------------------- scenes


def scene_to_record(scene: Scene) -> Record:
    """Boxes, rooms and published figures of a scene; meshes and structure are left out."""
    return {
        "id": scene.id,
        "source": scene.source,
        "license": scene.license,
        "floor_area_m2": scene.floor_area_m2,
        "label_counts": dict(scene.label_counts),
        "objects": [_object_to_record(thing) for thing in scene.objects],
        "rooms": [_room_to_record(room) for room in scene.rooms],
    }


def scene_from_record(record: Mapping[str, Any]) -> Scene:
    """Inverse of `scene_to_record` (objects without meshes). DataError where a field is missing."""
    try:
        return Scene(
            id=record["id"],
            source=record["source"],
            license=record["license"],
            floor_area_m2=record["floor_area_m2"],
            label_counts=record["label_counts"],
            objects=tuple(_object_from_record(thing) for thing in record["objects"]),
            rooms=tuple(_room_from_record(room) for room in record["rooms"]),
        )
    except KeyError as error:
        raise DataError(f"scene {record.get('id', '?')!r}: the field {error} is missing") from None


def _object_to_record(thing: Object) -> Record:
    return {
        "id": thing.id,
        "label": thing.label,
        "world_from_object": _lists(thing.world_from_object),
        "size_m": _lists(thing.size_m),
        "attributes": dict(thing.attributes),
        "room_id": thing.room_id,
        "supported_by": thing.supported_by,
    }


def _object_from_record(record: Mapping[str, Any]) -> Object:
    return Object(
        id=record["id"],
        label=record["label"],
        world_from_object=np.array(record["world_from_object"], dtype=float),
        size_m=np.array(record["size_m"], dtype=float),
        attributes=record["attributes"],
        room_id=record["room_id"],
        supported_by=record["supported_by"],
    )


def _room_to_record(room: Room) -> Record:
    return {
        "id": room.id,
        "kind": room.kind,
        "floor_polygon_m": _lists(room.floor_polygon_m),
        "floor_z_m": float(room.floor_z_m),
        "height_m": float(room.height_m),
        "openings": [
            {
                "kind": opening.kind,
                "segment_m": _lists(opening.segment_m),
                "bottom_m": float(opening.bottom_m),
                "top_m": float(opening.top_m),
                "connects": list(opening.connects),
            }
            for opening in room.openings
        ],
    }


def _room_from_record(record: Mapping[str, Any]) -> Room:
    return Room(
        id=record["id"],
        kind=record["kind"],
        floor_polygon_m=np.array(record["floor_polygon_m"], dtype=float),
        floor_z_m=record["floor_z_m"],
        height_m=record["height_m"],
        openings=tuple(
            Opening(
                kind=opening["kind"],
                segment_m=np.array(opening["segment_m"], dtype=float),
                bottom_m=opening["bottom_m"],
                top_m=opening["top_m"],
                connects=(opening["connects"][0], opening["connects"][1]),
            )
            for opening in record["openings"]
        ),
    )


def _lists(array: Any) -> Any:
    """Nested lists at full float64 precision: answers recomputed from a record must equal the original's."""
    return np.asarray(array, dtype=float).tolist()


def _tuples(value: Any) -> Any:
    return tuple(_tuples(part) for part in value) if isinstance(value, list | tuple) else value
