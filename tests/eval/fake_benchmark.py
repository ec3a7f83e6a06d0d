"""A small benchmark with pictures, geometry and two profiles, entered into the catalog for tests.

Kept in its own file so that child processes of the crash tests can load it too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from allocentric.core import config
from allocentric.core.catalog import BENCHMARKS, Catalog
from allocentric.core.geometry import camera_at, pinhole_intrinsics, pose
from allocentric.core.records import digest
from allocentric.core.types import (
    Camera,
    Choice,
    Evidence,
    Item,
    Number,
    Object,
    Room,
    Sampling,
    Scene,
    Score,
    Unreadable,
    View,
)
from allocentric.eval.aggregation import Nested, Sums

LABELS = ("chair", "table", "sofa", "lamp", "bed", "shelf")


class Settings(config.Settings):
    """How big it is and where its pictures go."""

    scenes: int = 6
    per_scene: int = 6
    pictures: Path | None = None
    shout: bool = False
    """Ask in capitals: changes the prompts and nothing else."""


def build(settings: Settings) -> FakeBenchmark:
    return FakeBenchmark(settings)


class FakeBenchmark:
    name = "fake"
    profiles = ("first-letter@0", "lenient@0")
    cells: Mapping[str, str] = {"size": "size", "direction_easy": "direction", "direction_hard": "direction"}

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def _items(self) -> list[Item]:
        return [item for k in range(self.settings.scenes) for item in self._scene_items(k)]

    def items(self) -> list[Item]:
        return self._items

    def _scene_items(self, k: int) -> list[Item]:
        rng = np.random.default_rng([k, 5])
        scene = make_scene(k)
        views = tuple(self._view(k, frame) for frame in range(4))
        items = []
        for j in range(self.settings.per_scene):
            kind = ("size", "direction_easy", "direction_hard")[j % 3]
            thing = scene.objects[int(rng.integers(len(scene.objects)))]
            if kind == "size":
                prompt, choices = f"How long is the {thing.label} in centimetres?", ()
                gold: Any = Number(float(np.round(100 * thing.size_m.max())), "cm")
            else:
                prompt = f"Which way is the {thing.label}?"
                choices = ("left", "right") if kind == "direction_easy" else ("left", "right", "front", "back")
                gold = Choice(int(rng.integers(len(choices))))
            items.append(
                Item(
                    id=f"{k}-{j}", kind=kind, prompt=prompt, choices=choices, gold=gold, views=views,
                    scene_id=scene.id, source="fake", evidence=Evidence(object_ids=(thing.id,), frames=(0,)),
                )
            )  # fmt: skip
        return items

    def _view(self, k: int, frame: int) -> View:
        camera = Camera(
            world_from_camera=camera_at([1.0 + frame, 1.0 + 0.4 * frame, 1.5], 0.4 * frame), width_px=64, height_px=48,
            intrinsics_px=pinhole_intrinsics(64, 48, 1.2),
        )  # fmt: skip
        path = None
        if self.settings.pictures is not None:
            path = self.settings.pictures / f"{k}-{frame}.jpg"
            if not path.exists():
                self._draw(path, k, frame)
        return View(image=path, camera=camera, time_s=float(frame))

    def _draw(self, path: Path, k: int, frame: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng([k, frame]).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)

    def prompt_text(self, item: Item, profile: str) -> str:
        options = [f"{chr(65 + k)}. {choice}" for k, choice in enumerate(item.choices)]
        text = "\n".join([item.prompt, *options])
        return text.upper() if self.settings.shout else text

    def sampling(self, profile: str) -> Sampling:
        return Sampling(max_new_tokens=16)

    def score(self, item: Item, text: str, profile: str) -> Score:
        chance = self.chance(item)
        body = text.strip() if profile == "lenient@0" else text
        if isinstance(item.gold, Choice):
            index = ord(body[0].upper()) - 65 if body else -1
            if not 0 <= index < len(item.choices):
                return Score(value=0.0, answer=Unreadable("no letter"), chance=chance)
            return Score(value=float(index == item.gold.index), answer=Choice(index), chance=chance)
        assert isinstance(item.gold, Number)
        try:
            value = float(body.split(" ")[0])
        except ValueError:
            return Score(value=0.0, answer=Unreadable("no number"), chance=chance)
        return Score(value=max(0.0, 1 - abs(value / item.gold.value - 1)), answer=Number(value, "cm"), chance=chance)

    def composite(self, items: Sequence[Item], values: Any) -> Sums:
        return Nested(cells=self.cells, partial=True)(items, values)

    def chance(self, item: Item) -> float | None:
        return 1 / len(item.choices) if item.choices else None

    def fingerprint(self) -> dict[str, Any]:
        return {
            "row_count": len(self.items()),
            "sha256": digest([[i.id, i.prompt, list(i.choices)] for i in self._items]),
        }

    def scene(self, scene_id: str) -> Scene | None:
        return make_scene(int(scene_id.rpartition("-")[2]))


def make_scene(k: int) -> Scene:
    rng = np.random.default_rng([k, 7])
    objects = tuple(
        Object(
            id=f"{label}-{j}",
            label=label,
            size_m=rng.uniform(0.3, 1.8, 3),
            world_from_object=pose([rng.uniform(0.8, 5.2), rng.uniform(0.8, 3.2), 0.5], float(rng.uniform(-3, 3))),
        )
        for j, label in enumerate(LABELS)
    )
    floor = np.array([[0.0, 0.0], [6.0, 0.0], [6.0, 4.0], [0.0, 4.0]])
    room = Room(id="room-0", kind="living room", floor_polygon_m=floor, floor_z_m=0.0, height_m=2.6)
    return Scene(id=f"scene-{k}", objects=objects, rooms=(room,), source="fake", license="CC0-1.0")


def install() -> None:
    """Enter this file into the benchmark catalog of this process under the name "fake"."""
    load, resolve = Catalog.load, Catalog.resolve
    module = SimpleNamespace(Settings=Settings, build=build)

    def load_fake(self: Catalog, name: str) -> Any:
        return module if self is BENCHMARKS and name == "fake" else load(self, name)

    def resolve_fake(self: Catalog, name: str) -> str:
        return "fake" if self is BENCHMARKS and name == "fake" else resolve(self, name)

    Catalog.load, Catalog.resolve = load_fake, resolve_fake  # type: ignore[method-assign, assignment]
