"""Folders in the H*Bench layout: round trip, and one line for everything that is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from allocentric.core.errors import DataError
from allocentric.envs.panorama.tasks import Annotation, read_annotations, read_tasks, write_scene
from allocentric.envs.panorama.views import read_image

GOOD = {"task": "find it", "yaw": [350, 10.5], "pitch": [-5, 5], "initial yaw": [0, 90], "level": [0, 2]}


def test_written_folders_are_read_back_and_written_again_the_same(panorama_folder: Path, tmp_path: Path) -> None:
    tasks = read_tasks(panorama_folder)
    assert [(task.scene_id, task.annotation.kind, task.start_yaw, task.level) for task in tasks[:6]] == [
        ("one", "object", 0.0, 0),
        ("one", "object", 90.0, 1),
        ("one", "object", 180.0, 2),
        ("one", "object", 270.0, 1),
        ("one", "object", 45, 1),
        ("one", "path", 0.0, 0),
    ]
    for scene in ("one", "two"):
        annotations = read_annotations(panorama_folder / scene / "annotation.json")
        copy = write_scene(tmp_path, scene, read_image(panorama_folder / scene / "panorama.png"), annotations)
        for name in ("annotation.json", "panorama.png"):
            assert (copy / name).read_bytes() == (panorama_folder / scene / name).read_bytes()


def test_a_published_record_keeps_every_key(tmp_path: Path) -> None:
    (tmp_path / "annotation.json").write_text(
        json.dumps([GOOD | {"category": "street"}, {"task": "go", "yaw": [1, 2]}])
    )
    annotations = read_annotations(tmp_path / "annotation.json")
    picture = np.zeros((64, 128, 3), dtype=np.uint8)
    again = json.loads((write_scene(tmp_path, "scene", picture, annotations) / "annotation.json").read_text())
    assert again == [GOOD | {"category": "street"}, {"task": "go", "yaw": [1, 2]}]


def test_a_picture_file_is_copied_byte_for_byte(panorama_folder: Path, tmp_path: Path) -> None:
    source = panorama_folder / "one" / "panorama.png"
    written = write_scene(tmp_path, "copy", source, [Annotation(task="go", yaw=(1, 2))])
    assert (written / "panorama.png").read_bytes() == source.read_bytes()


def test_a_scene_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="100x64; expected a full equirectangular panorama"):
        write_scene(tmp_path, "scene", np.zeros((64, 100, 3), dtype=np.uint8), [Annotation(task="go", yaw=(1, 2))])
    with pytest.raises(DataError, match="no task below"):
        read_tasks(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": ""}, "task 1, field 'task': expected an instruction, got ''"),
        ({"yaw": None}, "field 'yaw': expected two angles in degrees, got None"),
        ({"yaw": [1, "2"]}, "field 'yaw': expected two angles"),
        ({"yaw": [1, float("nan")]}, "field 'yaw': expected two angles"),
        ({"pitch": [30, -30]}, "field 'pitch': expected .* the borders are inverted"),
        ({"pitch": [-100, 0]}, r"field 'pitch': expected \[low, high\] within -90 and 90"),
        ({"initial yaw": []}, "field 'initial yaw': expected a list of start angles"),
        ({"level": [7, 0]}, "field 'level': unknown level 7; expected 0 to 3"),
        ({"level": ["easy", 0]}, "field 'level': unknown level 'easy'"),
        ({"level": [1]}, "field 'level': expected a list of 2 levels, one per start yaw"),
    ],
)
def test_wrong_records_are_named(tmp_path: Path, change: dict, message: str) -> None:
    path = tmp_path / "annotation.json"
    path.write_text(json.dumps([GOOD, GOOD | change]))
    with pytest.raises(DataError, match=message) as error:
        read_annotations(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_wrong_folders_are_named(panorama_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        read_tasks(tmp_path / "absent")
    folder = tmp_path / "set"
    shutil.copytree(panorama_folder, folder)
    (folder / "one" / "annotation.json").write_text("[{")
    with pytest.raises(DataError, match=r"annotation\.json is not JSON"):
        read_tasks(folder)
    (folder / "one" / "annotation.json").unlink()
    with pytest.raises(DataError, match=r"one: annotation.json is missing; expected a list of tasks"):
        read_tasks(folder)
    (folder / "one" / "panorama.png").unlink()
    with pytest.raises(DataError, match=r"one: expected one panorama .* got none"):
        read_tasks(folder)
    shutil.rmtree(folder / "one")
    (folder / "two" / "panorama.png").write_bytes(b"text")
    with pytest.raises(DataError, match=r"panorama\.png is not a picture"):
        read_tasks(folder)
