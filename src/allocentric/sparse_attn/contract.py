"""What a method and a mixer are: the two classes that one file in `methods/` or `mixers/` implements.

Shapes: B batch, H query heads, K key-value heads, L queries, S keys, D head width, E model width.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol, cast, runtime_checkable

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
    qkv_bias: bool = False
    """Whether the projections to queries, keys and values have a bias (Qwen2.5-VL)."""
    out_bias: bool = False
    """Whether the output projection has one."""
    qk_norm: bool = False
    """Whether queries and keys pass an RMS norm per head (Qwen3-VL, Qwen3.5)."""
    norm_offset: float = 0.0
    """Added to the weights of these norms: 1 where weights are stored around 0 (Qwen3.5)."""
    gated_output: bool = False
    """Whether the query projection also makes a gate, whose sigmoid multiplies the heads' outputs (Qwen3.5)."""


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
    streams: bool
    """What a query sees never depends on later tokens, so one call, chunks and single steps give the same output.
    May depend on the settings."""
    looks_ahead: ClassVar[bool] = False
    """Lets some queries of a causal call see keys after them."""
    needs_geometry: bool = False
    """Has to know where tokens lie. May depend on the settings."""
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


@runtime_checkable
class Distilled(Protocol):
    """A trainable method whose choices pass no gradient on: its parameters are trained by a loss of its own."""

    def distillation_loss(self, q_BHLD: Tensor, k_BKSD: Tensor, call: Call) -> Tensor:
        """How far the method's foresight is from the dense attention of this call; a scalar in nats."""


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


@dataclass(kw_only=True)
class MixerState:
    """What a mixer remembers of a stream: tensors by name, batch first, and how many tokens each row has seen.

    The shape of a tensor never depends on what was seen, except along axis 2 of those in `growing`. Tensors are
    replaced, never written in place, so that a graph through them stays valid.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    """Recurrent matrices, fast weights, momentum, windows of keys and values, pending tokens ..."""
    seen: list[int]
    """Per row of the batch: tokens consumed."""
    growing: frozenset[str] = frozenset()
    """Tensors whose axis 2 is one entry per token seen, filled up with zeros in rows that saw fewer."""

    @property
    def batch(self) -> int:
        """B."""
        return len(self.seen)

    def nbytes(self) -> dict[str, int]:
        """Bytes by component."""
        return {name: tensor.numel() * tensor.element_size() for name, tensor in self.tensors.items()}

    def snapshot(self) -> MixerState:
        """A copy that later calls don't touch."""
        copies = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}
        return MixerState(tensors=copies, seen=list(self.seen), growing=self.growing)

    def restore(self, snapshot: MixerState) -> None:
        """Go back to a snapshot: speculative tokens are forgotten."""
        self.tensors = {name: tensor.clone() for name, tensor in snapshot.tensors.items()}
        self.seen = list(snapshot.seen)

    def detach(self) -> None:
        """Cut the graph: truncated back-propagation through time."""
        self.tensors = {name: tensor.detach() for name, tensor in self.tensors.items()}

    def take(self, rows: Sequence[int]) -> MixerState:
        """A state of some rows, in this order; rows may repeat."""
        seen = [self.seen[row] for row in rows]
        tensors = {}
        for name, tensor in self.tensors.items():
            picked = tensor[torch.as_tensor(rows, dtype=torch.long, device=tensor.device)]
            tensors[name] = picked[:, :, : max(seen, default=0)].clone() if name in self.growing else picked
        return MixerState(tensors=tensors, seen=seen, growing=self.growing)

    def put(self, rows: Sequence[int], part: MixerState) -> None:
        """Write the state of some rows, as `take` gave it, back."""
        for row, count in zip(rows, part.seen, strict=True):
            self.seen[row] = count
        for name, new in part.tensors.items():
            old = self.tensors[name]
            if name in self.growing:
                old, new = (_with_extent(tensor, max(self.seen)) for tensor in (old, new))
            index = torch.as_tensor(rows, dtype=torch.long, device=old.device)
            self.tensors[name] = old.index_copy(0, index, new.to(old.dtype))

    def reorder(self, rows: Sequence[int] | Tensor) -> None:
        """Keep these rows of the batch, in this order (beam search, finished rows)."""
        part = self.take(rows.tolist() if isinstance(rows, Tensor) else rows)
        self.tensors, self.seen = part.tensors, part.seen

    def reset(self, rows: Sequence[int], fresh: MixerState) -> None:
        """Let some rows begin anew with the state `fresh`, a mixer's `initial_state` of a batch of 1."""
        self.put(rows, fresh.take([0] * len(rows)))


