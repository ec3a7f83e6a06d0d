"""Settings that differ from head to head."""

from __future__ import annotations

from typing import TypeVar

from allocentric.core.errors import SettingsError
from allocentric.sparse_attn.contract import Dims

T = TypeVar("T")


def heads_of_layer(method: str, patterns: tuple[T, ...], dims: Dims) -> tuple[T, ...]:
    """One pattern per head of a layer, from one for all heads, one per head, or one per head of every layer.

    Raises:
        SettingsError: there is another number of them.
    """
    if len(patterns) not in (1, dims.heads, dims.heads * dims.layers):
        raise SettingsError(
            f"{method}: got {len(patterns)} patterns for {dims.layers} layers of {dims.heads} heads; give 1, "
            f"{dims.heads} or {dims.heads * dims.layers}"
        )
    start = dims.layer * dims.heads
    return tuple(patterns[(start + head) % len(patterns)] for head in range(dims.heads))
