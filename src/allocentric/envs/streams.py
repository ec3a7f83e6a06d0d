"""Streams to watch: pictures in order of time, and questions with the time they are asked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from allocentric.core.errors import DataError
from allocentric.core.types import Image, Item, Scene, View
from allocentric.envs.drawing import RendererSpec, open_renderer
from allocentric.envs.questions import check_items
from allocentric.scenes import trajectory
from allocentric.scenes.render.contract import Renderer

When = Literal["evidence", "end"]
"""When an item is asked: as soon as the last picture its answer rests on was shown, or after the last picture."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TimedQuestion:
    """An item and when it is asked."""

    item: Item
    """The question and its gold answer."""
    time_s: float
    """Asked after every picture up to this time, and before any later one."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Stream:
    """One episode's pictures and questions."""

    id: str
    """Unique among the streams of an environment."""
    views: tuple[View, ...]
    """In order of time; each has `time_s`, and an image or (with `scene`) a camera."""
    questions: tuple[TimedQuestion, ...]
    """In the order they are asked; at least one."""
    scene: Scene | None = None
    """What views without an image are drawn from."""
    renderer: RendererSpec = "raster"
    """Catalogued renderer that draws them, or {"name": ..., ...its settings}."""

    def __post_init__(self) -> None:
        check_items(question.item for question in self.questions)
        times = [view.time_s for view in self.views]
        known = [time for time in times if time is not None]
        if len(known) < len(times) or any(b <= a for a, b in pairwise(known)):
            raise DataError(f"stream {self.id!r}: expected a time for every view, each later than the one before")
        asked = [question.time_s for question in self.questions]
        if not asked or any(b < a for a, b in pairwise(asked)):
            raise DataError(f"stream {self.id!r}: expected at least one question, in order of time")
        for index, view in enumerate(self.views):
            if view.image is None and (view.camera is None or self.scene is None):
                raise DataError(f"stream {self.id!r}: view {index} has no image, and no camera and scene to draw it")


class Feed:
    """One reading of a stream, forwards only: a picture is loaded when it is taken and not kept."""

    def __init__(self, stream: Stream) -> None:
        self._views = iter(stream.views)
        self._stream = stream
        self._next: View | None = next(self._views, None)
        self._renderer: Renderer | None = None

    @property
    def next_time_s(self) -> float | None:
        """Time of the next picture; None after the last."""
        return None if self._next is None else self._next.time_s

    def take(self) -> tuple[Image, float]:
        """The next picture and its time. IndexError after the last."""
        view = self._next
        if view is None or view.time_s is None:
            raise IndexError(f"stream {self._stream.id!r} has no more pictures")
        self._next = next(self._views, None)
        return self._picture(view), view.time_s

    def close(self) -> None:
        """Release the renderer; closing twice is fine."""
        if self._renderer is not None:
            self._renderer.close()
        self._renderer = None

    def _picture(self, view: View) -> Image:
        if isinstance(view.image, Path):
            return _read(view.image)
        if view.image is not None:
            return np.array(view.image() if callable(view.image) else view.image)
        assert view.camera is not None
        picture = self._drawing().render(view.camera, ("rgb",)).rgb
        assert picture is not None
        return picture

    def _drawing(self) -> Renderer:
        if self._renderer is None:
            assert self._stream.scene is not None
            self._renderer = open_renderer(self._stream.renderer, self._stream.scene)
        return self._renderer


def streams_of_items(
    items: Sequence[Item], *, when: When = "evidence", scenes: Sequence[Scene] = ()
) -> tuple[Stream, ...]:
    """One stream per scene, from items that share that scene's views.

    Args:
        items: With views; those of one scene all with the same ones. Their order decides among equal times.
        when: See `When`; items without evidence frames are asked at the end.
        scenes: What views without an image are drawn from, by id.

    Raises:
        DataError: the items of a scene have different views, or none.
    """
    by_scene: dict[str, list[Item]] = {}
    for item in items:
        by_scene.setdefault(item.scene_id, []).append(item)
    known = {scene.id: scene for scene in scenes}
    return tuple(_stream(scene_id, group, when, known.get(scene_id)) for scene_id, group in by_scene.items())


def stream_of_walk(
    scene: Scene,
    items: Sequence[tuple[float, Item]],
    rng: np.random.Generator,
    settings: trajectory.Settings | None = None,
) -> Stream:
    """A walk through a scene, drawn as it goes, with items at their times in seconds."""
    walk = trajectory.walk(scene, rng, settings or trajectory.Settings())
    views = tuple(
        View(camera=camera, time_s=float(time)) for camera, time in zip(walk.cameras, walk.times_s, strict=True)
    )
    asked = sorted((TimedQuestion(item=item, time_s=time) for time, item in items), key=_time)
    return Stream(id=scene.id, views=views, questions=tuple(asked), scene=scene)


def _stream(scene_id: str, items: Sequence[Item], when: When, scene: Scene | None) -> Stream:
    views = items[0].views
    for item in items:
        same = len(item.views) == len(views) and all(a is b for a, b in zip(item.views, views, strict=True))
        if not views or not same:
            raise DataError(f"scene {scene_id!r}: item {item.id} has other views than the rest, or none")
    asked = sorted((TimedQuestion(item=item, time_s=_due_s(item, when)) for item in items), key=_time)
    return Stream(id=scene_id, views=views, questions=tuple(asked), scene=scene)


def _due_s(item: Item, when: When) -> float:
    last = max(item.evidence.frames) if when == "evidence" and item.evidence.frames else len(item.views) - 1
    time_s = item.views[last].time_s
    if time_s is None:
        raise DataError(f"item {item.id}: view {last} has no time, so the item has none either")
    return time_s


def _time(question: TimedQuestion) -> float:
    return question.time_s


def _read(path: Path) -> Image:
    import cv2

    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise DataError(f"cannot read the picture {path}")
    return np.asarray(picture[..., ::-1])
