"""Our environments as TRL's `environment_factory` takes them: methods that are tools, pictures in what they return.

The contract (TRL 1.16): an instance is made once and reset often, `reset(**row)` returns content blocks that join the
prompt, every other public method is a tool with types and a docstring, a tool returns content blocks with pictures,
`get_reward` scores the finished episode. There is no signal that an episode is over, so a tool that is called then
raises ValueError, which the model reads. One group of completions plays one task: rows say which.

    from allocentric.train.environments import search_factory, search_rows
    GRPOTrainer(..., environment_factory=search_factory(folder), train_dataset=Dataset.from_list(search_rows(folder)))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import gymnasium
from PIL import Image as PillowImage

from allocentric.agents.actions_text import HeadAction
from allocentric.agents.actions_walk import WalkAction, WalkKind
from allocentric.agents.adapters import Adapter, HeadAdapter, WalkAdapter
from allocentric.core.errors import DataError
from allocentric.core.types import Image
from allocentric.envs.errors import EpisodeOverError
from allocentric.envs.explore import Explore
from allocentric.envs.panorama_search import PanoramaSearch

Block = dict[str, Any]
"""{"type": "text", "text": ...} or {"type": "image", "image": PIL picture}."""


class _Episodes:
    """One Gymnasium environment, one episode at a time."""

    def __init__(self, env: gymnasium.Env[Any, Any], adapter: Adapter, max_turns: int | None) -> None:
        self._env, self._adapter, self._max_turns = env, adapter, max_turns
        self._clear()

    def _clear(self) -> None:
        self._turns, self._reward = 0, 0.0
        self._over = True
        self._info: dict[str, Any] = {}

    def _begin(self, seed: int | None, options: dict[str, Any] | None) -> list[Block]:
        self._clear()
        observation, self._info = self._env.reset(seed=seed, options=options)
        self._over = False
        instruction = f"Instruction: {self._adapter.instruction(observation)}"
        return self._blocks(observation, instruction)

    def _act(self, action: Any) -> list[Block]:
        if self._over:
            raise ValueError("The episode is over; make no further calls.")
        try:
            observation, reward, terminated, truncated, self._info = self._env.step(action)
        except EpisodeOverError as error:
            raise ValueError(str(error)) from None
        self._turns += 1
        self._reward += float(reward)
        limit = self._max_turns is not None and self._turns >= self._max_turns
        self._over = bool(terminated or truncated or limit)
        if terminated:
            return [_text("Noted. The episode is over.")]
        if self._over:
            return [_text("There are no turns left. The episode is over.")]
        return self._blocks(observation, self._adapter.feedback(self._info))

    def _blocks(self, observation: Any, first: str) -> list[Block]:
        words = " ".join(part for part in (first, self._adapter.state(observation)) if part)
        picture = {"type": "image", "image": _pillow(self._adapter.picture(observation))}
        return [picture, _text(words)] if words else [picture]


class SearchTools(_Episodes):
    """Search in panoramas for TRL; make it with `search_factory`."""

    def __init__(self, folder: Path | str, *, max_turns: int | None = None, **settings: Any) -> None:
        """One environment of its own, with the settings of `PanoramaSearch`."""
        env = PanoramaSearch(folder, **settings)
        super().__init__(env, HeadAdapter(form="tools"), max_turns)

    def reset(self, task: int | None = None, **row: Any) -> list[Block]:
        """Begin the task of a row, whatever was played before; DataError where the row names none."""
        number = task if task is not None else row.get("number")
        if number is None:
            raise DataError("a row needs the number of its `task`, so that one group plays one task")
        return self._begin(int(number), {"task": int(number)})

    def rotate(self, yaw: float, pitch: float) -> list[Block]:
        """
        Turn the head from where it looks now.

        Args:
            yaw: Degrees to the right; negative turns left.
            pitch: Degrees up; negative tilts down.

        Returns:
            The new view and heading.
        """
        return self._act(self._action("rotate", yaw, pitch))

    def submit(self, yaw: float, pitch: float) -> list[Block]:
        """
        Name the direction of the target and end the episode.

        Args:
            yaw: Absolute heading in degrees; 0 is the panorama's centre, right of it is positive.
            pitch: Absolute degrees above the horizon.

        Returns:
            That the episode is over.
        """
        return self._act(self._action("submit", yaw, pitch))

    def get_reward(self) -> float:
        """What the protocol paid in this episode."""
        return self._reward

    def _action(self, kind: str, yaw: float, pitch: float) -> Any:
        angles = _number("yaw", yaw), _number("pitch", pitch)
        action = HeadAction("rotate" if kind == "rotate" else "submit", *map(math.radians, angles))
        return cast(HeadAdapter, self._adapter).reading(action).action


class ExploreTools(_Episodes):
    """Walking in scenes for TRL; make it with `explore_factory`."""

    def __init__(self, *, max_turns: int | None = None, **settings: Any) -> None:
        """One environment of its own, with the arguments of `Explore`."""
        env = Explore(**settings)
        super().__init__(env, WalkAdapter(form="tools", questions=env.settings.task == "question"), max_turns)

    def reset(self, seed: int | None = None, **row: Any) -> list[Block]:
        """Begin the episode of a row's seed; DataError where the row has none."""
        number = seed if seed is not None else row.get("number")
        if number is None:
            raise DataError("a row needs the `seed` of its episode, so that one group plays one episode")
        return self._begin(int(number), None)

    def forward(self) -> list[Block]:
        """
        Take one step forward.

        Returns:
            What is before you then.
        """
        return self._walk("forward")

    def left(self) -> list[Block]:
        """
        Turn left on the spot.

        Returns:
            What is before you then.
        """
        return self._walk("left")

    def right(self) -> list[Block]:
        """
        Turn right on the spot.

        Returns:
            What is before you then.
        """
        return self._walk("right")

    def up(self) -> list[Block]:
        """
        Look further up.

        Returns:
            What is before you then.
        """
        return self._walk("up")

    def down(self) -> list[Block]:
        """
        Look further down.

        Returns:
            What is before you then.
        """
        return self._walk("down")

    def stop(self, answer: str = "") -> list[Block]:
        """
        End the episode here.

        Args:
            answer: The answer where a question was asked, as short as it allows.

        Returns:
            That the episode is over.
        """
        adapter = cast(WalkAdapter, self._adapter)
        said = WalkAction("answer", str(answer)) if adapter.questions else WalkAction("stop")
        return self._act(adapter.reading(said).action)

    def get_reward(self) -> float:
        """What the environment paid in this episode."""
        return self._reward

    def _walk(self, kind: WalkKind) -> list[Block]:
        return self._act(cast(WalkAdapter, self._adapter).reading(WalkAction(kind)).action)


