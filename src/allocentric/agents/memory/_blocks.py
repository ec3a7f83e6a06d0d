"""The store of Cambrian-S: a sensory window, and a memory that surprise decides over (arXiv 2511.04670).

One mechanism for whatever a block holds: patch features of a frame, or the keys and values of one layer. The rules are
those of cambrian-s (fork zlduke/cambrian-s@63fa476, cambrians_vsr.py):

- New blocks enter the window. The oldest leaves it when the window is full; it is pooled 2x2 if its surprise is below
  the threshold, and enters the memory.
- When the memory is larger than its limit, `drop` removes the least surprising block until the memory is smaller than
  the limit. `drop_merge` first merges every two neighbours whose surprise both reach the threshold, again and again,
  and after each removal the two that become neighbours by it, if both reach the threshold.

Blocks have one length before pooling, so two that reach the threshold can be merged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, Literal, Protocol, Self, TypeVar, runtime_checkable

Consolidation = Literal["drop", "drop_merge"]


@runtime_checkable
class StoredBlock(Protocol):
    """What the store needs to know of a block. Blocks don't change; pooling and merging make new ones."""

    @property
    def surprise(self) -> float:
        """1 - mean cosine of predicted and seen patches."""
        ...

    @property
    def nbytes(self) -> int:
        """Charged to the budget."""
        ...

    def pooled(self) -> Self:
        """The mean of each 2x2 of its patches, with the same surprise."""
        ...

    def merged(self, later: Self) -> Self:
        """The mean of both, element by element and in surprise."""
        ...


BlockT = TypeVar("BlockT", bound=StoredBlock)


class BlockStore(Generic[BlockT]):
    """Window and memory of one stream (of one layer)."""

    def __init__(self, *, window: int, threshold: float, consolidation: Consolidation, pool: bool = True) -> None:
        """An empty store.

        Args:
            window: Blocks of the sensory window.
            threshold: Surprise below which a block is pooled, and from which on two may be merged.
            consolidation: See the top of the file.
            pool: False never pools (a downsampling ratio of 1).
        """
        self._window_length, self._threshold = window, threshold
        self._consolidation, self._pool = consolidation, pool
        self.window: deque[BlockT] = deque()
        self.memory: list[BlockT] = []
        self._surprises: list[float] = []  # of the memory's blocks, so that finding the least is quick
        self._bytes = {"window": 0, "memory": 0}

    def __iter__(self) -> Iterator[BlockT]:
        """All blocks in order of time, those of the window as they are."""
        yield from self.memory
        yield from self.window

    def __len__(self) -> int:
        return len(self.memory) + len(self.window)

    def copy(self) -> Self:
        """A store of its own with the same blocks."""
        other = type(self)(
            window=self._window_length,
            threshold=self._threshold,
            consolidation=self._consolidation,
            pool=self._pool,
        )
        other.window, other.memory = self.window.copy(), self.memory.copy()
        other._surprises, other._bytes = self._surprises.copy(), self._bytes.copy()
        return other

    def nbytes(self) -> dict[str, int]:
        """By component; kept up to date, not counted anew."""
        return dict(self._bytes)

    def add(self, block: BlockT) -> None:
        """Take the newest block; the oldest of a full window moves on."""
        self.window.append(block)
        self._bytes["window"] += block.nbytes
        if len(self.window) > self._window_length:
            self.settle()

    def settle(self) -> None:
        """Move the oldest block of the window into the memory."""
        block = self.window.popleft()
        self._bytes["window"] -= block.nbytes
        self.memory.append(self.settled(block))
        self._surprises.append(block.surprise)
        self._bytes["memory"] += self.memory[-1].nbytes

    def settled(self, block: BlockT) -> BlockT:
        """The block as it enters the memory."""
        return block.pooled() if self._pool and block.surprise < self._threshold else block

    def consolidate(self, limit_bytes: int) -> None:
        """Bring a memory that is larger than a limit below it; nothing happens to one that is not.

        One block at least is removed from a memory that is larger, even where merging alone would have done, as
        published; an empty memory stays.
        """
        if self._bytes["memory"] <= limit_bytes:
            return
        if self._consolidation == "drop_merge":
            place = 0
            while place + 1 < len(self.memory):
                place += 0 if self._merge(place) else 1
        while self.memory:
            self._drop_least()
            if self._bytes["memory"] < limit_bytes:
                break

    def _drop_least(self) -> None:
        place = self._surprises.index(min(self._surprises))  # of equal ones the first
        self._bytes["memory"] -= self.memory.pop(place).nbytes
        del self._surprises[place]
        if self._consolidation == "drop_merge" and 0 < place < len(self.memory):
            self._merge(place - 1)

    def _merge(self, place: int) -> bool:
        """Merge a block with the one after it, where both are surprising."""
        first, second = self.memory[place], self.memory[place + 1]
        if min(first.surprise, second.surprise) < self._threshold:
            return False
        both = first.merged(second)
        self.memory[place : place + 2] = [both]
        self._surprises[place : place + 2] = [both.surprise]
        self._bytes["memory"] += both.nbytes - first.nbytes - second.nbytes
        return True
