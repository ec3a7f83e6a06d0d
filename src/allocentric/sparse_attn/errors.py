"""What an attention method or executor can't do, said before anything is computed."""

from __future__ import annotations

from allocentric.core.errors import UserError


class AttentionError(UserError):
    """A method, mixer or executor was asked for something it can't do; says what would."""


class MissingGeometryError(AttentionError):
    """A method needs to know where tokens lie in time and picture, and nobody said."""

    def __init__(self, method: str) -> None:
        super().__init__(
            f"attention method {method!r} needs the tokens' geometry (frame, row, column), got none; pass "
            "geometry=Geometry.from_grids(...) to the model, or let register.use(model, ...) build it"
        )


class ExecutorError(AttentionError):
    """An executor can't run a plan; names one that can."""
