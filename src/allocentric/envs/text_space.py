"""A text space whose values survive Gymnasium's asynchronous vector environments.

Gymnasium 1.4 reads observations out of shared memory once, when a vector environment is made; arrays are views and
stay current, texts are copies and stay empty. Here the texts are read again whenever they are looked at or copied.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

from gymnasium import spaces
from gymnasium.vector.utils.shared_memory import read_from_shared_memory

_read_texts = read_from_shared_memory.dispatch(spaces.Text)


class Instruction(spaces.Text):
    """Texts of a bounded length, also none, over the characters of some known texts (and printable ASCII)."""

    def __init__(self, texts: Iterable[str]) -> None:
        known = list(texts)
        characters = sorted(set(string.printable).union(*known))  # in one order in every process
        longest = max((len(text) for text in known), default=1)
        super().__init__(max_length=max(longest, 1), min_length=0, charset="".join(characters))


class _CurrentTexts(Sequence[str]):
    """The texts that shared memory holds now; a copy is a plain tuple of them."""

    def __init__(self, space: Instruction, memory: Any, count: int) -> None:
        self._space, self._memory, self._count = space, memory, count

    def _read(self) -> tuple[str, ...]:
        texts = _read_texts(self._space, self._memory, self._count)
        assert isinstance(texts, tuple)
        return texts

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return self._read()[index]

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __deepcopy__(self, memo: dict[int, Any]) -> tuple[str, ...]:
        return self._read()


@read_from_shared_memory.register(Instruction)
def _instructions_in_shared_memory(space: Instruction, shared_memory: Any, n: int = 1) -> Any:
    return _CurrentTexts(space, shared_memory, n)
