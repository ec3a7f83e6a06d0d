"""Text of a model -> a walker's moves: the same versions and the same frame as for heads (`agents.actions_text`).

`<think>...</think><answer>forward()</answer>`; the moves are `forward() left() right() up() down() stop()`, and where
a question is asked `answer("...")` with the answer as a JSON string. `strict-v1` wants the frame and exactly one move;
`lenient-v1` takes the last move that stands anywhere, in either case, and single quotes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from allocentric.agents.actions_text import lenient_answer, strict_answer
from allocentric.core.errors import UserError, suggestion
from allocentric.core.types import Unreadable

WalkKind = Literal["stop", "forward", "left", "right", "up", "down", "answer"]
WALK_KINDS: tuple[WalkKind, ...] = get_args(WalkKind)
"""In the order of the environments' moves; `answer` is a stop with something to say."""


@dataclass(frozen=True, slots=True)
class WalkAction:
    """What a model wants its body to do."""

    kind: WalkKind
    """A move, or the answer that ends an episode."""
    text: str = ""
    """The answer; empty for moves."""


_STRING = r'"(?:[^"\\]|\\.)*"'
_MOVE = re.compile(r"\b(stop|forward|left|right|up|down)\s*\(\s*\)", re.IGNORECASE)
_ANY = re.compile(
    rf"\b(?:(stop|forward|left|right|up|down)\s*\(\s*\)|(answer)\s*\(\s*({_STRING}|'[^']*')\s*\))",
    re.IGNORECASE | re.DOTALL,
)
_STRICT_ANSWER = re.compile(rf"answer\s*\(\s*({_STRING})\s*\)", re.DOTALL)


def parse_walk_action(text: str, version: str) -> WalkAction | Unreadable:
    """Read one move or answer. UserError where there is no parser of this version."""
    if version not in WALK_PARSERS:
        raise UserError(f"unknown action parser {version!r}" + suggestion(version, WALK_PARSERS))
    return WALK_PARSERS[version](text)


def text_from_walk_action(action: WalkAction, thought: str = "") -> str:
    """The text form of a move or answer; what every parser reads back."""
    said = ""
    if action.kind == "answer":  # no tag may open inside an answer
        said = json.dumps(action.text, ensure_ascii=True).replace("<", "\\u003c")
    return f"<think>{thought}</think><answer>{action.kind}({said})</answer>"


def _strict_v1(text: str) -> WalkAction | Unreadable:
    answer = strict_answer(text)
    if isinstance(answer, Unreadable):
        return answer
    move = _MOVE.fullmatch(answer)
    if move is not None:
        return _action(move[1], "")
    said = _STRICT_ANSWER.fullmatch(answer)
    if said is not None:
        return _action("answer", said[1])
    several = len(_ANY.findall(answer)) > 1
    return Unreadable("more than one action" if several else f"not a move: {answer[:60]!r}")


def _lenient_v1(text: str) -> WalkAction | Unreadable:
    calls = _ANY.findall(lenient_answer(text))
    if not calls:
        return Unreadable("no move such as forward() in the text")
    move, answer, said = calls[-1]
    return _action(move or answer, said)


WALK_PARSERS: Mapping[str, Callable[[str], WalkAction | Unreadable]] = {
    "strict-v1": _strict_v1,
    "lenient-v1": _lenient_v1,
}


def _action(name: str, quoted: str) -> WalkAction | Unreadable:
    kind = next(kind for kind in WALK_KINDS if kind == name.lower())
    if kind != "answer":
        return WalkAction(kind)
    if quoted.startswith("'"):
        return WalkAction(kind, quoted[1:-1])
    try:
        return WalkAction(kind, json.loads(quoted, strict=False))
    except ValueError:
        return Unreadable(f"the answer is no JSON string: {quoted[:60]!r}")
