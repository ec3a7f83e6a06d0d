"""A video that never ends: walks through one furnished house after another, drawn when they are looked at.

A stream is a sequence of *stretches* of equal length. Each stretch is one visit of one house: which house, along which
route, and what was put there or taken away. House and route come from seeds made of the stream's seed and their own
numbers, so a stretch is built without the ones before it, and the same visit gives the same bytes wherever it stands.
Between two stretches the picture cuts, as between the clips of VSI-SUPER (arXiv 2511.04670).

Houses stand on lots of a grid, so that every camera of a stream is in one world; a house is drawn in its own frame.

A view's picture is rendered when `image()` is called, and not kept. Its `visible` is counted when it is first read, in
the renderer's id pass: the pixels in which an object is the nearest surface, over those of its silhouette drawn alone.
A few houses are kept built, so memory does not grow with the hours.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Self, TypeVar, overload

import numpy as np
from pydantic import Field, model_validator

from allocentric.core.catalog import RENDERERS
from allocentric.core.config import Settings as BaseSettings
from allocentric.core.errors import DataError
from allocentric.core.geometry import pose
from allocentric.core.types import Camera, FloatArray, Image, Object, Opening, Room, Scene, View, Visibility
from allocentric.scenes import trajectory
from allocentric.scenes.furniture.catalog import categories
from allocentric.scenes.render.contract import Renderer
from allocentric.scenes.sources.procedural import MOST_ROOMS, build_house

_FILM_FPS = 10.0
"""Cameras a second of the walk a stretch is picked from."""
_LOTS_IN_A_ROW = 32
_RENDERERS_KEPT = 2
_WALKS_KEPT = 8
_SEEDS = 2**31


class Settings(BaseSettings):
    """Which houses, and how they are walked and filmed."""

    seed: int = Field(default=0, ge=0)
    """Another seed is another stream."""
    rooms: tuple[int, int] = (2, 4)
    """Fewest and most rooms of a house."""
    houses: int | None = Field(default=None, ge=1)
    """Different houses before the first is walked again along another route; None never comes back."""
    stretch_s: float = Field(default=90.0, gt=0.0)
    """Length of a stretch: the walk through a house is taken at the pace that fits it."""
    walk: trajectory.Settings = trajectory.Settings(width_px=320, height_px=240, fps=1.0)
    """Camera, frames a second, and how one walks; its speeds hold where a walk takes no longer than a stretch."""
    lot_m: float = Field(default=60.0, gt=0.0)
    """Distance between neighbouring houses' origins."""
    without: tuple[str, ...] = ()
    """Categories no house has, with what stands on them: names kept for things that are put there on purpose."""
    renderer: str = "raster"
    """A catalogued renderer."""
    shadows: bool = False
    """Sun and lamps cast shadows; each costs time once per house."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        frames = self.stretch_s * self.walk.fps
        if frames < 1 or abs(frames - round(frames)) > 1e-6:
            raise ValueError(
                f"stretch_s: expected a whole number of frames, got {self.stretch_s} s at {self.walk.fps}"
            )
        if not 1 <= self.rooms[0] <= self.rooms[1] <= MOST_ROOMS:
            raise ValueError(f"rooms: expected two numbers from 1 to {MOST_ROOMS} in order, got {list(self.rooms)}")
        unknown = set(self.without) - set(categories())
        if unknown:
            raise ValueError(f"without: no such category: {', '.join(sorted(unknown))}")
        return self

    @property
    def stretch_frames(self) -> int:
        """Frames of a stretch."""
        return round(self.stretch_s * self.walk.fps)


@dataclass(frozen=True, kw_only=True, slots=True)
class Put:
    """A thing that is set down in a house."""

    id: str
    """Identity over the whole stream: the same thing at two places has one id."""
    label: str
    """A furniture category."""
    look: int
    """Seed of its shape and finish."""
    bottom_m: tuple[float, float, float]
    """Middle of its underside, in the house's frame."""
    yaw_rad: float
    """Heading of its front."""
    room_id: str
    """Room it stands in."""
    on: str | None
    """Id in the house of what it stands on; None is the floor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """How a house differs from how it was built."""

    put: tuple[Put, ...] = ()
    """Set down."""
    take: tuple[str, ...] = ()
    """Ids in the house of what was taken away."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """What one stretch shows. Equal visits of one stream's settings show the same bytes."""

    house: int
    """Which house."""
    route: int = 0
    """Which walk through it."""
    edit: Edit = Edit()
    """What was put there or taken away."""


