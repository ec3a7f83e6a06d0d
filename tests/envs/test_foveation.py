"""Foveated views: as they are where they are sharp, known points where they belong, and Gymnasium's contract."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from allocentric.core.errors import SettingsError
from allocentric.envs import register_all
from allocentric.envs.foveation import LogPolar, NestedCrops, nested_crops, ring_radii_px

register_all()


class Picture(gymnasium.Env[dict[str, Any], Any]):
    """Always shows one picture."""

    def __init__(self, picture: np.ndarray) -> None:
        self.picture = picture
        box = spaces.Box(0, 255, picture.shape, dtype=np.uint8)
        self.observation_space = spaces.Dict({"view": box, "heading_rad": spaces.Box(-7.0, 7.0, (2,))})
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        return {"view": self.picture.copy(), "heading_rad": np.zeros(2, dtype=np.float32)}, {}


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


def test_a_square_of_its_own_size_is_shown_as_it_is(noise: np.ndarray) -> None:
    env = NestedCrops(Picture(noise), fovea_px=30, sphere_px=90, levels=3, size_px=60)
    assert env.edges_px == (30, 60, 90)
    crops = env.reset()[0]["view"]
    np.testing.assert_array_equal(crops[1], noise[15:75, 30:90])
    half = nested_crops(noise, (90,), 45)[0]
    blocks = noise[:, 15:105].reshape(45, 2, 45, 2, 3).mean(axis=(1, 3))
    assert np.abs(half - blocks).max() <= 0.5


def test_the_defaults_are_eyerobots() -> None:
    env = NestedCrops(Picture(np.zeros((1920, 1920, 3), dtype=np.uint8)))
    assert env.edges_px == (320, 1120, 1920)
    assert env.observation_space["view"].shape == (3, 256, 256, 3)


def test_every_level_has_the_same_centre() -> None:
    picture = np.zeros((91, 121, 3), dtype=np.uint8)
    picture[44:47, 59:62] = 255
    for level in nested_crops(picture, (31, 61, 91), 31):
        row, column = np.argwhere(level[..., 0] == level[..., 0].max()).mean(axis=0)
        assert (abs(row - 15), abs(column - 15)) < (1, 1)


def test_rings_are_linear_then_geometric() -> None:
    radii = ring_radii_px(40, fovea_px=10, outer_px=200.0)
    np.testing.assert_allclose(radii[:11], np.arange(11))
    ratios = radii[11:] / radii[10:-1]
    np.testing.assert_allclose(ratios, ratios[0])
    assert radii[-1] == pytest.approx(200.0)


def test_known_points_lie_on_their_ring_and_spoke() -> None:
    picture = np.zeros((201, 201, 3), dtype=np.uint8)
    marks = {(100, 106): 0, (106, 100): 1, (100, 94): 2, (94, 100): 3}  # right, below, left, above: 6 px away
    for (row, column), quarter in marks.items():
        picture[row, column] = (100 + 30 * quarter, 50, 0)
    table = LogPolar(Picture(picture), rings=40, spokes=80, fovea_px=10).reset()[0]["view"]
    for quarter in range(4):
        np.testing.assert_array_equal(table[6, 20 * quarter], (100 + 30 * quarter, 50, 0))
    assert table[6, 10].max() == 0
    far = np.zeros((201, 201, 3), dtype=np.uint8)
    far[100, 101:] = np.arange(100)[:, None]  # a ramp to the right: value = distance - 1
    wrapped = LogPolar(Picture(far), rings=40, spokes=80, fovea_px=10)
    values = wrapped.reset()[0]["view"][:, 0, 0].astype(float)
    inside = slice(1, 11)
    np.testing.assert_allclose(values[inside], wrapped.radii_px[inside] - 1, atol=0.51)


def test_unwarped_pictures_are_sharp_in_the_fovea_and_coarse_outside(noise: np.ndarray) -> None:
    shown = LogPolar(Picture(noise), rings=30, spokes=40, fovea_px=12, unwarped=True).reset()[0]["view"]
    y, x = np.indices((90, 120)) - np.array([44.5, 59.5])[:, None, None]
    away = np.hypot(x, y)
    np.testing.assert_array_equal(shown[away <= 12], noise[away <= 12])
    assert shown[away > 46].max() == 0
    ring = (away > 30) & (away < 43)
    assert shown[ring].std() < 0.5 * noise[ring].std()  # noise averages out
    flat = np.full((90, 120, 3), 77, dtype=np.uint8)
    even = LogPolar(Picture(flat), rings=30, spokes=40, fovea_px=12, unwarped=True).reset()[0]["view"]
    assert set(np.unique(even[away < 43])) == {77}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env: NestedCrops(env, fovea_px=12, sphere_px=36, size_px=16),
        lambda env: LogPolar(env, rings=12, spokes=16, fovea_px=4),
        lambda env: LogPolar(env, rings=12, spokes=16, fovea_px=4, unwarped=True),
    ],
)
def test_gymnasiums_checks_pass_on_wrapped_environments(panorama_folder: Path, wrap: Any) -> None:
    def made() -> Any:
        name = "allocentric/ObjectSearch-v0"
        return wrap(gymnasium.make(name, folder=panorama_folder, width_px=64, height_px=36).unwrapped)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(made(), skip_render_check=True)
    texts = [str(one.message) for one in caught]
    assert not [
        text for text in texts if "Box action space" not in text and "is different from the unwrapped" not in text
    ]
    first, second = made(), made()
    for seed in range(3):
        a, b = first.reset(seed=seed)[0], second.reset(seed=seed)[0]
        assert first.observation_space.contains(a)
        np.testing.assert_array_equal(a["view"], b["view"])
        assert a["instruction"] == b["instruction"]


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (lambda env: NestedCrops(env), "a square of 1920 px does not fit a picture of 120x90; set sphere_px to 90"),
        (lambda env: NestedCrops(env, fovea_px=50, sphere_px=40), "expected 1 <= fovea_px <= sphere_px"),
        (lambda env: NestedCrops(env, key="depth"), "expected an observation with a picture 'depth'"),
        (lambda env: LogPolar(env, rings=10, fovea_px=16), "takes 17 rings; expected more than that, got 10"),
        (lambda env: LogPolar(env, fovea_px=60), "below 44.5 px, got 60"),
        (lambda env: LogPolar(env, spokes=2), "at least 4 spokes"),
    ],
)
def test_what_does_not_fit_is_refused(noise: np.ndarray, wrap: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        wrap(Picture(noise))
