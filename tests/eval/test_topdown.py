"""Maps from above: in scale, inside their frame, well-formed."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from allocentric.core.geometry import camera_at, pinhole_intrinsics
from allocentric.core.types import Camera, Choice, Item, Opening, Room, Scene
from allocentric.eval.topdown import map_of, named, overlay


@pytest.fixture
def scene(fake):
    return fake.make_scene(0)


def make_camera(x, y, yaw):
    return Camera(
        world_from_camera=camera_at([x, y, 1.5], yaw), width_px=64, height_px=48,
        intrinsics_px=pinhole_intrinsics(64, 48, 1.0),
    )  # fmt: skip


def parse(fragment, view_box="0 0 1 1"):
    return ElementTree.fromstring(f'<svg viewBox="{view_box}">{fragment}</svg>')


def numbers(element, name):
    return np.array([float(number) for number in re.findall(r"-?\d+\.?\d*", element.get(name))]).reshape(-1, 2)


def test_rooms_and_objects_are_drawn_in_centimetres_with_y_up_the_page(scene):
    root = parse(map_of(scene, ()).base)
    polygons = {css: [p for p in root.iter("polygon") if p.get("class") == css] for css in ("room", "obj")}
    assert len(polygons["room"]) == 1
    assert len(polygons["obj"]) == len(scene.objects)
    np.testing.assert_array_equal(numbers(polygons["room"][0], "points"), scene.rooms[0].floor_polygon_m * [100, -100])


def test_everything_lies_in_the_view_box(scene):
    cameras = [make_camera(-3, 7, 0.3), make_camera(2, 2, 1.0)]  # the first far outside the room
    drawn = map_of(scene, cameras)
    x, y, width, height = drawn.view_box
    root = parse(drawn.base)
    for element in root.iter():
        for name in ("points",):
            if element.get(name):
                points = numbers(element, name)
                assert (points >= [x, y]).all()
                assert (points <= [x + width, y + height]).all()


def test_a_tick_points_where_the_camera_looks(scene):
    yaw = 0.7
    root = parse(map_of(scene, [make_camera(1, 2, yaw)]).base)
    (tick,) = [element for element in root.iter("path") if element.get("class") == "cam"]
    (x, y), (dx, dy) = numbers(tick, "d")
    assert (x, y) == (100, -200)
    assert np.arctan2(-dy, dx) == pytest.approx(yaw, abs=0.01)


def test_panorama_cameras_are_points(scene):
    camera = Camera(model="equirectangular", world_from_camera=camera_at([1, 2, 1.5], 0), width_px=64, height_px=32)
    root = parse(map_of(scene, [camera]).base)
    assert [element.tag for element in root.iter() if element.get("class") == "cam"] == ["circle"]


def test_a_door_shared_by_two_rooms_is_drawn_once():
    door = Opening(kind="door", segment_m=np.array([[3.0, 1.0], [3.0, 2.0]]), bottom_m=0, top_m=2, connects=("a", "b"))
    floors = [np.array([[x, 0.0], [x + 3, 0], [x + 3, 4], [x, 4]]) for x in (0.0, 3.0)]
    rooms = tuple(
        Room(id=name, kind="hall", floor_polygon_m=floor, floor_z_m=0, height_m=2.5, openings=(door,))
        for name, floor in zip("ab", floors, strict=True)
    )
    scene = Scene(id="s", objects=(), rooms=rooms, source="t", license="CC0-1.0")
    root = parse(map_of(scene, ()).base)
    assert len([element for element in root.iter("path") if element.get("class") == "door"]) == 1


def test_an_empty_scene_has_no_map():
    assert map_of(Scene(id="s", objects=(), source="t", license="CC0-1.0"), ()) is None


def test_labels_do_not_cover_each_other(scene):
    drawn = map_of(scene, ())
    boxes = []
    for text in parse(drawn.base).iter("text"):
        x, y, half = float(text.get("x")), float(text.get("y")), 0.3 * drawn.font_size * len(text.text)
        boxes.append((x - half, y - 0.5 * drawn.font_size, x + half, y + 0.5 * drawn.font_size))
    boxes = boxes[:-1]  # the last one is the scale bar's
    for i, a in enumerate(boxes):
        assert all(a[0] > b[2] or a[2] < b[0] or a[1] > b[3] or a[3] < b[1] for b in boxes[:i])


def test_without_a_derivation_the_objects_named_are_outlined(scene):
    item = Item(
        id="i", kind="k", prompt="Is the SOFA left of the bedroom?", choices=("lamp", "none"), gold=Choice(0),
        scene_id=scene.id, source="t",
    )  # fmt: skip
    assert {mark.caption for mark in named(item, scene)} == {"sofa", "lamp"}  # not the bed of "bedroom"
    root = parse(overlay(item, scene, map_of(scene, ())))
    assert len([element for element in root.iter("polygon") if "given" in element.get("class")]) == 2
