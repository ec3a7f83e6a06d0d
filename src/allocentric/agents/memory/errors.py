"""What a memory refuses, said before its state changes."""

from __future__ import annotations

from allocentric.core.errors import UserError


class StreamMemoryError(UserError):
    """A stream, a query or a budget that a memory can't work with."""


class FrameOrderError(StreamMemoryError):
    """A frame has no time, or one before the last frame's."""


class DuplicateTimeError(FrameOrderError):
    """Two frames have one time."""


class BudgetTooSmallError(StreamMemoryError):
    """The budget does not hold one frame."""


class FeatureSizeError(StreamMemoryError):
    """Features of another size than the stream's first, or with values that are no numbers."""


class NothingSeenError(StreamMemoryError):
    """A query before the first frame."""


class QueryTimeError(StreamMemoryError):
    """A query of a time that the stream has already passed."""


class WordsNeededError(StreamMemoryError):
    """A policy compares pictures with words, and the encoder knows no words or the query names none."""
