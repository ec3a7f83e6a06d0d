"""The attention function under which a model reads blocks: new tokens see all blocks they are given, and each other
causally.

Everything of a layer happens in its call: keys are turned back to before their rotary embedding and kept, and the
blocks that the layer's memory gives are turned to where they lie for these tokens.

Shapes: B = 1, H query heads, K key-value heads, L new tokens, S keys, D head width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from allocentric.agents.kv_memory.contract import KVBlock, LayerMemory, Layout
from allocentric.sparse_attn.cache import turned

NAME = "allocentric_blocks"
"""Of the attention function in transformers."""


@dataclass(kw_only=True)
class Reading:
    """One call of the model, or the calls of one answer; handed to every attention function as `kv_reading`."""

    layers: Sequence[LayerMemory]
    """Memory of each layer."""
    rotary: Any
    """The language model's rotary embedding."""
    question: bool
    """Read what the memory selects, instead of what a new frame reads."""
    position_3BL: Tensor | None = None
    """Of this call's tokens."""
    start: int = 0
    """Position of the first new token, where the blocks end."""
    done: int = 0
    """Positions that new tokens have taken so far."""
    new: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """By layer: un-rotated keys (K, L, D) and values of all new tokens so far."""
    _context: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """By layer: rotated keys and values of the blocks and of the tokens so far."""
    attended: dict[int, int] = field(default_factory=dict)
    """By layer: keys that the last token read."""

    def extended(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """(1, K, S, D) rotated keys and values that a layer's new tokens read."""
        assert self.position_3BL is not None
        plain = turned(self.rotary, key, -self.position_3BL)
        if layer not in self._context:
            memory = self.layers[layer]
            frames = memory.runtime()
            if self.question:
                frames = memory.select(turned(self.rotary, query, -self.position_3BL)[0])
            self._context[layer] = self._assembled([*memory.first, *frames], key)
            self.new[layer] = plain[0, :, :0], value[0, :, :0]
        keys, values = (
            torch.cat([old, new], dim=2) for old, new in zip(self._context[layer], (key, value), strict=True)
        )
        self._context[layer] = keys, values
        old = self.new[layer]
        self.new[layer] = torch.cat([old[0], plain[0]], dim=1), torch.cat([old[1], value[0]], dim=1)
        self.attended[layer] = keys.shape[2]
        return keys, values

    def _assembled(self, blocks: Sequence[KVBlock], like: Tensor) -> tuple[Tensor, Tensor]:
        """Blocks side by side, so that they end at `start`."""
        if not blocks:
            empty = like[:, :, :0]
            return empty, empty
        at, placed = self.start - extent_of(blocks), []
        for block in blocks:
            placed.append(block.layout.positions() + at)
            at += block.layout.extent
        position_3BS = torch.cat(placed, dim=1)[:, None].to(like.device)
        keys = torch.cat([block.keys_KTD for block in blocks], dim=1)[None]
        values = torch.cat([block.values_KTD for block in blocks], dim=1)[None]
        return turned(self.rotary, keys, position_3BS), values

    def block(self, layer: int, layout: Layout, **facts: Any) -> KVBlock:
        """The new tokens of a layer as a block."""
        keys, values = self.new[layer]
        return KVBlock(keys_KTD=keys.contiguous(), values_KTD=values.contiguous(), layout=layout, **facts)


def extent_of(blocks: Sequence[KVBlock]) -> int:
    """Positions that blocks take side by side."""
    return sum(block.layout.extent for block in blocks)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    scaling: float | None = None,
    kv_reading: Reading | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """An attention function of transformers; without a reading it is causal attention."""
    del attention_mask
    new = query.shape[2]
    if kv_reading is not None:
        key, value = kv_reading.extended(int(module.layer_idx), query, key, value)
    mask = None
    if new > 1:
        mask = torch.ones(new, key.shape[2], dtype=torch.bool, device=key.device).tril(key.shape[2] - new)
    out = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
    )
    return out.transpose(1, 2).contiguous(), None


def no_mask(**_: Any) -> None:
    """What is seen is decided in `attend`."""
    return


@contextmanager
def reading(language_model: Any) -> Iterator[None]:
    """The language model attends by `attend`, and as before afterwards."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, no_mask)
    config = language_model.config
    before = config._attn_implementation_internal
    config._attn_implementation_internal = NAME
    try:
        yield
    finally:
        config._attn_implementation_internal = before
