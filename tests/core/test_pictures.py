"""Evenly spaced pictures."""

from __future__ import annotations

import pytest

from allocentric.core.pictures import sample_frames


def test_sample_frames_is_even_and_holds_both_ends() -> None:
    assert sample_frames(4, 10) == [0, 3, 6, 9]
    assert sample_frames(1, 10) == [0]
    with pytest.raises(ValueError, match="1 to 3 frames, got 4"):
        sample_frames(4, 3)
