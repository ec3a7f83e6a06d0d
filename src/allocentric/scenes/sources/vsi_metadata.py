"""Real rooms as VSI-Bench published them: boxes, counts and room areas from its metadata JSON.

Source: vision-x-nyu/thinking-in-space@51e089c, `data/meta_info/*_meta_info_val.json`. Per scene: `room_size` (m2),
`object_counts` {category: n}, `object_bbox` {category: [{centroid [3], axesLengths [3], normalizedAxes [9]}]},
`dataset`. Up is +z; the rows of `normalizedAxes` as (3, 3) are the directions of the box's axes.

Answers are computed from the published boxes, exactly as they are, tilted or not. What is drawn is each box turned
upright: its most vertical axis is brought to +z by the smallest rotation, about the centre, lengths kept; the angle is
recorded as the attribute `removed_tilt_rad`. No rooms, walls or fronts are published, so none are made up; the one
structure part, labelled "floor", is a slab under the extent of the drawn boxes, there to give pictures a ground.

A box that a category lists twice, equal to the last digit, is one object (the printers of ScanNet scenes are listed
like that; with one of each the boxes agree with the published counts).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allocentric.core.config import Settings as BaseSettings
from allocentric.core.errors import DataError
from allocentric.core.geometry import box_corners, invert, pose, transform_points
from allocentric.core.types import Material, Mesh, Object, Pattern, Scene
from allocentric.scenes.render.flatten import box_mesh, label_material

Array = NDArray[np.float64]

LICENSES: Mapping[str, str] = {
    "scannet": "ScanNet Terms of Use",
    "scannetpp": "ScanNet++ Terms of Use",
    "arkitscenes": "ARKitScenes licence (Apple, non-commercial research)",
}
"""Terms that hold for geometry derived from each data set."""

_FLOOR_THICKNESS_M = 0.05
_LOOKS: Mapping[str, tuple[Pattern, tuple[float, float, float], tuple[float, float, float]]] = {
    "bed": ("fabric", (0.75, 0.72, 0.82), (0.55, 0.52, 0.66)),
    "bookshelf": ("books", (0.45, 0.30, 0.18), (0.70, 0.35, 0.25)),
    "cabinet": ("wood", (0.62, 0.45, 0.28), (0.48, 0.33, 0.19)),
    "chair": ("fabric", (0.36, 0.45, 0.56), (0.26, 0.33, 0.42)),
    "closet": ("wood", (0.70, 0.58, 0.42), (0.55, 0.44, 0.30)),
    "door": ("planks", (0.66, 0.49, 0.31), (0.52, 0.37, 0.22)),
    "floor": ("planks", (0.72, 0.60, 0.45), (0.60, 0.48, 0.34)),
    "fireplace": ("bricks", (0.60, 0.30, 0.24), (0.78, 0.74, 0.70)),
    "mirror": ("screen", (0.75, 0.82, 0.86), (0.60, 0.70, 0.76)),
    "monitor": ("screen", (0.10, 0.11, 0.13), (0.20, 0.32, 0.45)),
    "pillow": ("fabric", (0.85, 0.80, 0.70), (0.72, 0.64, 0.52)),
    "plant": ("leaves", (0.24, 0.50, 0.22), (0.14, 0.34, 0.14)),
    "sofa": ("fabric", (0.62, 0.36, 0.30), (0.48, 0.26, 0.22)),
    "table": ("wood", (0.68, 0.48, 0.28), (0.52, 0.35, 0.19)),
    "towel": ("stripes", (0.85, 0.85, 0.88), (0.30, 0.50, 0.70)),
    "tv": ("screen", (0.08, 0.08, 0.09), (0.16, 0.24, 0.36)),
    "window": ("screen", (0.72, 0.86, 0.95), (0.88, 0.94, 0.98)),
}


class Settings(BaseSettings):
    """Which published metadata to read."""

    path: Path
    """A folder with `*_meta_info_*.json` files, or one such file."""
    floor_margin_m: float = 0.3
    """How far the drawn floor reaches beyond the boxes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VsiMetadata:
    """Scenes of published metadata; `scene_ids` are the published scene names."""

    settings: Settings
    """Where they are."""

    def scene_ids(self) -> list[str]:
        """Names in the order of the files (sorted by name) and of their records."""
        return list(_records(self.settings.path))

    def load(self, scene_id: str) -> Scene:
        """The scene called `scene_id`. DataError naming file, scene and field where the record is wrong."""
        records = _records(self.settings.path)
        if scene_id not in records:
            raise DataError(f"{self.settings.path} has no scene {scene_id!r}; it has {len(records)} other scenes")
        file, record = records[scene_id]
        return _scene(scene_id, record, f"{file}: scene {scene_id!r}", self.settings)


