"""What a method and a mixer are: the two classes that one file in `methods/` or `mixers/` implements.

Shapes: B batch, H query heads, K key-value heads, L queries, S keys, D head width, E model width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from allocentric.core import config
from allocentric.sparse_attn.errors import AttentionError, MissingGeometryError
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.plan import Extent, Plan


@dataclass(frozen=True, kw_only=True)
class Dims:
    """Sizes of the attention layer a method or mixer is built for."""

    width: int
    """E."""
    heads: int
    """H."""
    kv_heads: int
    """K; divides H."""
    head_dim: int
    """D."""
    layer: int = 0
    """Index of the layer."""
    layers: int = 1
    """Layers of the model."""
    norm_eps: float = 1e-6
    """Of RMS norms."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of an attention layer: all a method may know beside queries, keys and values.

    Rows of a batch hold no padding: `attend.attend` runs rows of different lengths apart, so that position 0 is the
    first real token of every row.
    """

    extent: Extent
    """Sizes, and whether it is causal."""
    scale: float
    """Factor of the scores, usually D ** -0.5."""
    geometry: Geometry | None = None
    """Of the S keys; the queries are the last L of them (all of them where not causal)."""

    def geometry_for(self, method: str) -> Geometry:
        """The geometry, or MissingGeometryError."""
        if self.geometry is None:
            raise MissingGeometryError(method)
        return self.geometry


class Selector(nn.Module, ABC):
    """A method that decides which pairs count. One instance per layer; only trainable ones hold parameters."""

    name: ClassVar[str]
    """File name."""
    causal: ClassVar[bool]
    """Can serve causal language models."""
    bidirectional: ClassVar[bool]
    """Can serve calls without causality (vision towers, video diffusion)."""
    streams: ClassVar[bool]
    """What a query sees never depends on later tokens, so one call, chunks and single steps give the same output."""
    needs_geometry: ClassVar[bool] = False
    """Has to know where tokens lie."""
    trainable: ClassVar[bool] = False
    """Has parameters that must be trained before its choices mean anything."""

    @abstractmethod
    def plan(self, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, call: Call) -> Plan:
        """Decide for one call.

        Args:
            q_BHLD: Queries, after rotary embedding.
            k_BKSD: Keys of the whole cache, after rotary embedding, with the new ones last.
            v_BKSD: Values.
            call: Everything else.

        Raises:
            AttentionError: the method can't serve this call.
        """

    def check(self, call: Call) -> None:
        """Refuse what the method can't serve: causality, geometry."""
        if call.extent.causal and not self.causal:
            raise AttentionError(
                f"attention method {self.name!r} is not causal, so it can't serve a language model's text tower; "
                "it serves vision towers"
            )
        if not call.extent.causal and not self.bidirectional:
            raise AttentionError(
                f"attention method {self.name!r} is causal only; a vision tower needs a bidirectional method"
            )
        if self.needs_geometry:
            call.geometry_for(self.name)
        if self.needs_geometry and call.geometry is not None and call.geometry.length != call.extent.kv_len:
            raise AttentionError(
                f"attention method {self.name!r} got the geometry of {call.geometry.length} tokens for "
                f"{call.extent.kv_len} keys; in streaming, hand over the geometry of everything in the cache"
            )


class SelectorModule:
    """What a file in `methods/` defines. For readers and type checkers; nobody inherits it."""

    Settings: type[config.Settings]
    """Every setting with its default: the published ones."""
    EXAMPLE: config.Settings
    """Settings that prune something at a hundred tokens: what the contract tests run."""
    EXHAUSTIVE: config.Settings | None
    """Settings under which a few hundred tokens give dense attention (window >= length, top-k = all); None where the
    method has no such limit."""

    build: Callable[[config.Settings, Dims], Selector]
    """The method for one layer."""


# ----------------------------------------------------------------------------------------------------------- mixers


