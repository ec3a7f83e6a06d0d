from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from allocentric.core.errors import DataError
from allocentric.core.geometry import camera_at, pinhole_intrinsics, pose
from allocentric.core.records import answer_to_record, evidence_to_record
from allocentric.core.types import Camera, Choice, Evidence, Item, Number, Object, Scene, Step, View, Visibility
from allocentric.datasets import chat
from allocentric.datasets.export import confined, load_set, safe_name, scene_records, write_parquet, write_scene

CAMERA = Camera(
    world_from_camera=camera_at([1.0, 2.0, 1.5], 0.3, -0.2),
    width_px=64,
    height_px=48,
    intrinsics_px=pinhole_intrinsics(64, 48, 1.2),
)
VIEWS = tuple(
    View(
        image=Path(f"media/home/frame_{index:04d}.jpg"),
        camera=CAMERA,
        time_s=0.5 * index,
        visible={"chair-0": Visibility(120, 0.75)},
    )
    for index in range(2)
)
SCENE = Scene(
    id="home",
    objects=(Object(id="chair-0", label="chair", world_from_object=pose([1, 0, 0.5], 0.1), size_m=np.ones(3)),),
    source="test",
    license="CC0-1.0",
)
CHOICE = Item(
    id="a1",
    kind="direction",
    prompt="Where is A. the chair?",
    choices=("left", "A. right, or so"),
    gold=Choice(1),
    views=VIEWS,
    scene_id="home",
    evidence=Evidence(object_ids=("chair-0",), frames=(0, 1), steps=(), label="right"),
    source="test",
    extra={"pruned": True},
)
COUNT = Evidence(
    object_ids=("chair-0",),
    steps=(
        Step(op="find", inputs={"label": "chair"}, output=["chair-0"]),
        Step(op="count", inputs={"objects": {"step": 0}}, output=1),
    ),
    label="1",
)
NUMBER = replace(CHOICE, id="b2", kind="count", choices=(), gold=Number(1.0), evidence=COUNT, extra={})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set of two items, written with the functions `make` uses."""
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", [CHOICE, NUMBER], "short")
    write_scene(tmp_path, *scene_records(SCENE, VIEWS))
    (tmp_path / "README.md").write_text("card")
    return tmp_path


def test_items_come_back_as_they_were(folder):
    for item, loaded in zip([CHOICE, NUMBER], load_set(folder), strict=True):
        for field in ("id", "kind", "prompt", "choices", "scene_id", "source", "extra"):
            assert getattr(loaded, field) == getattr(item, field)
        assert answer_to_record(loaded.gold) == answer_to_record(item.gold)
        assert evidence_to_record(loaded.evidence) == evidence_to_record(item.evidence)
        assert [view.image for view in loaded.views] == [(folder / view.image).resolve() for view in VIEWS]
        assert [view.time_s for view in loaded.views] == [0.0, 0.5]
        assert loaded.views[0].visible == {"chair-0": Visibility(120, 0.75)}
        np.testing.assert_array_equal(loaded.views[1].camera.world_from_camera, CAMERA.world_from_camera)


@pytest.mark.parametrize("path", ["../secret.jpg", "/etc/passwd", "media/../../x.jpg", "media/home/../../../x"])
def test_paths_out_of_the_folder_are_refused(folder, path):
    record = json.loads((folder / "scenes" / "home.json").read_text())
    record["views"][1]["path"] = path
    (folder / "scenes" / "home.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="points out of the set"):
        load_set(folder)


def test_links_out_of_the_folder_are_refused(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (folder / "media").mkdir()
    (folder / "media" / "home").symlink_to(outside)
    with pytest.raises(DataError, match="points out of the set"):
        confined(folder, "media/home/frame_0000.jpg")


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "a\\b", "ü"])
def test_scene_ids_that_are_no_file_names_are_refused(name):
    with pytest.raises(DataError, match="can't be a file name"):
        safe_name(name)


def test_damaged_sets_are_named(folder):
    with pytest.raises(DataError, match="no split 'tset'; it has train"):
        load_set(folder, "tset")
    shutil.rmtree(folder / "scenes")
    with pytest.raises(DataError, match=r"can't read .*home\.json"):
        load_set(folder)
    data = folder / "data" / "train-00000-of-00001.parquet"
    data.write_bytes(data.read_bytes()[:200])
    with pytest.raises(DataError, match=r"can't read .*parquet"):
        load_set(folder)
    (folder / "README.md").unlink()
    with pytest.raises(DataError, match="no complete set"):
        load_set(folder)


def test_messages_hold_one_placeholder_per_frame():
    user, assistant = chat.messages_of(CHOICE)
    assert [part["type"] for part in user["content"]] == ["image", "image", "text"]
    assert user["content"][-1]["text"].splitlines() == [
        "These are frames of a video.",
        "Where is A. the chair?",
        "Options:",
        "A. left",
        "B. A. right, or so",
        "Answer with the option's letter from the given choices directly.",
    ]
    assert assistant == {"role": "assistant", "content": [{"type": "text", "text": "B"}]}


def test_rationale_answers_end_in_the_answer():
    user, assistant = chat.messages_of(NUMBER, "rationale")
    assert assistant["content"][0]["text"].startswith("<think>")
    assert assistant["content"][0]["text"].endswith("<answer>1</answer>")
    assert "<answer>" in user["content"][-1]["text"]


def test_chat_formats():
    llava = chat.record_of(CHOICE, chat.Settings(format="llava"))
    assert llava["image"] == ["media/home/frame_0000.jpg", "media/home/frame_0001.jpg"]
    assert llava["conversations"][0]["value"].startswith("<image>\n<image>\nThese are")
    assert llava["conversations"][1] == {"from": "gpt", "value": "B"}
    video = chat.record_of(CHOICE, chat.Settings(format="sharegpt", placeholder="<video>", placeholder_per="item"))
    assert video["videos"] == [["media/home/frame_0000.jpg", "media/home/frame_0001.jpg"]]
    assert video["conversations"][0]["value"].count("<video>") == 1
    openai = chat.record_of(CHOICE, chat.Settings(format="openai"))
    parts = openai["messages"][0]["content"]
    assert parts[0] == {"type": "image_url", "image_url": {"url": "media/home/frame_0000.jpg"}}
    assert [part["type"] for part in parts] == ["image_url", "image_url", "text"]
    assert openai["messages"][1] == {"role": "assistant", "content": "B"}