def build(settings: Settings) -> VsiMetadata:
    """Open the metadata. DataError where there is no file or it is not metadata."""
    _records(settings.path)
    return VsiMetadata(settings=settings)


@lru_cache(maxsize=4)
def _records(path: Path) -> dict[str, tuple[str, Any]]:
    """Scene name -> (file name, record)."""
    files = sorted(path.glob("*_meta_info_*.json")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"no *_meta_info_*.json file in {path}; give the folder (or a file) of VSI-Bench's metadata")
    records: dict[str, tuple[str, Any]] = {}
    for file in files:
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read the metadata {file}: {getattr(error, 'strerror', 'not UTF-8')}") from None
        except json.JSONDecodeError as error:
            raise DataError(f"{file} is not JSON ({error.msg} in line {error.lineno}); download it again") from None
        if not isinstance(content, dict):
            raise DataError(f"{file}: expected an object {{scene name: record}}, got a {type(content).__name__}")
        for name, record in content.items():
            if name in records:
                raise DataError(f"{file}: scene {name!r} is also in {records[name][0]}; scene names must be unique")
            records[name] = (file.name, record)
    return records


def _scene(scene_id: str, record: Any, where: str, settings: Settings) -> Scene:
    boxes = _field(record, "object_bbox", dict, where)
    counts = _field(record, "object_counts", dict, where)
    dataset = _field(record, "dataset", str, where)
    area_m2 = float(_numbers(record, "room_size", (), where))
    if area_m2 <= 0:
        raise DataError(f"{where}, field 'room_size': expected an area above 0, got {area_m2}")
    if not all(isinstance(count, int) and count >= 0 for count in counts.values()):
        raise DataError(f"{where}, field 'object_counts': expected whole numbers, got {list(counts.values())}")
    objects = tuple(
        _object(f"{label}-{index}", label, box, f"{where}, field 'object_bbox.{label}[{index}]'")
        for label, instances in boxes.items()
        for index, box in _distinct(_list(instances, f"{where}, field 'object_bbox.{label}'"))
    )
    return Scene(
        id=scene_id,
        objects=objects,
        structure=_floor(objects, settings.floor_margin_m),
        floor_area_m2=area_m2,
        label_counts=dict(counts),
        source=f"vsi_metadata/{dataset}",
        license=LICENSES.get(dataset, f"terms of {dataset}"),
    )


def _distinct(boxes: list[Any]) -> list[tuple[int, Any]]:
    """The boxes and their places in the list, repetitions left out."""
    return [(index, box) for index, box in enumerate(boxes) if box not in boxes[:index]]


def _object(object_id: str, label: str, box: Any, where: str) -> Object:
    centre = _numbers(box, "centroid", (3,), where)
    size = _numbers(box, "axesLengths", (3,), where)
    axes = _numbers(box, "normalizedAxes", (9,), where).reshape(3, 3)
    if not np.allclose(axes @ axes.T, np.eye(3), atol=1e-3):
        raise DataError(f"{where}.normalizedAxes: expected three perpendicular unit vectors, got {axes.tolist()}")
    if np.any(size <= 0):
        raise DataError(f"{where}.axesLengths: expected lengths above 0, got {size.tolist()}")
    world_from_object = np.eye(4)
    world_from_object[:3, :3] = axes.T
    if np.linalg.det(axes) < 0:
        world_from_object[:3, 2] *= -1  # a box looks the same along -axis, and a pose must be right-handed
    world_from_object[:3, 3] = centre
    upright, tilt_rad = upright_pose(world_from_object)
    thing = Object(
        id=object_id,
        label=label,
        world_from_object=world_from_object,
        size_m=size,
        attributes={"removed_tilt_rad": round(tilt_rad, 6)},
    )
    return replace(thing, mesh=_mesh(thing, invert(world_from_object) @ upright))


