"""Traces: replay finds what was changed; marks and sentences show what was computed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from allocentric.core.catalog import QUESTIONS
from allocentric.core.types import Choice, Evidence, Number, Step
from allocentric.datasets.options import as_choice
from allocentric.datasets.trace import OPERATIONS, TraceError, marks, rationale, replay, verify


def first(name, scene, views=()):
    return QUESTIONS.load(name).ask(scene, views, np.random.default_rng(0), "vsi")[0]


def with_steps(item, steps):
    return dataclasses.replace(item, evidence=dataclasses.replace(item.evidence, steps=tuple(steps)))


@pytest.mark.parametrize("name", QUESTIONS.names())
def test_any_changed_output_is_found(name, scene_of, views_of):
    scene = scene_of(1)
    item = first(name, scene, views_of(scene, 1))
    wrong = {int: lambda v: v + 1, float: lambda v: v + 1.0, str: lambda v: v + "?", list: lambda v: v[::-1] + v}
    for number, step in enumerate(item.evidence.steps):
        changed = list(item.evidence.steps)
        changed[number] = dataclasses.replace(step, output=wrong[type(step.output)](step.output))
        with pytest.raises(TraceError, match=f"step {number}, {step.op}"):
            verify(with_steps(item, changed), scene)


@pytest.mark.parametrize("name", QUESTIONS.names())
def test_a_wrong_gold_answer_is_found(name, scene_of, views_of):
    scene = scene_of(1)
    item = first(name, scene, views_of(scene, 1))
    wrong = (
        Choice((item.gold.index + 1) % len(item.choices))
        if isinstance(item.gold, Choice)
        else Number(item.gold.value + 1, item.gold.unit)
    )
    with pytest.raises(TraceError, match="the gold answer is"):
        verify(dataclasses.replace(item, gold=wrong), scene)


def test_the_choice_form_of_a_number_still_replays(scene_of):
    scene = scene_of(1)
    rng = np.random.default_rng(0)
    forms = []
    for name in ("object_counting", "object_abs_distance", "object_size_estimation", "room_size_estimation"):
        items = QUESTIONS.load(name).ask(scene, (), rng, "vsi")
        forms += [choice for item in items if (choice := as_choice(item, rng)) is not None]
    assert {item.kind.removesuffix("_choice") for item in forms} >= {"object_abs_distance", "room_size_estimation"}
    for item in forms:
        assert isinstance(item.gold, Choice)
        verify(item, scene)


def test_a_moved_object_is_found(scene_of):
    scene = scene_of(1)
    item = first("object_abs_distance", scene)
    things = list(scene.objects)
    place = next(k for k, thing in enumerate(things) if thing.id == item.evidence.object_ids[0])
    there = np.array(things[place].world_from_object)
    there[0, 3] += 1.0
    things[place] = dataclasses.replace(things[place], world_from_object=there)
    with pytest.raises(TraceError, match="box_distance: recorded"):
        verify(item, dataclasses.replace(scene, objects=tuple(things)))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Step(op="guess", inputs={}, output=1), "unknown operation 'guess'"),
        (Step(op="count", inputs={"objects": {"step": 0}}, output=1), "which is not before it"),
        (Step(op="count", inputs={"thing": []}, output=1), "inputs do not fit"),
        (Step(op="box_size", inputs={"objects": ["ghost"]}, output=1), "has no object 'ghost'"),
        (Step(op="box_size", inputs={"objects": ["bed-0", "lamp-0"]}, output=1), "expected one object, got 2"),
    ],
)
def test_bad_steps_are_named(scene_of, step, message):
    with pytest.raises(TraceError, match=message):
        replay([step], scene_of(1))


def test_an_item_without_steps_can_not_be_verified(scene_of):
    scene = scene_of(1)
    item = dataclasses.replace(first("object_counting", scene), evidence=Evidence())
    with pytest.raises(TraceError, match="no steps"):
        verify(item, scene)
    assert rationale(item) == ""
    assert marks(item, scene) == []


def test_every_operation_is_used_by_some_question(scene_of, views_of):
    scene = scene_of(1)
    used = {step.op for name in QUESTIONS.names() for step in first(name, scene, views_of(scene, 1)).evidence.steps}
    assert used == set(OPERATIONS)


def test_marks_of_a_distance_end_on_both_boxes(scene_of):
    scene = scene_of(1)
    item = first("object_abs_distance", scene)
    drawn = marks(item, scene)
    (segment,) = [mark for mark in drawn if mark.kind == "segment"]
    assert segment.role == "answer"
    assert len([mark for mark in drawn if mark.kind == "polygon"]) == 2
    a, b = np.array(segment.points_m)
    assert np.linalg.norm(a - b) <= item.evidence.steps[-2].output + 1e-6


def test_marks_of_a_nearest_object_single_out_the_shortest(scene_of):
    scene = scene_of(1)
    item = first("object_rel_distance", scene)
    segments = [mark for mark in marks(item, scene) if mark.kind == "segment"]
    lengths = [float(mark.caption.removesuffix(" m")) for mark in segments]
    assert len(segments) == 4
    assert [mark.role for mark in segments].index("answer") == int(np.argmin(lengths))


def test_marks_of_directions_routes_and_floors(scene_of):
    scene = scene_of(1)
    arrows = [mark for mark in marks(first("object_rel_direction_hard", scene), scene) if mark.kind == "arrow"]
    assert [mark.role for mark in arrows] == ["given", "answer"]
    route = first("route_planning", scene)
    (line,) = [mark for mark in marks(route, scene) if mark.kind == "polyline"]
    turns = [mark.caption for mark in marks(route, scene) if mark.kind == "point"]
    assert turns == [f"turn {word.lower()}" for word in route.evidence.label.replace("Turn ", "").split(", ")]
    assert len(line.points_m) == 1 + sum(step.op == "walk" for step in route.evidence.steps)
    (floor,) = marks(first("room_size_estimation", scene), scene)
    assert floor.kind == "polygon"
    assert floor.role == "answer"
