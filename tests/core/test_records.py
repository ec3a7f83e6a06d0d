"""Records survive a round trip through JSON, and content hashes see content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allocentric.core import geometry, records
from allocentric.core.errors import DataError
from allocentric.core.types import (
    Boxes,
    Camera,
    Choice,
    Direction,
    Evidence,
    Item,
    Number,
    Object,
    Opening,
    Order,
    Path2D,
    Point,
    Room,
    Scene,
    Span,
    Step,
    Text,
    Unreadable,
    View,
    Visibility,
)


def through_json(record: dict) -> dict:
    return json.loads(records.json_bytes(record))


@pytest.mark.parametrize(
    "answer",
    [
        Choice(2),
        Number(1.5, "m"),
        Text("a cup"),
        Boxes(((0.0, 1.0, 2.0, 3.0),)),
        Point(1.0, 2.0),
        Span(0.5, 2.0),
        Direction(0.1, -0.2),
        Path2D(((0.0, 1.0), (2.0, 3.0))),
        Order(("cup", "chair")),
        Unreadable("no letter"),
    ],
)
def test_answers_round_trip(answer: object) -> None:
    assert records.answer_from_record(through_json(records.answer_to_record(answer))) == answer


def test_unknown_answers_are_refused() -> None:
    with pytest.raises(DataError, match="got 'letter'"):
        records.answer_from_record({"type": "letter", "index": 1})
    with pytest.raises(DataError, match="wrong fields"):
        records.answer_from_record({"type": "choice", "letter": "A"})
    with pytest.raises(DataError, match="can't be unreadable"):
        records.gold_from_record({"type": "unreadable", "reason": "x"})


def example_item() -> Item:
    camera = Camera(
        world_from_camera=geometry.camera_at([0.1, 0.2, 1.5], 0.3),
        width_px=64,
        height_px=48,
        intrinsics_px=geometry.pinhole_intrinsics(64, 48, 1.2),
    )
    view = View(image=Path("media/a/0.jpg"), camera=camera, time_s=0.5, visible={"cup-0": Visibility(120, 0.25)})
    return Item(
        id="x",
        kind="object_counting",
        prompt="How many cup(s) are in this room?",
        gold=Number(2.0),
        views=(view,),
        scene_id="s",
        evidence=Evidence(
            object_ids=("cup-0",), frames=(0,), steps=(Step(op="count", inputs={"label": "cup"}, output=2),), label="2"
        ),
        source="test",
    )


def test_items_round_trip() -> None:
    record = records.item_to_record(example_item())
    again = records.item_to_record(records.item_from_record(through_json(record)))
    assert records.json_bytes(again) == records.json_bytes(record)


def test_a_missing_field_is_named() -> None:
    record = records.item_to_record(example_item())
    del record["gold"]
    with pytest.raises(DataError, match="'gold' is missing"):
        records.item_from_record(record)


def test_item_id_depends_on_every_part() -> None:
    base = {"kind": "k", "scene_id": "s", "prompt": "p", "choices": ["a", "b"], "gold": Choice(0), "views": ["f0"]}
    changes = [
        {"kind": "k2"},
        {"scene_id": "t"},
        {"prompt": "q"},
        {"choices": ["b", "a"]},
        {"gold": Choice(1)},
        {"views": []},
    ]
    ids = {records.item_id(**base), *(records.item_id(**(base | change)) for change in changes)}
    assert len(ids) == 7


def test_scenes_keep_their_boxes_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    thing = Object(
        id="cup-0", label="cup", world_from_object=geometry.pose(rng.normal(size=3), 0.3), size_m=rng.uniform(size=3)
    )
    door = Opening(kind="door", segment_m=np.array([[0, 0], [0, 0.9]]), bottom_m=0.0, top_m=2.0, connects=("a", None))
    room = Room(
        id="a", kind="kitchen", floor_polygon_m=rng.normal(size=(4, 2)), floor_z_m=0.0, height_m=2.5, openings=(door,)
    )
    scene = Scene(id="s", objects=(thing,), rooms=(room,), floor_area_m2=9.5, source="test", license="CC0-1.0")
    again = records.scene_from_record(through_json(records.scene_to_record(scene)))
    np.testing.assert_array_equal(again.objects[0].world_from_object, thing.world_from_object)
    np.testing.assert_array_equal(again.rooms[0].floor_polygon_m, room.floor_polygon_m)
    assert again.rooms[0].openings[0].connects == ("a", None)


def test_canonical_json_refuses_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        records.json_bytes({"x": float("nan")})


@pytest.mark.parametrize("text", ['a"b\\c\n\t\x00\x1f\x7f', "é 选项 🪑", "</script>\u2028", ""])
def test_texts_have_the_same_bytes_whoever_writes_them(text: str) -> None:
    assert records.json_bytes_of_texts([text, (text, "b"), []]) == records.json_bytes([text, [text, "b"], []])


def test_half_a_character_is_refused_as_before() -> None:
    for write in (records.json_bytes_of_texts, records.json_bytes):
        with pytest.raises(UnicodeEncodeError):
            write(["\ud800"])


@pytest.mark.parametrize("answer", [Choice(2), *(Number(v, "m") for v in (3, 3.0, 0.0, -0.0, 1e22, 1e-7)), Text("a")])
def test_an_answers_bytes_are_those_of_its_record(answer: Any) -> None:
    for _ in range(2):
        assert records.answer_bytes(answer) == records.json_bytes(records.answer_to_record(answer))


@pytest.mark.parametrize("text", ['{"a": [1, 2.5, 1e22, "é"], "b": NaN}', '"\\ud800"', "1" * 30])
def test_json_is_read_as_the_standard_library_does(text: str) -> None:
    assert repr(records.parse_json(text)) == repr(json.loads(text))
    with pytest.raises(json.JSONDecodeError):
        records.parse_json(text[:-1] + "}{")