@dataclass(frozen=True, slots=True)
class FrameKey:
    """What a picture depends on beside the settings: equal keys, equal bytes."""

    visit: Visit
    """The visit."""
    frame: int
    """Place in the stretch, from 0."""


class Stream(Sequence[View]):
    """Views in order of time, 1/fps apart; finite with `visits`, endless without.

    Use it as a context manager or call `close`, from the thread that draws.
    """

    def __init__(self, settings: Settings, visits: Sequence[Visit] | None = None) -> None:
        """Nothing is built before it is looked at.

        Args:
            settings: Houses, walks, camera.
            visits: What each stretch shows; None walks house after house without end.
        """
        self.settings = settings
        self.visits = None if visits is None else tuple(visits)
        self._scenes: _Latest[Scene] = _Latest(_WALKS_KEPT)
        self._walks: _Latest[tuple[Camera, ...]] = _Latest(_WALKS_KEPT)
        self._renderers: _Latest[Renderer] = _Latest(_RENDERERS_KEPT, lambda renderer: renderer.close())

    # -------------------------------------------------------------------------------------------------------- reading

    def __len__(self) -> int:
        """Frames of a finite stream; TypeError for an endless one."""
        if self.visits is None:
            raise TypeError("an endless stream has no length")
        return len(self.visits) * self.settings.stretch_frames

    @overload
    def __getitem__(self, index: int) -> View: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[View]: ...
    def __getitem__(self, index: int | slice) -> View | Sequence[View]:
        """Frame `index`, built without those before; a slice is a list of views that are not drawn yet."""
        if isinstance(index, slice):
            if self.visits is None and (index.stop is None or min(index.start or 0, index.stop) < 0):
                raise IndexError("an endless stream is sliced from the front: expected 0 <= start <= stop")
            last = index.stop if self.visits is None else len(self)
            return [self[number] for number in range(*index.indices(last))]
        if self.visits is not None and index < 0:
            index += len(self)
        if index < 0 or (self.visits is not None and index >= len(self)):
            raise IndexError(f"no frame {index} in the stream")
        stretch, frame = divmod(int(index), self.settings.stretch_frames)
        return self._view(self.visit(stretch), frame, index / self.settings.walk.fps)

    def __iter__(self) -> Iterator[View]:
        """All frames in order."""
        return self.views()

    def views(self, start: int = 0, stop: int | None = None) -> Iterator[View]:
        """Frames start ... stop - 1 as they come; without `stop` to the end, if there is one."""
        if self.visits is not None:
            stop = len(self) if stop is None else min(stop, len(self))
        index = start
        while stop is None or index < stop:
            yield self[index]
            index += 1

    def index_at(self, time_s: float) -> int:
        """Number of the frame shown at a time: the last one not after it."""
        return int(np.floor(time_s * self.settings.walk.fps + 1e-6))

    def time_s(self, index: int) -> float:
        """Time of a frame, without building anything."""
        return index / self.settings.walk.fps

    def visit(self, stretch: int) -> Visit:
        """What stretch number `stretch` shows."""
        if self.visits is not None:
            return self.visits[stretch]
        if self.settings.houses is None:
            return Visit(house=stretch)
        route, house = divmod(stretch, self.settings.houses)
        return Visit(house=house, route=route)

    # -------------------------------------------------------------------------------------------------------- building

    def scene(self, house: int, edit: Edit = Edit()) -> Scene:
        """A house in its own frame; ids of its things begin with "<house>/", those of things put there do not."""
        return self._scenes.get((house, edit), lambda: self._build(house, edit))

    def in_world(self, scene: Scene, house: int) -> Scene:
        """A house moved to its lot, where the cameras of the stream's views are."""
        return _moved(scene, lot_m(house, self.settings))

    def cameras(self, house: int, route: int = 0) -> tuple[Camera, ...]:
        """Cameras of a stretch in the house's own frame. What is put there or taken away does not change a walk."""
        return self._walks.get((house, route), lambda: self._walk(house, route))

    def render(self, key: FrameKey) -> Image:
        """(H, W, 3): the picture of a frame."""
        picture = self._renderer(key.visit).render(self._camera(key), ("rgb", "id")).rgb
        assert picture is not None
        return picture

    def look(self, key: FrameKey) -> dict[str, Visibility]:
        """What a frame shows, by object id, counted in the id pass."""
        renderer, camera = self._renderer(key.visit), self._camera(key)
        drawn = renderer.render(camera, ("id",)).id
        assert drawn is not None
        return trajectory.visibility(self.scene(key.visit.house, key.visit.edit), camera, drawn, renderer)

    def close(self) -> None:
        """Release what draws; a view looked at afterwards opens it again."""
        self._renderers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _camera(self, key: FrameKey) -> Camera:
        return self.cameras(key.visit.house, key.visit.route)[key.frame]

    def _view(self, visit: Visit, frame: int, time_s: float) -> View:
        key = FrameKey(visit, frame)
        camera = self._camera(key)
        moved = np.array(camera.world_from_camera)
        moved[:2, 3] += lot_m(visit.house, self.settings)
        return View(
            image=_Picture(self, key),
            camera=replace(camera, world_from_camera=moved),
            time_s=time_s,
            visible=_Visible(self, key),
        )

    def _build(self, house: int, edit: Edit) -> Scene:
        built = build_house(_seed(self.settings.seed, 0, house), self.settings.rooms)
        kept = _without(built.objects, {o.id for o in built.objects if o.label in self.settings.without})
        return edited(_numbered(replace(built, objects=kept), house), edit)

    def _walk(self, house: int, route: int) -> tuple[Camera, ...]:
        rng = np.random.default_rng([self.settings.seed, 1, house, route])
        film = self.settings.walk.model_copy(update={"fps": _FILM_FPS})
        cameras = trajectory.walk(self.scene(house), rng, film).cameras
        count = self.settings.stretch_frames
        chosen = np.rint((np.arange(count) + 0.5) / count * len(cameras) - 0.5).astype(int)
        return tuple(cameras[index] for index in chosen)

    def _renderer(self, visit: Visit) -> Renderer:
        def opened() -> Renderer:
            module: Any = RENDERERS.load(self.settings.renderer)
            scene = self.scene(visit.house, visit.edit)
            renderer: Renderer = module.build(scene, module.Settings(shadows=self.settings.shadows))
            return renderer

        return self._renderers.get((visit.house, visit.edit), opened)