@dataclass
class MixerState:
    """What a mixer remembers of a stream: tensors by name, batch first, and how many tokens it has seen."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    """Recurrent matrices, fast weights, momentum, windows of keys and values, pending tokens ..."""
    seen: int = 0
    """Tokens consumed, the same for all rows."""

    def nbytes(self) -> dict[str, int]:
        """Bytes by component."""
        return {name: tensor.numel() * tensor.element_size() for name, tensor in self.tensors.items()}

    def snapshot(self) -> MixerState:
        """A copy that later calls don't touch."""
        return MixerState({name: tensor.detach().clone() for name, tensor in self.tensors.items()}, self.seen)

    def restore(self, snapshot: MixerState) -> None:
        """Go back to a snapshot: speculative tokens are forgotten."""
        self.tensors = {name: tensor.clone() for name, tensor in snapshot.tensors.items()}
        self.seen = snapshot.seen

    def detach(self) -> None:
        """Cut the graph: truncated back-propagation through time."""
        self.tensors = {name: tensor.detach() for name, tensor in self.tensors.items()}

    def reorder(self, rows: Sequence[int] | Tensor) -> None:
        """Keep these rows of the batch, in this order (beam search, finished rows)."""
        index = torch.as_tensor(rows)
        self.tensors = {name: tensor[index.to(tensor.device)] for name, tensor in self.tensors.items()}

    def reset(self, rows: Sequence[int], fresh: MixerState) -> None:
        """Let some rows begin anew with the state `fresh`, a mixer's `initial_state(1)`.

        Raises:
            AttentionError: rows can't begin anew alone, because the state's extent grew with what was seen.
        """
        for name, tensor in self.tensors.items():
            start = fresh.tensors.get(name)
            if start is None or start.shape[1:] != tensor.shape[1:]:
                raise AttentionError(
                    f"rows {list(rows)} can't be reset alone: {name!r} has grown to {tuple(tensor.shape[1:])}; "
                    "reset at the start of a chunk, or give the rows a state of their own"
                )
        for name, tensor in self.tensors.items():
            changed = tensor.clone()
            changed[list(rows)] = fresh.tensors[name].to(tensor)
            self.tensors[name] = changed


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one mixer layer costs, per batch row; exact counts of its matrix products."""

    forward_flops: int
    """Multiplications and additions, two each per product."""
    state_bytes: int
    """Bytes carried from token to token."""


class Mixer(nn.Module, ABC):
    """A layer that takes the place of attention and carries a state."""

    name: ClassVar[str]
    """File name."""
    growth: ClassVar[Literal["constant", "linear"]]
    """How the state's bytes grow with the stream (constant once its window and pending chunk are full)."""
    needs_geometry: ClassVar[bool] = False
    """Has to know where tokens lie."""
    streams: ClassVar[bool] = True
    """One call, chunks and single steps give the same output."""

    @abstractmethod
    def initial_state(self, batch: int, *, device: torch.device | str, dtype: torch.dtype) -> MixerState:
        """The state before the first token."""

    @abstractmethod
    def forward(
        self,
        x_BLE: Tensor,
        *,
        rope: tuple[Tensor, Tensor] | None = None,
        geometry: Geometry | None = None,
        state: MixerState | None = None,
    ) -> Tensor:
        """Mix tokens along the sequence.

        Args:
            x_BLE: Inputs, after the layer's norm. Rows hold no padding.
            rope: cos and sin, each (B, L, D), of the new tokens, as transformers' text models hand them to attention.
            geometry: Of the L new tokens, numbered on from what the state has seen.
            state: Read and updated in place; None is a sequence that begins and ends with this call.

        Returns:
            y_BLE.
        """

    @abstractmethod
    def cost(self, length: int) -> Cost:
        """Cost of a sequence of `length` tokens in one call."""


class MixerModule:
    """What a file in `mixers/` defines. For readers and type checkers; nobody inherits it."""

    Settings: type[config.Settings]
    """Every setting with its default: the published ones."""
    EXAMPLE: config.Settings
    """Small settings under which a hundred tokens cross several chunks and windows: what the contract tests run."""

    build: Callable[[config.Settings, Dims], Mixer]
    """A freshly initialised layer."""
