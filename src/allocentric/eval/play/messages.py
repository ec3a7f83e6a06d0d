"""What a page may say, with the bounds of every value. Everything a person types is text."""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from allocentric.core.config import Settings
from allocentric.envs.questions import LONGEST_ANSWER
from allocentric.eval.play.refusal import Refusal

LARGEST_BODY_BYTES = 64 * 1024
"""Of a request; an answer of the greatest length fits whatever its characters."""

Name = Annotated[str, Field(max_length=64)]
Angle = Annotated[float, Field(ge=-2 * math.pi, le=2 * math.pi, allow_inf_nan=False)]
Move = Literal["forward", "left", "right", "up", "down", "stop"]


class Deed(Settings):
    """What a person did."""

    kind: Literal["rotate", "submit", "move", "answer"]
    """Turn the head; name the direction of the crosshair; walk; say something."""
    yaw_rad: Angle = 0.0
    """Of a rotation; right positive."""
    pitch_rad: Angle = 0.0
    """Of a rotation; up positive."""
    move: Move | None = None
    """Of a walker."""
    text: str = Field(default="", max_length=LONGEST_ANSWER)
    """Of an answer."""


class Join(Settings):
    """A page opens."""

    take: bool = False
    """Take the game from the page that holds it."""


class Hello(Settings):
    """A page asks how things stand, or leaves."""

    page: Name
    """Name given by `join`."""


class Begin(Settings):
    """The person is ready for an episode."""

    page: Name
    """Name given by `join`."""
    number: int = Field(ge=0)
    """Episode to begin."""


class Act(Settings):
    """One action."""

    page: Name
    """Name given by `join`."""
    number: int = Field(ge=0)
    """Episode it belongs to."""
    attempt: Name
    """Which beginning of that episode."""
    sequence: int = Field(ge=0)
    """How many actions came before it."""
    deed: Deed
    """The action."""


Message = TypeVar("Message", bound=Settings)


def read_message(cls: type[Message], body: bytes) -> Message:
    """A message out of a request. Refusal where it isn't one."""
    try:
        return cls.model_validate_json(body)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise Refusal("wrong", f"the request is not understood: {where or 'body'}: {problem['msg']}") from None
