"""What every question type owes, whatever its file is called."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from allocentric.core.catalog import QUESTIONS
from allocentric.core.errors import UserError
from allocentric.core.geometry import pose
from allocentric.core.records import item_from_record, item_to_record, json_bytes
from allocentric.core.types import Choice, Number
from allocentric.datasets.trace import rationale, training_text, verify

NAMES = QUESTIONS.names()
CASES = [(name, profile) for name in NAMES for profile in QUESTIONS.load(name).PROFILES]
SEEDS = range(6)
# Free floor is a grid, so a moved or mirrored room has slightly other routes: these types answer to verify alone.
ON_A_GRID = {"route_planning"}


def asked(name, profile, scene, views=(), seed=0, unbounded=False):
    module = QUESTIONS.load(name)
    settings = module.PROFILES[profile]
    if unbounded and "max_items" in type(settings).model_fields:
        settings = settings.model_copy(update={"max_items": 10**6})
    return module.ask(scene, views, np.random.default_rng([seed, 7]), settings)


def meanings(items):
    """Which objects, which answer: what must not depend on names, places or the order of options."""
    return Counter(
        (item.evidence.object_ids if "direction" in item.kind else tuple(sorted(item.evidence.object_ids)),
         item.evidence.label)
        for item in items
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_has_both_profiles_and_is_named_after_its_file(name, scene_of, views_of):
    module = QUESTIONS.load(name)
    assert {"vsi", "revsi"} <= set(module.PROFILES)
    scene = scene_of(1)
    items = module.ask(scene, views_of(scene, 1), np.random.default_rng(0), "vsi")
    assert items
    assert {item.kind for item in items} == {name}


@pytest.mark.parametrize(("name", "profile"), CASES)
def test_items_are_sound_and_their_traces_hold(name, profile, scene_of, views_of):
    found = 0
    for seed in SEEDS:
        scene = scene_of(seed)
        views = views_of(scene, seed)
        for shown in ((), views):
            items = asked(name, profile, scene, shown, seed)
            found += len(items)
            assert len({item.id for item in items}) == len(items)
            for item in items:
                verify(item, scene)
                assert item.scene_id == scene.id
                assert item.source == "made_up"
                assert "{" not in item.prompt
                assert item.evidence.label
                if isinstance(item.gold, Choice):
                    assert len(set(item.choices)) == len(item.choices) >= 2
                    assert 0 <= item.gold.index < len(item.choices)
                else:
                    assert isinstance(item.gold, Number)
                    assert item.choices == ()
    assert found > 0


@pytest.mark.parametrize(("name", "profile"), CASES)
def test_uses_only_what_the_views_show_and_says_where(name, profile, scene_of, views_of):
    scene = scene_of(3)
    views = views_of(scene, 3)
    shown = {key: [k for k, view in enumerate(views) if view.visible.get(key, (0, 0))[0] >= 100] for key in
             (thing.id for thing in scene.objects)}  # fmt: skip
    for item in asked(name, profile, scene, views):
        assert item.views == views
        assert all(shown[key] for key in item.evidence.object_ids)
        assert list(item.evidence.frames) == sorted({k for key in item.evidence.object_ids for k in shown[key]})
    assert asked(name, profile, scene, [views[0]] * 3) == [] or name == "room_size_estimation"


@pytest.mark.parametrize(("name", "profile"), CASES)
def test_same_generator_state_gives_the_same_bytes(name, profile, scene_of, views_of):
    first, second = (
        [json_bytes(item_to_record(item)) for item in asked(name, profile, scene, views_of(scene, 2), seed=5)]
        for scene in (scene_of(2), scene_of(2))
    )
    assert first == second


@pytest.mark.parametrize("name", NAMES)
def test_items_survive_json(name, scene_of, views_of):
    scene = scene_of(4)
    for item in asked(name, "vsi", scene, views_of(scene, 4))[:5]:
        record = item_to_record(item)
        assert item_to_record(item_from_record(json.loads(json_bytes(record)))) == json.loads(json_bytes(record))
        verify(item_from_record(json.loads(json_bytes(record))), scene)


@pytest.mark.parametrize(("name", "profile"), [case for case in CASES if case[0] not in ON_A_GRID])
def test_a_rigid_move_of_the_world_changes_nothing(name, profile, scene_of, views_of, move):
    scene = scene_of(5, unique=9)
    views = views_of(scene, 5)
    there = move(scene, pose([13.0, -4.0, 0.0], 2.1))
    if name == "room_size_estimation":
        views = ()
    before, after = (asked(name, profile, world, views, unbounded=True) for world in (scene, there))
    assert [(item.prompt, item.choices, item.gold) for item in before] == [
        (item.prompt, item.choices, item.gold) for item in after
    ]


@pytest.mark.parametrize(("name", "profile"), [case for case in CASES if case[0] not in ON_A_GRID])
def test_a_mirror_swaps_left_and_right_and_nothing_else(name, profile, scene_of, views_of, mirror):
    scene = scene_of(6, unique=9)
    views = () if name == "room_size_estimation" else views_of(scene, 6)
    swap = {"left": "right", "right": "left", "front-left": "front-right", "front-right": "front-left",
            "back-left": "back-right", "back-right": "back-left"}  # fmt: skip
    before = meanings(asked(name, profile, scene, views, unbounded=True))
    after = meanings(asked(name, profile, mirror(scene), views, unbounded=True))
    assert Counter({(ids, swap.get(label, label)): n for (ids, label), n in before.items()}) == after
    if "direction" in name and profile == "vsi":
        assert before != after


@pytest.mark.parametrize(("name", "profile"), CASES)
def test_names_of_categories_do_not_matter(name, profile, scene_of, views_of, rename):
    if profile == "revsi" and name in ("object_counting", "object_size_estimation", "object_abs_distance"):
        pytest.skip("this profile leaves out categories by name")
    scene = scene_of(7, unique=9)
    labels = sorted({thing.label for thing in scene.objects})
    names = dict(zip(labels, [f"thing {chr(ord('z') - k)}" for k in range(len(labels))], strict=True))
    views = views_of(scene, 7)
    before = meanings(asked(name, profile, scene, views, unbounded=True))
    after = meanings(asked(name, profile, rename(scene, names), views, unbounded=True))
    said = {label: ", ".join(names.get(part, part) for part in label.split(", ")) for _, label in before}
    if name in ON_A_GRID:  # found by sampling, in the order of the objects
        said = {label: label for _, label in before}
    assert Counter({(ids, said[label]): n for (ids, label), n in before.items()}) == after


@pytest.mark.slow
def test_gold_positions_are_uniform(scene_of, views_of):
    places: dict[int, Counter[int]] = {}
    for seed in range(14):
        scene = scene_of(seed)
        for name in NAMES:
            for item in asked(name, "vsi", scene, views_of(scene, seed), seed):
                if isinstance(item.gold, Choice):
                    places.setdefault(len(item.choices), Counter())[item.gold.index] += 1
    assert set(places) == {2, 3, 4}
    for options, counts in places.items():
        observed = [counts[k] for k in range(options)]
        assert sum(observed) > 300
        assert stats.chisquare(observed).pvalue > 1e-4


@pytest.mark.parametrize(("name", "profile"), CASES)
def test_bounds_hold_and_labels_are_spread(name, profile, scene_of, views_of):
    scene = scene_of(8)
    module = QUESTIONS.load(name)
    settings = module.PROFILES[profile]
    if "max_items" not in type(settings).model_fields:
        pytest.skip("asks one question at most")
    few = module.ask(
        scene, views_of(scene, 8), np.random.default_rng([0, 7]), settings.model_copy(update={"max_items": 6})
    )
    every = Counter(item.evidence.label for item in asked(name, profile, scene, views_of(scene, 8), unbounded=True))
    assert len(few) == min(6, sum(every.values()))
    if name not in ON_A_GRID | {"obj_appearance_order"}:  # sampled, or spread over the first category
        counts = Counter(item.evidence.label for item in few)
        short = [label for label, n in counts.items() if n < every[label]]
        assert len(counts) == min(6, len(every))
        assert all(max(counts.values()) - counts[label] <= 1 for label in short)


@pytest.mark.parametrize("name", NAMES)
def test_rationale_ends_with_the_answer(name, scene_of, views_of):
    scene = scene_of(9)
    for item in asked(name, "vsi", scene, views_of(scene, 9))[:10]:
        text, trained = rationale(item), training_text(item)
        if isinstance(item.gold, Choice):
            letter = "ABCD"[item.gold.index]
            assert text.endswith(f"The answer is {letter}. {item.choices[item.gold.index]}.")
            assert trained.endswith(f"</think><answer>{letter}</answer>")
        else:
            assert trained.endswith(f"<answer>{item.gold.value:g}</answer>")
        assert trained.startswith(f"<think>{text}")
        assert "None" not in text


@pytest.mark.parametrize("name", NAMES)
def test_unknown_profile_is_one_clear_line(name, scene_of):
    with pytest.raises(UserError, match=r"unknown question profile 'vsj'; did you mean 'vsi'\?"):
        QUESTIONS.load(name).ask(scene_of(0), (), np.random.default_rng(0), "vsj")


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_scene_asks_nothing(name, scene_of):
    from dataclasses import replace

    scene = replace(scene_of(0), objects=(), rooms=(), floor_area_m2=None)
    assert QUESTIONS.load(name).ask(scene, (), np.random.default_rng(0), "vsi") == []
    assert QUESTIONS.load(name).ask(scene, (), np.random.default_rng(0), "revsi") == []
