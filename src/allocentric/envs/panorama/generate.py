"""Sets of search tasks from procedural houses, written in the layout of H*Bench.

The same settings give the same folders for any number of workers. A house is a unit of work: it is logged once all its
panoramas are written, and the same command continues after the last one logged.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from allocentric.core.config import Settings as BaseSettings
from allocentric.core.config import resolved
from allocentric.core.errors import DataError
from allocentric.core.progress import Progress, SilentProgress
from allocentric.core.runlog import RunLog
from allocentric.envs.panorama.stations import Station, StationSettings, stations_of
from allocentric.envs.panorama.tasks import write_scene

_EMPTY_HOUSES = 50  # in a row: the settings can't be met


class Settings(BaseSettings):
    """A set of tasks."""

    seed: int = Field(default=0, ge=0)
    """Of the choice of stations and targets."""
    tasks: int = Field(default=250, ge=1)
    """Number of annotations; each is played from four start headings."""
    first_house: int = Field(default=0, ge=0)
    """Seed of the first procedural house."""
    rooms: tuple[int, int] = (2, 8)
    """Fewest and most rooms of a house."""
    stations: int = Field(default=3, ge=1)
    """Most panoramas of one house."""
    station: StationSettings = StationSettings()
    """What a panorama is like and what is asked in it."""


def generate(
    settings: Settings, folder: Path, *, workers: int = 1, progress: Progress | None = None
) -> dict[str, int]:
    """Write the set, or what is missing of it. Returns the number of annotations by kind and level ("object 0").

    Raises:
        SettingsError: The folder holds a set of other settings.
        DataError: House after house offers no task.
    """
    progress = progress or SilentProgress()
    folder.mkdir(parents=True, exist_ok=True)
    with RunLog(folder, resolved(settings)) as log:
        counts: Counter[str] = Counter()
        done = log.read()
        for record in done.values():
            counts.update(record["counts"])
        progress.start(settings.tasks, "search tasks")
        progress.advance(_annotations(counts))
        empty = 0
        for house, stations in _houses(settings, len(done), workers, counts):
            kept = _first_of(stations, settings.tasks - _annotations(counts))
            for station in kept:
                write_scene(folder, station.id, station.panorama, station.annotations)
            here = _counted(kept)
            log.append([(house, {"counts": here})])
            counts.update(here)
            progress.advance(_annotations(Counter(here)))
            empty = 0 if kept else empty + 1
            if empty == _EMPTY_HOUSES:
                raise DataError(f"{empty} houses in a row offer no task; widen the settings of the stations")
        progress.stop()
    return dict(sorted(counts.items()))


def stations_of_house(settings: Settings, number: int) -> list[Station]:
    """The stations of one procedural house; the same bytes in any process."""
    from allocentric.scenes.render import raster
    from allocentric.scenes.sources import procedural

    source = procedural.build(procedural.Settings(rooms=settings.rooms))
    house = settings.first_house + number
    scene = source.load(_house_id(house))
    rng = np.random.default_rng([settings.seed, house])
    with raster.build(scene, raster.Settings()) as renderer:
        return stations_of(scene, renderer, rng, settings.stations, settings.station)


def _houses(settings: Settings, first: int, workers: int, counts: Counter[str]) -> Iterator[tuple[str, list[Station]]]:
    """Houses in order until enough annotations are counted, a few of them ahead where there are workers."""
    if workers <= 1:
        number = first
        while _annotations(counts) < settings.tasks:
            yield _house_id(settings.first_house + number), stations_of_house(settings, number)
            number += 1
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        ahead: deque[tuple[int, Future[list[Station]]]] = deque()
        number = first
        while _annotations(counts) < settings.tasks:
            while len(ahead) < 2 * workers:
                ahead.append((number, pool.submit(stations_of_house, settings, number)))
                number += 1
            current, future = ahead.popleft()
            yield _house_id(settings.first_house + current), future.result()
        for _, future in ahead:
            future.cancel()


def _house_id(number: int) -> str:
    return f"procedural-{number:06d}"


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
