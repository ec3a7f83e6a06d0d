"""What stands between a model that writes and an environment that is acted in.

An adapter says what the model is told, reads its text as an action of the environment, and turns what the environment
answers into words. Environments know no text; models know no arrays. A text that can't be read (`Unreadable`) is not
an action that the environment refuses: both are counted, apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from allocentric.agents.actions_text import HeadAction, parse_action, text_from_action
from allocentric.agents.actions_tools import (
    ANSWER_TOOL,
    HEAD_TOOLS,
    WALK_TOOLS,
    ToolCall,
    call_from_head_action,
    call_from_walk_action,
    head_action_from_call,
    parse_call,
    text_from_call,
    walk_action_from_call,
)
from allocentric.agents.actions_walk import WALK_KINDS, WalkAction, parse_walk_action, text_from_walk_action
from allocentric.core.errors import DataError
from allocentric.core.records import json_bytes
from allocentric.core.types import Image, Unreadable

Form = Literal["text", "tools"]
"""How a model acts: `<answer>rotate(-45,0)</answer>`, or a tool call."""

ROTATE, SUBMIT, NOTHING = range(3)
"""Kinds of a head environment's actions."""


class Reading(NamedTuple):
    """One action, for the environment and for the record of what was done."""

    action: Any
    """Of the environment's action space."""
    said: str
    """Its canonical text, as it is repeated to the model."""


class Adapter(Protocol):
    """Words for one kind of environment."""

    @property
    def name(self) -> str:
        """Goes into every result: environment kind, form and version of the reader."""
        ...

    @property
    def idle(self) -> Any:
        """Action that spends a turn on a text that can't be read; None where the environment has none."""
        ...

    def system(self) -> str:
        """What is asked and how to act."""
        ...

    def picture(self, observation: Any) -> Image:
        """The picture of an observation, (H, W, 3)."""
        ...

    def state(self, observation: Any) -> str:
        """The rest of an observation in words, one line."""
        ...

    def instruction(self, observation: Any) -> str:
        """The task of the episode."""
        ...

    def read(self, text: str) -> Reading | Unreadable:
        """The one action of a text."""
        ...

    def feedback(self, info: Mapping[str, Any]) -> str:
        """What became of an action; empty where nothing is to be said."""
        ...


@dataclass(frozen=True, slots=True)
class HeadAdapter:
    """A head in a panorama: rotate and submit."""

    form: Form = "text"
    """How the model acts."""
    version: str = "strict-v1"
    """Of the reader."""

    @property
    def name(self) -> str:
        """Like "head/text/strict-v1"."""
        return f"head/{self.form}/{self.version}"

    @property
    def idle(self) -> dict[str, Any]:
        """Spends a turn."""
        return {"kind": NOTHING, "angles_rad": np.zeros(2)}

    def system(self) -> str:
        """What is asked and how to act."""
        task = (
            "You are a head inside a 360-degree panorama and see one part of it at a time; a green cross marks the "
            "middle of the view. Turn until the target of the instruction is at the cross, then submit the heading "
            "you look along. Yaw 0 is the panorama's centre and grows to the right, pitch grows upwards; both are "
            "in degrees. Rotations are relative to where you look, a submission is absolute and ends the episode. "
            "Take one action a turn."
        )
        return f"{task}\n\n{_how(self.form, ('rotate(yaw,pitch)', 'submit(yaw,pitch)'), HEAD_TOOLS, 'rotate(-45,0)')}"

    def picture(self, observation: Any) -> Image:
        """The view."""
        return _picture(observation, "view")

    def state(self, observation: Any) -> str:
        """Where the head looks."""
        yaw, pitch = (round(math.degrees(angle), 1) for angle in observation["heading_rad"])
        return f"You look along yaw {yaw:g}, pitch {pitch:g}."

    def instruction(self, observation: Any) -> str:
        """The task."""
        return str(observation["instruction"])

    def read(self, text: str) -> Reading | Unreadable:
        """The one action of a text."""
        action = (
            parse_action(text, self.version)
            if self.form == "text"
            else _from_call(text, self.version, head_action_from_call)
        )
        return action if isinstance(action, Unreadable) else self.reading(action)

    def reading(self, action: HeadAction) -> Reading:
        """A head action for the environment."""
        kind = ROTATE if action.kind == "rotate" else SUBMIT
        angles = {"kind": kind, "angles_rad": np.array([action.yaw_rad, action.pitch_rad])}
        said = text_from_action(action) if self.form == "text" else text_from_call(call_from_head_action(action))
        return Reading(angles, said)

    def feedback(self, info: Mapping[str, Any]) -> str:
        """Why an action was not carried out."""
        return "" if info.get("valid", True) else f"Not carried out: {info.get('problem') or 'not possible'}."


