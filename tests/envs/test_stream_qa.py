"""Streams of pictures and questions: order, timing, nothing twice, and the shared scores."""

from __future__ import annotations

import gc
import warnings
import weakref
from pathlib import Path
from typing import Any

import cv2
import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from allocentric.core.errors import DataError, SettingsError
from allocentric.core.types import Camera, Choice, Evidence, Item, Number, View
from allocentric.envs import register_all
from allocentric.envs.errors import EpisodeOverError
from allocentric.envs.stream_qa import NO_TIME_S, StreamQA
from allocentric.envs.streams import Stream, TimedQuestion, stream_of_walk, streams_of_items
from allocentric.scenes import trajectory
from allocentric.scenes.sources.procedural import build_house

NAME = "allocentric/StreamQA-v0"
SIZE = {"width_px": 16, "height_px": 8}

register_all()


def picture(index: int) -> np.ndarray[Any, Any]:
    return np.full((8, 16, 3), 10 + index, dtype=np.uint8)


def question(name: str, gold: Any = None, **more: Any) -> Item:
    values = {
        "kind": "k",
        "prompt": f"Question {name}?",
        "scene_id": "s",
        "source": "test",
        "gold": gold or Number(3.0),
    }
    return Item(id=name, **(values | more))


def stream(asked: dict[str, float], *, count: int = 10, name: str = "s", images: Any = picture) -> Stream:
    views = tuple(View(image=images(k), time_s=k * 0.5) for k in range(count))
    return Stream(
        id=name,
        views=views,
        questions=tuple(TimedQuestion(item=question(key), time_s=time) for key, time in asked.items()),
    )


def watch(env: Any, seed: int = 0, answers: str = "3") -> list[tuple[dict[str, Any], float, bool, dict[str, Any]]]:
    observation, info = env.reset(seed=seed)
    out = [(observation, 0.0, False, info)]
    while not out[-1][2]:
        observation, reward, terminated, truncated, info = env.step(answers)
        assert not truncated
        out.append((observation, reward, terminated, info))
        assert len(out) < 100
    return out


@pytest.mark.parametrize("per_turn", [1, 3, 50])
def test_every_frame_comes_once_in_order_and_questions_at_their_time(per_turn: int) -> None:
    asked = {"a": 0.0, "b": 1.7, "c": 1.7, "d": 2.0, "e": 99.0}
    turns = watch(StreamQA([stream(asked)], frames_per_turn=per_turn, **SIZE))
    shown: list[int] = []
    questions = []
    for observation, _, _, info in turns:
        count = int(observation["frame_count"])
        assert count <= per_turn
        new = observation["frames"][:count]
        shown += [int(frame[0, 0, 0]) - 10 for frame in new]
        assert not observation["frames"][count:].any()
        np.testing.assert_array_equal(observation["times_s"][:count], 0.5 * np.arange(len(shown) - count, len(shown)))
        assert np.all(observation["times_s"][count:] == NO_TIME_S)
        if observation["question"]:
            questions.append(info["item"])
            due = asked[info["item"]]
            assert all(0.5 * k <= due for k in shown), "a later picture came before the question"
            assert len(shown) == sum(0.5 * k <= due for k in range(10)), "the question came too early"
    assert shown == list(range(10))
    assert questions == list("abcde")
    assert turns[-1][3]["answered"] == 5


def test_pictures_after_the_last_question_never_come() -> None:
    turns = watch(StreamQA([stream({"a": 1.0})], **SIZE))
    assert sum(int(observation["frame_count"]) for observation, *_ in turns) == 3


class Tracked(np.ndarray):  # type: ignore[type-arg] - a picture that can be watched
    pass