@dataclass(frozen=True, slots=True)
class _Picture:
    """A view's picture: renders when called."""

    stream: Stream
    key: FrameKey

    def __call__(self) -> Image:
        return self.stream.render(self.key)


@dataclass(slots=True, eq=False)
class _Visible(Mapping[str, Visibility]):
    """A view's `visible`: counted when it is first read."""

    stream: Stream
    key: FrameKey
    _seen: dict[str, Visibility] | None = field(default=None, repr=False)

    def _known(self) -> dict[str, Visibility]:
        if self._seen is None:
            self._seen = self.stream.look(self.key)
        return self._seen

    def __getitem__(self, name: str) -> Visibility:
        return self._known()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known())

    def __len__(self) -> int:
        return len(self._known())


def frame_key(view: View) -> FrameKey | None:
    """What a stream's view depends on; None for other views. It survives a wrapped or replaced image."""
    return view.visible.key if isinstance(view.visible, _Visible) else None


def lot_m(house: int, settings: Settings) -> FloatArray:
    """(2,) world xy of a house's origin."""
    return np.array([house % _LOTS_IN_A_ROW, house // _LOTS_IN_A_ROW]) * settings.lot_m


def edited(scene: Scene, edit: Edit) -> Scene:
    """A house with things taken away (and what stood on them) and set down. DataError for an unknown or taken id."""
    unknown = set(edit.take) - {thing.id for thing in scene.objects}
    if unknown:
        raise DataError(f"scene {scene.id!r} has no {', '.join(sorted(unknown))} to take away")
    objects = _without(scene.objects, set(edit.take)) + tuple(_thing(put) for put in edit.put)
    ids = [thing.id for thing in objects]
    if len(set(ids)) < len(ids):
        raise DataError(f"scene {scene.id!r}: expected different ids for the things put there, got {sorted(ids)}")
    return replace(scene, objects=objects) if edit != Edit() else scene


def _thing(put: Put) -> Object:
    piece = categories()[put.label].make(np.random.default_rng(put.look))
    x, y, z = put.bottom_m
    return Object(
        id=put.id,
        label=put.label,
        world_from_object=pose([x, y, z + float(piece.size_m[2]) / 2], put.yaw_rad),
        size_m=piece.size_m,
        mesh=piece.mesh,
        attributes={"color": piece.color},
        room_id=put.room_id,
        supported_by=put.on,
    )


def _without(objects: tuple[Object, ...], gone: set[str]) -> tuple[Object, ...]:
    """The objects but those gone and what stands on them, at any height."""
    if not gone:
        return objects
    gone = set(gone)
    while above := {o.id for o in objects if o.supported_by in gone} - gone:
        gone |= above
    return tuple(thing for thing in objects if thing.id not in gone)


def _numbered(scene: Scene, house: int) -> Scene:
    """Ids of objects and rooms that hold over the whole stream."""

    def name(one: str | None) -> str | None:
        return None if one is None else f"{house}/{one}"

    objects = tuple(
        replace(o, id=f"{house}/{o.id}", room_id=name(o.room_id), supported_by=name(o.supported_by))
        for o in scene.objects
    )
    rooms = tuple(
        replace(
            room,
            id=f"{house}/{room.id}",
            openings=tuple(
                replace(way, connects=(f"{house}/{way.connects[0]}", name(way.connects[1]))) for way in room.openings
            ),
        )
        for room in scene.rooms
    )
    return replace(scene, objects=objects, rooms=rooms)


def _moved(scene: Scene, by_m: FloatArray) -> Scene:
    def moved(thing: Object) -> Object:
        matrix = np.array(thing.world_from_object)
        matrix[:2, 3] += by_m
        return replace(thing, world_from_object=matrix)

    def way(opening: Opening) -> Opening:
        return replace(opening, segment_m=opening.segment_m + by_m)

    def floor(room: Room) -> Room:
        polygon = room.floor_polygon_m + by_m
        return replace(room, floor_polygon_m=polygon, openings=tuple(map(way, room.openings)))

    return replace(
        scene,
        objects=tuple(map(moved, scene.objects)),
        rooms=tuple(map(floor, scene.rooms)),
        structure=tuple(map(moved, scene.structure)),
    )


def _seed(*numbers: int) -> int:
    return int(np.random.default_rng(numbers).integers(_SEEDS))


Value = TypeVar("Value")


class _Latest(Generic[Value]):
    """The values used last, a few of them."""

    def __init__(self, most: int, release: Callable[[Value], None] | None = None) -> None:
        self._most, self._release = most, release
        self._values: OrderedDict[Hashable, Value] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        while len(self._values) >= self._most:
            self._drop()
        value = self._values[key] = make()
        return value

    def clear(self) -> None:
        while self._values:
            self._drop()

    def _drop(self) -> None:
        _, value = self._values.popitem(last=False)
        if self._release is not None:
            self._release(value)


__all__ = ["Edit", "FrameKey", "Put", "Settings", "Stream", "Visit", "edited", "frame_key", "lot_m"]
