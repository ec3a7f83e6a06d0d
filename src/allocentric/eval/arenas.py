"""Environments as something to be scored in: which episodes there are, in which words they are played, by which
baselines, and what chance reaches.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from allocentric.agents.adapters import Adapter, Form, HeadAdapter, WalkAdapter
from allocentric.agents.navigators import GeodesicFollower, Guide, RandomNavigator, StopAtOnce
from allocentric.agents.rollout import Environment, Start
from allocentric.agents.search_baselines import FullSweep, GreedySaliency, Oracle, SubmitAtStart, UniformDirection
from allocentric.core.config import resolved
from allocentric.core.errors import SettingsError, suggestion
from allocentric.core.records import digest
from allocentric.core.types import Policy
from allocentric.envs.explore import Explore
from allocentric.envs.panorama.protocols import PROTOCOLS
from allocentric.envs.panorama.tasks import LEVELS, Task, record_from_annotation
from allocentric.envs.panorama.views import PanoramaStore
from allocentric.envs.panorama_search import PanoramaSearch
from allocentric.envs.registration import NAMESPACE, environment_ids
from allocentric.eval.video import sampled_digest

_DRAW = 0xE415  # stream of the episodes' choice
_DEFAULT_EPISODES = 100
_OPTION = re.compile(r"^([A-Z])\. ", re.MULTILINE)


class Arena(Protocol):
    """One environment with its settings."""

    id: str
    """Of the environment."""
    settings: dict[str, Any]
    """Every setting in force, as JSON values, with a digest of the tasks where they come from files."""
    turn_limit: int | None
    """Turns of an episode by the environment's own rules; None where it has no limit."""

    def make(self) -> Environment:
        """A new instance."""
        ...

    def starts(self, limit: int | None, seed: int) -> list[Start]:
        """The episodes: all there are, or `limit` of them drawn with `seed`."""
        ...

    def adapter(self, form: Form, version: str) -> Adapter:
        """The words a model plays in."""
        ...

    def baselines(self, env: Environment) -> dict[str, Policy]:
        """Policies of this environment by name, weakest first."""
        ...

    def chance(self, start: Start) -> float | None:
        """Success rate of blind luck, where it can be computed."""
        ...

    def level(self, level: Any) -> str | None:
        """Name of a difficulty level."""
        ...


def arena(values: Mapping[str, Any]) -> Arena:
    """The arena of `{"id": environment, ...its settings}`.

    Raises:
        UserError: There is no such environment, nothing is known about how models play it, or a setting is wrong.
    """
    rest = dict(values)
    name = rest.pop("id", None)
    ids = environment_ids()
    if not isinstance(name, str):
        raise SettingsError(f"env: expected the `id` of an environment; known: {', '.join(ids)}")
    full = name if name.startswith(f"{NAMESPACE}/") else f"{NAMESPACE}/{name}"
    if full not in ids:
        raise SettingsError(f"unknown environment {name!r}" + suggestion(full, ids))
    module, _, class_name = ids[full].partition(":")
    cls = getattr(importlib.import_module(module), class_name)
    if issubclass(cls, PanoramaSearch):
        return PanoramaArena(full, cls, rest)
    if issubclass(cls, Explore):
        return WalkArena(full, cls, rest)
    raise SettingsError(f"{full} is not played by rollouts yet; PanoramaSearch and Explore environments are")


