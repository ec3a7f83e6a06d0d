"""Search with a head inside a panorama: turn until the target is in view, then submit its direction.

Tasks come from a folder in the layout of H*Bench (`envs.panorama.tasks`). The rules are those of a named protocol
(`envs.panorama.protocols`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from pydantic import Field

from allocentric.core.config import Settings as BaseSettings
from allocentric.core.config import settings_from_mapping
from allocentric.core.errors import DataError, SettingsError
from allocentric.core.types import Image
from allocentric.envs.errors import EpisodeOverError
from allocentric.envs.panorama.protocols import (
    PROTOCOLS,
    Heading,
    SearchProtocol,
    StrictV1,
    distance_to_view,
    require_protocol,
)
from allocentric.envs.panorama.tasks import Kind, Task, read_tasks
from allocentric.envs.panorama.views import PanoramaStore, ViewEngine, ViewGeometry
from allocentric.envs.text_space import Instruction

IDS = {"ObjectSearch-v0": "ObjectSearch", "PathSearch-v0": "PathSearch"}

ROTATE, SUBMIT, NOTHING = 0, 1, 2
"""Values of an action's `kind`; NOTHING spends a turn (a model's answer that could not be read)."""
_CROSS_ARM_PX = 10
_GREEN = (0, 255, 0)

Observation = dict[str, Any]
Info = dict[str, Any]


class Settings(BaseSettings):
    """How the panorama is looked at and judged."""

    protocol: str = "strict-v1"
    """Set of rules: hstar-v1 or strict-v1."""
    width_px: int = Field(default=1280, ge=16, le=8192)
    """Columns of the view; H* uses 1280 for training, 1920 for its benchmark."""
    height_px: int = Field(default=720, ge=16, le=8192)
    """Rows of the view."""
    horizontal_fov_rad: float = Field(default=float(np.radians(100.0)), gt=0.05, lt=3.0)
    """Angle between the view's left and right edge."""
    cross: bool = True
    """A green cross marks the view's centre, as in H*."""
    max_turns: int | None = Field(default=None, ge=1)
    """strict-v1 only: turns until an episode is truncated; None is the protocol's own limit, 10."""
    view_tolerance_rad: float | None = Field(default=None, ge=0.0)
    """strict-v1 only: how far outside the view a submission may lie; None is the protocol's own, 5 degrees."""


class PanoramaSearch(gymnasium.Env[Observation, dict[str, Any]]):
    """Object and path tasks as they come in the folder.

    Observation: `view` (H, W, 3) uint8; `heading_rad` (2,) yaw and pitch; `instruction` text.
    Action: `kind` (0 rotate by, 1 submit, 2 nothing) and `angles_rad` (2,) yaw and pitch, relative for a rotation,
    absolute for a submission; yaw + is right of the panorama's centre column, pitch + is up.
    Reward: paid by the protocol on a submission, 0 otherwise. A submission terminates; `max_turns` truncates.

    `reset(seed=k)` plays task k (modulo their number) in hstar-v1 and a task drawn from the seed in strict-v1; without
    a seed the next one is drawn; `options={"task": k}` chooses in both.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 2}  # noqa: RUF012 - declared by gymnasium
    kinds: ClassVar[tuple[Kind, ...]] = ("object", "path")

    def __init__(
        self,
        folder: Path | str | None = None,
        *,
        store: PanoramaStore | None = None,
        render_mode: Literal["rgb_array"] | None = None,
        **settings: Any,
    ) -> None:
        """Read the tasks of a folder.

        Args:
            folder: Folder with one folder per panorama.
            store: Decoded panoramas, to share between environments of one process.
            render_mode: "rgb_array" lets `render` give the current view.
            **settings: Fields of `Settings`.

        Raises:
            DataError: The folder holds no task of this environment's kind, or something wrong.
            SettingsError: A setting is unknown or wrong.
        """
        if folder is None:
            raise SettingsError(f"{type(self).__name__} needs the folder of its tasks: make(..., folder='path')")
        self.settings = settings_from_mapping(Settings, settings, where=type(self).__name__)
        self.tasks = [task for task in read_tasks(Path(folder)) if task.annotation.kind in self.kinds]
        if not self.tasks:
            raise DataError(
                f"{folder} holds no {' or '.join(self.kinds)} task; object tasks have a pitch, path tasks none"
            )
        self.render_mode = render_mode
        self.protocol, self.view_geometry = _protocol_of(self.settings)
        order = self.protocol.order(len(self.tasks))
        self.tasks = [self.tasks[index] for index in order]
        self._store = store or PanoramaStore()
        self._engine = ViewEngine(self.view_geometry)
        self._task: Task | None = None
        self._turns, self._over = 0, True
        self.action_space = _action_space(self.protocol)
        self.observation_space = _observation_space(self.settings, self.tasks)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Start an episode; see the class for how the task is chosen."""
        super().reset(seed=seed)
        index = self._choose(seed, options or {})
        self._task, self._turns, self._over = self.tasks[index], 0, False
        self.protocol.begin(self._task)
        return self._observation(), self._info(index=index)

    def step(self, action: Mapping[str, Any]) -> tuple[Observation, float, bool, bool, Info]:
        """Rotate, submit or spend the turn. EpisodeOverError after the end."""
        if self._over:
            raise EpisodeOverError
        kind, yaw_rad, pitch_rad = _parts(action)
        self._turns += 1
        verdict, problem = None, None
        if kind == ROTATE:
            problem = self.protocol.rotate(yaw_rad, pitch_rad)
        elif kind == SUBMIT:
            outcome = self.protocol.submit(yaw_rad, pitch_rad)
            verdict, problem = (None, outcome) if isinstance(outcome, str) else (outcome, None)
        else:
            problem = "no action"
        limit = self.protocol.max_turns
        truncated = verdict is None and limit is not None and self._turns >= limit
        self._over = truncated or verdict is not None
        info = self._info(valid=problem is None, problem=problem or "", turns=self._turns)
        if verdict is None:
            return self._observation(), 0.0, False, truncated, info
        info |= {
            "success": verdict.success,
            "claim_in_window": verdict.claim_in_window,
            "claim_in_view": verdict.claim_in_view,
        }
        return self._observation(), verdict.reward, True, False, info

    def render(self) -> Image | None:
        """The current view where `render_mode` is "rgb_array"."""
        return self._picture() if self.render_mode == "rgb_array" else None

    def target(self) -> Heading:
        """The middle of the current task's window: for baselines that know it."""
        return self.protocol.target()

    def sighted(self) -> Heading | None:
        """The middle of the window where the current view shows it: for baselines that recognise everything."""
        target = self.protocol.target()
        shown = distance_to_view(self.view_geometry, self.protocol.heading, target) == 0.0
        return target if shown else None

    def chance(self) -> float:
        """Probability that a direction drawn uniformly from the sphere solves the current task."""
        return self.protocol.chance()

    def _choose(self, seed: int | None, options: dict[str, Any]) -> int:
        unknown = set(options) - {"task"}
        if unknown:
            raise SettingsError(f"unknown reset option {min(unknown)!r}; known: task")
        if "task" in options:
            index = int(options["task"])
            if not 0 <= index < len(self.tasks):
                raise SettingsError(f"there is no task {index}; the folder holds {len(self.tasks)}, numbered from 0")
            return index
        if seed is not None and self.protocol.name == "hstar-v1":
            return seed % len(self.tasks)
        return int(self.np_random.integers(len(self.tasks)))

    def _observation(self) -> Observation:
        return {
            "view": self._picture(),
            "heading_rad": np.array(self.protocol.heading, dtype=np.float64),
            "instruction": self._current().annotation.task,
        }

    def _picture(self) -> Image:
        panorama = self._store.get(self._current().panorama, self.view_geometry.sampling)
        picture = self._engine.view(panorama, *self.protocol.heading)
        if self.settings.cross:
            _draw_cross(picture)
        return picture

    def _current(self) -> Task:
        if self._task is None:
            raise EpisodeOverError("no episode has begun; call reset() first")
        return self._task

    def _info(self, **more: Any) -> Info:
        task = self._current()
        return {
            "protocol": self.protocol.name,
            "scene_id": task.scene_id,
            "kind": task.annotation.kind,
            "level": -1 if task.level is None else task.level,
            "success": False,
            **more,
        }


