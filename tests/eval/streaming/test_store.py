from __future__ import annotations

from pathlib import Path

import numpy as np

from allocentric.agents.encoders import descriptors
from allocentric.eval.streaming.store import StoredEncoder, StoredStream
from allocentric.scenes import trajectory
from allocentric.scenes.stream import Settings, Stream, Visit

SMALL = Settings(seed=3, rooms=(1, 1), stretch_s=3.0, walk=trajectory.Settings(width_px=64, height_px=48, fps=1.0))


class Counting(descriptors._Descriptors):
    calls = 0

    def encode(self, view):
        Counting.calls += 1
        return super().encode(view)


def test_a_stored_stream_shows_the_same_bytes_and_draws_a_repeated_stretch_once(tmp_path: Path) -> None:
    visits = (Visit(house=0), Visit(house=1), Visit(house=0))
    with Stream(SMALL, visits) as drawn, StoredStream(SMALL, visits, tmp_path) as stored:
        for plain, kept in zip(drawn.views(), stored.views(), strict=True):
            np.testing.assert_array_equal(plain.image(), kept.image())
            assert dict(plain.visible) == dict(kept.visible)
            np.testing.assert_array_equal(plain.camera.world_from_camera, kept.camera.world_from_camera)
    files = list(tmp_path.rglob("*.npz"))
    assert len(files) == 2
    before = {file: file.stat().st_mtime_ns for file in files}
    with StoredStream(SMALL, visits[1:], tmp_path) as again:
        again[0].image()
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.npz")} == before


def test_a_stretch_is_encoded_once(tmp_path: Path) -> None:
    plain = descriptors.build(descriptors.Settings())
    Counting.calls = 0
    encoder = StoredEncoder(Counting(descriptors.Settings()), tmp_path)
    with StoredStream(SMALL, (Visit(house=0), Visit(house=0)), tmp_path) as stream:
        for view in stream.views():
            kept, fresh = encoder.encode(view), plain.encode(view)
            np.testing.assert_array_equal(kept.patches_PD, fresh.patches_PD)
            np.testing.assert_array_equal(kept.pooled_D, fresh.pooled_D)
    assert Counting.calls == 3
