"""Tests of speed that hold on any machine: processor time of one piece of work beside that of another."""

from __future__ import annotations

import time
from collections.abc import Callable


def cpu_s(work: Callable[[], object], rounds: int = 1) -> float:
    """Least processor time of the work over some rounds, in seconds: what a busy machine disturbs least."""
    times_s = []
    for _ in range(rounds):
        start_s = time.process_time()
        work()
        times_s.append(time.process_time() - start_s)
    return min(times_s)


def grows_linearly(work: Callable[[int], object], size: int) -> bool:
    """Whether eight times the size costs about eight times as much, and nowhere near sixty-four times.

    What takes under 50 ms at the larger size is passed over: it is too short to tell.
    """
    small_s, large_s = cpu_s(lambda: work(size), rounds=3), cpu_s(lambda: work(8 * size), rounds=3)
    return large_s < 24 * small_s + 0.05
