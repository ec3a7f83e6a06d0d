"""Eyes without flaws as an encoder: what a frame shows, by name and share of the picture.

A control beside the shipped encoder: a policy that looks through it fails for what it does with what it saw, and not
for how well it saw.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from allocentric.agents.encoders.contract import Encoder, Features
from allocentric.core.types import FloatArray, View
from allocentric.datasets.supersensing._eyes import Eyes
from allocentric.scenes.furniture.catalog import categories
from allocentric.scenes.stream import frame_key


class IdealEncoder(Encoder):
    """One dimension per category; the similarity of a picture and a word is the word's share of what is recognised."""

    name = "ideal"
    has_words = True

    def __init__(self, eyes: Eyes) -> None:
        self._eyes = eyes
        self.vocabulary = tuple(categories())
        self.width = len(self.vocabulary)
        self._place = {label: k for k, label in enumerate(self.vocabulary)}

    def encode(self, view: View) -> Features:
        """Recognised pixels of each category, brought to length 1."""
        key = frame_key(view)
        assert key is not None
        things = self._eyes.things(key.visit)
        pooled_D = np.zeros(self.width, dtype=np.float32)
        for name, pixels in self._eyes.pixels(key.visit)[key.frame].items():
            pooled_D[self._place[things[name].label]] += pixels
        pooled_D /= max(float(np.linalg.norm(pooled_D)), 1e-9)
        return Features(patches_PD=pooled_D[None], pooled_D=pooled_D, grid=(1, 1))

    def words(self, words: Sequence[str]) -> FloatArray:
        """One unit vector per word."""
        unknown = [word for word in words if word not in self._place]
        if unknown:
            raise self.unknown_word(unknown[0])
        return np.eye(self.width, dtype=np.float32)[[self._place[word] for word in words]]
