"""Which pictures are shown, from views and from videos."""

from __future__ import annotations

import av
import numpy as np
import pytest

from allocentric.core.errors import DataError
from allocentric.core.geometry import camera_at, pinhole_intrinsics
from allocentric.core.types import Camera, Choice, Item, View
from allocentric.eval.frames import (
    FramesPolicy,
    at_rate,
    choose_frames,
    evenly_spaced,
    frames_digest,
    load_views,
    pixel_digest,
)
from allocentric.eval.similarity import spread_out
from allocentric.eval.space_aware import widest


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


# ------------------------------------------------------------------------------------------- chosen by what they show


def scenes_video(path, greys):
    """One frame a tenth of a second, each a stripe pattern at the place its number says."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for place in greys:
            picture = np.full((48, 64, 3), 40, dtype=np.uint8)
            picture[:, 8 * place : 8 * place + 8] = 220
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_similarity_shows_every_place_once(tmp_path):
    item = make_item(video=scenes_video(tmp_path / "v.mp4", [0] * 30 + [3] * 5 + [6] * 5))
    chosen = choose_frames(item, FramesPolicy(policy="similarity", count=3)).indices
    assert [sum(index >= start for start in (30, 35)) for index in chosen] == [0, 1, 2]
    assert sum(index >= 30 for index in choose_frames(item, FramesPolicy(count=3)).indices) == 1  # one place lost
    tail = choose_frames(item, FramesPolicy(policy="similarity", count=1, tail=True)).indices
    assert tail == (0, 39)


def test_the_spread_is_farthest_first():
    """Against the definition, written out, on random unit vectors."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 5))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    chosen = spread_out(features, 7)
    expected = [0]
    while len(expected) < 7:
        nearest = [max(float(features[k] @ features[c]) for c in expected) for k in range(40)]
        expected.append(min((k for k in range(40) if k not in expected), key=lambda k: nearest[k]))
    assert chosen == expected
    relevance = rng.uniform(size=40)
    assert spread_out(features, 1, relevance=relevance) == [int(np.argmax(relevance))]
    assert sorted(spread_out(features, 99, relevance=relevance)) == list(range(40))


def camera(x_m, heading):
    world_from_camera, intrinsics_px = camera_at([x_m, 0.0, 1.5], heading), pinhole_intrinsics(64, 48, 1.2)
    return Camera(world_from_camera=world_from_camera, width_px=64, height_px=48, intrinsics_px=intrinsics_px)


def write_geometry(path, poses, depth_m=2.0):
    cameras = [camera(x_m, heading) for x_m, heading in poses]
    np.savez(
        path,
        frame=np.arange(len(poses)) * 4,
        depth_m=np.full((len(poses), 48, 64), depth_m),
        intrinsics_px=np.stack([one.intrinsics_px for one in cameras]),
        world_from_camera=np.stack([one.world_from_camera for one in cameras]),
    )


def test_space_aware_takes_the_views_that_add_space(tmp_path):
    """Eight of ten frames stare at one wall; two look elsewhere."""
    item = make_item(video=scenes_video(tmp_path / "v.mp4", [0] * 40))
    write_geometry(tmp_path / "v.npz", [(0, 0.0)] * 6 + [(0, 2.0)] + [(0, 0.0)] * 2 + [(0, -2.0)])
    policy = FramesPolicy(policy="space_aware", count=3, geometry=tmp_path)
    chosen = choose_frames(item, policy)
    assert chosen.indices == (0, 24, 36)
    more = choose_frames(item, policy.model_copy(update={"count": 8}))
    assert more.indices == (0, 24, 36)  # nothing is left to add
    write_geometry(tmp_path / "v.npz", [(0, 0.0)] * 6 + [(0, 2.0)] + [(0, 0.0)] * 2 + [(0, -2.1)])
    assert frames_digest(item, chosen.indices, policy) != chosen.digest  # other poses are another choice


def test_greedy_coverage_by_its_definition():
    rng = np.random.default_rng(1)
    seen = [np.unique(rng.integers(0, 60, rng.integers(3, 25))) for _ in range(12)]
    chosen = widest(seen, 5)
    covered: set[int] = set()
    for k in chosen:
        gains = [len(set(cells.tolist()) - covered) for cells in seen]
        assert gains[k] == max(gain for other, gain in enumerate(gains) if other == k or other not in chosen)
        covered |= set(seen[k].tolist())


def test_space_aware_by_cameras_without_depth():
    pixels = np.zeros((48, 64, 3), dtype=np.uint8)
    headings = [0.0, 0.01, 0.02, 2.0, 0.0, -2.0]
    views = tuple(View(image=pixels, camera=camera(0, heading)) for heading in headings)
    chosen = choose_frames(make_item(views=views), FramesPolicy(policy="space_aware", count=3)).indices
    assert len(chosen) == 3
    assert {3, 5} < set(chosen)
    with pytest.raises(DataError, match="space_aware needs a camera for every picture"):
        choose_frames(make_item(views=(View(image=pixels),)), FramesPolicy(policy="space_aware", count=3))


def test_wrong_geometry_is_one_line(tmp_path):
    item = make_item(video=scenes_video(tmp_path / "v.mp4", [0] * 10))
    policy = FramesPolicy(policy="space_aware", count=3, geometry=tmp_path)
    with pytest.raises(DataError, match="no geometry for space_aware"):
        choose_frames(item, policy)
    (tmp_path / "v.npz").write_bytes(b"PK no zip")
    with pytest.raises(DataError, match="is no geometry file"):
        choose_frames(item, policy)
    write_geometry(tmp_path / "v.npz", [(0, 0.0)] * 5)
    with pytest.raises(DataError, match="speaks of frame 16, its video has 10"):
        choose_frames(item, policy)
    np.savez(tmp_path / "v.npz", frame=np.arange(3), depth_m=np.ones((2, 4, 4)), intrinsics_px=np.ones((3, 3, 3)),
             world_from_camera=np.ones((3, 4, 4)))  # fmt: skip
    with pytest.raises(DataError, match=r"depth_m has the shape \(2, 4, 4\)"):
        choose_frames(item, policy)


def test_large_frames_are_shrunk_as_they_are_decoded(tmp_path):
    item = make_item(video=write_video(tmp_path / "v.mp4"))
    views = load_views(item, (0, 20), FramesPolicy(max_side_px=32))
    assert [np.asarray(view.image).shape for view in views] == [(24, 32, 3)] * 2
    assert abs(float(np.mean(views[1].image)) - 120) < 4
    assert np.asarray(load_views(item, (0,), FramesPolicy(max_side_px=64))[0].image).shape == (48, 64, 3)
