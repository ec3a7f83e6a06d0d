"""Text of a model -> head actions: versioned parsers, so that scores say how answers were read.

The text form is `<think>...</think><answer>rotate(-45,0)</answer>`: `rotate(yaw,pitch)` turns by angles in degrees,
`submit(yaw,pitch)` names an absolute direction.

`hstar-v1` reads as humanoid-vstar/hstar @7a52247 does: the think part may be absent, anything may stand around the
answer, the first of several actions parted by `|` counts, angles are whole numbers (30.5 is no action) of any size,
names are in lower case. `strict-v1` wants exactly one think part and one answer and nothing else, one action, finite
angles with or without fraction. `lenient-v1` takes the last action that stands anywhere in the text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from allocentric.core.errors import UserError, suggestion
from allocentric.core.types import Unreadable


@dataclass(frozen=True, slots=True)
class HeadAction:
    """What a model wants its head to do."""

    kind: Literal["rotate", "submit"]
    """Turn by the angles, or name the direction they give."""
    yaw_rad: float
    """Right positive."""
    pitch_rad: float
    """Up positive."""


_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_ACTION = re.compile(rf"\b(rotate|submit)\s*\(\s*({_NUMBER})\s*°?\s*,\s*({_NUMBER})\s*°?\s*\)", re.IGNORECASE)
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_WHOLE = re.compile(r"\s*<think>(?:(?!</?think>|</?answer>).)*</think>\s*<answer>([^<]*)</answer>\s*", re.DOTALL)
_CALL = re.compile(r"(rotate|submit)\(([^(),]*),([^(),]*)\)")
_ROUNDING = 1e-9  # of degrees that were radians
_LARGEST_DIGITS = 12  # whole numbers beyond this are no angles anybody means


def parse_action(text: str, version: str) -> HeadAction | Unreadable:
    """Read one action. UserError where there is no parser of this version."""
    if version not in PARSERS:
        raise UserError(f"unknown action parser {version!r}" + suggestion(version, PARSERS))
    return PARSERS[version](text)


def text_from_action(action: HeadAction, thought: str = "") -> str:
    """The text form of an action, in degrees; what every parser reads back where the angles are whole."""
    yaw, pitch = (shortest(math.degrees(angle)) for angle in (action.yaw_rad, action.pitch_rad))
    return f"<think>{thought}</think><answer>{action.kind}({yaw},{pitch})</answer>"


def _hstar_v1(text: str) -> HeadAction | Unreadable:
    answer = _ANSWER.search(text)
    if answer is None:
        return Unreadable("no <answer>...</answer>")
    first = answer[1].split("|")[0].strip()
    call = _CALL.fullmatch(first)
    if call is None:
        return Unreadable(f"not an action: {first[:60]!r}")
    angles = [part.strip() for part in call.groups()[1:]]
    if not all(re.fullmatch(r"[+-]?\d+", angle) and len(angle) <= _LARGEST_DIGITS for angle in angles):
        return Unreadable(f"angles are whole numbers here, got {first[:60]!r}")
    return _action(call[1], *angles)


def _strict_v1(text: str) -> HeadAction | Unreadable:
    answer = strict_answer(text)
    if isinstance(answer, Unreadable):
        return answer
    call = _ACTION.fullmatch(answer)
    if call is None:
        several = len(_ACTION.findall(answer)) > 1
        return Unreadable("more than one action" if several else f"not an action: {answer[:60]!r}")
    return _action(*call.groups())


def _lenient_v1(text: str) -> HeadAction | Unreadable:
    calls = _ACTION.findall(lenient_answer(text))
    return _action(*calls[-1]) if calls else Unreadable("no rotate(yaw,pitch) or submit(yaw,pitch) in the text")


def strict_answer(text: str) -> str | Unreadable:
    """The answer of a text that is one think part and one answer and nothing else."""
    whole = _WHOLE.fullmatch(text)
    if whole is None:
        return Unreadable("expected <think>...</think><answer>...</answer> and nothing else")
    return whole[1].strip()


def lenient_answer(text: str) -> str:
    """The last answer of a text, or all of it where it has none."""
    answers = _ANSWER.findall(text)
    return str(answers[-1]) if answers else text


PARSERS: Mapping[str, Callable[[str], HeadAction | Unreadable]] = {
    "hstar-v1": _hstar_v1,
    "strict-v1": _strict_v1,
    "lenient-v1": _lenient_v1,
}


def _action(kind: str, yaw: str, pitch: str) -> HeadAction | Unreadable:
    angles = math.radians(float(yaw)), math.radians(float(pitch))
    if not all(math.isfinite(angle) for angle in angles):
        return Unreadable("the angles are not finite")
    return HeadAction("rotate" if kind.lower() == "rotate" else "submit", *angles)


def shortest(angle: float) -> str:
    """A number without exponent, whole where it is so but for rounding, else with every digit that matters."""
    whole = round(angle)
    return str(whole) if abs(angle - whole) <= _ROUNDING else np.format_float_positional(angle, trim="-")
