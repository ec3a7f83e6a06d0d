"""A linear model that reads questions and options and never a picture, trained on the other folds of the very set.

What it reaches can be learned from the text of a benchmark (the "test-set stress test" of arXiv 2511.04655, there with
a random forest). Folds are made of scenes, so that it never trains on another question about the same scene.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from allocentric.agents.models.scripted import most_frequent
from allocentric.core.types import Answer, Choice, Item, Number
from allocentric.datasets.text_baseline import pick_options, predict_numbers

FOLDS = 5


def answers(items: Sequence[Item], *, folds: int = FOLDS, seed: int = 0) -> dict[str, Answer]:
    """What the classifier answers to every item, by item id, trained on the items of its type in the other folds.

    Options and numbers are predicted from the text (`datasets.text_baseline`); other answers are the most frequent one
    of their type in the other folds. Where a type has no item in the other folds there is no answer.
    """
    scenes = list(dict.fromkeys(item.scene_id for item in items))
    order = np.random.default_rng([seed, 0xF01D]).permutation(len(scenes))
    fold_of = {scenes[index]: rank % folds for rank, index in enumerate(order.tolist())}
    said: dict[str, Answer] = {}
    by_kind: dict[str, list[Item]] = {}
    for item in items:
        by_kind.setdefault(item.kind, []).append(item)
    for members in by_kind.values():
        for fold in range(folds):
            test = [item for item in members if fold_of[item.scene_id] == fold]
            train = [item for item in members if fold_of[item.scene_id] != fold]
            if test and train:
                said.update(zip((item.id for item in test), _predicted(train, test), strict=True))
    return said


def _predicted(train: Sequence[Item], test: Sequence[Item]) -> list[Answer]:
    if all(isinstance(item.gold, Choice) and item.choices for item in (*train, *test)):
        places = [item.gold.index for item in train if isinstance(item.gold, Choice)]
        return [Choice(place) for place in pick_options(train, places, test)]
    if all(isinstance(item.gold, Number) for item in train) and any(_words(item) for item in train):
        numbers = [item.gold.value for item in train if isinstance(item.gold, Number)]
        return [Number(round(value, 3)) for value in predict_numbers(train, numbers, test)]
    return [most_frequent([item.gold for item in train])] * len(test)


def _words(item: Item) -> bool:
    return any(character.isalnum() for character in item.prompt)
