"""Baselines without a model: random, constant, frequency and oracle.

They are the floor and the ceiling of every leaderboard. `random` and `constant` know only the form of an answer;
`frequency` knows how often each answer is right in the very items it is asked, so it is the best that ignoring the
question can reach; `oracle` says the gold answer and must score 100 wherever the scoring is right.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Literal, TypeAlias

import numpy as np

from allocentric.agents.models._draws import item_generator
from allocentric.core import config
from allocentric.core.scoring import mean_relative_accuracy
from allocentric.core.types import Answer, Choice, FloatArray, Item, Model, Number, Order, Prompt, Response, Text

Write: TypeAlias = Callable[[Item, Answer], str]
"""How an answer to an item is written down."""

writes_answers = True
"""Tells `eval.recipe` that `build` takes the way in which the run's profile asks for answers."""

_MAX_CANDIDATES = 256


class Settings(config.Settings):
    """A baseline."""

    policy: Literal["random", "constant", "frequency", "oracle"]
    """random: uniform over the options; for numbers uniform over the range of the kind's golds (whole numbers where
    all of them are whole); for other answers one of the kind's golds. constant: always the same option or number; for
    other answers the first of the kind's golds in the order of their written forms. frequency: the most frequent gold
    letter of the kind; for numbers the constant with the highest mean relative accuracy. oracle: the gold answer."""
    seed: int = 0
    """Of `random`. The draw depends on the seed and the item's id only, never on the order of the questions."""
    option: int = 0
    """What `constant` answers where there are options; 0 is A. Counted modulo the number of options."""
    number: float = 1.0
    """What `constant` answers where a number is asked."""


def build(settings: Settings, *, items: Mapping[str, Item], write: Write | None = None) -> Model:
    """The baseline over `items` (by id): those that will be asked, and for `frequency` the ones counted.

    `write` words an answer as the questions ask for it; None writes letters and numbers.
    """
    return _Scripted(settings, items, write or _plainly)


def _plainly(_: Item, answer: Answer) -> str:
    return text_from_answer(answer)


def text_from_answer(answer: Answer) -> str:
    """How a model would write `answer`: "B", "3.4", "sofa", "chair, table", else the numbers with commas."""
    match answer:
        case Choice(index):
            return chr(ord("A") + index)
        case Number(value):
            return np.format_float_positional(value, trim="-")
        case Text(text):
            return text
        case Order(labels):
            return ", ".join(labels)
        case _:
            values = [getattr(answer, field.name) for field in fields(answer)]
            return ", ".join(np.format_float_positional(value, trim="-") for value in np.hstack(values).ravel())


class _Scripted:
    """Implements `core.types.Model`."""

    def __init__(self, settings: Settings, items: Mapping[str, Item], write: Write) -> None:
        self.name: str = settings.policy
        self._write = write
        self._settings = settings
        self._items = items
        self._golds: dict[str, list[Answer]] = defaultdict(list)
        for item in items.values():
            self._golds[item.kind].append(item.gold)
        self._frequent: dict[str, Answer] = {}
        self._first: dict[str, Answer] = {}
        if settings.policy == "frequency":
            self._frequent = {kind: most_frequent(golds) for kind, golds in self._golds.items()}
        if settings.policy == "constant":
            self._first = {kind: min(golds, key=text_from_answer) for kind, golds in self._golds.items()}

    def generate(self, batch: Sequence[Prompt]) -> list[Response]:
        """One response per prompt, in order."""
        return [self._respond(prompt) for prompt in batch]

    def _respond(self, prompt: Prompt) -> Response:
        item = self._items.get(prompt.item_id)
        if item is None:
            return _failure(f"the {self.name} baseline was not given the item {prompt.item_id!r}")
        return Response(text=self._write(item, self._answer(item)), seconds=0.0)

    def _answer(self, item: Item) -> Answer:
        match self._settings.policy:
            case "oracle":
                return item.gold
            case "frequency":
                return self._frequent[item.kind]
            case "constant":
                return self._constant(item)
            case "random":
                return self._random(item)

    def _constant(self, item: Item) -> Answer:
        if isinstance(item.gold, Choice):
            return Choice(self._settings.option % max(len(item.choices), 1))
        return Number(self._settings.number) if isinstance(item.gold, Number) else self._first[item.kind]

    def _random(self, item: Item) -> Answer:
        rng = item_generator(self._settings.seed, item.id)
        golds = self._golds[item.kind]
        if isinstance(item.gold, Choice):
            return Choice(int(rng.integers(len(item.choices))))
        if isinstance(item.gold, Number):
            return Number(_draw([gold.value for gold in golds if isinstance(gold, Number)], rng))
        return golds[int(rng.integers(len(golds)))]


def most_frequent(golds: Sequence[Answer]) -> Answer:
    """The single answer that is right most often.

    For numbers the constant with the highest mean relative accuracy, among at most 256 evenly spaced order statistics
    of the golds (their median where one is negative, as that accuracy is not defined there); for every other answer
    the most frequent gold, ties to the first written form.
    """
    if all(isinstance(gold, Number) for gold in golds):
        return Number(_best_constant(np.array([gold.value for gold in golds if isinstance(gold, Number)])))
    counts = Counter(golds)
    return min(counts, key=lambda gold: (-counts[gold], text_from_answer(gold)))


def _best_constant(golds: FloatArray) -> float:
    ordered = np.sort(golds)
    if ordered[0] < 0:
        return float(ordered[len(ordered) // 2])
    ranks = np.linspace(0, len(ordered) - 1, min(len(ordered), _MAX_CANDIDATES)).round().astype(int)
    candidates = np.unique(ordered[ranks])
    targets, counts = np.unique(ordered, return_counts=True)
    worth = mean_relative_accuracy(candidates[:, None], targets) @ counts
    return float(candidates[np.argmax(worth)])


def _draw(golds: Sequence[float], rng: np.random.Generator) -> float:
    low, high = min(golds), max(golds)
    if all(gold == round(gold) for gold in golds):
        return float(rng.integers(int(low), int(high) + 1))
    return round(float(rng.uniform(low, high)), 2)


def _failure(reason: str) -> Response:
    return Response(text="", finish_reason="error", error=reason)
