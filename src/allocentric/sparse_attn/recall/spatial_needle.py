"""Spatial needle: what stood in which room, how deep, and when, asked after a walk through more rooms.

A walk visits rooms one after another. A visit is a few frames; a frame is a clock token, a room token and a grid of
patches, each two tokens side by side: what is there (mostly the room's wall) and how deep. In one frame of every visit
one patch shows an object. At the end of the walk the room, the depth or the time of some objects is asked for. `k`
distractor rooms lie between an object and the end.

plain     every visit is to another room
revisit   half of the rooms are walked again later, with another object: room and time are not tied to each other
repeat    the walk is gone twice, things where they were: the time asked for is the first one

Shapes: N walks, V visits, F frames of a visit, A questions.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, model_validator

from allocentric.core import config
from allocentric.core.errors import SettingsError
from allocentric.sparse_attn.geometry import TEXT, VIDEO, Geometry
from allocentric.sparse_attn.recall.exercises import Exercises, Ints, last_answer

Variant = Literal["plain", "revisit", "repeat"]
VARIANTS: tuple[Variant, ...] = ("plain", "revisit", "repeat")
ATTRIBUTES = ("room", "depth", "time")
groups = tuple(f"{variant} {attribute}" for variant in VARIANTS for attribute in ATTRIBUTES)


class Settings(config.Settings):
    """Sizes of a walk."""

    visits: int = Field(default=12, ge=2)
    """V: rooms walked through, one after another; even, for the halves of revisit and repeat."""
    rooms: int = Field(default=12, ge=2)
    """Different rooms, and ticks of the clock; at least the visits."""
    frames: int = Field(default=1, ge=1)
    """F: frames of a visit."""
    grid: int = Field(default=2, ge=1)
    """Patches along rows and columns of a frame."""
    depths: int = Field(default=4, ge=2)
    """Different depths of an object."""
    objects: int = Field(default=24, ge=2)
    """Different objects."""
    questions: int = Field(default=12, ge=1)
    """A: questions at the end, with replacement."""
    variants: tuple[Variant, ...] = VARIANTS
    """Drawn with equal shares."""

    @model_validator(mode="after")
    def _fits(self) -> Settings:
        if self.visits % 2:
            raise SettingsError(f"visits must be even, got {self.visits}")
        for name, number in (("objects", self.objects), ("rooms", self.rooms)):
            if self.visits > number:
                raise SettingsError(f"{self.visits} visits need as many different {name}, got {name}={number}")
        return self

    @property
    def frame_tokens(self) -> int:
        """Clock, room, two tokens a patch."""
        return 2 + 2 * self.grid**2

    @property
    def length(self) -> int:
        """Tokens of a sequence."""
        return self.visits * self.frames * self.frame_tokens + 3 * self.questions

    @property
    def vocabulary(self) -> int:
        """Clocks, rooms, walls, objects, depths, attributes."""
        return _Words(self).end


class _Words:
    """First ids of the kinds of tokens."""

    def __init__(self, settings: Settings) -> None:
        self.clock = 0
        self.room = self.clock + settings.rooms
        self.wall = self.room + settings.rooms
        self.object = self.wall + settings.rooms
        self.depth = self.object + settings.objects
        self.attribute = self.depth + settings.depths
        self.end = self.attribute + len(ATTRIBUTES)


def draw(settings: Settings, count: int, rng: np.random.Generator) -> Exercises:
    """`count` walks with their questions."""
    s, w = settings, _Words(settings)
    variant_N = np.array([VARIANTS.index(s.variants[k % len(s.variants)]) for k in range(count)])
    walk = _walks(s, variant_N, rng)
    pictures = _pictures(s, w, walk)
    # Visits and attributes are asked with replacement, as in MQAR: an answer may be read from an earlier question.
    first_sights_N = np.where(variant_N == VARIANTS.index("repeat"), s.visits // 2, s.visits)
    asked_NA = rng.integers(first_sights_N[:, None], size=(count, s.questions))
    attribute_NA = rng.integers(len(ATTRIBUTES), size=asked_NA.shape)
    row = np.arange(count)[:, None]
    truth = (w.room + walk.room_NV, w.depth + walk.depth_NV, w.clock + walk.tick_NV)
    answers = np.stack([of_visit_NV[row, asked_NA] for of_visit_NV in truth])
    answer_NA = np.take_along_axis(answers, attribute_NA[None], axis=0)[0]
    questions = np.stack([w.attribute + attribute_NA, w.object + walk.object_NV[row, asked_NA], answer_NA], axis=-1)
    tokens = np.concatenate([pictures, questions.reshape(count, -1)], axis=1)
    place_NA = np.broadcast_to(pictures.shape[1] + 1 + 3 * np.arange(s.questions), asked_NA.shape)
    fact_NA = (
        (asked_NA * s.frames + walk.frame_NV[row, asked_NA]) * s.frame_tokens + 2 + 2 * walk.patch_NV[row, asked_NA]
    )
    # A repeated walk shows the object a second time, which tells its room and depth but not when it was seen first.
    seen_again = (variant_N == VARIANTS.index("repeat"))[:, None] & (attribute_NA != ATTRIBUTES.index("time"))
    last_sight_NA = fact_NA + np.where(seen_again, pictures.shape[1] // 2, 0)
    return Exercises(
        tokens_NL=tokens,
        place_NA=place_NA,
        gap_NA=place_NA - np.maximum(last_sight_NA, last_answer(place_NA, asked_NA * len(ATTRIBUTES) + attribute_NA)),
        group_NA=variant_N[:, None] * len(ATTRIBUTES) + attribute_NA,
        chance_NA=np.array([1 / s.visits, 1 / s.depths, 1 / s.visits])[attribute_NA],
        geometry=_geometry(s),
    )


class _Walk(NamedTuple):
    """What is where: one visit after another."""

    tick_NV: Ints
    """What the clock shows; later visits show more."""
    room_NV: Ints
    object_NV: Ints
    depth_NV: Ints
    frame_NV: Ints
    """Frame of the visit that shows the object."""
    patch_NV: Ints
    """Patch of that frame."""
    wall_NVFP: Ints
    """Depths of all patches before the object is put there."""


def _walks(s: Settings, variant_N: Ints, rng: np.random.Generator) -> _Walk:
    count, half = len(variant_N), s.visits // 2
    shape = (count, s.visits)
    walk = _Walk(
        tick_NV=np.sort(np.argsort(rng.random((count, s.rooms)), axis=1)[:, : s.visits], axis=1),
        room_NV=np.argsort(rng.random((count, s.rooms)), axis=1)[:, : s.visits],
        object_NV=np.argsort(rng.random((count, s.objects)), axis=1)[:, : s.visits],
        depth_NV=rng.integers(s.depths, size=shape),
        frame_NV=rng.integers(s.frames, size=shape),
        patch_NV=rng.integers(s.grid**2, size=shape),
        wall_NVFP=rng.integers(s.depths, size=(*shape, s.frames, s.grid**2)),
    )
    revisit, repeat = (variant_N == VARIANTS.index(name) for name in ("revisit", "repeat"))
    other_way = np.argsort(rng.random((count, half)), axis=1)
    walk.room_NV[revisit, half:] = np.take_along_axis(walk.room_NV[:, :half], other_way, axis=1)[revisit]
    for part in walk[1:]:
        part[repeat, half:] = part[repeat, :half]
    return walk


def _pictures(s: Settings, w: _Words, walk: _Walk) -> Ints:
    """(N, V * F * frame_tokens) token ids of the walks."""
    count = len(walk.room_NV)
    frames = np.empty((count, s.visits, s.frames, s.frame_tokens), dtype=np.int64)
    frames[..., 0] = w.clock + walk.tick_NV[..., None]
    frames[..., 1] = w.room + walk.room_NV[..., None]
    frames[..., 2::2] = w.wall + walk.room_NV[..., None, None]
    frames[..., 3::2] = w.depth + walk.wall_NVFP
    row, visit = np.ogrid[:count, : s.visits]
    frames[row, visit, walk.frame_NV, 2 + 2 * walk.patch_NV] = w.object + walk.object_NV
    frames[row, visit, walk.frame_NV, 3 + 2 * walk.patch_NV] = w.depth + walk.depth_NV
    return frames.reshape(count, -1)


def _geometry(s: Settings) -> Geometry:
    """Patches are a video of V * F frames; clocks, rooms and questions are text."""
    types = ([TEXT] * 2 + [VIDEO] * 2 * s.grid**2) * (s.visits * s.frames) + [TEXT] * 3 * s.questions
    grid = torch.tensor([[s.visits * s.frames, s.grid, 2 * s.grid]])
    return Geometry.from_grids(torch.tensor([types]), video_grid_thw=grid, merge_size=1)
