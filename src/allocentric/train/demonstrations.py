"""Episodes played by an expert, as examples for supervised training.

The expert plays in the very environments that `turns` plays in, by the same words; loss lies on what it writes and the
token that ends each of its turns. Pictures are drawn when an example is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from allocentric.agents import navigators, search_baselines
from allocentric.agents.actions_text import HeadAction, text_from_action
from allocentric.agents.actions_tools import call_from_head_action, call_from_walk_action, text_from_call
from allocentric.agents.actions_walk import WALK_KINDS, WalkAction, text_from_walk_action
from allocentric.core.errors import DataError, SettingsError
from allocentric.core.types import Policy
from allocentric.envs.explore import Explore
from allocentric.envs.panorama_search import PanoramaSearch
from allocentric.train.environments import Block
from allocentric.train.episodes import (
    Episodes,
    Scribe,
    carried_out,
    episodes,
    factory,
    model_inputs,
    pictures_of,
    tools_of,
)
from allocentric.train.recipe import DataSettings, DemonstrationSettings

IGNORED = -100
"""Label of a token that carries no loss, as torch's cross entropy has it."""
Move = Callable[[Any], tuple[str, HeadAction | WalkAction]]
"""An observation -> what is thought of it, and what is done."""


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """One episode of the expert."""

    opening: list[Block]
    """Task and first picture."""
    turns: list[tuple[str, list[Block] | str, str]]
    """What was written, what the environment said, and the function that answered."""


@dataclass(frozen=True, kw_only=True)
class Demonstrations:
    """Episodes of an expert."""

    settings: DemonstrationSettings
    """Which expert."""
    rationale: bool
    """Every action after a thought."""
    episodes: Episodes
    """Which are played."""

    @property
    def ids(self) -> tuple[str, ...]:
        """One per episode."""
        return self.episodes.ids

    def record(self) -> dict[str, Any]:
        """Number and digests."""
        return self.episodes.record()

    @cached_property
    def environment(self) -> Any:
        """Where they are played, one after the other."""
        return factory(self.settings)()

    def play(self, index: int) -> Demonstration:
        """DataError where the expert does not succeed within the turns."""
        environment, row = self.environment, self.episodes.rows[index]
        opening = environment.reset(**row)
        move = expert(environment.env, self.settings, seed=index)
        turns = []
        while not environment.over:
            thought, action = move(environment.observation)
            text = written(action, thought if self.rationale else "", self.settings.protocol)
            answer = carried_out(environment, self.settings, text)
            assert answer is not None
            turns.append((text, *answer))
        if not environment.succeeded:
            raise DataError(
                f"episode {self.ids[index]!r}: the expert does not succeed in {len(turns)} turns; raise max_turns, or "
                "leave such episodes out with on_bad_sample: skip"
            )
        return Demonstration(opening=opening, turns=turns)


def demonstrations(settings: DataSettings, *, seed: int) -> Demonstrations:
    """The demonstrations of a recipe. UserError for wrong settings or tasks, or questions, which have no expert."""
    wanted = settings.episodes
    assert wanted is not None
    if wanted.environment == "explore" and wanted.settings.get("task") == "question":
        raise SettingsError("episodes: walks that end with a question have no expert; use another task")
    return Demonstrations(
        settings=wanted,
        rationale=settings.answer != "short",
        episodes=episodes(wanted, limit=settings.limit, seed=seed),
    )


class Recorder:
    """Demonstrations -> token ids, pixels and labels of one checkpoint."""

    def __init__(
        self,
        shown: Demonstrations,
        processor: Any,
        *,
        image_token: int,
        template: Mapping[str, Any],
        room: Callable[[str, int, int], None],
    ) -> None:
        """`room` raises where an episode (its id, prompt and further tokens) is longer than the context."""
        self._shown, self._processor, self._image_token, self._room = shown, processor, image_token, room
        self._scribe = Scribe(processor, shown.settings, template=template)

    def example(self, index: int) -> dict[str, Any]:
        """One episode, with `labels` on what the expert wrote and the token that ends each turn of it."""
        import torch

        played = self._shown.play(index)
        tools = tools_of(self._shown.environment) if self._shown.settings.protocol == "tools" else ()
        ids = self._scribe.opening(played.opening, tools)
        asked, labels, pictures = len(ids), [IGNORED] * len(ids), pictures_of(played.opening)
        tokenizer = self._processor.tokenizer
        for text, answer, function in played.turns:
            said = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
            reply = self._scribe.reply(answer, function)
            ids += said + reply
            labels += said + [IGNORED] * len(reply)
            pictures += pictures_of(answer)
        self._room(self._shown.ids[index], asked, len(ids) - asked)
        inputs: dict[str, Any] = model_inputs(self._processor, [ids], pictures, self._image_token)
        return inputs | {"labels": torch.tensor([labels])}


