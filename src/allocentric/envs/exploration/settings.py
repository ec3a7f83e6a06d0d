"""Settings of walking, and the spaces they make."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pydantic import Field

from allocentric.core.config import Settings as BaseSettings
from allocentric.core.errors import SettingsError
from allocentric.core.types import Item
from allocentric.envs.drawing import RendererSpec
from allocentric.envs.exploration.walker import Collision
from allocentric.envs.questions import LONGEST_ANSWER, question_text
from allocentric.envs.text_space import Instruction

Sensor = Literal["rgb", "depth", "id", "position", "heading", "goal"]
Task = Literal["object", "point", "question"]
NEAR_M: dict[Task, float] = {"object": 1.0, "point": 0.36, "question": 0.0}
"""How near is near where the settings do not say."""
_LONGEST_INSTRUCTION = 256


class Settings(BaseSettings):
    """The body, its senses, and what counts as done."""

    task: Task = "object"
    """`object`: stop near something of a category. `point`: stop at a point. `question`: stop with an answer."""
    sensors: tuple[Sensor, ...] = ("rgb",)
    """What is observed beside the instruction; without rgb, depth and id nothing is ever drawn."""
    width_px: int = Field(default=320, ge=16, le=8192)
    """Columns of the pictures."""
    height_px: int = Field(default=240, ge=16, le=8192)
    """Rows of the pictures."""
    horizontal_fov_rad: float = Field(default=float(np.radians(79.0)), gt=0.05, lt=3.0)
    """Angle between the pictures' left and right edge; 79 degrees in Habitat's ObjectNav."""
    eye_height_m: float = Field(default=1.5, gt=0.0, lt=3.0)
    """Height of the camera above the floor."""
    renderer: RendererSpec = "raster"
    """Catalogued renderer that draws, or {"name": ..., ...its settings}."""
    radius_m: float = Field(default=0.2, gt=0.0, lt=1.0)
    """Radius of the body."""
    collision: Collision = "slide"
    """`stop`: a step ends where it meets something. `slide`: what is left of it goes on along x or y."""
    step_m: float = Field(default=0.25, gt=0.0, le=2.0)
    """Length of a step forward."""
    turn_rad: float = Field(default=float(np.radians(15.0)), gt=0.0, le=float(np.pi))
    """Angle of a turn."""
    tilt_rad: float = Field(default=float(np.radians(30.0)), gt=0.0, le=float(np.pi / 2))
    """Angle of a look up or down."""
    largest_tilt_rad: float = Field(default=float(np.radians(60.0)), ge=0.0, le=float(np.pi / 2))
    """The head tilts no further than this, up or down."""
    max_steps: int = Field(default=500, ge=1)
    """Actions until the episode is truncated."""
    success: Literal["near", "near_in_view"] = "near"
    """`near`: stopped within `success_distance_m`. `near_in_view`: and an instance covers `min_visible_px` of the
    picture (objects only; draws a picture at the stop). Distances lead to where it is near, which may not see it, so
    SPL can be below 1 for the best walk."""
    success_distance_m: float | None = Field(default=None, gt=0.0)
    """From the body's axis to the object's box seen from above, or to the point; None is 1.0 m for objects and 0.36 m
    for points, as in the Habitat challenges."""
    min_visible_px: int = Field(default=100, ge=1)
    """Pixels of the goal that count as in view."""
    min_distance_m: float = Field(default=1.0, ge=0.0)
    """Least geodesic distance from start to goal."""
    max_distance_m: float = Field(default=30.0, gt=0.0)
    """Largest geodesic distance from start to goal."""
    categories: tuple[str, ...] | None = None
    """What may be asked for; None is every label of the scene."""
    reward: Literal["success", "progress"] = "success"
    """`success`: 1 for a success (a question: its score), else 0. `progress`: and the metres an action came nearer."""


def check_task(settings: Settings, items: Sequence[Item]) -> None:
    """SettingsError where settings contradict each other or the items."""
    if (settings.task == "question") != bool(items):
        raise SettingsError(
            f"task {settings.task!r} with {len(items)} items: the task 'question' needs items, and only it takes any"
        )
    if settings.task != "object" and settings.success == "near_in_view":
        raise SettingsError(f"success 'near_in_view' needs the task 'object', got {settings.task!r}")
    if settings.task != "point" and "goal" in settings.sensors:
        raise SettingsError(f"the sensor 'goal' needs the task 'point', got {settings.task!r}")
    if settings.min_distance_m >= settings.max_distance_m:
        bounds = f"{settings.min_distance_m} and {settings.max_distance_m}"
        raise SettingsError(f"expected min_distance_m < max_distance_m, got {bounds}")


def action_space(settings: Settings) -> spaces.Space[Any]:
    """Six moves; beside an answer where there is a question."""
    moves = spaces.Discrete(6)
    if settings.task != "question":
        return moves
    answer = spaces.Text(max_length=LONGEST_ANSWER, min_length=0, charset=string.printable)
    return spaces.Dict({"move": moves, "answer": answer})


def observation_space(settings: Settings, items: Sequence[Item]) -> spaces.Dict:
    """The instruction, and what each sensor gives."""
    shape = (settings.height_px, settings.width_px)
    everywhere, turn = np.inf, np.array([np.pi, np.pi / 2])
    known: dict[str, tuple[str, spaces.Space[NDArray[Any]]]] = {
        "rgb": ("rgb", spaces.Box(0, 255, (*shape, 3), dtype=np.uint8)),
        "depth": ("depth_m", spaces.Box(0.0, np.inf, shape, dtype=np.float32)),
        "id": ("id", spaces.Box(-1, np.iinfo(np.int32).max, shape, dtype=np.int32)),
        "position": ("position_m", spaces.Box(-everywhere, everywhere, (2,), dtype=np.float64)),
        "heading": ("heading_rad", spaces.Box(-turn, turn, dtype=np.float64)),
        "goal": ("goal_m", spaces.Box(-everywhere, everywhere, (2,), dtype=np.float64)),
    }
    texts = [question_text(item) for item in items] or [" " * _LONGEST_INSTRUCTION]
    chosen = dict(known[name] for name in dict.fromkeys(settings.sensors))
    return spaces.Dict({"instruction": Instruction(texts), **chosen})
