"""Errors every environment shares."""

from __future__ import annotations

from allocentric.core.errors import UserError


class EpisodeOverError(UserError):
    """An action came after the end of the episode, or before its start."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or "the episode is over, or none has begun; call reset() to start the next one")