def test_no_past_frame_is_kept_or_loaded_again_or_ahead_of_time() -> None:
    loaded: list[int] = []
    alive: list[weakref.ref[Any]] = []

    def image(index: int) -> Any:
        def load() -> Any:
            loaded.append(index)
            made = picture(index).view(Tracked)
            alive.append(weakref.ref(made))
            return made

        return load

    env = StreamQA([stream({"a": 2.0, "b": 4.5}, images=image)], frames_per_turn=2, render_mode="rgb_array", **SIZE)
    observation, _ = env.reset(seed=0)
    done, seen = False, 0
    while not done:
        count = int(observation["frame_count"])
        seen += count
        assert loaded == list(range(seen)), "each picture is loaded once, when its turn has come"
        gc.collect()
        assert not any(ref() is not None for ref in alive), "the environment keeps no loaded picture"
        last = env.render()
        assert last is not None
        assert int(last[0, 0, 0]) == (10 + seen - 1 if count else 0), "render shows this turn's last picture only"
        held = [value for value in gc.get_referents(env.__dict__) if isinstance(value, np.ndarray) and value.ndim >= 3]
        assert all(np.array_equal(value, last) for value in held)
        observation, _, done, _, _ = env.step("3")
    assert seen == 10


def test_answers_are_scored_by_the_shared_scorer() -> None:
    views = tuple(View(image=picture(k), time_s=float(k)) for k in range(3))
    items = [
        question("n", Number(4.0), views=views, evidence=Evidence(frames=(0,))),
        question("c", Choice(1), choices=("left", "right"), views=views, evidence=Evidence(frames=(1,))),
        question("u", Choice(1), choices=("left", "right"), views=views),
    ]
    (built,) = streams_of_items(items)
    assert StreamQA([built], **SIZE).item is None
    assert [q.time_s for q in built.questions] == [0.0, 1.0, 2.0]  # without evidence: at the end
    assert [q.time_s for q in streams_of_items(items, when="end")[0].questions] == [2.0, 2.0, 2.0]
    env = StreamQA([built], **SIZE)
    observation, info = env.reset(seed=0)
    assert observation["question"] == "Question n?"
    expected = [("5", "n", 0.6, False), ("B", "c", 1.0, False), ("both are fine", "u", 0.0, True)]
    for answer, item, worth, unreadable in expected:
        assert info["item"] == item
        assert env.item is next(one for one in items if one.id == item)
        observation, reward, terminated, _, info = env.step(answer)
        assert (reward, info["score"], info["unreadable"], info["answered_item"]) == (worth, worth, unreadable, item)
    assert terminated
    assert info["success"] is False
    assert (info["mean_score"], info["answered"], info["unreadable_count"]) == (pytest.approx(1.6 / 3), 3, 1)
    with pytest.raises(EpisodeOverError, match="the episode is over"):
        env.step("3")


def test_text_without_a_question_is_not_an_answer() -> None:
    env = StreamQA([stream({"a": 4.0})], frames_per_turn=2, **SIZE)
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step("3")
    assert (reward, terminated, "score" in info) == (0.0, False, False)


