"""Our environments as TRL's `environment_factory` takes them: methods that are tools, pictures in what they return.

The contract (TRL 1.16): an instance is made once and reset often, `reset(**row)` returns content blocks that join the
prompt, every other public method is a tool with types and a docstring, a tool returns content blocks with pictures,
`get_reward` scores the finished episode. There is no signal that an episode is over, so a tool that is called then
raises ValueError, which the model reads. One group of completions plays one task: rows say which. The classes with
Text in their names have one tool, `act`, that takes all a model wrote, for models that call nothing and answer
`<think>...</think><answer>rotate(-45,0)</answer>`.

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
from allocentric.agents.adapters import Adapter, Form, HeadAdapter, WalkAdapter
from allocentric.core.errors import DataError
from allocentric.core.sphere import great_circle_rad
from allocentric.core.types import Image, Unreadable
from allocentric.envs.errors import EpisodeOverError
from allocentric.envs.explore import Explore
from allocentric.envs.panorama_search import PanoramaSearch

Block = dict[str, Any]
"""{"type": "text", "text": ...} or {"type": "image", "image": PIL picture}."""
OVER = "The episode is over"
"""In the last thing an episode says, and in what it says to any call after that."""


class _Episodes:
    """One Gymnasium environment, one episode at a time."""

    def __init__(self, env: gymnasium.Env[Any, Any], adapter: Adapter, max_turns: int | None) -> None:
        self._env, self._adapter, self._max_turns = env, adapter, max_turns
        self._clear()

    def _clear(self) -> None:
        self._turns, self._malformed, self._reward = 0, 0, 0.0
        self._over = True
        self._observation: Any = None
        self._info: dict[str, Any] = {}
        self._first_distance: float | None = None

    @property
    def env(self) -> gymnasium.Env[Any, Any]:
        """What is played in, for those who know more than a player."""
        return self._env

    @property
    def adapter(self) -> Adapter:
        """The words it is played in."""
        return self._adapter

    @property
    def observation(self) -> Any:
        """The last one."""
        return self._observation

    @property
    def over(self) -> bool:
        """Whether the episode has ended."""
        return self._over

    @property
    def level(self) -> int | None:
        """Difficulty of the episode, where it has one."""
        level = self._info.get("level")
        return None if level is None or level < 0 else int(level)

    @property
    def turns(self) -> int:
        """Turns taken."""
        return self._turns

    @property
    def succeeded(self) -> bool:
        """Whether the episode ended well."""
        return bool(self._info.get("success", False))

    @property
    def well_formed(self) -> bool:
        """Whether anything was done, and every turn was an action that could be carried out."""
        return self._turns > 0 and self._malformed == 0

    @property
    def progress(self) -> float:
        """How much nearer the goal is than at first, over `_scale`, in [-1, 1]; 0 where there is no distance."""
        now = self._distance()
        if self._first_distance is None or now is None or self._scale() <= 0:
            return 0.0
        return max(-1.0, min(1.0, (self._first_distance - now) / self._scale()))

    def _scale(self) -> float:
        """The way to the goal from the start."""
        return self._first_distance or 0.0

    def _distance(self) -> float | None:
        """From where it stands or looks to the goal."""
        distance = self._info.get("distance_m")
        return None if distance is None else float(distance)

    def _begin(self, seed: int | None, options: dict[str, Any] | None) -> list[Block]:
        self._clear()
        observation, self._info = self._env.reset(seed=seed, options=options)
        self._over, self._observation = False, observation
        self._first_distance = self._distance()
        instruction = f"Instruction: {self._adapter.instruction(observation)}"
        return self._blocks(observation, instruction)

    def _act(self, action: Any) -> list[Block]:
        if self._over:
            raise ValueError(f"{OVER}; make no further calls.")
        try:
            observation, reward, terminated, truncated, self._info = self._env.step(action)
        except EpisodeOverError as error:
            raise ValueError(str(error)) from None
        self._observation = observation
        self._turns += 1
        self._malformed += not self._info.get("valid", True)
        self._reward += float(reward)
        self._over = bool(terminated or truncated or self._spent())
        if terminated:
            return [_text(f"Noted. {OVER}.")]
        if self._over:
            return [_text(f"There are no turns left. {OVER}.")]
        return self._blocks(observation, self._adapter.feedback(self._info))

    def _spent(self) -> bool:
        return self._max_turns is not None and self._turns >= self._max_turns

    def _act_text(self, text: str) -> list[Block]:
        """Carry out what a text says; one that can't be read spends a turn and is told so."""
        reading = self._adapter.read(text)
        if not isinstance(reading, Unreadable):
            return self._act(reading.action)
        if self._over:
            raise ValueError(f"{OVER}; make no further calls.")
        said = [_text(f"Not understood: {reading.reason}.")]
        if self._adapter.idle is not None:
            return [*said, *self._act(self._adapter.idle)]
        self._turns, self._malformed = self._turns + 1, self._malformed + 1
        self._over = self._spent()
        return [_text(f"There are no turns left. {OVER}.")] if self._over else said

    def _blocks(self, observation: Any, first: str) -> list[Block]:
        words = " ".join(part for part in (first, self._adapter.state(observation)) if part)
        picture = {"type": "image", "image": _pillow(self._adapter.picture(observation))}
        return [picture, _text(words)] if words else [picture]