def search_factory(folder: Path | str, *, max_turns: int | None = None, **settings: Any) -> Callable[[], SearchTools]:
    """An `environment_factory` for search in panoramas.

    Args:
        folder: The tasks, in the layout of H*Bench.
        max_turns: Calls after which an episode is over; None is the protocol's own limit.
        **settings: Fields of `envs.panorama_search.Settings`.
    """
    return partial(SearchTools, folder, max_turns=max_turns, **settings)


def explore_factory(*, max_turns: int | None = None, **settings: Any) -> Callable[[], ExploreTools]:
    """An `environment_factory` for walking; arguments of `envs.explore.Explore`."""
    return partial(ExploreTools, max_turns=max_turns, **settings)


def search_rows(folder: Path | str, **settings: Any) -> list[dict[str, Any]]:
    """One training row per task of a folder: `prompt` and the `task` number that `reset` takes."""
    count = len(PanoramaSearch(folder, **settings).tasks)
    return [{"prompt": _prompt(HeadAdapter(form="tools")), "task": number} for number in range(count)]


def explore_rows(seeds: range, *, questions: bool = False) -> list[dict[str, Any]]:
    """One training row per seed: `prompt` and the `seed` that `reset` takes."""
    return [{"prompt": _prompt(WalkAdapter(form="tools", questions=questions)), "seed": seed} for seed in seeds]


def _prompt(adapter: Adapter) -> list[Mapping[str, Any]]:
    """The task in words; TRL adds the functions by its chat template and the first view from `reset`."""
    task = adapter.system().partition("\n\n")[0]
    return [{"role": "user", "content": [{"type": "text", "text": task}]}]


def _number(name: str, value: Any) -> float:
    """A finite number of a model's call; ValueError, which the model reads, for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is a number of degrees, got {str(value)[:60]!r}")
    return float(value)


def _pillow(picture: Image) -> PillowImage.Image:
    return PillowImage.fromarray(picture)


def _text(text: str) -> Block:
    return {"type": "text", "text": text}
