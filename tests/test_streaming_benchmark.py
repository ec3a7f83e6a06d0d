"""The parts of benchmarks/streaming.py that its figures rest on."""

from __future__ import annotations

import argparse
import importlib.util
import json
import queue
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allocentric.core.errors import UserError


@pytest.fixture(scope="module")
def benchmark(repository: Path) -> Any:
    spec = importlib.util.spec_from_file_location("streaming_benchmark", repository / "benchmarks" / "streaming.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def recording(benchmark: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Half a minute of the stream, drawn and encoded without training."""
    folder = tmp_path_factory.mktemp("recording")
    made, rates = benchmark.recording_in(folder, 30, 2400, "descriptors")
    assert rates["drawn_per_second"] > 0
    return made


def test_a_recording_shows_the_stream_again_at_later_times(benchmark: Any, recording: Any) -> None:
    from allocentric.scenes import trajectory
    from allocentric.scenes.stream import Settings, Stream

    shown = [(view, features) for (view, features), _ in zip(recording, range(31), strict=False)]
    walk = trajectory.Settings(width_px=128, height_px=96, fps=1.0)
    with Stream(Settings(seed=benchmark.SEED, walk=walk)) as stream:
        view = stream[7]
        image = view.image()  # type: ignore[operator]
    seen, features = shown[7]
    assert np.abs(seen.image.astype(float) - image).mean() < 5  # JPEG
    np.testing.assert_array_equal(seen.camera.world_from_camera, view.camera.world_from_camera)  # type: ignore[union-attr]
    encoded = benchmark.encoder_of("descriptors").encode(view)
    np.testing.assert_allclose(features.patches_PD, encoded.patches_PD, atol=2e-3)
    np.testing.assert_allclose(features.pooled_D, encoded.pooled_D, atol=2e-3)
    again, _ = shown[30]
    assert again.time_s == 30.0
    np.testing.assert_array_equal(again.image, shown[0][0].image)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "budget_bytes"), [("uniform", 300_000), ("kv/kv_retrieval", 2_000_000)])
def test_a_policy_that_watches_gives_every_figure(
    name: str, budget_bytes: int, benchmark: Any, recording: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from allocentric.train import tiny

    checkpoint = str(tiny.build(tmp_path / "model", "qwen2_5_vl"))
    monkeypatch.setattr(benchmark, "single_threaded", lambda: None)  # this process has other tests to run
    answers: queue.Queue[dict[str, Any]] = queue.Queue()
    benchmark.watch(name, recording, "descriptors", budget_bytes, 600, checkpoint, answers)
    figures = answers.get_nowait()
    assert {"frames_per_second", "rss_slope_mb_per_hour", "budget_bytes", "peak_bytes"} <= set(figures)
    assert figures["peak_bytes"] <= figures["budget_bytes"] == budget_bytes
    assert figures["frames_per_second"] > 0
    assert figures["ms_per_answer"] > 0
    json.dumps(figures)


def test_another_recording_in_the_folder_is_refused(benchmark: Any, recording: Any) -> None:
    with pytest.raises(UserError, match="name another folder"):
        benchmark.recording_in(recording.folder, 60, 60, "descriptors")


def test_the_slope_is_that_of_the_last_three_quarters(benchmark: Any) -> None:
    hours = np.arange(40) / 10
    megabytes = np.where(hours < 1.0, 500 - 300 * hours, 200 + 0.25 * hours)
    assert benchmark.slope(list(zip(hours, megabytes, strict=True))) == pytest.approx(0.25)
    with pytest.raises(UserError, match="too few frames"):
        benchmark.slope([(0.0, 1.0), (0.1, 1.0)])


def test_policies_that_need_more_than_the_encoder_are_left_out_with_the_reason(benchmark: Any) -> None:
    arguments = argparse.Namespace(encoder="descriptors", budget_bytes=10**6, model=None, hybrid=None)
    works, left_out = benchmark.usable(["last_n", "surprise", "date"], arguments)
    assert works == ["last_n"]
    assert "prediction: previous" in left_out["surprise"]
    assert "knows none" in left_out["date"]
    with pytest.raises(UserError, match="kv/surprise needs a checkpoint"):
        benchmark.usable(["kv/surprise"], arguments)