def _with_extent(tensor: Tensor, extent: int) -> Tensor:
    """Axis 2 cut, or filled up with zeros, to `extent`."""
    kept = tensor[:, :, :extent]
    missing = extent - kept.shape[2]
    return torch.cat([kept, kept.new_zeros(*kept.shape[:2], missing, *kept.shape[3:])], dim=2)


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
    growth: Literal["constant", "linear"]
    """How the state's bytes grow with the stream. Of the class, or of an instance where settings decide."""
    needs_geometry: bool = False
    """Has to know where tokens lie. Of the class, or of an instance where settings decide."""
    streams: bool = True
    """One call, chunks and single steps give the same output. Of the class, or of an instance."""

    @abstractmethod
    def initial_state(self, batch: int, *, device: torch.device | str, dtype: torch.dtype) -> MixerState:
        """The state before the first token. Components that sum over the stream are kept in fp32 at least."""

    @abstractmethod
    def mix(
        self, x_BLE: Tensor, *, rope: tuple[Tensor, Tensor] | None, geometry: Geometry | None, state: MixerState
    ) -> Tensor:
        """`forward` for rows of one phase. Replaces tensors of the state; `forward` counts `state.seen` on."""

    def phase(self, seen: int) -> Hashable:
        """Rows of the batch whose phases are equal run together; others apart.

        By default rows must have seen the same number of tokens. A mixer for which it matters less (only the place in
        its chunk, or how much of its window is filled) says so here.
        """
        return seen

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
            rope: cos and sin, each (B or 1, L, R) with R <= D, of the new tokens, as transformers' text models hand
                them to attention. None: no positions.
            geometry: Of the L new tokens, numbered on from what the state has seen.
            state: Read and updated in place; None is a sequence that begins and ends with this call.

        Returns:
            y_BLE.

        Raises:
            MissingGeometryError: the mixer needs it and got none.
            AttentionError: the state is of another batch.
        """
        if self.needs_geometry and geometry is None:
            raise MissingGeometryError(self.name)
        batch = x_BLE.shape[0]
        if state is None:
            state = self.initial_state(batch, device=x_BLE.device, dtype=x_BLE.dtype)
        if state.batch != batch:
            raise AttentionError(
                f"mixer {self.name!r} got {batch} rows and a state of {state.batch}; begin with "
                f"initial_state({batch}), or let state.reorder(rows) pick the rows that go on"
            )
        groups: dict[Hashable, list[int]] = {}
        for row, seen in enumerate(state.seen):
            groups.setdefault(self.phase(seen), []).append(row)
        if len(groups) <= 1:
            y_BLE = self.mix(x_BLE, rope=rope, geometry=geometry, state=state)
            state.seen = [seen + x_BLE.shape[1] for seen in state.seen]
            return y_BLE
        return self._mix_apart(list(groups.values()), x_BLE, rope, geometry, state)

    def _mix_apart(
        self,
        groups: list[list[int]],
        x_BLE: Tensor,
        rope: tuple[Tensor, Tensor] | None,
        geometry: Geometry | None,
        state: MixerState,
    ) -> Tensor:
        """Every group of rows by itself."""
        rows_of = [torch.tensor(rows, device=x_BLE.device) for rows in groups]
        outputs = []
        for rows, index in zip(groups, rows_of, strict=True):
            part = state.take(rows)
            turn = rope if rope is None or rope[0].shape[0] == 1 else (rope[0][index], rope[1][index])
            where = None if geometry is None else geometry.rows(rows)
            outputs.append(self.forward(x_BLE[index], rope=turn, geometry=where, state=part))
            state.put(rows, part)
        return torch.cat(outputs)[torch.argsort(torch.cat(rows_of))]

    def adopt(self, attention: nn.Module) -> None:
        """Take over the weights of a pretrained attention layer of transformers, for which the mixer was built.

        The mixer was built for `dims_of(attention)`. What attention doesn't have keeps its initial value.

        Raises:
            AttentionError: the mixer can't, or the layer's sizes are others.
        """
        raise AttentionError(
            f"mixer {self.name!r} can't take over the weights of {type(attention).__name__}; "
            "it has to be trained from scratch"
        )

    @abstractmethod
    def cost(self, length: int) -> Cost:
        """Cost of a sequence of `length` tokens in one call."""


def dims_of(attention: nn.Module, *, layer: int = 0, layers: int = 1) -> Dims:
    """Sizes of a text attention layer of transformers: Qwen2.5-VL, Qwen3-VL, Qwen3.5 and those built like them.

    Args:
        attention: Has `q_proj`, `k_proj`, `v_proj`, `o_proj` and `head_dim`, and may have `q_norm` and `k_norm`.
        layer: Its index.
        layers: Layers of the model.

    Raises:
        AttentionError: it is built otherwise.
    """
    parts = [getattr(attention, name, None) for name in ("q_proj", "k_proj", "v_proj", "o_proj")]
    head_dim = getattr(attention, "head_dim", None)
    if not all(isinstance(part, nn.Linear) for part in parts) or not isinstance(head_dim, int):
        raise AttentionError(
            f"{type(attention).__name__} isn't an attention layer with q_proj, k_proj, v_proj, o_proj and head_dim"
        )
    q_proj, k_proj, _, o_proj = cast(list[nn.Linear], parts)
    norm = getattr(attention, "q_norm", None)
    return Dims(
        width=q_proj.in_features,
        heads=o_proj.in_features // head_dim,
        kv_heads=k_proj.out_features // head_dim,
        head_dim=head_dim,
        layer=layer,
        layers=layers,
        norm_eps=_norm_eps(norm),
        qkv_bias=q_proj.bias is not None,
        out_bias=o_proj.bias is not None,
        qk_norm=norm is not None,
        norm_offset=0.0 if norm is None else _norm_offset(norm),
        gated_output=q_proj.out_features == 2 * o_proj.in_features,
    )


def _norm_eps(norm: nn.Module | None) -> float:
    for name in ("variance_epsilon", "eps"):
        if isinstance(value := getattr(norm, name, None), float):
            return value
    return 1e-6


@torch.no_grad()
def _norm_offset(norm: nn.Module) -> float:
    """0 where a norm of ones gives its weights, 1 where it gives them plus 1. Asked of the module, not of its name."""
    weight = norm.get_parameter("weight")
    if weight.is_meta:  # a model that is built before its weights are there
        norm = copy.deepcopy(norm).to_empty(device="cpu")
        weight = norm.get_parameter("weight")
        nn.init.ones_(weight)
    given = norm(torch.ones_like(weight)) - weight
    return float(given.float().mean().round())


class MixerModule:
    """What a file in `mixers/` defines. For readers and type checkers; nobody inherits it."""

    Settings: type[config.Settings]
    """Every setting with its default: the published ones."""
    EXAMPLE: config.Settings
    """Small settings under which a hundred tokens cross several chunks and windows: what the contract tests run."""
    VARIANTS: Sequence[config.Settings]
    """Further such settings, where some take another path. May be left out."""

    build: Callable[[config.Settings, Dims], Mixer]
    """A freshly initialised layer."""
