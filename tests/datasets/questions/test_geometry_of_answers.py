"""Answers against oracles that share no code with the questions."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.optimize import lsq_linear
from scipy.spatial.transform import Rotation

from allocentric.core.types import Object, Scene
from allocentric.datasets.questions import (
    object_abs_distance,
    object_counting,
    object_rel_direction_easy,
    object_rel_direction_hard,
    object_rel_direction_medium,
    object_rel_distance,
    object_size_estimation,
    room_size_estimation,
)
from allocentric.datasets.trace import OPERATIONS

LEVELS = {
    "easy": object_rel_direction_easy,
    "medium": object_rel_direction_medium,
    "hard": object_rel_direction_hard,
}


def least_distance(a: Object, b: Object) -> float:
    """Distance of two solid boxes as a bounded least-squares problem in their own coordinates."""
    (pose_a, half_a), (pose_b, half_b) = ((t.world_from_object, np.asarray(t.size_m) / 2) for t in (a, b))
    half = np.concatenate([half_a, half_b])
    matrix = np.hstack([pose_a[:3, :3], -pose_b[:3, :3]])
    solution = lsq_linear(matrix, pose_b[:3, 3] - pose_a[:3, 3], (-half, half), method="bvls", tol=1e-12)
    return float(np.sqrt(2 * solution.cost))


def tilted_scene(seed: int) -> Scene:
    rng = np.random.default_rng(seed)
    objects = []
    for number in range(9):
        world = np.eye(4)
        world[:3, :3] = Rotation.random(random_state=int(rng.integers(10**6))).as_matrix()
        world[:3, 3] = rng.uniform(-2, 2, 3)
        label = f"thing {number}" if number < 6 else "chair"
        objects.append(Object(id=f"o{number}", label=label, world_from_object=world, size_m=rng.uniform(0.1, 1.2, 3)))
    return Scene(id=f"tilted-{seed}", objects=tuple(objects), source="made_up", license="CC0-1.0", floor_area_m2=20.04)


def ahead_is_up(scene: Scene, item, level: str) -> np.ndarray:
    """Position of the third object where the observer stands at the origin and looks along +y."""
    by_id = {thing.id: np.asarray(thing.world_from_object)[:2, 3] for thing in scene.objects}
    stand, face, target = (by_id[key] for key in item.evidence.object_ids)
    forward = (face - stand) / np.linalg.norm(face - stand)
    right = np.array([forward[1], -forward[0]])
    return np.array([right @ (target - stand), forward @ (target - stand)])


@pytest.mark.parametrize("profile", ["vsi", "revsi"])
@pytest.mark.parametrize("level", list(LEVELS))
def test_directions_where_the_observer_is_the_origin(level, profile, scene_of):
    margin = {"vsi": 10.0, "revsi": 35.0}[profile]
    asked = 0
    for seed in range(8):
        scene = scene_of(seed)
        for item in LEVELS[level].ask(scene, (), np.random.default_rng(seed), profile):
            x, y = ahead_is_up(scene, item, level)
            off_ahead = np.degrees(np.arccos(y / np.hypot(x, y)))  # 0 ahead, 180 behind
            side = "left" if x < 0 else "right"
            if level == "hard":
                expected = f"{'front' if y > 0 else 'back'}-{side}"
                bounds = (0, 90, 180)
            else:
                expected = "back" if off_ahead > 135 else side
                bounds = (0, 135) if expected != "back" else (135,)
            assert item.choices[item.gold.index] == expected
            assert min(abs(off_ahead - bound) for bound in bounds) >= margin - 1e-9
            asked += 1
    assert asked > 20


@pytest.mark.parametrize("level", list(LEVELS))
def test_pairs_are_apart_but_not_too_far(level, scene_of):
    for profile, low, high in (("vsi", 0.3, 5.0), ("revsi", 1.5, np.inf)):
        scene = scene_of(11)
        things = {thing.id: thing for thing in scene.objects}
        for item in LEVELS[level].ask(scene, (), np.random.default_rng(0), profile):
            a, b, c = (things[key] for key in item.evidence.object_ids)
            for first, second in ((a, b), (a, c), (b, c)):
                assert low - 1e-6 <= least_distance(first, second) <= high


def test_published_margin_of_the_hard_level_has_one_side(scene_of):
    """The switch repeats the published rule; the default closes the gap just past each bound."""
    published = object_rel_direction_hard.PROFILES["vsi"].model_copy(
        update={"two_sided_margin": False, "max_items": 10**6}
    )
    past, short = [], []
    for seed in range(8):
        scene = scene_of(seed)
        for item in object_rel_direction_hard.ask(scene, (), np.random.default_rng(0), published):
            x, y = ahead_is_up(scene, item, "hard")
            beyond = np.degrees(np.arctan2(-x, y)) % 90
            (past if beyond < 10 else short).append(beyond)
    assert len(past) > 50
    assert max(short) <= 80 + 1e-9


def test_most_corners_lie_where_the_centre_does(object_of):
    """A long sofa that reaches over three sectors is not asked about; a short one at its place is."""

    def scene(length: float) -> Scene:
        things = (
            object_of("lamp", 0, (0.0, 0.0), (0.2, 0.2, 0.5), 0.0),
            object_of("tv", 0, (0.0, 3.0), (0.2, 0.2, 0.5), 0.0),
            object_of("sofa", 0, (1.0, 1.0), (length, 0.2, 0.5), np.pi / 4),  # along the line of sight from the lamp
            object_of("bed", 0, (2.0, 1.5), (0.2, 0.2, 0.5), 0.0),
        )
        return Scene(id="corners", objects=things, source="made_up", license="CC0-1.0")

    def targets(length: float) -> set[str]:
        items = object_rel_direction_hard.ask(scene(length), (), np.random.default_rng(0), "vsi")
        return {item.evidence.object_ids[2] for item in items if item.evidence.object_ids[:2] == ("lamp-0", "tv-0")}

    assert targets(0.4) == {"sofa-0", "bed-0"}
    assert targets(3.2) == {"bed-0"}


@pytest.mark.parametrize(
    ("degrees", "level", "word"),
    [
        (0, "hard", "front-left"), (90, "hard", "front-left"), (90.001, "hard", "back-left"),
        (-90, "hard", "front-right"), (180, "hard", "back-left"), (-1, "hard", "front-right"),
        (134.9, "medium", "left"), (136, "medium", "back"),
        (-136, "medium", "back"), (-134, "medium", "right"), (30, "easy", "left"), (-1, "easy", "right"),
        (44, "turn", "ahead"),
    ],
)  # fmt: skip
def test_sector_words(degrees, level, word):
    assert OPERATIONS["sector"](None, bearing_rad=np.radians(degrees), level=level) == word


def test_distances_between_tilted_boxes():
    for seed in range(6):
        scene = tilted_scene(seed)
        things = {thing.id: thing for thing in scene.objects}
        settings = object_abs_distance.Settings(min_distance_m=0.0)
        items = object_abs_distance.ask(scene, (), np.random.default_rng(0), settings)
        assert len(items) == 15  # pairs of the six unique things
        for item in items:
            a, b = (things[key] for key in item.evidence.object_ids)
            assert item.evidence.steps[-2].output == pytest.approx(least_distance(a, b), abs=1e-6)
            assert abs(item.gold.value - least_distance(a, b)) <= 0.05 + 1e-6


def test_nearest_category_by_brute_force(scene_of):
    asked = 0
    for seed in range(5):
        scene = scene_of(seed)
        things = {thing.id: thing for thing in scene.objects}
        for item in object_rel_distance.ask(scene, (), np.random.default_rng(0), "vsi")[:20]:
            primary = things[item.evidence.object_ids[0]]
            nearest = {
                label: min(least_distance(primary, thing) for thing in scene.objects if thing.label == label)
                for label in item.choices
            }
            ordered = sorted(nearest.values())
            assert item.choices[item.gold.index] == min(nearest, key=nearest.get)
            assert ordered[0] >= 0.15 - 1e-6
            assert min(np.diff(ordered)) >= 0.15 - 1e-6
            assert f"({', '.join(item.choices)})" in item.prompt
            asked += 1
    assert asked == 100


def test_nearest_distance_of_repeated_category_needs_the_near_one_shown(scene_of, views_of):
    """A chair that no view shows must not decide, nor may a farther one stand in for it."""
    for seed in range(4):
        scene, checked = scene_of(seed), 0
        views = views_of(scene, seed)
        shown = {key for view in views for key, seen in view.visible.items() if seen.pixels >= 100}
        things = {thing.id: thing for thing in scene.objects}
        for item in object_rel_distance.ask(scene, views, np.random.default_rng(0), "vsi"):
            for key, option in zip(item.evidence.object_ids[1:], item.choices, strict=True):
                primary = things[item.evidence.object_ids[0]]
                assert key in shown
                assert least_distance(primary, things[key]) == pytest.approx(
                    min(least_distance(primary, t) for t in scene.objects if t.label == option), abs=1e-6
                )
                checked += 1
        assert checked


def test_sizes_counts_and_areas(scene_of):
    scene = scene_of(3)
    counts = Counter(thing.label for thing in scene.objects)
    sizes = object_size_estimation.ask(scene, (), np.random.default_rng(0), "vsi")
    longest = {thing.label: max(thing.size_m) * 100 for thing in scene.objects if counts[thing.label] == 1}
    assert {item.evidence.object_ids[0].rpartition("-")[0] for item in sizes} == set(longest)
    for item in sizes:
        label = item.evidence.object_ids[0].rpartition("-")[0]
        assert item.gold.value == float(f"{longest[label]:.0f}")
        assert f"of the {label}," in item.prompt
    counted = object_counting.ask(scene, (), np.random.default_rng(0), "vsi")
    assert {(item.prompt, item.gold.value) for item in counted} == {
        (f"How many {label}(s) are in this room?", float(n)) for label, n in counts.items() if n >= 2
    }
    (area,) = room_size_estimation.ask(scene, (), np.random.default_rng(0), "vsi")
    assert area.gold.value == 63.0


def test_a_label_whose_count_is_doubtful_is_not_asked_about(scene_of):
    from dataclasses import replace

    scene = scene_of(3)
    counts = Counter(thing.label for thing in scene.objects)
    doubtful = replace(scene, label_counts={**counts, "chair": counts["chair"] + 1, "piano": 2})
    for module in (object_counting, object_size_estimation, object_abs_distance):
        prompts = " ".join(item.prompt for item in module.ask(doubtful, (), np.random.default_rng(0), "vsi"))
        assert "chair(s)" not in prompts
        assert "piano" not in prompts


def test_a_count_needs_every_instance_shown(scene_of, views_of):
    scene = scene_of(3)
    views = views_of(scene, 3)
    shown = {key for view in views for key, seen in view.visible.items() if seen.pixels >= 100}
    complete = {
        label
        for label in ("chair", "table", "pillow")
        if all(thing.id in shown for thing in scene.objects if thing.label == label)
    }
    asked = {item.evidence.object_ids[0].rpartition("-")[0]
             for item in object_counting.ask(scene, views, np.random.default_rng(0), "vsi")}  # fmt: skip
    assert asked == complete
    assert len(complete) < 3


def test_area_of_several_rooms_needs_a_visit_to_each(scene_of, views_of):
    from dataclasses import replace

    scene = scene_of(2)
    second = replace(
        scene.rooms[0], id="other", floor_polygon_m=scene.rooms[0].floor_polygon_m + np.array([20.0, 0.0])
    )
    two = replace(scene, rooms=(*scene.rooms, second), floor_area_m2=126.0)
    views = views_of(scene, 2)
    assert room_size_estimation.ask(two, views, np.random.default_rng(0), "vsi") == []
    assert room_size_estimation.ask(two, (), np.random.default_rng(0), "vsi")[0].gold.value == 126.0
    there = views[0].camera.world_from_camera.copy()
    there[0, 3] += 20.0
    visit = replace(views[0], camera=replace(views[0].camera, world_from_camera=there))
    assert room_size_estimation.ask(two, [*views, visit], np.random.default_rng(0), "vsi")[0].gold.value == 126.0


def test_strict_profile_thins_what_a_guess_would_know(scene_of, object_of):
    things = tuple(object_of("chair", k, (k, 0.0), (0.4, 0.4, 0.8), 0.0) for k in range(2))
    scene = Scene(id="two chairs", objects=things, source="made_up", license="CC0-1.0")
    kept = sum(bool(object_counting.ask(scene, (), np.random.default_rng(seed), "revsi")) for seed in range(2000))
    assert 60 <= kept <= 145  # 5 % of 2000, five standard deviations
    chair = Scene(id="chair", objects=things[:1], source="made_up", license="CC0-1.0")
    kept = sum(
        bool(object_size_estimation.ask(chair, (), np.random.default_rng(seed), "revsi")) for seed in range(2000)
    )
    assert 60 <= kept <= 145
