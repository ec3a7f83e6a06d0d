"""What a page is told when its request is not carried out."""

from __future__ import annotations

from typing import Literal, TypeAlias

Reason: TypeAlias = Literal["held", "taken", "stale", "over", "wrong", "unsaved"]

STATUS: dict[Reason, int] = {"held": 423, "taken": 423, "stale": 409, "over": 409, "wrong": 400, "unsaved": 507}
"""HTTP status of each reason."""


class Refusal(Exception):  # noqa: N818 - not a failure: an answer to a request
    """A request that is not carried out; the game is as it was."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.message = message
