"""Fixtures every test file may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

pytest_plugins = ["whole_house"]

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Published records kept beside the checkout; tests that need them skip where they are absent."""
    folder = Path(os.environ.get("ALLOCENTRIC_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"published records not found at {folder} (set ALLOCENTRIC_TEST_DATA)")
    return folder


def sphere_picture(width_px: int, seed: int = 0) -> np.ndarray[Any, Any]:
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
def smooth_panorama() -> Callable[..., np.ndarray[Any, Any]]:
    """The function that draws them: (width_px, seed=0) -> (width / 2, width, 3)."""
    return sphere_picture


@pytest.fixture(scope="session")
def panorama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two panoramas with object and path tasks, one over the seam."""
    from allocentric.envs.panorama.tasks import Annotation, write_scene

    folder = tmp_path_factory.mktemp("panoramas")
    near_seam = Annotation(task="find the clé", yaw=(350.0, 10.0), pitch=(-5.0, 5.0), level=(0, 1, 2, 1))
    beside = Annotation(task="find the lamp", yaw=(80.0, 150.0), pitch=(-30.0, 20.0), initial_yaw=(45,), level=(1,))
    path = Annotation(task="walk to the door", yaw=(200.0, 210.0), level=(0, 1, 2, 3))
    write_scene(folder, "one", sphere_picture(128), [near_seam, beside, path])
    write_scene(folder, "two", sphere_picture(128, seed=1), [path, beside])
    return folder
