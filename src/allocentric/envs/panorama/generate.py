"""Sets of search tasks from scenes of any source with rooms, written in the layout of H*Bench.

The same settings give the same folders for any number of workers. A scene is a unit of work: it is logged once all its
panoramas are written, and the same command continues after the last one logged.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from allocentric.core.catalog import SOURCES
from allocentric.core.config import Settings as BaseSettings
from allocentric.core.config import resolved, settings_from_mapping
from allocentric.core.errors import DataError, SettingsError
from allocentric.core.progress import Progress, SilentProgress
from allocentric.core.runlog import RunLog
from allocentric.envs.panorama.stations import Station, StationSettings, stations_of
from allocentric.envs.panorama.tasks import write_scene

_EMPTY_SCENES = 50  # in a row: the settings can't be met


class Settings(BaseSettings):
    """A set of tasks."""

    seed: int = Field(default=0, ge=0)
    """Of the choice of stations and targets."""
    tasks: int = Field(default=250, ge=1)
    """Number of annotations; each is played from four start headings."""
    source: Mapping[str, Any] = {"name": "procedural", "count": 100_000, "rooms": (2, 8)}
    """`name` of a scene source (`allocentric list sources`) and its settings; its scenes are taken in order."""
    stations: int = Field(default=3, ge=1)
    """Most panoramas of one scene."""
    station: StationSettings = StationSettings()
    """What a panorama is like and what is asked in it."""


def generate(
    settings: Settings, folder: Path, *, workers: int = 1, progress: Progress | None = None
) -> dict[str, int]:
    """Write the set, or what is missing of it. Returns the number of annotations by kind and level ("object 0").

    Raises:
        UserError: The source is unknown or its settings are wrong.
        SettingsError: The folder holds a set of other settings.
        DataError: Scene after scene offers no task, or the source has too few scenes.
    """
    progress = progress or SilentProgress()
    _source(settings)  # mistakes in it are told before anything is written
    folder.mkdir(parents=True, exist_ok=True)
    with RunLog(folder, resolved(settings)) as log:
        counts: Counter[str] = Counter()
        done = log.read()
        for record in done.values():
            counts.update(record["counts"])
        progress.start(settings.tasks, "search tasks")
        progress.advance(_annotations(counts))
        empty = 0
        for scene_id, stations in _scenes(settings, len(done), workers, counts):
            kept = _first_of(stations, settings.tasks - _annotations(counts))
            for station in kept:
                write_scene(folder, station.id, station.panorama, station.annotations)
            here = _counted(kept)
            log.append([(scene_id, {"counts": here})])
            counts.update(here)
            progress.advance(_annotations(Counter(here)))
            empty = 0 if kept else empty + 1
            if empty == _EMPTY_SCENES:
                raise DataError(f"{empty} scenes in a row offer no task; widen the settings of the stations")
        progress.stop()
    if _annotations(counts) < settings.tasks:
        raise DataError(
            f"the source's scenes offer {_annotations(counts)} of {settings.tasks} tasks; "
            "raise source.count or lower tasks"
        )
    return dict(sorted(counts.items()))


def stations_of_scene(settings: Settings, number: int) -> list[Station]:
    """The stations of one scene of the source; the same bytes in any process."""
    from allocentric.scenes.render import raster

    source = _source(settings)
    scene = source.load(source.scene_ids()[number])
    rng = np.random.default_rng([settings.seed, number])
    with raster.build(scene, raster.Settings()) as renderer:
        return stations_of(scene, renderer, rng, settings.stations, settings.station)


def _scenes(settings: Settings, first: int, workers: int, counts: Counter[str]) -> Iterator[tuple[str, list[Station]]]:
    """Scenes in order until enough annotations are counted, a few of them ahead where there are workers."""
    ids = _source(settings).scene_ids()
    if workers <= 1:
        for number in range(first, len(ids)):
            if _annotations(counts) >= settings.tasks:
                return
            yield ids[number], stations_of_scene(settings, number)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        ahead: deque[tuple[int, Future[list[Station]]]] = deque()
        number = first
        while _annotations(counts) < settings.tasks:
            while len(ahead) < 2 * workers and number < len(ids):
                ahead.append((number, pool.submit(stations_of_scene, settings, number)))
                number += 1
            if not ahead:
                return
            current, future = ahead.popleft()
            yield ids[current], future.result()
        for _, future in ahead:
            future.cancel()


def _source(settings: Settings) -> Any:
    """The scene source that the settings name."""
    values = dict(settings.source)
    name = values.pop("name", None)
    if not isinstance(name, str):
        raise SettingsError(f"source: expected `name`, one of {', '.join(SOURCES.names())}, got {name!r}")
    module = SOURCES.load(name)
    return module.build(settings_from_mapping(module.Settings, values, where="source"))


def _first_of(stations: list[Station], count: int) -> list[Station]:
    """The first `count` annotations, in order."""
    kept = []
    for station in stations:
        annotations = station.annotations[: max(0, count)]
        count -= len(annotations)
        if annotations:
            kept.append(replace(station, annotations=annotations))
    return kept


def _counted(stations: list[Station]) -> dict[str, int]:
    """By kind, and by kind and level of every start heading."""
    counts: Counter[str] = Counter()
    for station in stations:
        for annotation in station.annotations:
            counts[f"{annotation.kind} tasks"] += 1
            counts.update(f"{annotation.kind} level {level}" for level in annotation.level or ())
    return dict(sorted(counts.items()))


def _annotations(counts: Counter[str]) -> Any:
    return sum(counts[f"{kind} tasks"] for kind in ("object", "path"))
