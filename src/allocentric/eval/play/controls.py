"""How a person's deeds become an environment's actions, and what of an observation a page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import gymnasium
import numpy as np

from allocentric.core.errors import UserError
from allocentric.core.types import Image, Item
from allocentric.envs import explore, panorama_search, stream_qa
from allocentric.eval.play.messages import Deed
from allocentric.eval.play.refusal import Refusal

_STEP_RAD = float(np.radians(30.0))
"""A head turns so far with one press of a key."""
_MOVES = {
    "stop": explore.STOP,
    "forward": explore.FORWARD,
    "left": explore.LEFT,
    "right": explore.RIGHT,
    "up": explore.UP,
    "down": explore.DOWN,
}

Observation = Mapping[str, Any]


class Controls(Protocol):
    """The seam between a page and one kind of environment."""

    def facts(self) -> dict[str, Any]:
        """What a page needs to know before it plays: `kind`, `fov_rad` (2,), step sizes; JSON values."""
        ...

    def action(self, deed: Deed, observation: Observation) -> Any:
        """The environment's action. Refusal where this environment knows no such deed."""
        ...

    def pictures(self, observation: Observation) -> Sequence[Image]:
        """What the person sees: one picture, or those of a turn in order."""
        ...

    def shown(self, observation: Observation, info: Mapping[str, Any]) -> dict[str, Any]:
        """`text`, and where they exist `heading_rad` (2,), `times_s` of the pictures and `question`; JSON values."""
        ...


def controls_of(env: gymnasium.Env[Any, Any], items: Sequence[Item] = ()) -> Controls:
    """The controls of an environment that asks `items`. UserError where a page can't play it."""
    bare = env.unwrapped
    if isinstance(bare, panorama_search.PanoramaSearch):
        return HeadControls(bare)
    if isinstance(bare, explore.Explore):
        return WalkControls(bare)
    if isinstance(bare, stream_qa.StreamQA):
        return StreamControls({item.id: item for item in items})
    raise UserError(f"{type(bare).__name__} can't be played in a page")


def _field_of_view_rad(settings: Any) -> list[float]:
    """Horizontal and vertical angle between the edges of a pinhole picture."""
    half_width = float(np.tan(settings.horizontal_fov_rad / 2))
    return [settings.horizontal_fov_rad, float(2 * np.arctan(half_width * settings.height_px / settings.width_px))]


def _unknown(deed: Deed) -> Refusal:
    return Refusal("wrong", f"this environment knows no {deed.kind!r}")


class HeadControls:
    """A head in a panorama: turn, and submit the direction of the crosshair."""

    def __init__(self, env: panorama_search.PanoramaSearch) -> None:
        self._env = env

    def facts(self) -> dict[str, Any]:
        """Drags and keys turn by any angle; submitting names the crosshair's direction."""
        limit = self._env.protocol.max_turns
        fov_rad = _field_of_view_rad(self._env.settings)
        return {"kind": "head", "fov_rad": fov_rad, "step_rad": [_STEP_RAD, _STEP_RAD], "limit": limit}

    def action(self, deed: Deed, observation: Observation) -> Any:
        """The submission claims where the head looks, whatever the page says."""
        if deed.kind == "rotate":
            return {"kind": panorama_search.ROTATE, "angles_rad": np.array([deed.yaw_rad, deed.pitch_rad])}
        if deed.kind == "submit":
            return {"kind": panorama_search.SUBMIT, "angles_rad": np.array(observation["heading_rad"])}
        raise _unknown(deed)

    def pictures(self, observation: Observation) -> Sequence[Image]:
        """The view."""
        return [observation["view"]]

    def shown(self, observation: Observation, info: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Instruction and heading."""
        heading = [float(angle) for angle in observation["heading_rad"]]
        return {"text": str(observation["instruction"]), "heading_rad": heading}


class WalkControls:
    """A walker in a scene: steps, turns, looks, and stop or answer."""

    def __init__(self, env: explore.Explore) -> None:
        self._env = env
        self._asks = env.settings.task == "question"
        if "rgb" not in env.settings.sensors:
            raise UserError("a person needs pictures: leave the sensor 'rgb' in --set sensors=[...]")

    def facts(self) -> dict[str, Any]:
        """Turns and looks have fixed angles; a drag is several of them."""
        settings = self._env.settings
        return {
            "kind": "walk",
            "fov_rad": _field_of_view_rad(settings),
            "step_rad": [settings.turn_rad, settings.tilt_rad],
            "limit": settings.max_steps,
        }

    def action(self, deed: Deed, observation: Observation) -> Any:  # noqa: ARG002
        """A move; with a question, stopping is answering."""
        if deed.kind == "answer" and self._asks:
            return {"move": explore.STOP, "answer": deed.text}
        if deed.kind != "move" or deed.move is None or (self._asks and deed.move == "stop"):
            raise _unknown(deed)
        move = _MOVES[deed.move]
        return {"move": move, "answer": ""} if self._asks else move

    def pictures(self, observation: Observation) -> Sequence[Image]:
        """What the walker sees."""
        return [observation["rgb"]]

    def shown(self, observation: Observation, info: Mapping[str, Any]) -> dict[str, Any]:
        """Instruction, or the question with its options."""
        if not self._asks:
            return {"text": str(observation["instruction"])}
        asked = next(item for item in self._env.items if item.id == info["goal"])
        return {"text": "Look around, then answer.", "question": question_shown(asked)}


class StreamControls:
    """A stream to watch, with questions on the way."""

    def __init__(self, items: Mapping[str, Item]) -> None:
        self._items = items

    def facts(self) -> dict[str, Any]:
        """Nothing turns here."""
        return {"kind": "stream", "fov_rad": None, "step_rad": None, "limit": None}

    def action(self, deed: Deed, observation: Observation) -> Any:
        """The answer, or "" to go on where nothing is asked."""
        if deed.kind != "answer":
            raise _unknown(deed)
        if observation["question"] and not deed.text.strip():
            raise Refusal("wrong", "an answer is expected here")
        return deed.text

    def pictures(self, observation: Observation) -> Sequence[Image]:
        """The new pictures of the turn."""
        frames: Sequence[Image] = observation["frames"][: int(observation["frame_count"])]
        return frames

    def shown(self, observation: Observation, info: Mapping[str, Any]) -> dict[str, Any]:
        """Times, and the question where one is asked."""
        times = [float(time) for time in observation["times_s"][: int(observation["frame_count"])]]
        shown: dict[str, Any] = {"text": "Watch and remember: earlier pictures don't come back.", "times_s": times}
        if observation["question"]:
            shown["question"] = question_shown(self._items[info["item"]])
        return shown


def question_shown(item: Item) -> dict[str, Any]:
    """A question as a page lays it out: `text` and `options`, empty for an open one."""
    return {"text": item.prompt, "options": list(item.choices)}