@dataclass(frozen=True, slots=True)
class WalkAdapter:
    """A walker: six moves, and an answer where a question is asked."""

    form: Form = "text"
    """How the model acts."""
    version: str = "strict-v1"
    """Of the reader."""
    questions: bool = False
    """Episodes end with an answer."""

    @property
    def name(self) -> str:
        """Like "walk/text/strict-v1"."""
        return f"walk/{self.form}/{self.version}"

    @property
    def idle(self) -> None:
        """Every move moves something."""
        return None

    def system(self) -> str:
        """What is asked and how to act."""
        end = "answer the question" if self.questions else "stop"
        moves = [f"{kind}()" for kind in WALK_KINDS if kind not in ("answer", "stop")]
        moves.append('answer("...")' if self.questions else "stop()")
        tools = [tool for tool in WALK_TOOLS if not (self.questions and tool["function"]["name"] == "stop")]
        if self.questions:
            tools.append(ANSWER_TOOL)
        task = (
            "You walk through a house and see what is before you. Look around, walk where the instruction needs you "
            f"to be, then {end}, which ends the episode. Take one action a turn."
        )
        return f"{task}\n\n{_how(self.form, moves, tools, 'forward()')}"

    def picture(self, observation: Any) -> Image:
        """What is before the walker."""
        return _picture(observation, "rgb")

    def state(self, observation: Any) -> str:
        """Position and heading, where the environment tells them."""
        said = []
        if "position_m" in observation:
            ahead, left = observation["position_m"]
            said.append(f"You are {ahead:.2f} m ahead and {left:.2f} m to the left of your start.")
        if "heading_rad" in observation:
            turn, pitch = (round(math.degrees(angle)) for angle in observation["heading_rad"])
            said.append(f"You have turned {turn} degrees to the left and look {pitch} degrees up.")
        if "goal_m" in observation:
            ahead, left = observation["goal_m"]
            said.append(f"The goal is {ahead:.2f} m ahead and {left:.2f} m to the left of you.")
        return " ".join(said)

    def instruction(self, observation: Any) -> str:
        """The task or question."""
        return str(observation["instruction"])

    def read(self, text: str) -> Reading | Unreadable:
        """The one move or answer of a text."""
        action = (
            parse_walk_action(text, self.version)
            if self.form == "text"
            else _from_call(text, self.version, walk_action_from_call)
        )
        if isinstance(action, WalkAction) and action.kind == "answer" and not self.questions:
            return Unreadable("there is no question to answer")
        return action if isinstance(action, Unreadable) else self.reading(action)

    def reading(self, action: WalkAction) -> Reading:
        """A move or answer for the environment."""
        move = 0 if action.kind == "answer" else WALK_KINDS.index(action.kind)
        said = text_from_walk_action(action) if self.form == "text" else text_from_call(call_from_walk_action(action))
        return Reading({"move": move, "answer": printable(action.text)} if self.questions else move, said)

    def feedback(self, info: Mapping[str, Any]) -> str:
        """Whether something stood in the way."""
        return "Something stood in the way." if info.get("collided") else ""


def printable(text: str) -> str:
    """Printable ASCII of a text, which is what answer spaces hold; other characters become question marks."""
    return text.encode("ascii", "replace").decode("ascii")


def _from_call(text: str, version: str, action_of: Callable[[ToolCall], Any]) -> Any:
    call = parse_call(text, version)
    return call if isinstance(call, Unreadable) else action_of(call)


def _picture(observation: Any, key: str) -> Image:
    if key not in observation:
        raise DataError(
            f"a model needs to see: expected the picture {key!r} in an observation, got {list(observation)}"
        )
    picture: Image = observation[key]
    return picture


def _how(form: Form, actions: Any, tools: Any, example: str) -> str:
    if form == "text":
        return (
            f"Actions: {', '.join(actions)}.\nReply with your reasoning and one action, like:\n"
            f"<think>...</think><answer>{example}</answer>"
        )
    schemas = "\n".join(json_bytes(tool).decode() for tool in tools)
    return (
        f"Functions:\n<tools>\n{schemas}\n</tools>\nReply with your reasoning and one call, like:\n"
        '<tool_call>\n{"name": <function>, "arguments": <object>}\n</tool_call>'
    )
