"""Frames by number: every group of pictures, variable rates, damage, and little work for few frames."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from allocentric.core.errors import DataError
from allocentric.eval import video
from allocentric.eval.video import video_frames, video_index

_SIZE = (64, 96)


def _write(path: Path, ticks: list[int], *, options: dict[str, str] | None = None, codec: str = "libx264") -> Path:
    """Frame k is grey 2 k at ticks[k] thirtieths of a second."""
    container_options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=container_options) as container:
        stream = container.add_stream(codec, rate=30, options=options or {"g": "12", "bf": "3"})
        stream.height, stream.width, stream.pix_fmt = *_SIZE, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 30)
        for k, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(np.full((*_SIZE, 3), 2 * k, dtype=np.uint8), format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _greys(path: Path, numbers: list[int]) -> list[float]:
    return [float(np.mean(view.image)) for view in video_frames(path, numbers)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("options", [{"g": "12", "bf": "3"}, {"g": "1"}, {"g": "999", "bf": "2"}])
def test_every_single_frame_is_the_one_asked_for(tmp_path: Path, suffix: str, options: dict[str, str]) -> None:
    path = _write(tmp_path / f"v{suffix}", list(range(60)), options=options)
    assert len(video_index(path).ticks) == 60
    for number in range(60):
        assert _greys(path, [number])[0] == pytest.approx(2 * number, abs=1.5)
    assert _greys(path, [3, 4, 30, 31, 59]) == pytest.approx([6, 8, 60, 62, 118], abs=1.5)


def test_times_of_a_variable_frame_rate(tmp_path: Path) -> None:
    ticks = [0, 1, 2, 10, 11, 40, 41, 42, 90]
    path = _write(tmp_path / "v.mp4", ticks)
    views = list(video_frames(path, range(len(ticks))))
    assert [view.time_s for view in views] == pytest.approx([tick / 30 for tick in ticks], abs=1e-3)
    assert [float(np.mean(view.image)) for view in views] == pytest.approx(range(0, 18, 2), abs=1.5)


def test_few_frames_of_a_long_video_cost_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path / "v.mp4", list(range(120)), options={"g": "10", "bf": "0", "sc_threshold": "0"})
    seeks = []
    opened = video._open_video

    class Watched:
        def __init__(self, container: object) -> None:
            self._container = container

        def __enter__(self) -> Watched:
            self._container.__enter__()
            return self

        def __exit__(self, *error: object) -> None:
            self._container.__exit__(*error)

        def __getattr__(self, name: str) -> object:
            return getattr(self._container, name)

        def seek(self, tick: int, stream: object) -> None:
            seeks.append(tick)
            self._container.seek(tick, stream=stream)

    monkeypatch.setattr(video, "_open_video", lambda path: Watched(opened(path)))
    assert _greys(path, [0, 3, 8, 55, 119]) == pytest.approx([0, 6, 16, 110, 238], abs=1.5)
    assert len(seeks) == 3  # the first group serves three frames


def test_frames_are_decoded_when_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path / "v.mp4", list(range(120)))
    drawn: list[object] = []
    pixels = video._pixels
    monkeypatch.setattr(video, "_pixels", lambda frame, side: drawn.append(frame) or pixels(frame, side))
    frames = video_frames(path, range(120))
    assert drawn == []
    next(frames)
    assert len(drawn) == 1
    assert sum(1 for _ in frames) == 119
    assert len(drawn) == 120


@pytest.mark.parametrize("share", [0.35, 0.8])
def test_a_video_cut_short_is_one_line(tmp_path: Path, share: float) -> None:
    whole = _write(tmp_path / "v.mp4", list(range(100)), options={"g": "12", "crf": "1"}).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"cut\.mp4.*truncated") as failure:
        list(video_frames(cut, [0, 99]))
    assert "\n" not in str(failure.value)


def test_a_replaced_file_is_read_again(tmp_path: Path) -> None:
    path = _write(tmp_path / "v.mp4", list(range(30)))
    assert len(video_index(path).ticks) == 30
    _write(path, list(range(45)))
    assert len(video_index(path).ticks) == 45


def test_what_is_no_video_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(DataError, match="can't be opened as a video"):
        video_index(tmp_path / "text.mp4")
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    with pytest.raises(DataError, match="holds no video"):
        video_index(tmp_path / "sound.wav")
    with pytest.raises(DataError, match="no such video"):
        video_index(tmp_path / "absent.mp4")
