"""Environments as something to be scored in: which episodes there are, in which words they are played, by which
baselines, and what chance reaches.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from allocentric.agents import navigators, search_baselines
from allocentric.agents.adapters import Adapter, Form, HeadAdapter, WalkAdapter
from allocentric.agents.question_baselines import NAMES, ScriptedAnswers
from allocentric.agents.rollout import Environment, Start
from allocentric.core.config import resolved
from allocentric.core.errors import SettingsError, suggestion
from allocentric.core.pictures import picture
from allocentric.core.records import digest
from allocentric.core.types import Image, Item, Policy
from allocentric.envs.explore import Explore
from allocentric.envs.panorama.protocols import PROTOCOLS
from allocentric.envs.panorama.tasks import LEVELS, Task, record_from_annotation
from allocentric.envs.panorama.views import PanoramaStore
from allocentric.envs.panorama_search import PanoramaSearch
from allocentric.envs.registration import NAMESPACE, environment_ids
from allocentric.envs.stream_qa import StreamQA
from allocentric.envs.streams import streams_of_items
from allocentric.eval.video import sampled_digest

_DRAW = 0xE415  # stream of the episodes' choice
_DEFAULT_EPISODES = 100


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

    def adapter(self, form: Form, version: str) -> Adapter | None:
        """The words a model plays in; None where no model plays it."""
        ...

    def baselines(self, env: Environment) -> dict[str, Policy]:
        """Policies of this environment by name, weakest first."""
        ...

    @property
    def left_out(self) -> dict[str, str]:
        """Why some baselines can't play with these settings, by name."""
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
    if issubclass(cls, StreamQA):
        return StreamArena(full, cls, rest)
    raise SettingsError(f"{full} is not played by rollouts; PanoramaSearch, Explore and StreamQA environments are")


class PanoramaArena:
    """Search in panoramas: one episode per task and start heading."""

    left_out: dict[str, str] = {}  # noqa: RUF012 - every baseline plays whatever the settings

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
            "random": search_baselines.UniformDirection(),
            "submit at start": search_baselines.SubmitAtStart(),
            "greedy saliency": search_baselines.GreedySaliency(search.settings.horizontal_fov_rad),
            "full sweep": search_baselines.FullSweep(search.sighted),
            "oracle": search_baselines.Oracle(search.target),
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
    """Walking in scenes: one episode per seed, or per question."""

    def __init__(self, name: str, cls: type[Explore], values: dict[str, Any]) -> None:
        self.id = name
        self._cls = cls
        self._values = dict(values)
        set_folder = self._values.pop("items", None)
        self._items = _items_of(set_folder)
        first = self._new()
        self.questions = first.settings.task == "question"
        self._sensors = first.settings.sensors
        self._by_id = {item.id: item for item in self._items}
        self.turn_limit: int | None = first.settings.max_steps
        scenes = self._values.get("scenes", "procedural")
        asked = digest([item.id for item in self._items])
        self.settings = {"id": name, "scenes": scenes, **resolved(first.settings), "items": set_folder, "tasks": asked}

    def make(self) -> Environment:
        """A new instance."""
        return self._new()

    def starts(self, limit: int | None, seed: int) -> list[Start]:
        """By seed, a hundred where no limit says how many; questions by number, each from a start drawn for it."""
        if self.questions:
            return [
                Start(key=f"item-{index}", seed=seed + index, options={"goal": self._items[index].id})
                for index in drawn(len(self._items), limit, seed)
            ]
        return [Start(key=f"seed-{seed + k}", seed=seed + k) for k in range(limit or _DEFAULT_EPISODES)]

    def adapter(self, form: Form, version: str) -> Adapter:
        """Of a walker."""
        return WalkAdapter(form=form, version=version, questions=self.questions)

    def baselines(self, env: Environment) -> dict[str, Policy]:
        """The sweep knows the floor and when the goal is near, the oracle the way; questions are answered blindly."""
        walk = cast(Explore, env)
        if self.questions:
            return answers(self._items, lambda: walk.item, lambda text: {"move": 0, "answer": text})
        policies: dict[str, Policy] = {
            "stop at start": navigators.StopAtOnce(),
            "random": navigators.RandomNavigator(),
            "greedy saliency": navigators.GreedySaliency(walk.settings.horizontal_fov_rad, walk.settings.turn_rad),
            "full sweep": navigators.FullSweep(walk),
            "oracle": navigators.GeodesicFollower(walk),
        }
        return {name: policy for name, policy in policies.items() if name not in self.left_out}

    @property
    def left_out(self) -> dict[str, str]:
        """Saliency needs a picture."""
        return {} if self.questions or "rgb" in self._sensors else {"greedy saliency": "needs the sensor rgb"}

    def chance(self, start: Start) -> float | None:
        """Of one option of a question. For walks not defined: it depends on how chance walks; see the baselines."""
        return chance_of(self._by_id[start.options["goal"]]) if self.questions else None

    def level(self, level: Any) -> str | None:
        """The kind of a question."""
        return None if level is None else str(level)

    def _new(self) -> Explore:
        return self._cls(items=self._items, **self._values)


