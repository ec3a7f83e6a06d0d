"""Randomness that belongs to an item: the same whatever is asked before, beside or after it."""

from __future__ import annotations

import hashlib

import numpy as np


def item_generator(seed: int, item_id: str) -> np.random.Generator:
    """A generator determined by `seed` and the item's id."""
    digest = hashlib.sha256(item_id.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])
