from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
from clock import cpu_s

from allocentric.core.config import settings_from_mapping
from allocentric.core.errors import DataError, SettingsError
from allocentric.core.types import Scene
from allocentric.scenes.sources.procedural import Settings, build, build_house


def digest(scene: Scene) -> str:
    """Hash of every array and name of a scene."""
    out = hashlib.sha256()
    for thing in (*scene.objects, *scene.structure):
        out.update(repr((thing.id, thing.label, thing.attributes, thing.room_id, thing.supported_by)).encode())
        for array in (thing.world_from_object, thing.size_m, thing.mesh.positions_m, thing.mesh.normals,
                      thing.mesh.triangles, thing.mesh.vertex_material):  # fmt: skip
            out.update(np.ascontiguousarray(array).tobytes())
        out.update(repr(thing.mesh.materials).encode())
    for room in scene.rooms:
        out.update(repr((room.id, room.kind, room.height_m)).encode() + room.floor_polygon_m.tobytes())
        for way in room.openings:
            out.update(repr((way.kind, way.bottom_m, way.top_m, way.connects)).encode() + way.segment_m.tobytes())
    return out.hexdigest()


@pytest.mark.slow
def test_other_processes_build_the_same_bytes() -> None:
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]; from test_procedural import digest; "
        "from allocentric.scenes.sources.procedural import build_house; "
        "print(*(digest(build_house(seed)) for seed in (8, 3, 5)))"
    )
    folder = __file__.rpartition("/")[0]
    runs = [
        subprocess.run(
            [sys.executable, "-c", program, folder, *sys.path], capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"},
        ).stdout.split()
        for seed in ("1", "2")
    ]  # fmt: skip
    assert runs[0] == runs[1] == [digest(build_house(seed)) for seed in (8, 3, 5)]
    assert len(set(runs[0])) == 3


def test_ids_are_the_seeds_and_load_does_not_depend_on_them_being_listed() -> None:
    source = build(Settings(first_seed=41, count=3, rooms=(2, 2)))
    assert source.scene_ids() == ["procedural-000041", "procedural-000042", "procedural-000043"]
    scene = pickle.loads(pickle.dumps(source)).load("procedural-000042")
    assert scene.id == "procedural-000042"
    assert (scene.source, scene.license, len(scene.rooms)) == ("procedural", "CC0-1.0", 2)
    assert digest(scene) == digest(build_house(42, (2, 2)))


def test_number_of_rooms_is_spread_over_the_range() -> None:
    rooms = {len(build_house(seed, (2, 4)).rooms) for seed in range(16)}
    assert rooms == {2, 3, 4}


@pytest.mark.parametrize("name", ["house-1", "procedural-42", "procedural-000001.json"])
def test_a_foreign_id_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="scene id like"):
        build(Settings()).load(name)


@pytest.mark.parametrize(
    "values", [{"rooms": [0, 3]}, {"rooms": [5, 4]}, {"rooms": [1, 13]}, {"first_seed": -1}, {"first_seed": 999_999}]
)
def test_impossible_settings_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        settings_from_mapping(Settings, values, where="test")


def test_a_five_room_house_is_quick() -> None:
    build_house(0, (5, 5))
    times_s = [cpu_s(lambda seed=seed: build_house(seed, (5, 5))) for seed in range(1, 4)]
    assert min(times_s) < 1.0  # five times what it takes
