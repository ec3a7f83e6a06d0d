"""What every question type needs to know about a scene and its views, and how an item is put together."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from allocentric.core.config import Settings
from allocentric.core.errors import UserError, suggestion
from allocentric.core.geometry import box_distance
from allocentric.core.records import digest, item_id, view_to_record
from allocentric.core.types import Answer, Evidence, Item, Scene, View
from allocentric.datasets.derivation import Derivation

Array = NDArray[np.float64]
SettingsT = TypeVar("SettingsT", bound=Settings)


class Seen(Settings):
    """When a view shows an object well enough to be asked about."""

    min_pixels: int = 100
    """Least number of visible pixels."""
    min_fraction: float = 0.1
    """Least visible part of the object's silhouette inside the frame, in [0, 1]."""

    def shows(self, view: View, object_id: str) -> bool:
        """Whether `view` shows the object at least that well."""
        seen = view.visible.get(object_id)
        return seen is not None and seen.pixels >= self.min_pixels and seen.fraction >= self.min_fraction


def settings_of(profiles: Mapping[str, SettingsT], profile: str | SettingsT) -> SettingsT:
    """The settings called `profile`; settings given directly are used as they are."""
    if not isinstance(profile, str):
        return profile
    if profile not in profiles:
        raise UserError(f"unknown question profile {profile!r}" + suggestion(profile, profiles))
    return profiles[profile]


@dataclass(frozen=True, eq=False)
class Context:
    """A scene, the views it was shown in, and lookups over both."""

    scene: Scene
    """What is asked about."""
    views: tuple[View, ...]
    """What is shown; empty asks from the boxes alone."""
    seen: Seen
    """When an object counts as shown."""
    members: Mapping[str, tuple[int, ...]] = field(init=False)
    """Label -> indices of its objects."""

    def __post_init__(self) -> None:
        members: dict[str, list[int]] = {}
        for index, thing in enumerate(self.scene.objects):
            members.setdefault(thing.label, []).append(index)
        object.__setattr__(self, "members", {label: tuple(indices) for label, indices in members.items()})

    @cached_property
    def frames(self) -> tuple[tuple[int, ...], ...]:
        """Per object, the views that show it."""
        return tuple(
            tuple(k for k, view in enumerate(self.views) if self.seen.shows(view, thing.id))
            for thing in self.scene.objects
        )

    @cached_property
    def view_digests(self) -> tuple[str, ...]:
        """Per view, a digest of its camera, time and visible objects."""
        return tuple(digest({**view_to_record(view), "path": None}, length=16) for view in self.views)

    @cached_property
    def poses(self) -> Array:
        """(N, 4, 4) world_from_object."""
        return np.array([thing.world_from_object for thing in self.scene.objects], dtype=float).reshape(-1, 4, 4)

    @cached_property
    def sizes_m(self) -> Array:
        """(N, 3) full edge lengths."""
        return np.array([thing.size_m for thing in self.scene.objects], dtype=float).reshape(-1, 3)

    @cached_property
    def unique(self) -> NDArray[np.int64]:
        """Indices of the shown objects that are the only one of their label, by box and by published count."""
        return np.array(
            [
                indices[0]
                for label, indices in self.members.items()
                if len(indices) == 1 and self.count_is_certain(label) and self.is_shown(indices[0])
            ],
            dtype=np.int64,
        )

    @cached_property
    def distances_m(self) -> Array:
        """(U, N) exact box distances from every unique object to every object."""
        unique, others = self.unique, np.arange(len(self.scene.objects))
        return box_distance(
            self.poses[unique][:, None], self.sizes_m[unique][:, None],
            self.poses[others][None], self.sizes_m[others][None],
        )  # fmt: skip

    def label(self, index: int) -> str:
        """Category of object `index`."""
        return self.scene.objects[index].label

    def ids(self, indices: Sequence[int]) -> list[str]:
        """Object ids."""
        return [self.scene.objects[index].id for index in indices]

    def is_shown(self, index: int) -> bool:
        """Whether some view shows the object; always true where no views were given."""
        return not self.views or bool(self.frames[index])

    def count_is_certain(self, label: str) -> bool:
        """Whether the number of boxes is the number the source publishes (or it publishes none)."""
        return self.scene.label_counts.get(label, len(self.members[label])) == len(self.members[label])

    def find(self, derivation: Derivation, label: str) -> dict[str, int]:
        """Add the step that looks up every object of a label."""
        return derivation.add("find", self.ids(self.members[label]), label=label)

    def item(
        self,
        *,
        kind: str,
        prompt: str,
        gold: Answer,
        derivation: Derivation,
        objects: Sequence[int],
        label: str,
        choices: Sequence[str] = (),
        extra: Mapping[str, Any] | None = None,
    ) -> Item:
        """An item about this scene with its evidence; its frames are those that show any of `objects`."""
        frames = sorted({frame for index in objects for frame in self.frames[index]}) if self.views else []
        return Item(
            id=item_id(
                kind=kind, scene_id=self.scene.id, prompt=prompt, choices=choices, gold=gold, views=self.view_digests
            ),
            kind=kind,
            prompt=prompt,
            choices=tuple(choices),
            gold=gold,
            views=self.views,
            scene_id=self.scene.id,
            evidence=Evidence(
                object_ids=tuple(self.ids(objects)), frames=tuple(frames), steps=tuple(derivation.steps), label=label
            ),
            source=self.scene.source,
            extra=dict(extra or {}),
        )


@lru_cache(maxsize=4)
def _cached(scene: Scene, views: tuple[View, ...], seen: Seen) -> Context:
    return Context(scene, views, seen)


def context_of(scene: Scene, views: Sequence[View], seen: Seen) -> Context:
    """The context of a scene; question types asked one after the other share it."""
    return _cached(scene, tuple(views), seen)


def balanced(labels: Sequence[Hashable], limit: int, rng: np.random.Generator) -> list[int]:
    """Indices of at most `limit` entries, drawn at random with the labels as even as they allow.

    One entry of every label in turn, labels and entries in random order. The order of the result is the order of
    drawing, so any prefix is as even as it can be.
    """
    groups: dict[Hashable, list[int]] = {}
    for index in rng.permutation(len(labels)).tolist():
        groups.setdefault(labels[index], []).append(index)
    taken: list[int] = []
    depth = 0
    while len(taken) < min(limit, len(labels)):
        taken.extend(group[depth] for group in groups.values() if depth < len(group))
        depth += 1
    return taken[:limit]


def shuffled(options: Sequence[str], gold: str, rng: np.random.Generator) -> tuple[tuple[str, ...], int]:
    """The options in random order and the place of the right one."""
    order = tuple(options[index] for index in rng.permutation(len(options)))
    return order, order.index(gold)
