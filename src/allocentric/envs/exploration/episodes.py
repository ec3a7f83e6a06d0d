"""Scenes ready to walk in, and episodes drawn from a generator."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from allocentric.core.catalog import SOURCES
from allocentric.core.config import settings_from_mapping
from allocentric.core.errors import DataError, SettingsError, suggestion
from allocentric.core.types import Item, Scene
from allocentric.envs.exploration.floor import Array, Floor
from allocentric.envs.exploration.goals import Goal, ObjectGoal, PointGoal
from allocentric.envs.exploration.walker import Pose
from allocentric.scenes.walkable import WalkableMap

_PLACES_KEPT = 8
_SCENES_TRIED = 50
_POINTS_TRIED = 16


class SceneSource(Protocol):
    """Scenes by id; every file of scenes/sources builds one."""

    def scene_ids(self) -> list[str]:
        """All ids."""
        ...

    def load(self, scene_id: str) -> Scene:
        """The scene of an id."""
        ...


@dataclass(frozen=True, slots=True)
class GivenScenes:
    """Scenes handed over as they are."""

    scenes: Mapping[str, Scene]

    def scene_ids(self) -> list[str]:
        """In the order given."""
        return list(self.scenes)

    def load(self, scene_id: str) -> Scene:
        """The scene of an id; DataError where there is none."""
        if scene_id not in self.scenes:
            raise DataError(f"there is no scene {scene_id!r}" + suggestion(scene_id, self.scenes))
        return self.scenes[scene_id]


def source_of(scenes: Sequence[Scene] | Mapping[str, Any] | str) -> SceneSource:
    """Scenes as they are, or those of a catalogued source: its name, or {"name": ..., <settings>}."""
    if isinstance(scenes, str):
        scenes = {"name": scenes}
    if isinstance(scenes, Mapping):
        settings = dict(scenes)
        name = settings.pop("name", None)
        if not isinstance(name, str):
            raise SettingsError("scenes: expected {'name': a scene source, ...its settings}, got no name")
        module = SOURCES.load(name)
        source: SceneSource = module.build(settings_from_mapping(module.Settings, settings, where=f"scenes {name}"))
        return source
    given = {scene.id: scene for scene in scenes}
    if not given or len(given) != len(scenes):
        raise DataError(f"expected scenes with different ids, got {[scene.id for scene in scenes]}")
    return GivenScenes(given)


class Place:
    """A scene and its floor."""

    def __init__(self, scene: Scene, grid: WalkableMap) -> None:
        self.scene = scene
        self.floor = Floor(grid)
        self.floor_z_m = min((room.floor_z_m for room in scene.rooms), default=0.0)
        self._goals: dict[tuple[str, float], ObjectGoal] = {}

    def object_goal(self, category: str, distance_m: float) -> ObjectGoal:
        """The goal of a category, made once."""
        key = (category, distance_m)
        if key not in self._goals:
            self._goals[key] = ObjectGoal(self.floor, self.scene, category, distance_m)
        return self._goals[key]


class Places:
    """The places of a source, the last few kept."""

    def __init__(self, source: SceneSource, walkable: Callable[[Scene], WalkableMap]) -> None:
        self._source, self._walkable = source, walkable
        self.ids = tuple(source.scene_ids())
        if not self.ids:
            raise DataError("the scene source holds no scenes")
        self._kept: OrderedDict[str, Place] = OrderedDict()

    def get(self, scene_id: str) -> Place:
        """The place of a scene."""
        if scene_id not in self._kept:
            scene = self._source.load(scene_id)
            self._kept[scene_id] = Place(scene, self._walkable(scene))
            while len(self._kept) > _PLACES_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(scene_id)
        return self._kept[scene_id]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Episode:
    """Where an episode is played, from where, and what for."""

    place: Place
    """Scene and floor."""
    start: Pose
    """First pose."""
    goal: Goal | None
    """What to reach; None where a question is to be answered."""
    item: Item | None = None
    """The question, where there is one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """Which episodes may be drawn."""

    least_m: float
    """Least geodesic distance from start to goal."""
    most_m: float
    """Largest geodesic distance from start to goal."""
    near_m: float
    """How close counts as reached."""
    categories: tuple[str, ...] | None
    """Categories asked for; None is every label of the scene."""