class PanoramaArena:
    """Search in panoramas: one episode per task and start heading."""

    def __init__(self, name: str, cls: type[PanoramaSearch], values: dict[str, Any]) -> None:
        self.id = name
        self._cls, self._values = cls, values
        self._store = PanoramaStore()
        self._first = self._new()
        self.turn_limit = self._first.protocol.max_turns
        pictures = {task.panorama: sampled_digest(task.panorama) for task in self._first.tasks}
        tasks = digest([[*_task_record(task), pictures[task.panorama]] for task in self._first.tasks])
        self.settings = {"id": name, "folder": str(values["folder"]), **resolved(self._first.settings), "tasks": tasks}
        self._chances: dict[Any, float] = {}

    def make(self) -> Environment:
        """Instances share their decoded panoramas."""
        return self._new()

    def starts(self, limit: int | None, seed: int) -> list[Start]:
        """By task number."""
        return [
            Start(key=f"task-{index}", seed=seed + index, options={"task": index})
            for index in drawn(len(self._first.tasks), limit, seed)
        ]

    def adapter(self, form: Form, version: str) -> Adapter:
        """Of a head."""
        return HeadAdapter(form=form, version=version)

    def baselines(self, env: Environment) -> dict[str, Policy]:
        """Two of them know what no searcher does: the sweep recognises the target, the oracle knows where it is."""
        search = cast(PanoramaSearch, env)
        return {
            "random": UniformDirection(),
            "submit at start": SubmitAtStart(),
            "greedy saliency": GreedySaliency(search.settings.horizontal_fov_rad),
            "full sweep": FullSweep(search.sighted),
            "oracle": Oracle(search.target),
        }

    def chance(self, start: Start) -> float | None:
        """Of submitting a direction drawn uniformly from the sphere, in view."""
        task = self._first.tasks[start.options["task"]]
        key = task.annotation.yaw, task.annotation.pitch
        if key not in self._chances:
            rules = PROTOCOLS[self._first.protocol.name](self._first.view_geometry)  # new, as episodes leave traces
            rules.begin(task)
            self._chances[key] = rules.chance()
        return self._chances[key]

    def level(self, level: Any) -> str | None:
        """Easy, medium, hard, extreme."""
        if level is None:
            return None
        kinds = self._cls.kinds
        names = LEVELS[kinds[0] if len(kinds) == 1 else "path"]
        return names[int(level)] if int(level) < len(names) else str(level)

    def _new(self) -> PanoramaSearch:
        if "folder" not in self._values:
            raise SettingsError(f"{self.id} needs the `folder` of its tasks")
        return self._cls(store=self._store, **self._values)


class WalkArena:
    """Walking in scenes: one episode per seed."""

    def __init__(self, name: str, cls: type[Explore], values: dict[str, Any]) -> None:
        self.id = name
        self._cls = cls
        self._values = dict(values)
        set_folder = self._values.pop("items", None)
        self._items = _items_of(set_folder)
        first = self._new()
        self.questions = first.settings.task == "question"
        self.turn_limit: int | None = first.settings.max_steps
        scenes = self._values.get("scenes", "procedural")
        asked = digest([item.id for item in self._items])
        self.settings = {"id": name, "scenes": scenes, **resolved(first.settings), "items": set_folder, "tasks": asked}

    def make(self) -> Environment:
        """A new instance."""
        return self._new()

    def starts(self, limit: int | None, seed: int) -> list[Start]:
        """By seed; a hundred where no limit says how many."""
        return [Start(key=f"seed-{seed + k}", seed=seed + k) for k in range(limit or _DEFAULT_EPISODES)]

    def adapter(self, form: Form, version: str) -> Adapter:
        """Of a walker."""
        return WalkAdapter(form=form, version=version, questions=self.questions)

    def baselines(self, env: Environment) -> dict[str, Policy]:
        """The oracle follows shortest ways; a question has none, so there only a blind guess stands beside models."""
        if self.questions:
            return {"blind guess": BlindGuess()}
        return {
            "stop at start": StopAtOnce(),
            "random": RandomNavigator(),
            "oracle": GeodesicFollower(cast(Guide, env)),
        }

    def chance(self, start: Start) -> float | None:  # noqa: ARG002 - no walk has one
        """Not defined: what chance reaches depends on how it walks; see the baselines."""
        return None

    def level(self, level: Any) -> str | None:
        """As the environment says it."""
        return None if level is None else str(level)

    def _new(self) -> Explore:
        return self._cls(items=self._items, **self._values)


class BlindGuess:
    """Answers at once without looking: one of the options with equal chance, or 1 where there are none."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)

    def reset(self, seed: int) -> None:
        """Begin the draws of an episode."""
        self._rng = np.random.default_rng(seed)

    def act(self, observation: Any) -> dict[str, Any]:
        """Stop with an answer."""
        letters = _OPTION.findall(str(observation["instruction"]))
        return {"move": 0, "answer": str(self._rng.choice(letters)) if letters else "1"}


def drawn(count: int, limit: int | None, seed: int) -> list[int]:
    """All numbers below `count`, or `limit` of them drawn without replacement, in order."""
    if limit is None or limit >= count:
        return list(range(count))
    order = np.random.default_rng([seed, _DRAW]).permutation(count)
    return sorted(int(index) for index in order[:limit])


def _items_of(folder: Any) -> Sequence[Any]:
    if folder is None:
        return ()
    from allocentric.datasets.export import load_set

    return load_set(Path(str(folder)))


def _task_record(task: Task) -> list[Any]:
    return [task.scene_id, record_from_annotation(task.annotation), task.start]
