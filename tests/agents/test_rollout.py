"""Rollouts: what a model is shown, what is counted, and that neither batches nor order change an episode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allocentric.agents.actions_tools import ToolCall, text_from_call
from allocentric.agents.adapters import HeadAdapter, WalkAdapter
from allocentric.agents.rollout import NOT_READ, Settings, Start, play, rollout
from allocentric.agents.search_baselines import Oracle, SubmitAtStart
from allocentric.core.errors import DataError
from allocentric.core.records import ArrayRef, episode_from_record, episode_to_record, json_bytes
from allocentric.core.types import Prompt, Response
from allocentric.envs.panorama_search import PanoramaSearch

SMALL = {"width_px": 64, "height_px": 36}
TURN = "<think>a</think><answer>rotate(40,0)</answer>"


class Script:
    """Says its lines by the number of the turn, whatever it is shown, and keeps the prompts."""

    name = "script"

    def __init__(self, lines: Sequence[str | None]) -> None:
        self.lines = lines
        self.prompts: list[Prompt] = []
        self.batches: list[int] = []

    def generate(self, batch: Sequence[Prompt]) -> list[Response]:
        self.prompts += batch
        self.batches.append(len(batch))
        return [self._respond(prompt) for prompt in batch]

    def _respond(self, prompt: Prompt) -> Response:
        line = self.lines[int(prompt.item_id.rpartition("/")[2]) % len(self.lines)]
        if line is None:
            return Response(text="", finish_reason="error", error="the server\nis gone")
        return Response(text=line, prompt_tokens=100, completion_tokens=7)


def env_of(folder: Path, **settings: Any) -> PanoramaSearch:
    return PanoramaSearch(folder, **SMALL, **settings)


def starts(count: int) -> list[Start]:
    return [Start(key=f"task-{k}", seed=k, options={"task": k}) for k in range(count)]


def one(model: Any, env: Any, adapter: Any = None, start: Start | None = None, **settings: Any):
    start = start or starts(1)[0]
    ((_, episode),) = rollout(model, [env], [start], adapter or HeadAdapter(), Settings(**settings))
    return episode


def test_the_window_bounds_what_is_shown(panorama_folder: Path) -> None:
    model = Script([TURN])
    episode = one(model, env_of(panorama_folder), window=2)
    assert len(episode.steps) == 10
    assert [len(prompt.views) for prompt in model.prompts] == [1, 2, 3, 3, 3, 3, 3, 3, 3, 3]
    for k, prompt in enumerate(model.prompts):  # the last pictures are those of the last observations, in order
        seen = [turn.observation["view"] for turn in episode.steps[max(0, k - 2) : k + 1]]
        assert all(np.array_equal(view.image, picture) for view, picture in zip(prompt.views, seen, strict=True))
        assert prompt.text.startswith("Instruction: find the clé")
        assert prompt.text.count("<answer>rotate(40,0)</answer>") == min(k, 2)
        assert f"Picture {len(prompt.views)} is what you see now. You look along yaw {40 * k % 360}" in prompt.text
    model = Script([TURN])
    one(model, env_of(panorama_folder), window=None)
    assert len(model.prompts[-1].views) == 10
    model = Script([TURN])
    one(model, env_of(panorama_folder), window=0)
    assert {len(prompt.views) for prompt in model.prompts} == {1}


def test_unreadable_and_invalid_are_counted_apart(panorama_folder: Path) -> None:
    lines = ["no idea", "<think></think><answer>rotate(4000,0)</answer>", TURN, "<answer>zoom</answer>"]
    model = Script([*lines, "<think></think><answer>submit(160,0)</answer>"])
    episode = one(model, env_of(panorama_folder))
    outcome = episode.outcome
    assert (outcome["unreadable"], outcome["invalid"], outcome["steps"]) == (2, 1, 5)
    assert (outcome["success"], outcome["completed"], outcome["level"], outcome["scene_id"]) == (False, True, 0, "one")
    assert (outcome["prompt_tokens"], outcome["completion_tokens"]) == (500, 35)
    assert [NOT_READ in turn.info for turn in episode.steps] == [True, False, False, True, False]
    assert episode.steps[0].text == "no idea"
    assert "Not carried out: the yaw of an action lies within" in model.prompts[2].text
    assert "unreadable: expected <think>" in model.prompts[1].text


def test_text_and_tools_make_the_same_episode(panorama_folder: Path) -> None:
    by_text = one(Script([TURN, "<think></think><answer>submit(40,0)</answer>"]), env_of(panorama_folder))
    calls = [ToolCall("rotate", {"yaw": 40, "pitch": 0}), ToolCall("submit", {"yaw": 40, "pitch": 0})]
    model = Script([text_from_call(call) for call in calls])
    by_tools = one(model, env_of(panorama_folder), HeadAdapter(form="tools"))
    assert len(by_text.steps) == len(by_tools.steps) == 2
    for a, b in zip(by_text.steps, by_tools.steps, strict=True):
        assert a.action["kind"] == b.action["kind"]
        np.testing.assert_array_equal(a.action["angles_rad"], b.action["angles_rad"])
        np.testing.assert_array_equal(a.observation["view"], b.observation["view"])
    assert '"name":"submit"' in str(model.prompts[0].system)


@pytest.mark.parametrize("seats", [1, 3, 8])
def test_batches_change_nothing(panorama_folder: Path, seats: int) -> None:
    lines = [TURN, "hm", "<think></think><answer>submit(0,0)</answer>"]

    def played(count: int) -> dict[str, bytes]:
        model = Script(lines)
        envs = [env_of(panorama_folder) for _ in range(count)]
        found = {}
        for start, episode in rollout(model, envs, starts(5), HeadAdapter(), Settings()):
            record = episode_to_record(episode)
            del record["outcome"]["seconds"]
            found[start.key] = json_bytes(record)
        assert max(model.batches) == min(count, 5)
        assert sum(model.batches) == 15
        return found

    assert played(seats) == played(2)
    assert sorted(played(seats)) == [f"task-{k}" for k in range(5)]


def test_a_failing_model_fails_its_episode_only(panorama_folder: Path) -> None:
    episode = one(Script([TURN, None]), env_of(panorama_folder))
    assert episode.outcome["failed"] == "the server is gone"
    assert len(episode.steps) == 1
    assert "failed" not in one(Script([TURN]), env_of(panorama_folder)).outcome


def test_endless_rules_are_cut_off(panorama_folder: Path) -> None:
    env = env_of(panorama_folder, protocol="hstar-v1")
    episode = one(Script([TURN]), env, HeadAdapter(version="hstar-v1"), max_turns=4)
    assert [turn.truncated for turn in episode.steps] == [False, False, False, True]
    assert episode.steps[-1].info["cut_off"] == 4
    assert not episode.outcome["completed"]


def test_policies_play_by_the_same_rules(panorama_folder: Path) -> None:
    env = env_of(panorama_folder)
    found = play(Oracle(env.target), env, starts(1)[0], max_turns=10)
    assert (found.outcome["success"], found.outcome["steps"], found.outcome["reward"]) == (True, 2, 1.0)
    assert found.outcome["claim_in_view"] is True
    missed = play(SubmitAtStart(), env, Start(key="k", seed=0, options={"task": 2}), max_turns=10)
    assert (missed.outcome["success"], missed.outcome["steps"]) == (False, 1)


def test_episodes_survive_their_records(panorama_folder: Path) -> None:
    episode = one(
        Script([TURN, "\ud800 lone", "<think></think><answer>submit(0,0)</answer>"]), env_of(panorama_folder)
    )
    saved: list[Any] = []
    record = episode_to_record(episode, picture=lambda picture: saved.append(picture) or f"{len(saved)}.png")
    assert len(saved) == 3
    back = episode_from_record(record)
    assert episode_to_record(back) == record
    assert (back.seed, back.outcome) == (episode.seed, episode.outcome)
    for a, b in zip(episode.steps, back.steps, strict=True):
        assert (a.text, a.reward, a.terminated, a.truncated) == (b.text, b.reward, b.terminated, b.truncated)
        np.testing.assert_array_equal(a.action["angles_rad"], b.action["angles_rad"])
        np.testing.assert_array_equal(a.observation["heading_rad"], b.observation["heading_rad"])
    refs = [turn.observation["view"] for turn in back.steps]
    assert all(isinstance(ref, ArrayRef) and ref.shape == (36, 64, 3) for ref in refs)
    assert [ref.path for ref in refs] == ["1.png", "2.png", "3.png"]
    same = [np.array_equal(episode.steps[0].observation["view"], turn.observation["view"]) for turn in episode.steps]
    assert [ref.sha256 == refs[0].sha256 for ref in refs] == same
    with pytest.raises(DataError, match="a set can't be part"):
        episode_to_record(type(episode)(steps=(), seed=0, outcome={"a": {1}}))
    assert episode_from_record(
        episode_to_record(type(episode)(steps=(), seed=0, outcome={"a": math.inf}))
    ).outcome == {"a": math.inf}


class Corridor:
    """A walker's environment of three steps; has no way to spend a turn on nothing."""

    def __init__(self) -> None:
        self.at = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        self.at = 0
        return self._seen(), {"scene_id": "corridor"}

    def step(self, action: Any):
        move = action["move"]
        collided = move == 2
        self.at += move == 1
        done = move == 0
        info = {"collided": collided, "success": done and self.at == 2 and action["answer"] == "B", "spl": 0.5}
        return self._seen(), float(info["success"]), done, False, info

    def _seen(self) -> dict[str, Any]:
        return {"instruction": "What is there?", "rgb": np.full((4, 4, 3), self.at, dtype=np.uint8)}


def walk(*said: str) -> list[str]:
    return [f"<think></think><answer>{part}</answer>" for part in said]


def test_walkers_answer_and_unreadable_turns_move_nothing() -> None:
    lines = walk("forward()", "hop()", "left()", "forward()", 'answer("B")')
    model = Script(lines)
    episode = one(model, Corridor(), WalkAdapter(questions=True), max_turns=8)
    assert [None if turn.action is None else turn.action["move"] for turn in episode.steps] == [1, None, 2, 1, 0]
    assert (episode.outcome["success"], episode.outcome["unreadable"], episode.outcome["spl"]) == (True, 1, 0.5)
    assert "Something stood in the way." in model.prompts[3].text
    stuck = one(Script(["?"]), Corridor(), WalkAdapter(questions=True), max_turns=3)
    assert (stuck.outcome["steps"], stuck.outcome["unreadable"], stuck.steps[-1].truncated) == (3, 3, True)


def test_models_must_see() -> None:
    class Blind(Corridor):
        def _seen(self) -> dict[str, Any]:
            return {"instruction": "Walk."}

    with pytest.raises(DataError, match="expected the picture 'rgb'"):
        one(Script(walk("forward()")), Blind(), WalkAdapter())