@dataclass(frozen=True, slots=True)
class Only:
    """What `reset(options=...)` fixes."""

    scene_id: str | None = None
    """The scene."""
    goal: str | None = None
    """The category, or the id of the item."""


def draw_object_episode(places: Places, bounds: Bounds, rng: np.random.Generator, only: Only) -> Episode:
    """Something of a category to find: a scene, then one of its categories, then a start, each as likely as the next.

    Categories and scenes without a start inside the bounds are drawn again. DataError where fifty scenes have none.
    """
    for place in _draw_places(places, rng, only):
        labels = sorted({thing.label for thing in place.scene.objects})
        wanted = labels if bounds.categories is None else [name for name in labels if name in bounds.categories]
        if only.goal is not None:
            wanted = [name for name in labels if name == only.goal]
        for index in rng.permutation(len(wanted)):
            goal = place.object_goal(wanted[int(index)], bounds.near_m)
            if goal.cells.any() and (start := _draw_start(place.floor, goal, bounds, rng)) is not None:
                return Episode(place=place, start=start, goal=goal)
    raise _nothing_found(bounds, only)


def draw_point_episode(places: Places, bounds: Bounds, rng: np.random.Generator, only: Only) -> Episode:
    """A point of the floor to reach: scene, goal and start, each as likely as the next. DataError as for objects."""
    for place in _draw_places(places, rng, only):
        for index in rng.integers(len(place.floor.cells), size=_POINTS_TRIED):
            goal = PointGoal(place.floor, place.floor.cells[index], bounds.near_m)
            if (start := _draw_start(place.floor, goal, bounds, rng)) is not None:
                return Episode(place=place, start=start, goal=goal)
    raise _nothing_found(bounds, only)


def draw_question_episode(places: Places, items: Sequence[Item], rng: np.random.Generator, only: Only) -> Episode:
    """A question about a scene, asked anywhere on its floor."""
    fitting = [item for item in items if only.scene_id in (None, item.scene_id) and only.goal in (None, item.id)]
    if not fitting:
        raise SettingsError(f"no item fits the options scene_id {only.scene_id!r}, goal {only.goal!r} (an item's id)")
    item = fitting[int(rng.integers(len(fitting)))]
    place = places.get(item.scene_id)
    start = _pose(place.floor.centres_m[int(rng.integers(len(place.floor.cells)))], rng)
    return Episode(place=place, start=start, goal=None, item=item)


def _draw_places(places: Places, rng: np.random.Generator, only: Only) -> Iterator[Place]:
    if only.scene_id is not None:
        yield places.get(only.scene_id)
        return
    for _ in range(_SCENES_TRIED):
        yield places.get(places.ids[int(rng.integers(len(places.ids)))])


def _draw_start(floor: Floor, goal: Goal, bounds: Bounds, rng: np.random.Generator) -> Pose | None:
    distance = floor.field(goal.cells).distance_m[floor.free]
    fitting = np.flatnonzero((distance >= bounds.least_m) & (distance <= bounds.most_m))
    if len(fitting) == 0:
        return None
    return _pose(floor.centres_m[fitting[int(rng.integers(len(fitting)))]], rng)


def _pose(xy_m: Array, rng: np.random.Generator) -> Pose:
    return Pose(float(xy_m[0]), float(xy_m[1]), float(rng.uniform(-np.pi, np.pi)))


def _nothing_found(bounds: Bounds, only: Only) -> DataError:
    where = f"scene {only.scene_id!r}" if only.scene_id else f"{_SCENES_TRIED} scenes drawn"
    what = only.goal or (", ".join(bounds.categories) if bounds.categories else "any goal")
    return DataError(
        f"no episode in {where}: {what} can't be walked to from {bounds.least_m} to {bounds.most_m} m away; "
        "widen min_distance_m and max_distance_m, or choose other categories or scenes"
    )
