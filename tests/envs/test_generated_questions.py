"""Questions as they are generated, asked after walking and while watching."""

from __future__ import annotations

import numpy as np
import pytest

from allocentric.agents.models.scripted import text_from_answer
from allocentric.core.catalog import QUESTIONS, RENDERERS
from allocentric.core.types import Item, Scene, View
from allocentric.envs.explore import FORWARD, STOP, Explore
from allocentric.envs.stream_qa import StreamQA
from allocentric.envs.streams import streams_of_items
from allocentric.scenes import trajectory
from allocentric.scenes.sources.procedural import build_house


@pytest.fixture(scope="module")
def house() -> Scene:
    return build_house(5, (2, 3))


@pytest.fixture(scope="module")
def views(house: Scene) -> tuple[View, ...]:
    """A walk's cameras with what they see, without pictures."""
    settings = trajectory.Settings(width_px=64, height_px=48, fps=0.5)
    walk = trajectory.walk(house, np.random.default_rng(0), settings)
    raster = RENDERERS.load("raster")
    with raster.build(house, raster.Settings(shadows=False)) as renderer:
        seen = trajectory.look(house, walk.cameras, renderer)
    return tuple(
        View(camera=camera, time_s=float(time), visible=visible)
        for camera, time, visible in zip(walk.cameras, walk.times_s, seen, strict=True)
    )


def items_of(house: Scene, views: tuple[View, ...], each: int) -> list[Item]:
    found = []
    for name in QUESTIONS.names():
        found += QUESTIONS.load(name).ask(house, views, np.random.default_rng([1]), "vsi")[:each]
    return found


def test_every_kind_can_be_asked_after_walking(house: Scene) -> None:
    items = items_of(house, (), 2)
    assert len({item.kind for item in items}) >= 7
    env = Explore([house], items=items, task="question", sensors=())
    for item in items:
        observation, info = env.reset(seed=0, options={"goal": item.id})
        assert item.prompt in observation["instruction"]
        assert env.observation_space.contains(observation)
        env.step({"move": FORWARD, "answer": ""})
        _, reward, terminated, _, info = env.step({"move": STOP, "answer": text_from_answer(item.gold)})
        assert (reward, terminated, info["success"], info["unreadable"]) == (1.0, True, True, False), item.kind


def test_a_walk_is_watched_and_every_question_comes_once_its_evidence_was_shown(
    house: Scene, views: tuple[View, ...]
) -> None:
    items = items_of(house, views, 2)
    assert len(items) >= 4
    env = StreamQA(streams_of_items(items, scenes=[house]), frames_per_turn=4, width_px=64, height_px=48)
    by_id = {item.id: item for item in items}
    observation, info = env.reset(seed=0)
    shown, asked, over, rewards = 0, [], False, []
    while not over:
        shown += int(observation["frame_count"])
        answer = ""
        if info["item"]:
            item = by_id[info["item"]]
            asked.append(item.id)
            assert max(item.evidence.frames, default=len(views) - 1) == shown - 1
            answer = text_from_answer(item.gold)
        observation, reward, over, _, info = env.step(answer)
        rewards += [reward] if answer else []
    assert sorted(asked) == sorted(by_id)
    assert rewards == [1.0] * len(items)
    assert info["mean_score"] == 1.0
