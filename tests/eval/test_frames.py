"""Which pictures are shown, from views and from videos."""

from __future__ import annotations

import av
import numpy as np
import pytest

from allocentric.core.errors import DataError
from allocentric.core.types import Choice, Item, View
from allocentric.eval.frames import FramesPolicy, at_rate, choose_frames, evenly_spaced, load_views, pixel_digest


def make_item(**values):
    return Item(id="i", kind="k", prompt="?", choices=("a", "b"), gold=Choice(0), scene_id="s", source="t", **values)


def write_video(path, frames=40):
    """Frame k is a grey of value 6 k."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for k in range(frames):
            picture = np.full((48, 64, 3), 6 * k % 256, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("total", "count", "expected"),
    [(10, 4, (0, 3, 6, 9)), (3, 32, (0, 1, 2)), (5, 1, (0,)), (0, 4, ()), (7, 0, ()), (100, 3, (0, 49, 99))],
)
def test_evenly_spaced(total, count, expected):
    assert evenly_spaced(total, count) == expected


def test_indices_are_distinct_and_hold_both_ends():
    for total in range(2, 60):
        for count in range(2, total + 3):
            indices = evenly_spaced(total, count)
            assert indices[0] == 0
            assert indices[-1] == total - 1
            assert len(set(indices)) == len(indices) == min(total, count)


def test_digest_depends_on_pixels_and_choice():
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    changed = pixels.copy()
    changed[0, 0, 0] = 1
    one = choose_frames(make_item(views=(View(image=pixels), View(image=pixels))), FramesPolicy())
    lazy = choose_frames(make_item(views=(View(image=lambda: pixels), View(image=pixels))), FramesPolicy())
    other = choose_frames(make_item(views=(View(image=pixels), View(image=changed))), FramesPolicy())
    fewer = choose_frames(make_item(views=(View(image=pixels), View(image=pixels))), FramesPolicy(count=1))
    assert one == lazy
    assert len({one.digest, other.digest, fewer.digest}) == 3


def test_video_frames_are_the_ones_asked_for(tmp_path):
    item = make_item(video=write_video(tmp_path / "v.mp4"))
    chosen = choose_frames(item, FramesPolicy(count=5))
    assert chosen.indices == evenly_spaced(40, 5)
    views = load_views(item, chosen.indices)
    for index, view in zip(chosen.indices, views, strict=True):
        assert abs(float(np.mean(view.image)) - 6 * index) < 4
        assert view.time_s == pytest.approx(index / 10)


def test_a_truncated_video_is_one_line(tmp_path):
    whole = write_video(tmp_path / "v.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="may be truncated") as caught:
        choose_frames(make_item(video=tmp_path / "cut.mp4"), FramesPolicy(count=5))
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="no such video"):
        choose_frames(make_item(video=tmp_path / "absent.mp4"), FramesPolicy(count=5))


def test_frames_lost_after_they_were_chosen_are_noticed(tmp_path):
    path = write_video(tmp_path / "v.mkv")
    item = make_item(video=path)
    indices = choose_frames(item, FramesPolicy(count=4)).indices
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(DataError, match="is truncated"):
        load_views(item, indices)


def test_a_video_shorter_than_it_says_is_not_a_shorter_video(tmp_path):
    """A Matroska file cut short opens without complaint and has no frame count; only its duration tells."""
    path = write_video(tmp_path / "v.mkv", frames=200)
    whole = path.read_bytes()
    assert len(choose_frames(make_item(video=path), FramesPolicy(count=400)).indices) == 200
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole[: int(0.7 * len(whole))])
    with pytest.raises(DataError, match="is truncated"):
        choose_frames(make_item(video=path), FramesPolicy(count=4))


def test_a_missing_picture_is_one_line(tmp_path):
    with pytest.raises(DataError, match="can't read the picture"):
        choose_frames(make_item(views=(View(image=tmp_path / "none.jpg"),)), FramesPolicy())


def test_blind_reads_nothing(tmp_path):
    item = make_item(video=tmp_path / "absent.mp4")
    assert choose_frames(item, FramesPolicy(count=0)).indices == ()


@pytest.mark.parametrize("frames", [1, 2, 39, 40, 301])
@pytest.mark.parametrize("video_hz", [10.0, 24.0, 29.97, 30.0])
@pytest.mark.parametrize("rate_hz", [0.5, 1.0, 2.0, 3.0])
def test_a_rate_takes_the_frames_of_vlmevalkit(frames, video_hz, rate_hz):
    """int(i * video_hz / rate_hz) for i below int(duration * rate_hz); that leaves out a last begun interval."""
    published = [int(i * video_hz / rate_hz) for i in range(int(frames / video_hz * rate_hz))]
    chosen = list(at_rate([k / video_hz for k in range(frames)], rate_hz))
    assert chosen[: len(published)] == published
    assert len(chosen) - len(published) in (0, 1)


def test_rate_tail_and_count_work_together(tmp_path):
    item = make_item(video=write_video(tmp_path / "v.mp4"))
    assert choose_frames(item, FramesPolicy(rate_hz=1.0)).indices == (0, 10, 20, 30)
    assert choose_frames(item, FramesPolicy(rate_hz=1.0, tail=True)).indices == (0, 10, 20, 30, 39)
    assert choose_frames(item, FramesPolicy(rate_hz=1.0, count=2)).indices == (0, 30)
    assert choose_frames(item, FramesPolicy(count=1, tail=True)).indices == (0, 39)
    assert choose_frames(item, FramesPolicy(count=4, tail=True)).indices == evenly_spaced(40, 4)
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    views = tuple(View(image=pixels, time_s=k / 4) for k in range(9))
    assert choose_frames(make_item(views=views), FramesPolicy(rate_hz=1.0)).indices == (0, 4, 8)
    with pytest.raises(DataError, match="have no times"):
        choose_frames(make_item(views=(View(image=pixels),)), FramesPolicy(rate_hz=1.0))


def test_pixel_digest_sees_pixels_shape_and_order():
    dark, light = np.zeros((4, 6, 3), dtype=np.uint8), np.full((4, 6, 3), 9, dtype=np.uint8)
    digests = {pixel_digest([View(image=image) for image in images]) for images in ((dark, light), (light, dark))}
    digests.add(pixel_digest([View(image=dark.reshape(6, 4, 3)), View(image=light)]))
    assert len(digests) == 3
    assert pixel_digest([View(image=lambda: dark), View(image=light)]) in digests


def test_missing_pictures_never_become_a_blind_run():
    with pytest.raises(DataError, match=r"has no pictures; ask without them \(frames.count: 0\)"):
        choose_frames(make_item(), FramesPolicy(count=4))
    assert choose_frames(make_item(), FramesPolicy(count=0)).indices == ()