def upright_pose(world_from_object: Array) -> tuple[Array, float]:
    """The pose (4, 4) turned about its origin so that its most vertical axis is vertical, and the angle in radians.

    The rotation is the smallest one that does it, so an upright box is left as it is.
    """
    axes = world_from_object[:3, :3].T
    steepest = axes[int(np.argmax(np.abs(axes[:, 2])))]
    up = steepest if steepest[2] > 0 else -steepest
    turn_axis = np.array([up[1], -up[0], 0.0])  # up x (0, 0, 1)
    sine = float(np.linalg.norm(turn_axis))
    tilt_rad = float(np.arctan2(sine, up[2]))
    upright = world_from_object.copy()
    if sine > 0.0:
        x, y, _ = turn_axis / sine
        cross = np.array([[0.0, 0.0, y], [0.0, 0.0, -x], [-y, x, 0.0]])
        rotation = np.eye(3) + np.sin(tilt_rad) * cross + (1 - np.cos(tilt_rad)) * cross @ cross
        upright[:3, :3] = rotation @ upright[:3, :3]
    return upright, tilt_rad


def _floor(objects: tuple[Object, ...], margin_m: float) -> tuple[Object, ...]:
    if not objects:
        return ()
    drawn = [box_corners(upright_pose(np.asarray(thing.world_from_object))[0], thing.size_m) for thing in objects]
    corners = np.concatenate(drawn)
    low, high = corners.min(axis=0), corners.max(axis=0)
    size = np.array([*(high - low)[:2] + 2 * margin_m, _FLOOR_THICKNESS_M])
    middle = np.array([*(low + high)[:2] / 2, low[2] - _FLOOR_THICKNESS_M / 2])
    floor = Object(id="floor", label="floor", world_from_object=pose(middle), size_m=size)
    return (replace(floor, mesh=_mesh(floor, np.eye(4))),)


def _mesh(thing: Object, object_from_drawn: Array) -> Mesh:
    """The box of `thing`, in its look, given in another frame than the object's own."""
    mesh = box_mesh(thing)
    return replace(
        mesh,
        positions_m=transform_points(object_from_drawn, mesh.positions_m).astype(np.float32),
        normals=(mesh.normals @ object_from_drawn[:3, :3].T).astype(np.float32),
        materials=(_material(thing.label),),
    )


def _material(label: str) -> Material:
    """A look by category: from the table, else the one that any box of this label gets."""
    if label not in _LOOKS:
        return label_material(label)
    pattern, color, color2 = _LOOKS[label]
    return Material(pattern=pattern, color=color, color2=color2)


def _field(record: Any, key: str, kind: type, where: str) -> Any:
    if not isinstance(record, dict):
        raise DataError(f"{where}: expected a record, got a {type(record).__name__}")
    if key not in record:
        raise DataError(f"{where}: the field {key!r} is missing")
    if not isinstance(record[key], kind):
        raise DataError(f"{where}, field {key!r}: expected a {kind.__name__}, got a {type(record[key]).__name__}")
    return record[key]


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise DataError(f"{where}: expected a list of boxes, got a {type(value).__name__}")
    return value


def _numbers(record: Any, key: str, shape: tuple[int, ...], where: str) -> Array:
    value = _field(record, key, object, where)
    try:
        numbers = np.array(value, dtype=float)
    except (TypeError, ValueError):
        raise DataError(f"{where}.{key}: expected numbers of shape {shape}, got {str(value)[:60]}") from None
    if numbers.shape != shape or not np.all(np.isfinite(numbers)):
        raise DataError(f"{where}.{key}: expected finite numbers of shape {shape}, got {str(value)[:60]}")
    return numbers
