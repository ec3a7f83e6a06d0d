"""How long jobs tell what they have done: a protocol with a silent default."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the course of one job. Calls come from one thread, in the order start, advance ..., stop."""

    def start(self, total: int, text: str) -> None:
        """A stage of `total` equal parts begins; a stage that was running ends."""
        ...

    def advance(self, count: int = 1, status: str = "") -> None:
        """`count` parts are done; `status` replaces the running remark (score, interval, unreadable count)."""
        ...

    def stop(self) -> None:
        """The job has ended, well or not."""
        ...


class SilentProgress:
    """Says nothing."""

    def start(self, total: int, text: str) -> None:
        """Say nothing."""

    def advance(self, count: int = 1, status: str = "") -> None:
        """Say nothing."""

    def stop(self) -> None:
        """Say nothing."""
