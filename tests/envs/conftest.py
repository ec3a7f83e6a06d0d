"""A small set of panoramas for every test of search in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from allocentric.core.types import Image
from allocentric.envs.panorama.tasks import Annotation, write_scene


def sphere_picture(width_px: int, seed: int = 0) -> Image:
    """Colours that vary slowly over the sphere: no seam, no jump at the poles."""
    rng = np.random.default_rng(seed)
    yaw = (np.arange(width_px) + 0.5) / width_px * 2 * np.pi - np.pi
    pitch = np.pi / 2 - (np.arange(width_px // 2) + 0.5) / (width_px // 2) * np.pi
    x, y = np.cos(pitch)[:, None] * np.sin(yaw), np.cos(pitch)[:, None] * np.cos(yaw)
    z = np.broadcast_to(np.sin(pitch)[:, None], x.shape)
    phases = rng.uniform(0, 6, 3)
    waves = [np.sin(5 * a + 3 * b + phase) for a, b, phase in zip((x, y, z), (y, z, x), phases, strict=True)]
    return np.rint(127.5 + 120 * np.stack(waves, axis=-1)).astype(np.uint8)


@pytest.fixture(scope="session")
def smooth_panorama() -> Callable[..., Image]:
    """The function that draws them: (width_px, seed=0) -> (width / 2, width, 3)."""
    return sphere_picture


@pytest.fixture(scope="session")
def panorama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two panoramas with object and path tasks, one over the seam."""
    folder = tmp_path_factory.mktemp("panoramas")
    near_seam = Annotation(task="find the clé", yaw=(350.0, 10.0), pitch=(-5.0, 5.0), level=(0, 1, 2, 1))
    beside = Annotation(task="find the lamp", yaw=(80.0, 150.0), pitch=(-30.0, 20.0), initial_yaw=(45,), level=(1,))
    path = Annotation(task="walk to the door", yaw=(200.0, 210.0), level=(0, 1, 2, 3))
    write_scene(folder, "one", sphere_picture(128), [near_seam, beside, path])
    write_scene(folder, "two", sphere_picture(128, seed=1), [path, beside])
    return folder
