"""Which page may act: one at a time, whoever came last and asked for it."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from allocentric.eval.play.refusal import Refusal

SILENCE_S = 8.0
"""A page not heard of for this long has gone; pages speak up every two seconds."""


class Pages:
    """The page that holds the game, known by a name it was given."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._holder: str | None = None
        self._heard_s = 0.0

    def join(self, *, take: bool) -> str:
        """A name for a new page. Refusal while another one plays, unless the new one takes the game over."""
        if self._holder is not None and not take and self._clock() - self._heard_s < SILENCE_S:
            raise Refusal(
                "held", "This game is open in another page. Continue there, or take it over: nothing is lost."
            )
        self._holder = secrets.token_urlsafe(12)
        self._heard_s = self._clock()
        return self._holder

    def check(self, page: str) -> None:
        """Refusal unless this page holds the game."""
        if page != self._holder:
            raise Refusal("taken", "Another page has taken this game over, or the program was started again.")
        self._heard_s = self._clock()

    def leave(self, page: str) -> None:
        """Let the game go, where this page holds it."""
        if page == self._holder:
            self._holder = None
