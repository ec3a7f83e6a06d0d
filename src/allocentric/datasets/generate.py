"""Scenes -> items, on any number of processes, the same items for each.

Every scene and type gets its own random generator, seeded from the run's seed, the scene's id and the type's name, so
neither the number of workers nor the list of other types changes what is asked.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Protocol

import numpy as np

from allocentric.core.catalog import QUESTIONS
from allocentric.core.errors import SettingsError
from allocentric.core.types import Item, Scene, View
from allocentric.datasets.questions._context import settings_of

METADATA_TYPES: tuple[str, ...] = (
    "object_counting",
    "object_abs_distance",
    "object_size_estimation",
    "room_size_estimation",
    "object_rel_distance",
    "object_rel_direction_easy",
    "object_rel_direction_medium",
    "object_rel_direction_hard",
)
"""Types that boxes, counts and areas answer, without views or rooms."""

Limits = Mapping[str, int] | int | None
"""Most questions per scene: of each type by name, of every type, or None for the bounds of the profile."""


class Source(Protocol):
    """What gives scenes; has to be picklable for more than one worker."""

    def scene_ids(self) -> list[str]:
        """Every scene, in a fixed order."""
        ...

    def load(self, scene_id: str) -> Scene:
        """One scene."""
        ...


ViewsOf = Callable[[Scene], Sequence[View]]
"""Gives the views a scene is shown in; a top-level function or a frozen dataclass, so that it can be pickled."""


def generate(
    source: Source,
    types: Sequence[str],
    profile: str = "vsi",
    seed: int = 0,
    workers: int = 1,
    per_scene: Limits = None,
    views_of: ViewsOf | None = None,
) -> Iterator[list[Item]]:
    """Yield the items of each scene, in the order of `source.scene_ids()`.

    Args:
        source: Where scenes come from.
        types: Names of question types; order decides the order of a scene's items, nothing else.
        profile: Filters of every type ("vsi", "revsi").
        seed: Seed of the run; non-negative.
        workers: Processes; 1 stays in this one.
        per_scene: Most questions per scene and type.
        views_of: Views to ask about; None asks from the metadata alone.

    Raises:
        UserError: Unknown type or profile, before anything is made.
    """
    if workers < 1:
        raise SettingsError(f"expected 1 worker or more, got {workers}")
    names = tuple(QUESTIONS.resolve(name) for name in types)
    for name in names:
        settings_of(QUESTIONS.load(name).PROFILES, profile)
    job = partial(_job, source, names, profile, seed, per_scene, views_of)
    return _run(job, source.scene_ids(), workers)


def items_of_scene(
    scene: Scene,
    views: Sequence[View],
    types: Sequence[str],
    profile: str = "vsi",
    seed: int = 0,
    per_scene: Limits = None,
) -> list[Item]:
    """What `generate` asks about one scene."""
    items: list[Item] = []
    for name in types:
        module = QUESTIONS.load(name)
        settings = settings_of(module.PROFILES, profile)
        limit = per_scene.get(name) if isinstance(per_scene, Mapping) else per_scene
        if limit is not None and "max_items" in type(settings).model_fields:
            settings = settings.model_copy(update={"max_items": limit})
        items.extend(module.ask(scene, views, generator_for(seed, scene.id, name), settings)[:limit])
    return items


def generator_for(seed: int, scene_id: str, name: str) -> np.random.Generator:
    """The random generator of one scene and one type (or any other use with a name)."""
    return np.random.default_rng([seed, _digest(scene_id), _digest(name)])


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _job(
    source: Source,
    types: tuple[str, ...],
    profile: str,
    seed: int,
    per_scene: Limits,
    views_of: ViewsOf | None,
    scene_id: str,
) -> list[Item]:
    scene = source.load(scene_id)
    views = () if views_of is None else tuple(views_of(scene))
    return items_of_scene(scene, views, types, profile, seed, per_scene)


def _run(job: Callable[[str], list[Item]], scene_ids: Sequence[str], workers: int) -> Iterator[list[Item]]:
    if workers == 1 or len(scene_ids) < 2:
        yield from map(job, scene_ids)
        return
    # spawn: a forked child would inherit locks and graphics contexts of this process
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield from pool.map(job, scene_ids, chunksize=max(1, min(16, len(scene_ids) // (4 * workers))))
    finally:
        pool.shutdown(cancel_futures=True)  # also where the caller stops half-way