class ObjectSearch(PanoramaSearch):
    """Bring the target object into view and submit its direction."""

    kinds = ("object",)


class PathSearch(PanoramaSearch):
    """Turn to the direction to walk in and submit it."""

    kinds = ("path",)


def _protocol_of(settings: Settings) -> tuple[SearchProtocol, ViewGeometry]:
    require_protocol(settings.protocol)
    view = ViewGeometry(
        width_px=settings.width_px,
        height_px=settings.height_px,
        horizontal_fov_rad=settings.horizontal_fov_rad,
        sampling=PROTOCOLS[settings.protocol].sampling,
    )
    if settings.protocol == StrictV1.name:
        return StrictV1(view, max_turns=settings.max_turns, view_tolerance_rad=settings.view_tolerance_rad), view
    for key in ("max_turns", "view_tolerance_rad"):
        if getattr(settings, key) is not None:
            raise SettingsError(
                f"{settings.protocol} has no {key}; leave it out, and limit turns with make(..., max_episode_steps=n)"
            )
    return PROTOCOLS[settings.protocol](view), view


def _action_space(protocol: SearchProtocol) -> spaces.Dict:
    largest = np.array(protocol.largest_rad, dtype=np.float64)
    return spaces.Dict({"kind": spaces.Discrete(3), "angles_rad": spaces.Box(-largest, largest, dtype=np.float64)})


def _observation_space(settings: Settings, tasks: list[Task]) -> spaces.Dict:
    view = spaces.Box(0, 255, (settings.height_px, settings.width_px, 3), dtype=np.uint8)
    heading = spaces.Box(np.array([0.0, -np.pi / 2]), np.array([2 * np.pi, np.pi / 2]), dtype=np.float64)
    text = Instruction(task.annotation.task for task in tasks)
    return spaces.Dict({"view": view, "heading_rad": heading, "instruction": text})


def _parts(action: Mapping[str, Any]) -> tuple[int, float, float]:
    try:
        kind, (yaw, pitch) = int(action["kind"]), (float(angle) for angle in action["angles_rad"])
    except (KeyError, TypeError, ValueError):
        raise SettingsError(
            f"an action is {{'kind': 0 rotate, 1 submit, 2 nothing, 'angles_rad': (yaw, pitch)}}, got {action!r}"
        ) from None
    if kind not in (ROTATE, SUBMIT, NOTHING):
        raise SettingsError(f"an action's kind is 0 (rotate), 1 (submit) or 2 (nothing), got {kind}")
    return kind, yaw, pitch


def _draw_cross(picture: Image) -> None:
    """One pixel wide, at the middle, in place."""
    row, column = picture.shape[0] // 2, picture.shape[1] // 2
    picture[row, max(0, column - _CROSS_ARM_PX) : column + _CROSS_ARM_PX + 1] = _GREEN
    picture[max(0, row - _CROSS_ARM_PX) : row + _CROSS_ARM_PX + 1, column] = _GREEN
