"""Multi-query associative recall: key-value pairs first, then keys again, each to be answered with its value.

After Zoology, arXiv 2312.04927: gaps between the pairs and the queries follow a power law with exponent `power`.
The vocabulary is smaller than the published 8,192, so that models learn within minutes.

Shapes: N sequences, L tokens, P pairs, A queries.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from allocentric.core import config
from allocentric.core.errors import SettingsError
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.recall.exercises import Exercises, Ints, last_answer

groups = ("all",)


class Settings(config.Settings):
    """Sizes of an exercise."""

    length: int = Field(default=192, ge=8)
    """Tokens of a sequence."""
    pairs: int = Field(default=12, ge=1)
    """Key-value pairs at its start."""
    queries: int = Field(default=12, ge=1)
    """Keys that are asked for, drawn from the pairs with replacement."""
    words: int = Field(default=64, ge=2)
    """Different keys, and as many values."""
    power: float = Field(default=0.01, gt=0)
    """Exponent of the law of gaps; small values favour early queries."""

    @model_validator(mode="after")
    def _fits(self) -> Settings:
        if self.pairs > self.words:
            raise SettingsError(f"{self.pairs} pairs need as many different keys, got words={self.words}")
        if 2 * (self.pairs + self.queries) > self.length:
            needed = 2 * (self.pairs + self.queries)
            raise SettingsError(
                f"{self.pairs} pairs and {self.queries} queries take {needed} tokens, got {self.length}"
            )
        return self

    @property
    def vocabulary(self) -> int:
        """A filler, keys, values."""
        return 1 + 2 * self.words


def draw(settings: Settings, count: int, rng: np.random.Generator) -> Exercises:
    """`count` sequences."""
    pairs, words = settings.pairs, settings.words
    key_NP = 1 + _distinct(rng, count, words, pairs)
    value_NP = 1 + words + rng.integers(words, size=(count, pairs))
    tokens = np.zeros((count, settings.length), dtype=np.int64)
    tokens[:, 0 : 2 * pairs : 2], tokens[:, 1 : 2 * pairs : 2] = key_NP, value_NP
    slots = np.arange((settings.length - 2 * pairs) // 2)
    law = settings.power * (slots + 1.0) ** (settings.power - 1)
    # Distinct slots drawn by the law (Gumbel top-k). Pairs are asked with replacement: if every pair were asked once,
    # late answers could be guessed by elimination.
    noise = np.log(law / law.sum()) + rng.gumbel(size=(count, len(slots)))
    place_NA = 2 * pairs + 2 * np.argsort(-noise, axis=1)[:, : settings.queries]
    pair_NA = rng.integers(pairs, size=place_NA.shape)
    row = np.arange(count)[:, None]
    tokens[row, place_NA], tokens[row, place_NA + 1] = key_NP[row, pair_NA], value_NP[row, pair_NA]
    return Exercises(
        tokens_NL=tokens,
        place_NA=place_NA,
        gap_NA=place_NA - np.maximum(last_answer(place_NA, pair_NA), 2 * pair_NA + 1),
        group_NA=np.zeros_like(place_NA),
        chance_NA=np.full(place_NA.shape, 1 / words),
        geometry=Geometry.of_text(1, settings.length),
    )


def _distinct(rng: np.random.Generator, count: int, words: int, pairs: int) -> Ints:
    """(count, pairs) different words per row."""
    return np.argsort(rng.random((count, words)), axis=1)[:, :pairs]
