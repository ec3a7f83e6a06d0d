from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from allocentric.core.config import settings_from_mapping
from allocentric.core.errors import DataError, SettingsError
from allocentric.core.types import View
from allocentric.scenes import trajectory
from allocentric.scenes.stream import Edit, Put, Settings, Stream, Visit, frame_key, lot_m
from allocentric.scenes.stream_video import Recipe, film, write_video

SMALL = Settings(
    seed=3, rooms=(1, 2), stretch_s=6.0, walk=trajectory.Settings(width_px=64, height_px=48, fps=1.0), lot_m=50.0
)


def picture(view: View) -> np.ndarray:
    assert callable(view.image)
    return view.image()


def test_a_late_hour_is_reached_without_the_hours_before_and_has_the_same_bytes() -> None:
    hour = 3600
    with Stream(SMALL) as sought, Stream(SMALL) as passed:
        late = sought[hour + 7]
        for view in passed.views(hour, hour + 7):  # up to it, through the stretch before
            picture(view)
        walked = passed[hour + 7]
        assert late.time_s == walked.time_s == hour + 7
        np.testing.assert_array_equal(picture(late), picture(walked))
        np.testing.assert_array_equal(late.camera.world_from_camera, walked.camera.world_from_camera)
        assert dict(late.visible) == dict(walked.visible)
        assert late.visible


def test_visible_is_what_the_id_pass_counts_and_does_not_depend_on_whether_the_picture_was_drawn() -> None:
    with Stream(SMALL) as stream:
        view = stream[8]
        key = frame_key(view)
        assert key is not None
        scene = stream.scene(key.visit.house)
        camera = stream.cameras(key.visit.house)[key.frame]
        renderer = stream._renderer(key.visit)
        drawn = renderer.render(camera, ("rgb", "id")).id
        counted = {
            thing.id: int(np.count_nonzero(drawn == index))
            for index, thing in enumerate(scene.objects)
            if np.any(drawn == index)
        }
        assert {name: seen.pixels for name, seen in view.visible.items()} == counted


def test_the_cameras_stand_on_the_lot_of_their_house() -> None:
    with Stream(SMALL) as stream:
        view = stream[6 * 70]  # house 70: row 2, column 6
        np.testing.assert_allclose(lot_m(70, SMALL), [6 * 50.0, 2 * 50.0])
        local = stream.cameras(70)[0].world_from_camera
        np.testing.assert_allclose(view.camera.world_from_camera[:2, 3] - local[:2, 3], [300.0, 100.0])
        world = stream.in_world(stream.scene(70), 70)
        floors = np.concatenate([room.floor_polygon_m for room in world.rooms])
        eye = view.camera.world_from_camera[:2, 3]
        assert np.all(eye > floors.min(axis=0))
        assert np.all(eye < floors.max(axis=0))


def test_equal_visits_show_equal_bytes_wherever_they_stand_and_another_route_does_not() -> None:
    visits = (Visit(house=1), Visit(house=2), Visit(house=1), Visit(house=1, route=1))
    with Stream(SMALL, visits) as stream:
        assert len(stream) == 24
        for frame in range(6):
            np.testing.assert_array_equal(picture(stream[frame]), picture(stream[12 + frame]))
        poses = [[view.camera.world_from_camera for view in stream[start : start + 6]] for start in (0, 18)]
        assert not np.allclose(*poses)
        with pytest.raises(IndexError):
            stream[24]
        np.testing.assert_array_equal(picture(stream[-1]), picture(stream[23]))


def test_one_house_is_walked_again_along_other_routes() -> None:
    with Stream(SMALL.model_copy(update={"houses": 2})) as stream:
        visits = [stream.visit(index) for index in range(5)]
    assert [(visit.house, visit.route) for visit in visits] == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2)]


