"""Routes in a hand-made room, and every leg of sampled ones against shapely."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely

from allocentric.core.types import Room, Scene
from allocentric.datasets.questions import route_planning

SMALL = (0.3, 0.3, 0.8)


@pytest.fixture
def square_of_things(object_of):
    """Four things at the corners of a square, 4 m apart, and the room around them."""
    places = {"lamp": (1.0, 1.0), "tv": (1.0, 5.0), "piano": (5.0, 5.0), "plant": (5.0, 1.0)}
    room = Room(
        id="room",
        kind="hall",
        floor_polygon_m=np.array([[0, 0], [6, 0], [6, 6], [0, 6.0]]),
        floor_z_m=0.0,
        height_m=2.5,
    )
    return Scene(
        id="square",
        objects=tuple(object_of(label, 0, xy, SMALL, 0.0) for label, xy in places.items()),
        rooms=(room,),
        floor_area_m2=36.0,
        source="made_up",
        license="CC0-1.0",
    )


def answers(scene, seeds=4, **changes):
    settings = route_planning.PROFILES["vsi"].model_copy(update={"max_items": 1000, **changes})
    items = [i for seed in range(seeds) for i in route_planning.ask(scene, (), np.random.default_rng(seed), settings)]
    return {item.prompt: item.choices[item.gold.index] for item in items}


def prompt(start, face, actions, destination):
    return route_planning.TEMPLATE.format(start=start, face=face, actions=actions, destination=destination)


def test_turns_around_a_square(square_of_things):
    """From the lamp north to the tv, then the piano lies to the right (east); the mirrored room turns left."""
    known = answers(square_of_things)
    north = prompt(
        "lamp", "tv", "1. Go forward until the tv 2. [please fill in] 3. Go forward until the piano", "piano"
    )
    west = prompt(
        "piano", "tv",
        "1. Go forward until the tv 2. [please fill in] 3. Go forward until the lamp 4. [please fill in] "
        "5. Go forward until the plant", "plant",
    )  # fmt: skip
    assert known[north] == "Turn Right"
    assert known[west] == "Turn Left, Turn Left"


def test_the_mirrored_room_turns_the_other_way(square_of_things, mirror):
    known, seen_in_mirror = answers(square_of_things), answers(mirror(square_of_things))
    both = set(known) & set(seen_in_mirror)
    swap = {"Left": "Right", "Right": "Left"}
    assert len(both) > 30
    for question in both:
        assert seen_in_mirror[question] == " ".join(
            swap.get(word.rstrip(","), word.rstrip(",")) + ("," if word.endswith(",") else "")
            for word in known[question].split(" ")
        )
    assert any("Left" in known[question] for question in both)


def test_a_wall_of_things_in_the_way_ends_the_route(square_of_things, object_of):
    wall = object_of("cabinet", 0, (3.0, 3.0), (6.0, 0.3, 1.0), 0.0)
    blocked = answers(replace(square_of_things, objects=(*square_of_things.objects, wall)))
    north = "Go forward until the tv"
    assert not any("beginning at the lamp" in q and north in q for q in blocked)
    assert answers(square_of_things)


def test_every_leg_is_free_and_every_turn_is_clear(scene_of):
    legs = 0
    for seed in range(4):
        scene = scene_of(seed)
        footprints = {
            thing.id: shapely.affinity.translate(
                shapely.affinity.rotate(
                    shapely.box(*(-thing.size_m[:2] / 2), *(thing.size_m[:2] / 2)),
                    np.degrees(np.arctan2(thing.world_from_object[1, 0], thing.world_from_object[0, 0])),
                    origin=(0, 0),
                ),
                *thing.world_from_object[:2, 3],
            )
            for thing in scene.objects
        }
        for item in route_planning.ask(scene, (), np.random.default_rng(seed), "vsi"):
            steps = item.evidence.steps
            point = next(step.output for step in steps if step.op == "stand")
            for step in steps:
                if step.op == "walk":
                    leg = shapely.LineString([point, step.output])
                    assert all(leg.distance(shape) > 0.15 for shape in footprints.values())
                    target = steps[step.inputs["objects"]["step"]].output[0]
                    assert shapely.Point(step.output).distance(footprints[target]) <= 0.5 + 1e-9
                    point = step.output
                    legs += 1
                if step.op == "bearing":
                    angle = abs(np.degrees(step.output))
                    assert 55 <= angle <= 125 or angle >= 145
    assert legs > 50


def test_options_are_sequences_of_the_right_length(scene_of):
    for item in route_planning.ask(scene_of(1), (), np.random.default_rng(0), "vsi"):
        blanks = item.prompt.count("[please fill in]") - 1  # the note in the template names it once
        assert {option.count("Turn") for option in item.choices} == {blanks}
        assert len(item.choices) == (3 if blanks == 1 else 4)
        assert item.prompt.endswith(". You have reached the final destination.")


def test_scenes_without_rooms_have_no_routes(square_of_things):
    assert answers(replace(square_of_things, rooms=())) == {}