class _Search(_Episodes):
    """Episodes of search in panoramas."""

    def __init__(self, folder: Path | str, adapter: HeadAdapter, max_turns: int | None, settings: Any) -> None:
        super().__init__(PanoramaSearch(folder, **settings), adapter, max_turns)

    def _distance(self) -> float:
        """Angle between where the head looks and the middle of the target, in radians."""
        env = cast(PanoramaSearch, self._env)
        return float(great_circle_rad(tuple(env.protocol.heading), tuple(env.target())))

    def _scale(self) -> float:
        """Half a turn, as in H*."""
        return math.pi

    def reset(self, task: int | None = None, **row: Any) -> list[Block]:
        """Begin the task of a row, whatever was played before; DataError where the row names none."""
        number = task if task is not None else row.get("number")
        if number is None:
            raise DataError("a row needs the number of its `task`, so that one group plays one task")
        return self._begin(int(number), {"task": int(number)})


class SearchText(_Search):
    """Search in panoramas for models that write their actions."""

    def __init__(
        self, folder: Path | str, *, max_turns: int | None = None, version: str = "strict-v1", **settings: Any
    ) -> None:
        """One environment of its own, with the settings of `PanoramaSearch`; `version` of the reader of texts."""
        super().__init__(folder, HeadAdapter(form="text", version=version), max_turns, settings)

    def act(self, text: str) -> list[Block]:
        """
        Carry out what was written.

        Args:
            text: All of it.

        Returns:
            The new view and heading, or that the episode is over.
        """
        return self._act_text(text)


class SearchTools(_Search):
    """Search in panoramas for TRL; make it with `search_factory`."""

    def __init__(self, folder: Path | str, *, max_turns: int | None = None, **settings: Any) -> None:
        """One environment of its own, with the settings of `PanoramaSearch`."""
        super().__init__(folder, HeadAdapter(form="tools"), max_turns, settings)

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


class _Walk(_Episodes):
    """Episodes of walking."""

    def __init__(self, form: Form, version: str, max_turns: int | None, settings: Any) -> None:
        env = Explore(**settings)
        adapter = WalkAdapter(form=form, version=version, questions=env.settings.task == "question")
        super().__init__(env, adapter, max_turns)

    def reset(self, seed: int | None = None, **row: Any) -> list[Block]:
        """Begin the episode of a row's seed; DataError where the row has none."""
        number = seed if seed is not None else row.get("number")
        if number is None:
            raise DataError("a row needs the `seed` of its episode, so that one group plays one episode")
        return self._begin(int(number), None)


class ExploreText(_Walk):
    """Walking for models that write their actions."""

    def __init__(self, *, max_turns: int | None = None, version: str = "strict-v1", **settings: Any) -> None:
        """One environment of its own, with the arguments of `Explore`; `version` of the reader of texts."""
        super().__init__("text", version, max_turns, settings)

    def act(self, text: str) -> list[Block]:
        """
        Carry out what was written.

        Args:
            text: All of it.

        Returns:
            What is before you then, or that the episode is over.
        """
        return self._act_text(text)


class ExploreTools(_Walk):
    """Walking in scenes for TRL; make it with `explore_factory`."""

    def __init__(self, *, max_turns: int | None = None, **settings: Any) -> None:
        """One environment of its own, with the arguments of `Explore`."""
        super().__init__("tools", "strict-v1", max_turns, settings)

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