def test_putting_and_taking_changes_the_house_and_nothing_else() -> None:
    with Stream(SMALL) as stream:
        plain = stream.scene(4)
        room = plain.rooms[0]
        x, y = np.mean(room.floor_polygon_m, axis=0)
        put = Put(id="bear", label="teddy bear", look=5, bottom_m=(x, y, 0.0), yaw_rad=0.3, room_id=room.id, on=None)
        gone = next(thing.id for thing in plain.objects if any(o.supported_by == thing.id for o in plain.objects))
        changed = stream.scene(4, Edit(put=(put,), take=(gone,)))
        left = {thing.id for thing in changed.objects}
        above = {o.id for o in plain.objects if o.supported_by == gone}
        assert above
        assert left == {o.id for o in plain.objects} - {gone} - above | {"bear"}
        bear = changed.objects[-1]
        assert bear.world_from_object[2, 3] == pytest.approx(bear.size_m[2] / 2)
        with pytest.raises(DataError, match="to take away"):
            stream.scene(4, Edit(take=("nothing",)))
        with pytest.raises(DataError, match="different ids"):
            stream.scene(4, Edit(put=(put, put)))


def test_categories_are_kept_out_of_every_house() -> None:
    common = ("ceiling lamp", "chair")
    plain, bare = Stream(SMALL), Stream(SMALL.model_copy(update={"without": common}))
    labels = [{thing.label for house in range(4) for thing in one.scene(house).objects} for one in (plain, bare)]
    assert set(common) & labels[0]
    assert not set(common) & labels[1]


def test_few_houses_are_held_however_long_the_stream() -> None:
    with Stream(SMALL) as stream:
        for view in stream.views(0, 6 * 14):
            assert view.camera is not None
        assert len(stream._scenes._values) <= 8
        assert len(stream._walks._values) <= 8
        for index in range(0, 6 * 4, 6):
            picture(stream[index])
        assert len(stream._renderers._values) <= 2


def test_an_endless_stream_has_no_end_and_says_so() -> None:
    stream = Stream(SMALL)
    assert [view.time_s for view in itertools.islice(stream, 3)] == [0.0, 1.0, 2.0]
    with pytest.raises(TypeError):
        len(stream)
    with pytest.raises(IndexError):
        stream[-1]
    with pytest.raises(IndexError):
        stream[3:]
    assert [view.time_s for view in stream[2:6:2]] == [2.0, 4.0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stretch_s": 2.5}, "whole number of frames"),
        ({"rooms": [3, 2]}, "in order"),
        ({"without": ["unicorn"]}, "no such category: unicorn"),
    ],
)
def test_wrong_settings_are_named(wrong: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings_from_mapping(Settings, wrong, where="recipe")


def test_video_has_the_streams_frames_and_times(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "videos" / "walk.mp4"
    with Stream(SMALL, (Visit(house=0), Visit(house=1))) as stream:
        assert write_video(stream.views(), path, fps=1.0, crf=10) == 12
        with av.open(str(path)) as container:
            assert container.streams.video[0].codec_context.name == "h264"
            decoded = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
        assert [time for time, _ in decoded] == [float(second) for second in range(12)]
        for index in (0, 7, 11):
            error = np.abs(decoded[index][1].astype(int) - picture(stream[index]))
            assert error.mean() < 6  # chroma is halved
    assert list(path.parent.iterdir()) == [path]


def test_a_film_begins_where_it_is_told(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    assert film(Recipe(stream=SMALL, start_s=20.0, duration_s=3.0, crf=10), tmp_path / "late.mp4") == 3
    with Stream(SMALL) as stream, av.open(str(tmp_path / "late.mp4")) as container:
        for index, frame in enumerate(container.decode(video=0), start=20):
            assert np.abs(frame.to_ndarray(format="rgb24").astype(int) - picture(stream[index])).mean() < 6


def test_a_video_that_fails_leaves_no_file(tmp_path: Path) -> None:
    pytest.importorskip("av")
    good = View(image=np.zeros((48, 64, 3), np.uint8), time_s=0.0)
    for views, message in [
        ([], "no frames"),
        ([good, View(time_s=1.0)], "no picture"),
        ([good, View(image=np.zeros((50, 64, 3), np.uint8), time_s=1.0)], "the first one"),
        ([View(image=np.zeros((47, 64, 3), np.uint8), time_s=0.0)], "even edges"),
    ]:
        with pytest.raises(DataError, match=message):
            write_video(views, tmp_path / "walk.mp4", fps=1.0)
        assert not list(tmp_path.iterdir())
