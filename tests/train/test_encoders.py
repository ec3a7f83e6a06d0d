"""Training of the light encoder and the latent-frame predictor, on a few houses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from allocentric.agents.encoders import convolutional
from allocentric.agents.memory._prediction import Predictor, mean_cosine
from allocentric.train import latent_frames, light_encoder


def test_patch_shares_count_pixels_of_each_label() -> None:
    ids = np.full((96, 128), -1, dtype=np.int32)
    ids[:16, 16:24] = 0  # half of patch 1
    ids[80:, 112:] = 1  # all of the last patch
    ids[0, 0] = 7  # structure
    shares = light_encoder._patch_shares(ids, np.array([2, 0]), 3)
    expected = np.zeros((48, 3))
    expected[1, 2], expected[47, 0] = 0.5, 1.0
    np.testing.assert_array_equal(shares, expected)


def test_the_predictor_says_no_change_before_it_is_trained_and_less_error_after() -> None:
    """Patches that move one column to the right with every frame: to be learned from the grid alone."""
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(6, 4, 40, 5)).astype(np.float32)
    frames = np.stack([wide[:, :, 30 - t : 36 - t] for t in range(30)], axis=1).reshape(6, 30, 24, 5)
    untrained = latent_frames.fit(frames[:1, :3], (4, 6), epochs=1, seed=0)
    trained = latent_frames.fit(frames[:5], (4, 6), epochs=25, seed=0)
    figures = latent_frames.surprises(trained, frames[5:], (4, 6))
    assert figures["within"] < 0.6 * figures["within_by_previous"]
    from allocentric.agents.memory._latent_frames import LatentFrames

    fresh = Predictor(LatentFrames(5).eval())
    np.testing.assert_array_equal(fresh([frames[0, 0], frames[0, 1]], (4, 6)), frames[0, 1])
    assert mean_cosine(Predictor(untrained)([frames[0, 0]], (4, 6)), frames[0, 0]) > 0.5


@pytest.mark.slow
def test_both_commands_write_what_the_agents_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / "light.safetensors"
    assert light_encoder.main([str(weights), "--houses", "3", "--epochs", "1"]) == 0
    assert weights.stat().st_size < 1_000_000
    assert "mean average precision" in capsys.readouterr().out
    encoder = convolutional.build(convolutional.Settings(weights=weights))
    assert encoder.words(["sofa"]).shape == (1, 64)
    predictor = tmp_path / "frames.safetensors"
    assert latent_frames.main([str(predictor), "--stretches", "2", "--epochs", "1"]) == 0
    assert "within" in capsys.readouterr().out


@pytest.mark.parametrize("module", [light_encoder, latent_frames])
def test_a_folder_that_is_missing_is_said_before_anything_is_drawn(module: object, tmp_path: Path) -> None:
    assert module.main([str(tmp_path / "none" / "x.safetensors")]) == 1  # type: ignore[attr-defined]
