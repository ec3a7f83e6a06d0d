"""The driver: the same items for any number of workers, and figures over the published scenes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from allocentric.core.errors import SettingsError, UserError
from allocentric.core.geometry import box_distance
from allocentric.core.records import item_to_record, json_bytes
from allocentric.datasets.generate import METADATA_TYPES, generate
from allocentric.datasets.grid_distance import grid_distance, hollow_grid
from allocentric.datasets.trace import verify
from allocentric.scenes.sources import vsi_metadata


@pytest.fixture(scope="module")
def folder(shared_data):
    return shared_data / "vsi_bench"


@pytest.fixture(scope="module")
def source(folder):
    return vsi_metadata.build(vsi_metadata.Settings(path=folder))


@pytest.fixture(scope="module")
def items(source):
    return [item for scene in generate(source, METADATA_TYPES, per_scene=600) for item in scene]


@pytest.mark.slow
def test_twenty_thousand_questions_from_the_published_scenes(items):
    assert len(items) >= 20_000
    assert len({item.id for item in items}) == len(items)
    assert set(Counter(item.kind for item in items)) == set(METADATA_TYPES)


@pytest.mark.slow
def test_numbers_of_questions_follow_from_the_records(folder, items):
    """Counted here from the raw JSON: categories with one box, and with two or more."""
    single = several = scenes = 0
    for file in sorted(folder.glob("*_meta_info_*.json")):
        for record in json.loads(file.read_text()).values():
            scenes += 1
            for label, boxes in record["object_bbox"].items():
                distinct = len({json.dumps(box) for box in boxes})
                single += distinct == record["object_counts"][label] == 1
                several += distinct == record["object_counts"][label] >= 2
    kinds = Counter(item.kind for item in items)
    assert kinds["object_size_estimation"] == single
    assert kinds["object_counting"] == several
    assert kinds["room_size_estimation"] == scenes


@pytest.mark.slow
def test_a_sample_of_real_questions_replays(source, items):
    for item in items[::61]:
        verify(item, source.load(item.scene_id))


@pytest.mark.slow
def test_same_bytes_for_any_number_of_workers(source):
    def lines(workers):
        made = generate(source, METADATA_TYPES, seed=3, workers=workers, per_scene=3)
        return [json_bytes(item_to_record(item)) for items in made for item in items]

    alone = lines(1)
    assert len(alone) > 2000
    assert lines(2) == alone


def test_other_types_do_not_change_what_is_asked(source):
    def asked(types):
        return [item.id for item in next(generate(source, types, seed=1)) if item.kind == "object_abs_distance"]

    assert asked(["object_abs_distance"]) == asked(["object_rel_distance", "object-abs-distance"]) != []


def test_another_seed_asks_otherwise_and_limits_hold(source):
    one, two = (
        {item.id for item in next(generate(source, ["object_rel_direction_hard"], seed=seed, per_scene=5))}
        for seed in (0, 1)
    )
    assert one != two
    limits = {"object_rel_direction_hard": 2, "object_abs_distance": 1}
    for items in generate(source, list(limits), per_scene=limits):
        counts = Counter(item.kind for item in items)
        assert all(counts[kind] <= limit for kind, limit in limits.items())


def test_mistakes_are_named_before_anything_is_made(source):
    with pytest.raises(UserError, match="unknown question type 'object_couting'; did you mean 'object_counting'"):
        generate(source, ["object_couting"])
    with pytest.raises(UserError, match="unknown question profile 'loose'"):
        generate(source, ["object_counting"], profile="loose")
    with pytest.raises(SettingsError, match="expected 1 worker or more, got 0"):
        generate(source, ["object_counting"], workers=0)


@pytest.mark.slow
def test_label_counts_of_the_strict_profile_are_far_smaller(source):
    strict = [item for scene in generate(source, METADATA_TYPES, profile="revsi") for item in scene]
    assert 1000 < len(strict) < 4000


@pytest.mark.slow
def test_benchmark_prints_what_it_promises(folder, repository):
    command = [sys.executable, repository / "benchmarks" / "generation.py", "--metadata", folder, "--per-scene", "2"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout)
    assert figures["identical_bytes"] is True
    assert figures["questions"] > 1500
    assert figures["questions_per_second"] > 100
    assert figures["ratio_to_grid"] > 10


def test_grid_distance_is_an_upper_bound_of_the_exact_one(source):
    rng = np.random.default_rng(0)
    above = []
    scenes = [source.load(scene_id).objects for scene_id in source.scene_ids()]
    for objects in [objects for objects in scenes if len(objects) > 1][:40]:
        a, b = (objects[k] for k in rng.choice(len(objects), 2, replace=False))
        exact = float(box_distance(a.world_from_object, a.size_m, b.world_from_object, b.size_m))
        above.append(grid_distance([a], [b]) - exact)
    assert min(above) >= -1e-6
    assert np.median(above) < 0.01
    assert max(above) < 0.2


def test_hollow_grid_by_hand():
    points = hollow_grid(np.eye(4), np.array([0.2, 0.2, 0.2]))
    ticks = np.linspace(-0.1, 0.1, 4)
    expected = {(x, y, z) for x in ticks for y in ticks for z in ticks if max(abs(x), abs(y), abs(z)) > 0.05}
    assert {tuple(point) for point in points.round(9)} == {tuple(np.round(point, 9)) for point in expected}
