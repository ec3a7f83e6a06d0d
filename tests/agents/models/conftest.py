"""Tiny checkpoints, built once for all tests of model backends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from allocentric.core.types import Prompt, Sampling, View
from allocentric.train import tiny


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny checkpoint by family, built on first use."""
    root = tmp_path_factory.mktemp("checkpoints")

    def folder(family: str) -> Path:
        path = root / family
        return path if path.exists() else tiny.build(path, family, seed=0)

    return folder


@pytest.fixture
def views() -> Callable[..., tuple[View, ...]]:
    """`views(count, height, width)`: smooth pictures half a second apart, different for every count."""

    def make(count: int, height: int = 60, width: int = 90) -> tuple[View, ...]:
        rng = np.random.default_rng([count, height, width])
        ramp = np.add.outer(np.arange(height), np.arange(width))[..., None]
        return tuple(
            View(image=((ramp * rng.integers(1, 4, 3) + rng.integers(0, 255, 3)) % 256).astype(np.uint8), time_s=k / 2)
            for k in range(count)
        )

    return make


@pytest.fixture
def ask(views: Callable[..., tuple[View, ...]]) -> Callable[..., Prompt]:
    """`ask(item_id, text, pictures, ...)`: a prompt of eight new tokens."""

    def make(
        item_id: str, text: str, pictures: int = 1, *, as_video: bool = False, temperature: float = 0.0
    ) -> Prompt:
        sampling = Sampling(max_new_tokens=8, temperature=temperature)
        return Prompt(item_id=item_id, text=text, views=views(pictures), as_video=as_video, sampling=sampling)

    return make
