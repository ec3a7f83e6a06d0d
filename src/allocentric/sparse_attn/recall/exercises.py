"""A batch of recall exercises: token sequences with answers at known places.

Shapes: N sequences, L tokens, A answers per sequence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allocentric.sparse_attn.geometry import Geometry

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Exercises:
    """Sequences and what is to be said where."""

    tokens_NL: Ints
    """Token ids; answers stand in the sequence too, after the place where they are to be predicted."""
    place_NA: Ints
    """Where an answer is predicted: the token at place + 1 is the answer."""
    gap_NA: Ints
    """Tokens between the fact and the place where it is asked for."""
    group_NA: Ints
    """What is reported apart: an index into `groups` of the exercise's module."""
    chance_NA: NDArray[np.float64]
    """Share of right answers of a uniform guess among the answers of this kind."""
    geometry: Geometry
    """Of one sequence; all have the same."""

    @property
    def answers(self) -> Ints:
        """(N, A) the right tokens."""
        return np.take_along_axis(self.tokens_NL, self.place_NA + 1, axis=1)


def last_answer(place_NA: Ints, fact_NA: Ints) -> Ints:
    """(N, A) place of the nearest earlier answer about the same fact; -1 where it was not asked for before."""
    earlier = (place_NA[:, None, :] < place_NA[:, :, None]) & (fact_NA[:, None, :] == fact_NA[:, :, None])
    found: Ints = np.where(earlier, place_NA[:, None, :] + 1, -1).max(axis=2)
    return found
