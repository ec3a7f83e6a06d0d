"""A person's deeds as actions, and observations as a page shows them, for walkers and watchers; names and settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allocentric.core import geometry
from allocentric.core.errors import DataError, SettingsError, UserError
from allocentric.core.types import Choice, Item, Number, Object, Room, Scene, View
from allocentric.envs.explore import DOWN, FORWARD, LEFT, RIGHT, STOP, UP, Explore
from allocentric.envs.stream_qa import StreamQA
from allocentric.envs.streams import Stream, TimedQuestion
from allocentric.eval.play.controls import Controls, controls_of
from allocentric.eval.play.game import environment_id, make_game
from allocentric.eval.play.messages import Deed
from allocentric.eval.play.refusal import Refusal


def item(name: str, options: Sequence[str] = ()) -> Item:
    gold = Choice(1) if options else Number(3.0)
    prompt = "Which <b>one</b>?" if options else "How many?"
    return Item(id=name, kind="k", prompt=prompt, choices=tuple(options), gold=gold, scene_id="hall", source="test")


HALL = Scene(
    id="hall",
    objects=(
        Object(id="box", label="box", world_from_object=geometry.pose([3, 3, 0.5]), size_m=np.array([0.4, 0.4, 1.0])),
    ),
    rooms=(
        Room(
            id="room",
            kind="hall",
            floor_polygon_m=np.array([[0.0, 0], [6, 0], [6, 6], [0, 6]]),
            floor_z_m=0.0,
            height_m=2.5,
        ),
    ),
    source="test",
    license="CC0-1.0",
)


def walker(**settings: Any) -> Explore:
    return Explore(scenes=[HALL], width_px=64, height_px=48, **settings)


def test_walking_moves_are_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    env = walker(renderer="raycast")
    controls: Controls = controls_of(env)
    observation, info = env.reset(seed=0)
    actions = [controls.action(Deed(kind="move", move=name), observation) for name in
               ("stop", "forward", "left", "right", "up", "down")]  # fmt: skip
    assert actions == [STOP, FORWARD, LEFT, RIGHT, UP, DOWN]
    shown = controls.shown(observation, info)
    assert shown == {"text": "Walk to the nearest box and stop there."}
    (picture,) = controls.pictures(observation)
    assert picture.shape == (48, 64, 3)
    facts = controls.facts()
    assert facts["step_rad"] == [env.settings.turn_rad, env.settings.tilt_rad]
    half_height = np.tan(facts["fov_rad"][0] / 2) * 48 / 64
    assert facts["fov_rad"][1] == pytest.approx(2 * np.arctan(half_height))
    for deed in (Deed(kind="submit"), Deed(kind="answer", text="A"), Deed(kind="move")):
        with pytest.raises(Refusal):
            controls.action(deed, observation)


def test_a_walker_with_a_question_answers_and_never_just_stops() -> None:
    asked = item("which", ["sofa", "<script>alert(1)</script>"])
    env = walker(task="question", items=[asked], renderer="raycast")
    controls = controls_of(env)
    observation, info = env.reset(seed=0)
    question = controls.shown(observation, info)["question"]
    assert question == {"text": asked.prompt, "options": list(asked.choices)}
    assert controls.action(Deed(kind="move", move="left"), observation) == {"move": LEFT, "answer": ""}
    with pytest.raises(Refusal):
        controls.action(Deed(kind="move", move="stop"), observation)
    *_, info = env.step(controls.action(Deed(kind="answer", text="B"), observation))
    assert info["success"] is True


def test_a_walker_without_pictures_is_no_game() -> None:
    with pytest.raises(UserError, match="rgb"):
        controls_of(walker(sensors=["depth"]))


def watched() -> tuple[StreamQA, Controls]:
    items = [item("count"), item("which", ["sofa", "bed"])]
    views = tuple(View(image=np.full((8, 16, 3), k, dtype=np.uint8), time_s=0.5 * k) for k in range(5))
    asked = tuple(TimedQuestion(item=one, time_s=time) for one, time in zip(items, (1.0, 2.0), strict=True))
    env = StreamQA([Stream(id="s", views=views, questions=asked)], width_px=16, height_px=8, frames_per_turn=2)
    return env, controls_of(env, items)


def test_a_watcher_sees_new_pictures_only_and_questions_at_their_time() -> None:
    env, controls = watched()
    observation, info = env.reset(seed=0)
    told = []
    for text in ("", "3", "B"):
        shown = controls.shown(observation, info)
        first = [int(picture[0, 0, 0]) for picture in controls.pictures(observation)]
        told.append((first, shown["times_s"], shown.get("question")))
        observation, _, terminated, _, info = env.step(controls.action(Deed(kind="answer", text=text), observation))
    assert told == [
        ([0, 1], [0.0, 0.5], None),
        ([2], [1.0], {"text": "How many?", "options": []}),
        ([3, 4], [1.5, 2.0], {"text": "Which <b>one</b>?", "options": ["sofa", "bed"]}),
    ]
    assert terminated
    assert info["mean_score"] == 1.0
    assert controls.pictures(observation) is not None
    assert len(controls.pictures(observation)) == 0


def test_a_question_wants_an_answer() -> None:
    env, controls = watched()
    env.reset(seed=0)
    observation, *_ = env.step("")
    for deed in (Deed(kind="answer", text="  "), Deed(kind="submit")):
        with pytest.raises(Refusal):
            controls.action(deed, observation)


# ------------------------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize("name", ["ObjectSearch", "objectsearch", "object-search", "allocentric/ObjectSearch-v0"])
def test_environments_by_name(name: str) -> None:
    assert environment_id(name) == "allocentric/ObjectSearch-v0"


def test_wrong_names_and_settings_are_one_line(panorama_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'ObjectSearch'"):
        environment_id("ObjectSerch")
    with pytest.raises(SettingsError, match="items=FOLDER"):
        make_game("StreamQA", {}, episodes=1, seed=0)
    with pytest.raises(DataError, match="no complete set"):
        make_game("StreamQA", {"items": str(tmp_path)}, episodes=1, seed=0)
    with pytest.raises(SettingsError, match="folder"):
        make_game("ObjectSearch", {}, episodes=1, seed=0)
    with pytest.raises(SettingsError, match="width_pxx"):
        make_game("ObjectSearch", {"folder": str(panorama_folder), "width_pxx": 3}, episodes=1, seed=0)


def test_episodes_are_drawn_by_the_seed(panorama_folder: Path) -> None:
    settings = {"folder": str(panorama_folder), "width_px": 64, "height_px": 48}
    keys = [[start.key for start in make_game("ObjectSearch", settings, episodes=3, seed=s).starts] for s in (0, 0, 1)]
    assert keys[0] == keys[1] != keys[2]
