"""One stream of the table: every policy watches it, every question is read from what each recalls."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from allocentric.agents.encoders.contract import Encoder, Shared, drawn_once
from allocentric.agents.memory.contract import Memory, Query, Recalled
from allocentric.core.catalog import MEMORY
from allocentric.core.config import Settings as BaseSettings
from allocentric.core.config import settings_from_mapping
from allocentric.core.records import answer_to_record
from allocentric.core.types import Item
from allocentric.datasets.supersensing import quiz
from allocentric.datasets.supersensing._course import Perturbation
from allocentric.datasets.supersensing._eyes import Eyes
from allocentric.eval.streaming.ideal import IdealEncoder
from allocentric.eval.streaming.reader import ExactReader
from allocentric.eval.streaming.store import StoredStream
from allocentric.scenes import stream as streams
from allocentric.scenes import trajectory

TASKS = {
    "recall": ("recall",),
    "count": ("count",),
    "where": ("where_metres", "where_direction", "where_way_back"),
    "change": ("change",),
}
"""Kinds of items by task of the table."""
NAMES_ALL = ("cognitive_map", "hippo")
"""Policies that keep names: they are asked with the names of the places too."""


class Cell(BaseSettings):
    """One column of the table, and which stream of it."""

    minutes: float
    """Length of what questions are about; revisit and repeat show as many minutes again after it."""
    perturbation: Perturbation
    """What is done to the course."""
    number: int = Field(ge=0)
    """Which of its streams."""


class Policy(BaseSettings):
    """One row of the table."""

    label: str
    """As it is shown."""
    name: str
    """Of the memory's file."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Its settings."""
    ideal: bool = False
    """Sees with `ideal.IdealEncoder`."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What one policy came to on one stream."""

    policy: str
    """Label of its row."""
    answers: tuple[Mapping[str, Any], ...]
    """One for each item: kind, worth, what was recalled."""
    budget_bytes: int
    """Its budget."""
    peak_bytes: int
    """Most it kept."""


def quiz_of(cell: Cell, fps: float, folder: Path) -> quiz.Quiz:
    """The stream of a cell. All cells share one town, so that a house is drawn once for all of them."""
    walk = trajectory.Settings(width_px=128, height_px=96, fps=fps)
    town = streams.Settings(seed=0, rooms=(2, 3), stretch_s=60.0, walk=walk)
    shown = 2 * cell.minutes if cell.perturbation in ("revisit", "repeat") else cell.minutes
    settings = quiz.Settings(
        seed=cell.number, minutes=shown, perturbation=cell.perturbation, stream=town, recall=3, count=4, where=3
    )
    return quiz.make(settings, lambda houses, visits: StoredStream(houses, visits, folder))


def watch(made: quiz.Quiz, policies: Sequence[Policy], encoder: Encoder) -> Iterator[Watched]:
    """Show a stream to all policies at once, frame by frame, then ask.

    All questions are known from the beginning (`Memory.stand`), the most that a policy can be given. They are
    asked at the end and read by the exact reader.
    """
    eyes = Eyes(made.stream)
    reader = ExactReader(eyes)
    light, ideal = Shared(encoder), Shared(IdealEncoder(eyes))
    memories = [(policy, build_memory(policy, ideal if policy.ideal else light)) for policy in policies]
    for policy, memory in memories:
        for item in made.items:
            memory.stand(_query(reader, item, policy), reader.count if item.kind == "count" else None)
    for view in made.stream.views():
        once = drawn_once(view)
        for _, memory in memories:
            memory.observe(once)
    for policy, memory in memories:
        answers = tuple(_answer(item, reader, memory.retrieve(_query(reader, item, policy))) for item in made.items)
        yield Watched(policy.label, answers, memory.budget_bytes, memory.peak_bytes)


def golds(items: Sequence[Item]) -> list[dict[str, Any]]:
    """What the baselines without memory need: kind, right answer, number of options."""
    return [
        {
            "kind": item.kind,
            "label": item.evidence.label,
            "gold": answer_to_record(item.gold),
            "options": len(item.choices),
        }
        for item in items
    ]


def _query(reader: ExactReader, item: Item, policy: Policy) -> Query:
    return reader.query(item, places=policy.name in NAMES_ALL)


def build_memory(policy: Policy, encoder: Encoder) -> Memory:
    """The policy of a row. UserError where it can't work with the encoder, or needs a model."""
    module: Any = MEMORY.load(policy.name)
    settings = settings_from_mapping(module.Settings, policy.settings, where=policy.label)
    memory: Memory = module.build(settings, encoder)
    return memory


def _answer(item: Item, reader: ExactReader, recalled: Recalled) -> dict[str, Any]:
    worth = reader.read(item, recalled).worth(item)
    assert math.isfinite(worth)
    frames = sum(len(block.times_s) for block in recalled.blocks)
    return {
        "item": item.id,
        "kind": item.kind,
        "worth": round(worth, 6),
        "frames": frames,
        "notes": len(recalled.notes),
    }