# ------------------------------------------------------------------------------------------------------------- experts


def expert(environment: Any, settings: DemonstrationSettings, *, seed: int) -> Move:
    """The expert of the settings, about to begin the episode that was reset in an environment."""
    if isinstance(environment, Explore):
        return _Walker(environment, seed)
    assert isinstance(environment, PanoramaSearch)
    policy: Policy = (
        search_baselines.FullSweep(environment.sighted)
        if settings.expert == "sweep"
        else search_baselines.Oracle(environment.target)
    )
    return _Searcher(environment, policy, settings.grid_rad or math.radians(1.0), seed)


class _Searcher:
    """What a policy does, in angles of a grid; what it would submit is first brought to the middle of the view."""

    def __init__(self, environment: PanoramaSearch, policy: Policy, grid_rad: float, seed: int) -> None:
        self._environment, self._policy, self._grid_rad = environment, policy, grid_rad
        policy.reset(seed)

    def __call__(self, observation: Any) -> tuple[str, HeadAction]:
        heading_rad = np.asarray(observation["heading_rad"], dtype=float)
        action = self._policy.act(observation)
        turn_rad = np.asarray(action["angles_rad"], dtype=float)
        if action["kind"] == search_baselines.SUBMIT:
            turn_rad = turn_rad - heading_rad
            turn_rad[0] = math.remainder(turn_rad[0], 2 * math.pi)
        yaw_rad, pitch_rad = (self._grid_rad * round(angle / self._grid_rad) for angle in turn_rad)
        if yaw_rad == 0 and pitch_rad == 0:
            return "The target is at the cross.", HeadAction("submit", *(self._whole(part) for part in heading_rad))
        if self._environment.sighted() is None:
            side = "right" if yaw_rad > 0 else "left" if yaw_rad < 0 else "up" if pitch_rad > 0 else "down"
            thought = f"The target is not in view. I look further {side}."
        else:
            side = "right" if yaw_rad > 0 else "left" if yaw_rad < 0 else "above" if pitch_rad > 0 else "below"
            thought = f"The target is in view, {side} of the cross. I turn to it."
        return thought, HeadAction("rotate", yaw_rad, pitch_rad)

    def _whole(self, angle_rad: float) -> float:
        """In whole degrees, which every reader of texts takes."""
        return math.radians(round(math.degrees(angle_rad)))


_WHY: Mapping[str, str] = {
    "forward": "The way is ahead.",
    "left": "The way leads to the left.",
    "right": "The way leads to the right.",
    "up": "It must be near; I look up.",
    "down": "It must be near; I look down.",
    "stop": "I am there.",
}


class _Walker:
    """Along the shortest way."""

    def __init__(self, environment: Explore, seed: int) -> None:
        self._policy = navigators.GeodesicFollower(environment)
        self._policy.reset(seed)

    def __call__(self, observation: Any) -> tuple[str, WalkAction]:
        kind = WALK_KINDS[self._policy.act(observation)]
        return _WHY[kind], WalkAction(kind)


def written(action: HeadAction | WalkAction, thought: str, protocol: str) -> str:
    """An action as a model writes it."""
    if protocol == "text":
        if isinstance(action, HeadAction):
            return text_from_action(action, thought)
        return text_from_walk_action(action, thought)
    call = call_from_head_action(action) if isinstance(action, HeadAction) else call_from_walk_action(action)
    return f"{thought}\n{text_from_call(call)}" if thought else text_from_call(call)
