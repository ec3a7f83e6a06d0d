"""One scene's share of a set: walk, frames, visibility and every candidate item, written once.

A shard is a JSON file that appears whole or not at all, after the frames it names. A shard that is damaged, or whose
frames are not all there, is made again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from allocentric.core.catalog import RENDERERS
from allocentric.core.config import Settings
from allocentric.core.errors import DataError
from allocentric.core.pictures import sample_frames
from allocentric.core.records import digest, item_from_record, item_to_record, json_bytes, view_from_record
from allocentric.core.runlog import disk_errors, write_atomically
from allocentric.core.types import Image, Item, Scene, View
from allocentric.datasets.export import frame_path, safe_name, scene_records
from allocentric.datasets.generate import Source, generator_for, items_of_scene
from allocentric.scenes import trajectory


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneJob:
    """What every scene of a set is made with; picklable, so that it can go to a worker process."""

    folder: Path
    """The set's folder."""
    source: Source
    """Where scenes come from."""
    renderer: str | None
    """Renderer, or None to ask from the boxes alone."""
    renderer_settings: Settings | None
    """Its settings."""
    walk: trajectory.Settings
    """How to walk."""
    frames: int
    """Frames taken from a walk."""
    jpeg_quality: int
    """1 to 95."""
    types: tuple[str, ...]
    """Question types."""
    profile: str
    """Filters of every type."""
    per_scene: int | None
    """Most candidates of a type in one scene."""
    seed: int
    """Seed of the set."""


def shard_path(folder: Path, scene_id: str) -> Path:
    """Where a scene's shard lies while a set is being made."""
    return folder / ".work" / "shards" / f"{safe_name(scene_id)}.json"


def make_shard(job: SceneJob, scene_id: str) -> None:
    """Make and write one scene's share; nothing is left half-written.

    Raises UserError for a scene that can't be walked or asked about, and for a full disk.
    """
    scene = job.source.load(scene_id)
    if scene.id != scene_id:
        raise DataError(f"the source gives scene {scene.id!r} where {scene_id!r} was asked for")
    views, files = _film(job, scene)
    items = items_of_scene(scene, views, job.types, job.profile, job.seed, job.per_scene)
    scene_record, view_records = scene_records(scene, views)
    content = {
        "scene": scene_record,
        "views": view_records,
        "files": files,
        "items": [item_to_record(replace(item, views=())) for item in items],
    }
    with disk_errors(job.folder):
        path = shard_path(job.folder, scene_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json_bytes({"content": content, "digest": digest(content)}).decode())


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """A shard read back."""

    scene: Mapping[str, Any]
    """The scene's record."""
    view_records: Sequence[Mapping[str, Any]]
    """Records of the frames."""
    item_records: Sequence[Mapping[str, Any]]
    """Records of every candidate, without views."""

    def items(self, wanted: set[str] | None = None) -> list[Item]:
        """The items whose ids are `wanted` (None: all), with the scene's views."""
        views = tuple(view_from_record(record) for record in self.view_records)
        return [
            replace(item_from_record(record), views=views)
            for record in self.item_records
            if wanted is None or record["id"] in wanted
        ]


def read_shard(folder: Path, scene_id: str) -> Shard | None:
    """A scene's shard, or None where it is missing, damaged or without its frames."""
    try:
        record = json.loads(shard_path(folder, scene_id).read_bytes())
        content = record["content"]
        intact = record["digest"] == digest(content)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not intact or any(not _has_size(folder / name, size) for name, size in content["files"].items()):
        return None
    return Shard(scene=content["scene"], view_records=content["views"], item_records=content["items"])


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _film(job: SceneJob, scene: Scene) -> tuple[list[View], dict[str, int]]:
    """Walk, draw and save the frames: views with relative paths, and the size in bytes of every file."""
    if job.renderer is None:
        return [], {}
    walk = trajectory.walk(scene, generator_for(job.seed, scene.id, "walk"), job.walk)
    if job.frames > len(walk.cameras):
        raise DataError(
            f"scene {scene.id!r}: the walk has {len(walk.cameras)} cameras, {job.frames} frames were asked for; "
            "lower frames or raise walk.fps"
        )
    views, pictures = [], []
    with RENDERERS.load(job.renderer).build(scene, job.renderer_settings) as renderer:
        for index, k in enumerate(sample_frames(job.frames, len(walk.cameras))):
            camera = walk.cameras[k]
            frame = renderer.render(camera, channels=("rgb", "id"))
            pictures.append(frame.rgb)
            views.append(
                View(
                    image=Path(frame_path(scene.id, index)),
                    camera=camera,
                    time_s=float(walk.times_s[k]),
                    visible=trajectory.visibility(scene, camera, frame.id, renderer),
                )
            )
    with disk_errors(job.folder):
        return views, _save(job, scene.id, pictures)


def _save(job: SceneJob, scene_id: str, pictures: Sequence[Image]) -> dict[str, int]:
    """Frames into a folder of their own that takes its name when all are written."""
    from PIL import Image as Picture

    final = job.folder / frame_path(scene_id, 0).parent
    partial = final.parent / f".{final.name}.{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    sizes = {}
    for index, pixels in enumerate(pictures):
        name = frame_path(scene_id, index)
        Picture.fromarray(pixels).save(partial / name.name, quality=job.jpeg_quality)
        sizes[name.as_posix()] = (partial / name.name).stat().st_size
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    return sizes
