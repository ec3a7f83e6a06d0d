"""Benchmarks whose questions about a scene are one dialogue: a turn sees what was shown, asked and answered before.

The ordinary run asks every question alone. Where the benchmark is asked as dialogues (`Plan.dialogue`), the turns of
a scene follow each other, and the model's own earlier answers stand in the prompt, as OST-Bench publishes its scores.
A turn that fails ends its dialogue until the run is repeated: later turns would see a history that is not the model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from allocentric.core.errors import DataError
from allocentric.core.types import Item
from allocentric.eval.protocol import Benchmark


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """One turn that is over."""

    text: str
    """What was asked."""
    answer: str
    """What the model said."""


def dialogues(items: Sequence[Item]) -> list[list[Item]]:
    """Items by scene, in the order of their turns. DataError for an item without a turn, or two of the same."""
    by_scene: dict[str, list[Item]] = {}
    for item in items:
        if not isinstance(item.extra.get("turn"), int):
            raise DataError(f"item {item.id} has no turn, so it is no part of a dialogue")
        by_scene.setdefault(item.scene_id, []).append(item)
    for scene, turns in by_scene.items():
        turns.sort(key=lambda item: int(item.extra["turn"]))
        numbers = [item.extra["turn"] for item in turns]
        if len(set(numbers)) < len(numbers):
            raise DataError(f"scene {scene}: two items have the same turn")
    return list(by_scene.values())


def turn_text(question: str, earlier: Sequence[Exchange]) -> str:
    """The prompt of a turn: what was asked and answered before, then its question."""
    said = [line for exchange in earlier for line in (f"User: {exchange.text}", f"Assistant: {exchange.answer}")]
    return "\n".join([*said, f"User: {question}"]) if said else question


def question_of(benchmark: Benchmark, item: Item, profile: str) -> str:
    """What a turn asks, without the system prompt, which is handed over as such."""
    return benchmark.prompt_text(item, profile).removeprefix(f"{item.extra.get('system_prompt')}\n")


def system_of(item: Item) -> str | None:
    """The published system prompt of a dialogue, where the item has one."""
    return item.extra.get("system_prompt") or None
