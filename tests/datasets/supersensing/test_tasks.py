"""Answers against what was placed, worked out here from the visits alone."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest

from allocentric.core.errors import SettingsError
from allocentric.core.geometry import box_corners
from allocentric.core.types import Choice, Number
from allocentric.datasets.supersensing import change
from allocentric.datasets.supersensing._course import PERTURBATIONS, course
from allocentric.datasets.supersensing._places import APART_M, THINGS
from allocentric.datasets.supersensing.quiz import Quiz, Settings
from allocentric.datasets.supersensing.where import QUADRANTS, quadrant_at
from allocentric.scenes import stream as streams

MakeQuiz = Callable[..., Quiz]
both = pytest.mark.parametrize(
    "perturbation", ["plain", *(pytest.param(one, marks=pytest.mark.slow) for one in PERTURBATIONS if one != "plain")]
)


def minutes_of(perturbation: str) -> float:
    return 8.0 if perturbation in ("revisit", "repeat") else 4.0


def puts(made: Quiz, label: str) -> list[tuple[int, str, tuple[float, ...]]]:
    """(stretch, id, place) of each time a thing is there."""
    found = []
    for stretch, visit in enumerate(made.stream.visits):
        for put in visit.edit.put:
            if put.label == label:
                found.append((stretch, put.id, put.bottom_m))
    return found


@both
def test_recall_asks_for_the_order_of_the_first_settings(make_quiz: MakeQuiz, perturbation: str) -> None:
    made = make_quiz(minutes_of(perturbation), perturbation)
    item = next(item for item in made.items if item.kind == "recall")
    places = item.choices[item.gold.index].split(", ")
    first: dict[str, int] = {}
    for stretch, visit in enumerate(made.stream.visits):
        scene = made.stream.scene(visit.house, visit.edit)
        for thing in scene.objects:
            if thing.label == item.extra["asks"]["thing"]:
                corners = [box_corners(one.world_from_object, one.size_m)[:, :2] for one in scene.objects]
                near = [
                    (float(np.hypot(*np.maximum(np.maximum(box.min(0) - at, at - box.max(0)), 0))), one.label)
                    for box, one in zip(corners, scene.objects, strict=True)
                    for at in [thing.world_from_object[:2, 3]]
                    if one.label in places and one.room_id == thing.room_id
                ]
                first.setdefault(min(near)[1], stretch)
    assert sorted(first, key=lambda place: first[place]) == places
    assert len(set(item.choices)) == 4
    assert all(sorted(choice.split(", ")) == sorted(places) for choice in item.choices)


@pytest.mark.slow
def test_revisiting_sets_the_thing_down_again_where_an_order_of_frames_misleads(make_quiz: MakeQuiz) -> None:
    made = make_quiz(8.0, "revisit")
    item = next(item for item in made.items if item.kind == "recall")
    there = puts(made, item.extra["asks"]["thing"])
    half = len(made.stream.visits) // 2
    assert sum(stretch < half for stretch, *_ in there) == 4
    assert sum(stretch >= half for stretch, *_ in there) >= 1


@both
def test_counts_are_of_different_things_however_often_they_are_passed(make_quiz: MakeQuiz, perturbation: str) -> None:
    made = make_quiz(minutes_of(perturbation), perturbation)
    items = [item for item in made.items if item.kind == "count"]
    assert items
    houses = {visit.house for visit in made.stream.visits}
    objects = [thing for house in houses for thing in made.stream.scene(house).objects]
    for item in items:
        assert item.gold == Number(float(sum(thing.label == item.extra["asks"]["thing"] for thing in objects)))


@pytest.mark.slow
def test_repeating_and_shuffling_change_no_count(make_quiz: MakeQuiz) -> None:
    golds = [
        {item.extra["asks"]["thing"]: item.gold for item in made.items if item.kind == "count"}
        for made in (make_quiz(4.0, "plain"), make_quiz(8.0, "repeat"), make_quiz(4.0, "shuffle"))
    ]
    assert golds[0] == golds[1] == golds[2]


def test_counts_over_time_rise_to_the_whole_count(make_quiz: MakeQuiz) -> None:
    made = make_quiz(4.0, "plain", query_times=4)
    totals = {item.extra["asks"]["thing"]: item.gold.value for item in made.items if item.kind == "count"}
    streaming = [item for item in made.items if item.kind == "count_streaming"]
    assert len(streaming) == len(totals) > 0
    for item in streaming:
        answers = json.loads(item.gold.text)
        assert answers == sorted(answers)
        assert answers[-1] == totals[item.extra["asks"]["thing"]]
        assert item.extra["asks"]["query_times"] == [60.0, 120.0, 180.0, 240.0]


@both
def test_where_is_measured_where_the_thing_first_stood(make_quiz: MakeQuiz, perturbation: str) -> None:
    made = make_quiz(minutes_of(perturbation), perturbation)
    item = next(item for item in made.items if item.kind == "where_metres")
    asks = item.extra["asks"]
    visit = made.stream.visits[puts(made, asks["thing"])[0][0]]
    things = {thing.label: thing for thing in made.stream.scene(visit.house, visit.edit).objects}
    rng = np.random.default_rng(0)
    clouds = []
    for label in (asks["thing"], asks["other"]):
        thing = things[label]
        cloud = (rng.random((1500, 3)) - 0.5) * thing.size_m
        cloud[np.arange(1500), rng.integers(3, size=1500)] = 0  # mostly replaced below by faces
        face = rng.integers(3, size=1500)
        cloud[np.arange(1500), face] = np.where(rng.random(1500) < 0.5, -0.5, 0.5) * thing.size_m[face]
        clouds.append(cloud @ thing.world_from_object[:3, :3].T + thing.world_from_object[:3, 3])
    nearest = np.min(np.linalg.norm(clouds[0][:, None] - clouds[1][None], axis=-1))
    assert item.gold.value == pytest.approx(nearest, abs=0.2)


@both
def test_change_follows_from_the_first_two_walks(make_quiz: MakeQuiz, perturbation: str) -> None:
    made = make_quiz(minutes_of(perturbation), perturbation)
    items = [item for item in made.items if item.kind == "change"]
    assert items
    outcomes = set()
    for item in items:
        there = puts(made, item.extra["asks"]["thing"])
        house = made.stream.visits[there[0][0]].house
        walks = [k for k, visit in enumerate(made.stream.visits) if visit.house == house][:2]
        before, after = ([place for stretch, _, place in there if stretch == walk] for walk in walks)
        told = item.choices[item.gold.index]
        outcomes.add(told)
        if before and after:
            apart = math.dist(before[0], after[0])
            assert told == change.TEXTS["moved" if apart else "stayed"]
            assert apart == 0 or apart >= APART_M
        else:
            assert told == change.TEXTS["vanished" if before else "appeared"]
    assert len(outcomes) == len(items)


@pytest.mark.slow
def test_a_things_name_means_one_thing(make_quiz: MakeQuiz) -> None:
    made = make_quiz(4.0, "plain", distractors=1.0)
    asked = {item.extra["asks"]["thing"] for item in made.items if item.kind in ("recall", "change", "where_metres")}
    for visit in made.stream.visits:
        scene = made.stream.scene(visit.house, visit.edit)
        assert {o.label for o in made.stream.scene(visit.house).objects} & set(THINGS) == set()
        assert all(put.id == put.label.replace(" ", "-") for put in visit.edit.put if put.label in asked)
        assert len({o.id for o in scene.objects}) == len(scene.objects)
    extras = [put for visit in made.stream.visits for put in visit.edit.put if put.label not in asked]
    assert len(extras) >= 4


def test_the_same_settings_give_the_same_quiz_and_options_stand_anywhere(make_quiz: MakeQuiz) -> None:
    made = [make_quiz(4.0, "plain", change=change_count) for change_count in (4, 4)]
    assert made[0] is made[1]
    letters = {item.gold.index for item in made[0].items if isinstance(item.gold, Choice)}
    assert len(letters) > 1
    assert all(item.extra["time_s"] == 240.0 for item in made[0].items)


@pytest.mark.parametrize("word", QUADRANTS)
def test_quadrants_are_counter_clockwise_from_ahead(word: str) -> None:
    x, y = {"front-left": (1, 1), "back-left": (-1, 1), "back-right": (-1, -1), "front-right": (1, -1)}[word]
    assert quadrant_at((0.0, 0.0), (2.0, 0.0), (x, y)) == word
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    assert (
        quadrant_at((5.0, 5.0), np.array([5.0, 5.0]) + turn @ (2.0, 0.0), np.array([5.0, 5.0]) + turn @ (x, y)) == word
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"minutes": 10.5}, "whole number of stretches"),
        ({"recall": 5, "where": 5, "change": 5}, "a thing of its own"),
        ({"minutes": 24 * 60 + 1.0}, "less than or equal to 1440"),
    ],
)
def test_wrong_settings_are_named(wrong: dict, message: str) -> None:
    from allocentric.core.config import settings_from_mapping

    with pytest.raises(SettingsError, match=message):
        settings_from_mapping(Settings, wrong, where="recipe")


def test_a_day_of_video_is_planned_without_being_walked() -> None:
    settings = Settings(minutes=24 * 60.0, stream=streams.Settings(stretch_s=60.0))
    stops = course(settings.stretches, "revisit", np.random.default_rng(0))
    assert len(stops) == 1440
    assert len({stop.house for stop in stops}) == 719
