"""Tool calls -> the same actions as text: functions with JSON schemas for heads and walkers.

Servers return calls as a name and arguments; models that are only given text write them as
`<tool_call>{"name": "rotate", "arguments": {"yaw": -45, "pitch": 0}}</tool_call>`. `strict-v1` wants exactly one such
call, with reasoning only before it; `lenient-v1` takes the last call that is one, with or without the tags.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from allocentric.agents.actions_text import HeadAction, shortest
from allocentric.agents.actions_walk import WALK_KINDS, WalkAction
from allocentric.core.errors import UserError, suggestion
from allocentric.core.types import Unreadable

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One function call of a model."""

    name: str
    """Function."""
    arguments: Mapping[str, Any]
    """JSON values by parameter."""


def _function(name: str, description: str, **parameters: Schema) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": parameters,
        "required": list(parameters),
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


def _angle(description: str) -> Schema:
    return {"type": "number", "description": description}


HEAD_TOOLS: tuple[dict[str, Any], ...] = (
    _function(
        "rotate",
        "Turn the head from where it looks now.",
        yaw=_angle("degrees to the right; negative turns left"),
        pitch=_angle("degrees up; negative tilts down"),
    ),
    _function(
        "submit",
        "Name the direction of the target and end the episode.",
        yaw=_angle("absolute heading in degrees; 0 is the panorama's centre, + is right of it"),
        pitch=_angle("absolute degrees above the horizon"),
    ),
)
"""Functions of a head, in the chat-completions form."""

WALK_TOOLS: tuple[dict[str, Any], ...] = (
    _function("forward", "Take one step forward."),
    _function("left", "Turn left on the spot."),
    _function("right", "Turn right on the spot."),
    _function("up", "Look further up."),
    _function("down", "Look further down."),
    _function("stop", "End the episode here."),
)
"""Functions of a walker."""

ANSWER_TOOL: dict[str, Any] = _function(
    "answer",
    "Answer the question and end the episode.",
    text={"type": "string", "description": "the answer, as short as the question allows"},
)
"""Function of a walker who is asked a question, beside `WALK_TOOLS`."""

_TOOLS = {tool["function"]["name"]: tool for tool in (*HEAD_TOOLS, *WALK_TOOLS, ANSWER_TOOL)}
_HEAD = tuple(tool["function"]["name"] for tool in HEAD_TOOLS)
_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


# ------------------------------------------------------------------------------------------------- calls <-> actions


def head_action_from_call(call: ToolCall) -> HeadAction | Unreadable:
    """The head action a call means, or why it means none. Angles are finite numbers in degrees."""
    problem = _problem(call, _HEAD)
    if problem is not None:
        return problem
    yaw, pitch = (math.radians(float(call.arguments[key])) for key in ("yaw", "pitch"))
    return HeadAction("rotate" if call.name == "rotate" else "submit", yaw, pitch)


def call_from_head_action(action: HeadAction) -> ToolCall:
    """The call that means an action."""
    angles = {"yaw": action.yaw_rad, "pitch": action.pitch_rad}
    return ToolCall(action.kind, {key: json.loads(shortest(math.degrees(angle))) for key, angle in angles.items()})


def walk_action_from_call(call: ToolCall) -> WalkAction | Unreadable:
    """The move or answer a call means, or why it means none."""
    problem = _problem(call, WALK_KINDS)
    if problem is not None:
        return problem
    kind = next(kind for kind in WALK_KINDS if kind == call.name)
    return WalkAction(kind, call.arguments["text"] if kind == "answer" else "")


def call_from_walk_action(action: WalkAction) -> ToolCall:
    """The call that means a move or answer."""
    return ToolCall(action.kind, {"text": action.text} if action.kind == "answer" else {})


# --------------------------------------------------------------------------------------------------- calls as text


def parse_call(text: str, version: str) -> ToolCall | Unreadable:
    """Read the one call of a text. UserError where there is no parser of this version."""
    if version not in CALL_PARSERS:
        raise UserError(f"unknown tool-call parser {version!r}" + suggestion(version, CALL_PARSERS))
    return CALL_PARSERS[version](text)


def text_from_call(call: ToolCall) -> str:
    """The call as a model writes it."""
    said = json.dumps({"name": call.name, "arguments": dict(call.arguments)}).replace("<", "\\u003c")
    return f"<tool_call>\n{said}\n</tool_call>"


def _strict_v1(text: str) -> ToolCall | Unreadable:
    calls = _CALL.findall(text)
    if len(calls) != 1 or text.count("<tool_call>") != 1:
        return Unreadable("more than one action" if calls else "no <tool_call>...</tool_call>")
    if text[text.rindex("</tool_call>") + len("</tool_call>") :].strip():
        return Unreadable("text after the tool call")
    return _call_of(calls[0])


def _lenient_v1(text: str) -> ToolCall | Unreadable:
    found: ToolCall | Unreadable = Unreadable("no tool call in the text")
    for part in reversed(_CALL.findall(text) or [text]):
        found = _call_of(part)
        if isinstance(found, ToolCall):
            break
    return found


CALL_PARSERS: Mapping[str, Callable[[str], ToolCall | Unreadable]] = {
    "strict-v1": _strict_v1,
    "lenient-v1": _lenient_v1,
}


def _call_of(text: str) -> ToolCall | Unreadable:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return Unreadable(f"a tool call is no JSON: {text.strip()[:60]!r}")
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return Unreadable(f"a tool call has a name and arguments, got {text.strip()[:60]!r}")
    arguments = value.get("arguments", {})
    if not isinstance(arguments, dict):
        return Unreadable(f"the arguments of a tool call are an object, got {text.strip()[:60]!r}")
    return ToolCall(value["name"], arguments)


def _problem(call: ToolCall, known: Sequence[str]) -> Unreadable | None:
    """Why a call does not fit the schema of its function."""
    if call.name not in known:
        return Unreadable(f"there is no function {call.name[:60]!r}; known: {', '.join(known)}")
    expected = _TOOLS[call.name]["function"]["parameters"]["properties"]
    if set(call.arguments) != set(expected):
        return Unreadable(f"{call.name} takes {sorted(expected) or 'no arguments'}, got {sorted(call.arguments)}")
    for key, schema in expected.items():
        if not _fits(call.arguments[key], schema["type"]):
            return Unreadable(f"{call.name}: {key} is a {schema['type']}, got {str(call.arguments[key])[:60]!r}")
    return None


def _fits(value: Any, kind: str) -> bool:
    if kind == "string":
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
