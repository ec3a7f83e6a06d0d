from __future__ import annotations

import filecmp
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from allocentric.core.catalog import RENDERERS, SOURCES
from allocentric.core.config import settings_from_mapping
from allocentric.core.errors import DataError
from allocentric.datasets import shards
from allocentric.datasets.export import load_set
from allocentric.datasets.make import make
from allocentric.datasets.recipe import MakeRecipe

TYPES = {"object_size_estimation": 8, "object_abs_distance": 8, "obj_appearance_order": 2}


def recipe(metadata: Path, **changes: Any) -> MakeRecipe:
    values = {
        "name": "pictures",
        "source": {"name": "vsi_metadata", "path": str(metadata)},
        "renderer": {"name": "raycast", "shadows": False},
        "walk": {"width_px": 96, "height_px": 72},
        "frames": 6,
        "types": TYPES,
        "allow_short": True,
        "audit": {"enabled": False},
        "chat": [{"format": "llava"}],
    }
    return settings_from_mapping(MakeRecipe, values | changes, where="test")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, write_rooms: Callable[[Path, int], Path]) -> tuple[Path, Path]:
    base = tmp_path_factory.mktemp("pictures")
    metadata = write_rooms(base, 3)
    make(recipe(metadata), base / "set")
    return base / "set", metadata


def test_every_item_shows_the_frames_of_its_scene(made):
    folder, _ = made
    for item in load_set(folder):
        assert len(item.views) == 6
        for view in item.views:
            assert Picture.open(view.image).size == (96, 72)
            assert view.camera.width_px == 96
        times = [view.time_s for view in item.views]
        assert times == sorted(times)
        assert times[0] == 0.0


def test_a_question_is_only_about_what_its_frames_show(made):
    folder, _ = made
    for item in load_set(folder):
        assert item.evidence.frames
        for thing in item.evidence.object_ids:
            assert any(thing in item.views[k].visible for k in item.evidence.frames)


def test_saved_frames_are_what_the_cameras_see(made):
    folder, metadata = made
    module = SOURCES.load("vsi_metadata")
    source = module.build(settings_from_mapping(module.Settings, {"path": str(metadata)}, where="test"))
    item = load_set(folder)[0]
    raycast = RENDERERS.load("raycast")
    with raycast.build(source.load(item.scene_id), raycast.Settings(shadows=False)) as renderer:
        for view in item.views:
            drawn = renderer.render(view.camera, channels=("rgb",)).rgb.astype(float)
            saved = np.asarray(Picture.open(view.image)).astype(float)
            assert np.abs(drawn - saved).mean() < 6.0  # JPEG


@pytest.mark.slow
def test_two_workers_write_the_same_pictures(made, tmp_path):
    folder, metadata = made
    make(recipe(metadata), tmp_path / "two", workers=2)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert any(name.endswith("frame_0005.jpg") for name in names)
    assert names == sorted(
        p.relative_to(tmp_path / "two").as_posix() for p in (tmp_path / "two").rglob("*.*") if p.is_file()
    )
    assert filecmp.cmpfiles(folder, tmp_path / "two", names, shallow=False)[1:] == ([], [])


def test_a_lost_frame_is_drawn_again(made, tmp_path, monkeypatch):
    folder, metadata = made
    stop = pytest.MonkeyPatch()
    stop.setattr("allocentric.datasets.make._assemble", lambda plan, progress: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make(recipe(metadata), tmp_path / "set")
    stop.undo()
    lost = tmp_path / "set" / "media" / "room001" / "frame_0003.jpg"
    lost.unlink()
    assert shards.read_shard(tmp_path / "set", "room001") is None
    assert make(recipe(metadata), tmp_path / "set").scenes_made == 1
    assert lost.read_bytes() == (folder / "media" / "room001" / "frame_0003.jpg").read_bytes()


def test_chat_records_name_frames_that_exist(made):
    folder, _ = made
    for line in (folder / "chat" / "train.llava.jsonl").read_text().splitlines():
        record = json.loads(line)
        assert record["conversations"][0]["value"].count("<image>") == len(record["image"]) == 6
        assert all((folder / path).is_file() for path in record["image"])


def test_the_code_of_the_data_card_runs(made, tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    folder, _ = made
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    code = (folder / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(code.replace("FOLDER", str(folder)), names)
    row = names["rows"][0]
    placeholders = [part for part in row["messages"][0]["content"] if part["type"] == "image"]
    assert [picture.size for picture in row["images"]] == [(96, 72)] * len(placeholders) == [(96, 72)] * 6


def test_more_frames_than_the_walk_has_is_one_line(made, tmp_path):
    _, metadata = made
    with pytest.raises(DataError, match=r"the walk has \d+ cameras, 100000 frames were asked for"):
        make(recipe(metadata, frames=100_000), tmp_path / "set")