class StreamArena:
    """Watching streams: one episode per stream of a set, the walk through a scene with all questions about it."""

    left_out: dict[str, str] = {}  # noqa: RUF012 - every baseline can answer

    def __init__(self, name: str, cls: type[StreamQA], values: dict[str, Any]) -> None:
        self.id = name
        self._cls = cls
        self._values = dict(values)
        folder = self._values.pop("items", None)
        if not isinstance(folder, str):
            raise SettingsError(f"{name} needs questions: items=FOLDER, a set that `allocentric make` wrote")
        self.items: Sequence[Item] = _items_of(folder)
        if not all(item.views for item in self.items):
            raise SettingsError(f"the set {folder} holds questions without pictures; make it with a `renderer`")
        self._streams = {stream.id: stream for stream in streams_of_items(self.items)}
        asked = digest([item.id for item in self.items])
        self.settings = {"id": name, **resolved(self._new().settings), "items": folder, "tasks": asked}
        # a turn brings a picture or a question at least
        self.turn_limit: int | None = max(len(one.views) + len(one.questions) for one in self._streams.values())

    def make(self) -> Environment:
        """A new instance."""
        return self._new()

    def starts(self, limit: int | None, seed: int) -> list[Start]:
        """By stream."""
        names = list(self._streams)
        return [
            Start(key=names[index], seed=seed + index, options={"stream": names[index]})
            for index in drawn(len(names), limit, seed)
        ]

    def adapter(self, form: Form, version: str) -> None:  # noqa: ARG002 - no form has one
        """None: streams are watched (`eval.watchers`), as a turn brings several pictures and adapters show one."""
        return

    def baselines(self, env: Environment) -> dict[str, Policy]:
        """Blind answers, and the right ones."""
        return answers(self.items, lambda: cast(StreamQA, env).item, str)

    def chance(self, start: Start) -> float | None:
        """Of one option of every question being right, as a success is."""
        each = [chance_of(question.item) for question in self._streams[start.options["stream"]].questions]
        known = [chance for chance in each if chance is not None]
        return float(np.prod(known)) if len(known) == len(each) else None

    def level(self, level: Any) -> str | None:  # noqa: ARG002 - there are none
        """Streams have no levels."""
        return None

    @property
    def question_chance(self) -> float | None:
        """Mean chance of a question; None where one has none."""
        each = [chance_of(item) for item in self.items]
        known = [chance for chance in each if chance is not None]
        return float(np.mean(known)) if len(known) == len(each) else None

    def asked_s(self, stream: str) -> dict[str, float]:
        """When the questions of a stream are asked, by item."""
        return {question.item.id: question.time_s for question in self._streams[stream].questions}

    def pictures(self, stream: str, most: int) -> list[tuple[float, Image]]:
        """Up to `most` pictures of a stream, evenly spaced, with their times."""
        views = self._streams[stream].views
        picked = sorted({round(place) for place in np.linspace(0, len(views) - 1, min(most, len(views)))})
        return [(float(views[index].time_s or 0.0), np.asarray(picture(views[index]))) for index in picked]

    def _new(self) -> StreamQA:
        return self._cls(list(self._streams.values()), **self._values)


def answers(
    items: Sequence[Item], asked: Callable[[], Item | None], action: Callable[[str], Any]
) -> dict[str, Policy]:
    """The baselines of questions by name, weakest first; see `ScriptedAnswers`."""
    return {name: ScriptedAnswers(name, items, asked, action) for name in NAMES}


def chance_of(item: Item) -> float | None:
    """Of one option being right; None where there are no options."""
    return 1 / len(item.choices) if item.choices else None


def drawn(count: int, limit: int | None, seed: int) -> list[int]:
    """All numbers below `count`, or `limit` of them drawn without replacement, in order."""
    if limit is None or limit >= count:
        return list(range(count))
    order = np.random.default_rng([seed, _DRAW]).permutation(count)
    return sorted(int(index) for index in order[:limit])


def _items_of(folder: Any) -> Sequence[Item]:
    if folder is None:
        return ()
    from allocentric.datasets.export import load_set

    return load_set(Path(str(folder)))


def _task_record(task: Task) -> list[Any]:
    return [task.scene_id, record_from_annotation(task.annotation), task.start]
