"""Benchmarks whose questions about a scene are one dialogue: a turn sees what was shown, asked and answered before.

The ordinary run asks every question alone. Here the turns of a scene follow each other, and the model's own earlier
answers stand in the prompt, as OST-Bench publishes its scores. The answers make a response file that `allocentric
score` reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from allocentric.core.errors import DataError
from allocentric.core.types import Item, Model, Prompt, Response
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


def _question(benchmark: Benchmark, item: Item, profile: str) -> str:
    """What a turn asks, without the system prompt, which is handed over as such."""
    return benchmark.prompt_text(item, profile).removeprefix(f"{item.extra.get('system_prompt')}\n")


def ask_dialogues(model: Model, benchmark: Benchmark, profile: str) -> Iterator[tuple[Item, Response]]:
    """Ask every dialogue turn by turn; as many dialogues go on at once as there are, one turn of each a time.

    A turn that fails ends its dialogue: later turns would see a history that is not the model's.

    Yields:
        Items with their responses, in the order they were answered.
    """
    open_dialogues = [(turns, list[Exchange]()) for turns in dialogues(benchmark.items())]
    sampling = benchmark.sampling(profile)
    turn = 0
    while open_dialogues:
        asked = [(turns[turn], earlier) for turns, earlier in open_dialogues]
        prompts = [
            Prompt(
                item_id=item.id,
                text=turn_text(_question(benchmark, item, profile), earlier),
                views=item.views,
                system=item.extra.get("system_prompt") or None,
                sampling=sampling,
            )
            for item, earlier in asked
        ]
        responses = model.generate(prompts)
        for (item, earlier), response in zip(asked, responses, strict=True):
            earlier.append(Exchange(text=_question(benchmark, item, profile), answer=response.text))
            yield item, response
        turn += 1
        answered = zip(open_dialogues, responses, strict=True)
        open_dialogues = [one for one, response in answered if response.error is None and len(one[0]) > turn]


def write_responses(path: Path, name: str, answered: Iterator[tuple[Item, Response]]) -> int:
    """Write a response file for `allocentric score`, each line as soon as it is there; failed turns are left out.

    Args:
        path: JSON lines; an existing file is written anew.
        name: Model name in the file.
        answered: As `ask_dialogues` gives them.

    Returns:
        How many answers were written.
    """
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for item, response in answered:
            if response.error is None:
                file.write(json.dumps({"id": item.id, "model": name, "response": response.text}) + "\n")
                file.flush()
                count += 1
    return count