def test_files_and_walks_are_shown_like_arrays(tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    cv2.imwrite(str(path), np.full((40, 60, 3), (0, 0, 200), dtype=np.uint8))  # OpenCV writes blue first
    views = (View(image=path, time_s=0.0),)
    file_stream = Stream(id="f", views=views, questions=(TimedQuestion(item=question("a"), time_s=0.0),))
    observation, _ = StreamQA([file_stream], **SIZE).reset(seed=0)
    assert tuple(observation["frames"][0, 4, 8]) == (200, 0, 0)
    scene = build_house(3, (1, 1))
    settings = trajectory.Settings(width_px=16, height_px=8, fps=0.5)
    walked = stream_of_walk(
        scene, [(4.0, question("late")), (2.0, question("early"))], np.random.default_rng(0), settings
    )
    env = StreamQA([walked], frames_per_turn=2, **SIZE)
    turns = watch(env)
    assert [info["item"] for _, _, _, info in turns if info["item"]] == ["early", "late"]
    frames = np.concatenate([o["frames"][: int(o["frame_count"])] for o, *_ in turns])
    assert len(frames) == 3  # 0, 2 and 4 s
    assert len(np.unique(frames, axis=0)) == 3


def test_gymnasiums_checks_pass() -> None:
    made = gymnasium.make(NAME, streams=[stream({"a": 1.0, "b": 1.0})], render_mode="rgb_array", **SIZE)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(made.unwrapped)
    assert not [str(one.message) for one in caught if "infinity" not in str(one.message)]


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_vectors_watch_the_streams_of_single_environments(mode: str) -> None:
    options = {"streams": [stream({"a": 1.0, "b": 3.0}), stream({"c": 2.0}, name="t")], "frames_per_turn": 3, **SIZE}
    vector = gymnasium.make_vec(NAME, num_envs=2, vectorization_mode=mode, **options)
    singles = [gymnasium.make(NAME, **options) for _ in range(2)]
    observations, _ = vector.reset(seed=3)
    alone = [env.reset(seed=3 + index)[0] for index, env in enumerate(singles)]
    over = [False] * 2
    try:
        for _ in range(8):
            for index in range(2):
                for key in alone[index]:
                    assert np.array_equal(observations[key][index], alone[index][key])
            observations, rewards, terminated, _, _ = vector.step(("3", "4"))
            for index, env in enumerate(singles):
                if over[index]:
                    alone[index], over[index] = env.reset()[0], False
                    continue
                alone[index], reward, over[index], *_ = env.step(("3", "4")[index])
                assert (rewards[index], terminated[index]) == (reward, over[index])
    finally:
        vector.close()


def test_same_seed_same_stream() -> None:
    streams = [stream({"a": 1.0}, name=name) for name in "pqrs"]
    chosen = [[StreamQA(streams, **SIZE).reset(seed=seed)[1]["stream"] for seed in range(8)] for _ in range(2)]
    assert chosen[0] == chosen[1]
    assert len(set(chosen[0])) > 1
    assert StreamQA(streams, **SIZE).reset(options={"stream": "r"})[1]["stream"] == "r"


def test_wrong_streams_and_options_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="needs streams"):
        gymnasium.make(NAME)
    with pytest.raises(SettingsError, match="there is no stream 'z'"):
        StreamQA([stream({"a": 1.0})], **SIZE).reset(options={"stream": "z"})
    with pytest.raises(SettingsError, match="unknown reset option 'frame'; known: stream"):
        StreamQA([stream({"a": 1.0})], **SIZE).reset(options={"frame": 0})
    with pytest.raises(DataError, match="different ids"):
        StreamQA([stream({"a": 1.0}), stream({"a": 1.0})], **SIZE)
    with pytest.raises(DataError, match="in order of time"):
        stream({"a": 2.0, "b": 1.0})
    with pytest.raises(DataError, match="at least one question"):
        stream({})
    with pytest.raises(DataError, match="each later than the one before"):
        Stream(id="x", views=(View(image=picture(0), time_s=1.0),) * 2, questions=stream({"a": 1.0}).questions)
    camera = Camera(model="equirectangular", world_from_camera=np.eye(4), width_px=4, height_px=2)
    with pytest.raises(DataError, match="has no image"):
        Stream(id="x", views=(View(camera=camera, time_s=1.0),), questions=stream({"a": 1.0}).questions)
    views = (View(image=picture(0), time_s=0.0),)
    with pytest.raises(DataError, match="other views"):
        streams_of_items([question("a", views=views), question("b")])
    gone = Stream(
        id="x", views=(View(image=tmp_path / "gone.png", time_s=0.0),), questions=stream({"a": 1.0}).questions
    )
    with pytest.raises(DataError, match="cannot read the picture"):
        StreamQA([gone], **SIZE).reset(seed=0)
    env = StreamQA([stream({"a": 1.0})], **SIZE)
    with pytest.raises(EpisodeOverError, match=r"call reset\(\)"):
        env.step("3")
    env.reset(seed=0)
    with pytest.raises(SettingsError, match="an action is a text"):
        env.step(3)  # type: ignore[arg-type]
