"""What a method decides: which pairs of query and key count. Every executor takes the same plans.

Every plan has one exact meaning, `allowed`, a rule on absolute positions: query i of a call stands at key position
`q_offset + i`, so a causal plan keeps k <= q. What the kinds add to the rule is how to find its pairs without looking
at all of them. `density` counts the pairs that are kept, exactly, whatever the kind.

Shapes: B batch, H query heads, L queries, S keys, Q query blocks, N most key blocks (or keys) of a query block (or
query). Batch and head axes of a plan may be 1, which stands for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

Rule: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(batch, head, query position, key position) -> bool; index tensors that broadcast, as in `flex_attention`."""
ScoreChange: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""(score, batch, head, query position, key position) -> score; applied to scaled scores before the softmax."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockChoice:
    """The rule of methods whose queries choose blocks of keys, as a table that kernels can read."""

    chosen_BHLN: Tensor
    """bool: key blocks that every query of the call sees; all axes at full size."""
    q_offset: int
    """Position of the first query."""
    block: int
    """Keys in a block; blocks start at key 0."""

    def __call__(self, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        """Whether a query chose the block of a key."""
        return self.chosen_BHLN[b, h, q - self.q_offset, k // self.block]


_PAIRS_AT_ONCE = 1 << 24
"""Pairs whose rule is evaluated together when counting; bounds memory."""


@dataclass(frozen=True, kw_only=True)
class Extent:
    """The rectangle of pairs a plan is about."""

    batch: int
    """B."""
    heads: int
    """H."""
    q_len: int
    """L."""
    kv_len: int
    """S."""
    causal: bool
    """Whether a query sees only keys at its own position and before."""
    device: torch.device
    """Where index tensors live."""
    looks_ahead: bool = False
    """The queries are the last ones of a causal stream, but the plan's rule itself says which later keys they see."""

    def looking_ahead(self) -> Extent:
        """The same rectangle without causality: the whole of what may be seen is then up to the rule of the plan."""
        return replace(self, causal=False, looks_ahead=True)

    @property
    def q_offset(self) -> int:
        """Position of the first query among the keys: the queries are the last ones of a causal stream."""
        return self.kv_len - self.q_len if self.causal or self.looks_ahead else 0

    @property
    def pairs(self) -> int:
        """Pairs of a dense plan, per batch row and head."""
        if not self.causal:
            return self.q_len * self.kv_len
        return self.q_len * self.q_offset + self.q_len * (self.q_len + 1) // 2


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Base of all kinds: the pairs that `rule` and causality allow."""

    extent: Extent
    """Of which call."""
    rule: Rule | None = None
    """None allows every pair. Causality comes on top and need not be part of it."""
    score: ScoreChange | None = None
    """None leaves scores as they are."""

    def allowed(self, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        """Whether pairs count; index tensors broadcast, `q` and `k` are absolute positions."""
        kept = k <= q if self.extent.causal else torch.ones_like(k <= q)
        return kept if self.rule is None else kept & self.rule(b, h, q, k)

    def dense_mask(self) -> Tensor:
        """(B, H, L, S) bool: the plan's meaning, spelled out. For tests and small inputs."""
        return torch.cat([self._mask_rows(rows) for rows in self._slabs()], dim=2)

    def kept_pairs(self) -> int:
        """Pairs that count, over all batch rows and heads. Costs as much as looking at every pair."""
        return sum(int(self._mask_rows(rows).sum()) for rows in self._slabs())

    @property
    def density(self) -> float:
        """Kept pairs over the pairs of a dense plan of the same extent."""
        return self.kept_pairs() / (self.extent.batch * self.extent.heads * self.extent.pairs)

    def _slabs(self) -> Iterator[slice]:
        e = self.extent
        step = max(1, _PAIRS_AT_ONCE // max(1, e.batch * e.heads * e.kv_len))
        return (slice(start, min(start + step, e.q_len)) for start in range(0, e.q_len, step))

    def _mask_rows(self, rows: slice) -> Tensor:
        """(B, H, rows, S) of `dense_mask`."""
        b, h, q, k = indices(self.extent, rows)
        shape = (self.extent.batch, self.extent.heads, rows.stop - rows.start, self.extent.kv_len)
        return self.allowed(b, h, q, k).expand(shape)


@dataclass(frozen=True, kw_only=True)
class Dense(Plan):
    """Every pair (that causality and `rule` allow): nothing is skipped, so the cost is that of dense attention."""

    def kept_pairs(self) -> int:
        """All pairs where there is no rule."""
        if self.rule is None:
            return self.extent.batch * self.extent.heads * self.extent.pairs
        return super().kept_pairs()


@dataclass(frozen=True, kw_only=True)
class Band(Plan):
    """The `window` nearest keys of every query, and the first `sinks` keys of the sequence.

    Causal: q - k < window. Otherwise |q - k| < window. A `rule` takes more pairs away.
    """

    window: int
    """At least 1: 1 is the query's own position."""
    sinks: int = 0
    """Keys at the start that every query sees."""

    def allowed(self, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        """Inside the band or a sink."""
        near = ((q - k).abs() < self.window) | (k < self.sinks)
        return super().allowed(b, h, q, k) & near

    def kept_pairs(self) -> int:
        """Counted per query in closed form where there is no further rule."""
        if self.rule is not None:
            return super().kept_pairs()
        e = self.extent
        q = torch.arange(e.q_len) + e.q_offset
        last = q if e.causal else torch.clamp(q + self.window - 1, max=e.kv_len - 1)
        first = torch.clamp(q - self.window + 1, min=0)
        seen = torch.clamp(last - first + 1, min=0)
        # Sinks that the window doesn't hold already: before it, and (without causality) after it.
        before = torch.clamp(torch.clamp(last + 1, max=self.sinks), max=e.kv_len)
        extra = torch.clamp(torch.minimum(before, first), min=0)
        if not e.causal:
            extra = extra + torch.clamp(min(self.sinks, e.kv_len) - 1 - last, min=0)
        return e.batch * e.heads * int((seen + extra).sum())


@dataclass(frozen=True, kw_only=True)
class Blocks(Plan):
    """For every block of queries, a list of blocks of keys; inside these, `rule` and causality hold.

    With permutations the blocks are cut from the permuted sequences, while `rule`, `score` and causality go on talking
    about original positions.
    """

    q_block: int
    """Queries in a block; blocks start at the first query of the call. The last may be short."""
    k_block: int
    """Keys in a block; blocks start at key 0. The last may be short."""
    num_BHQ: Tensor
    """int32: listed key blocks of every query block; axes B and H may be 1."""
    index_BHQN: Tensor
    """int32: their indices, distinct, in any order, valid up to `num_BHQ`."""
    full_BHQN: Tensor | None = None
    """bool: all pairs of this listed block are allowed, so the rule need not be looked at. None: unknown."""
    q_order_BHL: Tensor | None = None
    """int64: place in the permuted sequence -> query of the call. None is the identity."""
    k_order_BHS: Tensor | None = None
    """int64: the same for keys."""

    def kept_pairs(self) -> int:
        """Evaluates the rule on listed blocks only."""
        return sum(int(kept.sum()) for _, kept in self.listed_pairs())

    def listed_pairs(self) -> Iterator[tuple[slice, Tensor]]:
        """Query blocks at a time: (blocks, (B, H, blocks, q_block, N * k_block) bool of the pairs that count)."""
        e = self.extent
        width = self.index_BHQN.shape[-1] * self.k_block
        step = max(1, _PAIRS_AT_ONCE // max(1, e.batch * e.heads * self.q_block * width))
        total = self.num_BHQ.shape[2]
        for start in range(0, total, step):
            blocks = slice(start, min(start + step, total))
            q_BHQi, k_BHQj, real = self.positions(blocks)
            b = torch.arange(e.batch, device=e.device).view(-1, 1, 1, 1, 1)
            h = torch.arange(e.heads, device=e.device).view(1, -1, 1, 1, 1)
            kept = self.allowed(b, h, q_BHQi[..., None] + e.q_offset, k_BHQj[..., None, :]) & real
            yield blocks, kept.expand(e.batch, e.heads, *kept.shape[2:])

    def positions(self, blocks: slice) -> tuple[Tensor, Tensor, Tensor]:
        """What a range of query blocks looks at.

        Returns:
            q_BHQi: queries of the call (clamped where the last block is short), k_BHQj: key positions (clamped), and
            real_BHQij: bool, False on padding of short blocks and of short lists.
        """
        e = self.extent
        q = torch.arange(blocks.start * self.q_block, blocks.stop * self.q_block, device=e.device)
        q_real = (q < e.q_len).view(1, 1, -1, self.q_block)
        q = q.clamp(max=e.q_len - 1)
        index = self.index_BHQN[:, :, blocks].long()
        listed = torch.arange(index.shape[-1], device=e.device) < self.num_BHQ[:, :, blocks, None]
        index = torch.where(listed, index, 0)
        k = index[..., None] * self.k_block + torch.arange(self.k_block, device=e.device)
        k_real = (listed[..., None] & (k < e.kv_len)).flatten(-2)
        k = k.clamp(max=e.kv_len - 1).flatten(-2)
        q_BHQi = _reordered(q.view(1, 1, -1, self.q_block), self.q_order_BHL)
        k_BHQj = _reordered(k, self.k_order_BHS)
        return q_BHQi, k_BHQj, q_real[..., None] & k_real[..., None, :]

    def _mask_rows(self, rows: slice) -> Tensor:
        return self._dense_mask_all[:, :, rows]

    @property
    def _dense_mask_all(self) -> Tensor:
        e = self.extent
        mask = torch.zeros(e.batch, e.heads, e.q_len, e.kv_len, dtype=torch.bool, device=e.device)
        b = torch.arange(e.batch, device=e.device).view(-1, 1, 1, 1, 1)
        h = torch.arange(e.heads, device=e.device).view(1, -1, 1, 1, 1)
        for blocks, kept in self.listed_pairs():
            q_BHQi, k_BHQj, _ = self.positions(blocks)
            bb, hh, q, k = torch.broadcast_tensors(b, h, q_BHQi[..., None], k_BHQj[..., None, :])
            mask[bb[kept], hh[kept], q[kept], k[kept]] = True
        return mask

    def dense_mask(self) -> Tensor:
        """(B, H, L, S) bool: the plan's meaning, spelled out. For tests and small inputs."""
        return self._dense_mask_all


@dataclass(frozen=True, kw_only=True)
class Gather(Plan):
    """For every query, a list of keys; `rule` and causality hold among them."""

    index_BHLN: Tensor
    """int64: key positions, distinct, -1 for none; axes B and H may be 1."""

    def kept_pairs(self) -> int:
        """Counts the listed keys that are allowed."""
        return int(self.listed().sum())

    def listed(self) -> Tensor:
        """(B, H, L, N) bool: listed keys that count."""
        e = self.extent
        b, h, q, _ = indices(e, slice(0, e.q_len))
        kept = self.allowed(b, h, q, self.index_BHLN) & (self.index_BHLN >= 0)
        return kept.expand(e.batch, e.heads, e.q_len, -1)

    def dense_mask(self) -> Tensor:
        """(B, H, L, S) bool: the plan's meaning, spelled out. For tests and small inputs."""
        e = self.extent
        mask = torch.zeros(e.batch, e.heads, e.q_len, e.kv_len + 1, dtype=torch.bool, device=e.device)
        index = self.index_BHLN.expand(e.batch, e.heads, e.q_len, -1)
        return mask.scatter(3, torch.where(self.listed(), index, e.kv_len), True)[..., : e.kv_len]


def indices(extent: Extent, rows: slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Broadcasting (batch, head, query position, key position) of some queries and all keys."""
    d = extent.device
    return (
        torch.arange(extent.batch, device=d).view(-1, 1, 1, 1),
        torch.arange(extent.heads, device=d).view(1, -1, 1, 1),
        (torch.arange(rows.start, rows.stop, device=d) + extent.q_offset).view(1, 1, -1, 1),
        torch.arange(extent.kv_len, device=d).view(1, 1, 1, -1),
    )


def blocks_of_map(
    extent: Extent,
    chosen_BHQN: Tensor,
    *,
    q_block: int,
    k_block: int,
    rule: Rule | None = None,
    score: ScoreChange | None = None,
    full_BHQN: Tensor | None = None,
    q_order_BHL: Tensor | None = None,
    k_order_BHS: Tensor | None = None,
) -> Blocks:
    """Block lists of a map of blocks.

    Args:
        extent: Of the call.
        chosen_BHQN: bool, N = number of key blocks; axes B and H may be 1. Blocks that lie after their queries in a
            causal extent are dropped.
        q_block: Queries in a block.
        k_block: Keys in a block.
        rule: Holds inside the chosen blocks.
        score: Changes scores.
        full_BHQN: bool, as the map: every pair of the block is allowed. None: unknown.
        q_order_BHL: Place in the permuted sequence -> query, where the map's blocks are cut from one.
        k_order_BHS: The same for keys.
    """
    chosen = chosen_BHQN
    if extent.causal:
        last_q = _of_blocks(q_order_BHL, extent.q_len, q_block, chosen.device).amax(-1) + extent.q_offset
        first_k = _of_blocks(k_order_BHS, extent.kv_len, k_block, chosen.device).amin(-1)
        chosen = chosen & (first_k[:, :, None] <= last_q[..., None])
    num = chosen.sum(-1, dtype=torch.int32)
    index = torch.zeros(*num.shape, max(1, int(num.max())), dtype=torch.int32, device=num.device)
    *row, block = torch.nonzero(chosen, as_tuple=True)
    nth = (
        torch.arange(len(block), device=num.device)
        - (num.flatten().cumsum(0) - num.flatten()).view_as(num)[tuple(row)]
    )
    index[(*row, nth)] = block.to(torch.int32)
    return Blocks(
        extent=extent,
        rule=rule,
        score=score,
        q_block=q_block,
        k_block=k_block,
        num_BHQ=num,
        index_BHQN=index,
        full_BHQN=None if full_BHQN is None else full_BHQN.expand_as(chosen).gather(-1, index.long()),
        q_order_BHL=q_order_BHL,
        k_order_BHS=k_order_BHS,
    )


def block_count(length: int, block: int) -> int:
    """Blocks that cover `length`."""
    return -(-length // block)


def _of_blocks(order: Tensor | None, length: int, block: int, device: torch.device) -> Tensor:
    """(B|1, H|1, blocks, block): original positions of the tokens of every block; a short one repeats its last."""
    place = torch.arange(block_count(length, block) * block, device=device).clamp(max=length - 1)
    return _reordered(place.view(1, 1, -1, block), order)


def _reordered(place: Tensor, order: Tensor | None) -> Tensor:
    """Original positions of places in a permuted sequence: place (.., Q, i), order (B|1, H|1, L)."""
    if order is None:
        return place
    shape = torch.broadcast_shapes(place.shape[:2], order.shape[:2])
    flat = place.flatten(2).expand(*shape, -1)
    return torch.gather(order.expand(*shape, -1), 2, flat).view(*shape, *place.shape[2:])
