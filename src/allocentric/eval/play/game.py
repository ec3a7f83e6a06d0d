"""The environment a person asked for by name: its episodes, how a page plays it, and what stands beside the person."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import gymnasium

from allocentric.agents.rollout import Start
from allocentric.core.errors import UserError, suggestion
from allocentric.core.types import Policy
from allocentric.envs.registration import NAMESPACE, environment_ids
from allocentric.eval.arenas import StreamArena, arena
from allocentric.eval.play.controls import Controls, controls_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Game:
    """What a person plays."""

    id: str
    """Gymnasium id."""
    settings: Mapping[str, Any]
    """Every setting of the environment, as JSON values."""
    env: gymnasium.Env[Any, Any]
    """Made, not reset yet."""
    controls: Controls
    """Of a page."""
    starts: Sequence[Start]
    """The episodes, in order."""
    baselines: Mapping[str, Policy]
    """Policies that need no model, by name."""
    chance: Callable[[Start], float | None]
    """Probability that a guess succeeds, where that can be said."""
    level: Callable[[Any], str | None]
    """Name of a level of difficulty."""


def environment_id(name: str) -> str:
    """The Gymnasium id that `name` stands for: with or without namespace and version, in any case."""
    known = {_plain(full): full for full in environment_ids()}
    wanted = _plain(name)
    if wanted not in known:
        shown = [full.removeprefix(f"{NAMESPACE}/").rpartition("-v")[0] for full in known.values()]
        raise UserError(f"unknown environment {name!r}" + suggestion(name, shown))
    return known[wanted]


def make_game(name: str, settings: Mapping[str, Any], *, episodes: int, seed: int) -> Game:
    """Make an environment and say which episodes are played.

    Args:
        name: See `environment_id`.
        settings: Of the environment; `items`, the folder of a set that `allocentric make` wrote, gives the questions.
        episodes: Number of episodes; fewer where there are fewer tasks.
        seed: Draws the episodes.

    Raises:
        UserError: There is no such environment, a setting is wrong, or there is no page for it.
    """
    full = environment_id(name)
    place = arena({"id": full, **settings})
    made = place.make()
    env = cast("gymnasium.Env[Any, Any]", made)
    return Game(
        id=full,
        settings=place.settings,
        env=env,
        controls=controls_of(env, place.items if isinstance(place, StreamArena) else ()),
        starts=place.starts(episodes, seed),
        baselines=place.baselines(made),
        chance=place.chance,
        level=place.level,
    )


def _plain(name: str) -> str:
    short = name.rpartition("/")[2].lower().replace("-", "").replace("_", "").replace(" ", "")
    stem, _, version = short.rpartition("v")
    return stem if stem and version.isdigit() else short
