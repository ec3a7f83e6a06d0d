"""Lists of blocks or keys by gathering them and running PyTorch's dense kernels: exact and differentiable anywhere.

A query block and its listed keys are one small dense problem, a tile. Tiles whose lists are about as long run
together, so that a query block with few keys doesn't pay for one with many. A mask is only worked out for listed
blocks that aren't allowed as a whole.

Shapes: as in `plan`, and T tiles, i queries of a tile, N listed blocks, j keys of a block, X key blocks of all heads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from allocentric.sparse_attn.plan import Blocks, Gather, Plan, block_count

_ELEMENTS_AT_ONCE = {"cpu": 1 << 22}
_ELEMENTS_AT_ONCE_ELSEWHERE = 1 << 26
"""Gathered key elements held at a time: on a CPU about what its caches hold, on a GPU what fills it."""


def refusal(plan: Plan, q_BHLD: Tensor, *, training: bool) -> str | None:  # noqa: ARG001
    """Only plans with lists."""
    if not isinstance(plan, Blocks | Gather):
        return f"it runs lists of blocks or keys, and a {type(plan).__name__} plan has none"
    return None


def attend(plan: Plan, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, *, scale: float) -> Tensor:
    """Attention on listed keys."""
    if isinstance(plan, Gather):
        return _attend_keys(plan, q_BHLD, k_BKSD, v_BKSD, scale)
    assert isinstance(plan, Blocks)
    return _attend_blocks(plan, q_BHLD, k_BKSD, v_BKSD, scale)


# ------------------------------------------------------------------------------------------------------------ blocks


@dataclass(frozen=True, kw_only=True)
class _Tiles:
    """A plan's query blocks over all batch rows and heads, one after the other."""

    plan: Blocks
    """Of which plan."""
    batch_T: Tensor
    """Batch row."""
    head_T: Tensor
    """Query head."""
    num_T: Tensor
    """Listed key blocks."""
    index_TN: Tensor
    """Their indices; valid up to `num_T`."""
    full_TN: Tensor | None
    """Listed blocks in which every pair counts; None: unknown."""
    q_Ti: Tensor
    """Absolute positions of queries; anything on padding."""
    k_Xj: Tensor
    """Positions of the keys of all blocks, -1 on padding; X runs over the key blocks of `k_rows` tables."""
    k_row_T: Tensor
    """First row of a tile's table in `k_Xj`."""


def _attend_blocks(plan: Blocks, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, scale: float) -> Tensor:
    e = plan.extent
    if plan.k_order_BHS is not None:
        if plan.k_order_BHS.shape[1] > 1 and k_BKSD.shape[1] < e.heads:
            groups = e.heads // k_BKSD.shape[1]
            k_BKSD, v_BKSD = (t.repeat_interleave(groups, dim=1) for t in (k_BKSD, v_BKSD))
        k_BKSD, v_BKSD = (_permuted(t, plan.k_order_BHS) for t in (k_BKSD, v_BKSD))
    if plan.q_order_BHL is not None:
        q_BHLD = _permuted(q_BHLD, plan.q_order_BHL)
    tiles = _tiles(plan)
    q_TiD = _cut(q_BHLD, plan.q_block)
    k_XE, v_XE = (_cut(t, plan.k_block).flatten(1) for t in (k_BKSD, v_BKSD))
    kv_heads = k_BKSD.shape[1]
    first_T = (tiles.batch_T * kv_heads + tiles.head_T // (e.heads // kv_heads)) * block_count(e.kv_len, plan.k_block)
    order_T = torch.argsort(tiles.num_T, stable=True)
    k_taken, v_taken = _Taken(k_XE), _Taken(v_XE)
    parts = []
    for span, width in _spans(tiles.num_T[order_T].tolist(), plan.k_block * q_BHLD.shape[-1], e.device):
        these = order_T[span]
        if width == 0:
            parts.append(torch.zeros_like(q_TiD[: len(these)]))
            continue
        listed_TN = torch.arange(width, device=e.device) < tiles.num_T[these, None]
        index_TN = torch.where(listed_TN, tiles.index_TN[these, :width], 0)
        rows = (first_T[these, None] + index_TN).flatten()
        k, v = (taken.of(rows).view(len(these), -1, q_BHLD.shape[-1]) for taken in (k_taken, v_taken))
        parts.append(_attend_tiles(tiles, these, listed_TN, index_TN, q_TiD.index_select(0, these), k, v, scale))
    back_T = torch.empty_like(order_T).scatter(0, order_T, torch.arange(len(order_T), device=e.device))
    out_TiD = torch.cat(parts).index_select(0, back_T)
    out_BHLD = out_TiD.view(e.batch, e.heads, -1, q_BHLD.shape[-1])[:, :, : e.q_len]
    if plan.q_order_BHL is None:
        return out_BHLD
    order = plan.q_order_BHL.expand(e.batch, e.heads, -1)[..., None].expand_as(out_BHLD)
    return torch.empty_like(out_BHLD).scatter(2, order, out_BHLD)


class _Taken:
    """Rows of a tensor, into the same memory each time where no gradient needs them later: fresh pages cost as much as
    the copy.
    """

    def __init__(self, t_XE: Tensor) -> None:
        self.t_XE = t_XE
        self.memory = t_XE.new_empty(0)

    def of(self, rows: Tensor) -> Tensor:
        """(rows, E); valid until the next call."""
        if torch.is_grad_enabled() and self.t_XE.requires_grad:
            return self.t_XE.index_select(0, rows)
        size = len(rows) * self.t_XE.shape[1]
        if self.memory.numel() < size:
            self.memory = self.t_XE.new_empty(size)
        out = self.memory[:size].view(len(rows), -1)
        return torch.index_select(self.t_XE, 0, rows, out=out)


def _tiles(plan: Blocks) -> _Tiles:
    e = plan.extent
    shape = (e.batch, e.heads, plan.num_BHQ.shape[2])
    tile = torch.arange(e.batch * e.heads * shape[2], device=e.device)
    lists = (*shape, plan.index_BHQN.shape[-1])
    full_BHQN = plan.full_BHQN
    if full_BHQN is None and plan.rule is None and plan.q_order_BHL is None and plan.k_order_BHS is None:
        full_BHQN = _before_queries(plan)
    q_place = torch.arange(e.q_len, device=e.device).view(1, 1, -1) if plan.q_order_BHL is None else plan.q_order_BHL
    k_place = torch.arange(e.kv_len, device=e.device).view(1, 1, -1) if plan.k_order_BHS is None else plan.k_order_BHS
    blocks = block_count(e.kv_len, plan.k_block)
    table_BH = torch.arange(k_place.shape[0] * k_place.shape[1], device=e.device).view(*k_place.shape[:2], 1)
    return _Tiles(
        plan=plan,
        batch_T=tile // (shape[1] * shape[2]),
        head_T=tile // shape[2] % shape[1],
        num_T=plan.num_BHQ.expand(shape).flatten().long(),
        index_TN=plan.index_BHQN.expand(lists).flatten(0, 2).long(),
        full_TN=None if full_BHQN is None else full_BHQN.expand(lists).flatten(0, 2),
        q_Ti=_cut(q_place.expand(e.batch, e.heads, -1)[..., None], plan.q_block)[..., 0] + e.q_offset,
        k_Xj=_cut(k_place[..., None] + 1, plan.k_block)[..., 0] - 1,
        k_row_T=(table_BH * blocks).expand(shape).flatten(),
    )


def _before_queries(plan: Blocks) -> Tensor:
    """Which listed blocks lie wholly before their queries (all of them without causality)."""
    if not plan.extent.causal:
        return torch.ones_like(plan.index_BHQN, dtype=torch.bool)
    first_q = torch.arange(plan.num_BHQ.shape[2], device=plan.index_BHQN.device) * plan.q_block + plan.extent.q_offset
    return (plan.index_BHQN + 1) * plan.k_block - 1 <= first_q[:, None]


def _attend_tiles(
    tiles: _Tiles, these: Tensor, listed_TN: Tensor, index_TN: Tensor, q: Tensor, k: Tensor, v: Tensor, scale: float
) -> Tensor:
    """(T, i, D) of some tiles, from q (T, i, D) and k, v (T, N * j, D)."""
    plan = tiles.plan
    short = plan.extent.kv_len % plan.k_block
    full_TN = torch.zeros_like(listed_TN) if tiles.full_TN is None else tiles.full_TN[these, : listed_TN.shape[1]]
    full_TN = full_TN & listed_TN & ((index_TN < plan.extent.kv_len // plan.k_block) | (short == 0))
    bias, some = None, None
    if not bool(full_TN.all()):
        bias, some = _bias(tiles, these, listed_TN, index_TN, full_TN, q)
    if plan.score is None:
        return _softmax_attention(q, k, v, bias, some, scale)
    k_pos = tiles.k_Xj[tiles.k_row_T[these, None] + index_TN].flatten(1).clamp(min=0)
    places = _places(tiles, these, k_pos)
    return _changed_attention(plan, q, k, v, bias, some, places, scale)


def _bias(
    tiles: _Tiles, these: Tensor, listed_TN: Tensor, index_TN: Tensor, full_TN: Tensor, q_TiD: Tensor
) -> tuple[Tensor, Tensor]:
    """(T, i, N * j), 0 where a pair counts and -inf elsewhere, and (T, i), whether a query has a key at all.

    T is 1 where one mask serves all tiles.
    """
    plan = tiles.plan
    if not bool(full_TN.any()):
        k_Tj = tiles.k_Xj[tiles.k_row_T[these, None] + index_TN]
        real_Tj = ((k_Tj >= 0) & listed_TN[..., None]).flatten(1)
        kept_Tij = plan.allowed(*_places(tiles, these, k_Tj.flatten(1).clamp(min=0))) & real_Tj[:, None]
        kept_Tij = kept_Tij.expand(-1, plan.q_block, -1)
        return torch.where(kept_Tij, 0.0, float("-inf")).to(q_TiD.dtype), kept_Tij.any(-1)
    tile_P, place_P = torch.nonzero(listed_TN & ~full_TN, as_tuple=True)
    k_Pj = tiles.k_Xj[tiles.k_row_T[these[tile_P]] + index_TN[tile_P, place_P]]
    kept_Pij = plan.allowed(*_places(tiles, these[tile_P], k_Pj.clamp(min=0))) & (k_Pj >= 0)[:, None]
    kept_Pij = kept_Pij.expand(-1, plan.q_block, -1)
    if _alike(listed_TN, tile_P, place_P, kept_Pij):
        # Most often the tile's own block comes last and is cut by causality alone: one mask serves all.
        tile_P, place_P, kept_Pij = tile_P[:1], place_P[:1], kept_Pij[:1]
        listed_TN, full_TN = listed_TN[:1], full_TN[:1]
    shape = (len(listed_TN), plan.q_block, listed_TN.shape[1], plan.k_block)
    bias = torch.zeros(shape, dtype=q_TiD.dtype, device=q_TiD.device)
    absent = torch.nonzero(~listed_TN, as_tuple=True)
    bias[absent[0], :, absent[1]] = float("-inf")
    bias[tile_P, :, place_P] = torch.where(kept_Pij, 0.0, float("-inf")).to(bias.dtype)
    some = full_TN.any(1)[:, None].expand(-1, plan.q_block).to(torch.int32)
    some = some.index_add(0, tile_P, kept_Pij.any(-1).to(torch.int32)) > 0
    return bias.flatten(2), some


def _alike(listed_TN: Tensor, tile_P: Tensor, place_P: Tensor, kept_Pij: Tensor) -> bool:
    """Whether all lists are full and every tile has one partial block, at the same place and with the same pairs."""
    if len(tile_P) != len(listed_TN) or not bool(listed_TN.all()) or not bool((place_P == place_P[0]).all()):
        return False
    each = torch.arange(len(tile_P), device=tile_P.device)
    return bool((tile_P == each).all()) and bool((kept_Pij == kept_Pij[:1]).all())


def _places(tiles: _Tiles, these: Tensor, k_Tj: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Broadcasting (batch, head, query position, key position) of tiles and keys."""
    return (
        tiles.batch_T[these, None, None],
        tiles.head_T[these, None, None],
        tiles.q_Ti[these, :, None],
        k_Tj[:, None, :],
    )


def _spans(widths: list[int], unit: int, device: torch.device) -> Iterator[tuple[slice, int]]:
    """Runs of tiles, given their ascending numbers of listed blocks, and the most listed in each."""
    limit = _ELEMENTS_AT_ONCE.get(device.type, _ELEMENTS_AT_ONCE_ELSEWHERE)
    stop = len(widths)
    while stop:
        count = max(1, limit // max(1, widths[stop - 1] * unit))
        start = max(0, stop - count)
        yield slice(start, stop), widths[stop - 1]
        stop = start


def _cut(t_BHLD: Tensor, block: int) -> Tensor:
    """(B * H * blocks, block, D), zero on padding."""
    return pad(t_BHLD, (0, 0, 0, -t_BHLD.shape[2] % block)).reshape(-1, block, t_BHLD.shape[-1])


def _permuted(t_BHLD: Tensor, order_BHL: Tensor) -> Tensor:
    """Places of the permuted sequence."""
    order = order_BHL.expand(*t_BHLD.shape[:2], -1)
    return t_BHLD.gather(2, order[..., None].expand(-1, -1, -1, t_BHLD.shape[-1]))


# -------------------------------------------------------------------------------------------------------------- keys


def _attend_keys(plan: Gather, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, scale: float) -> Tensor:
    e = plan.extent
    kv_heads, width, dim = k_BKSD.shape[1], plan.index_BHLN.shape[-1], q_BHLD.shape[-1]
    limit = _ELEMENTS_AT_ONCE.get(e.device.type, _ELEMENTS_AT_ONCE_ELSEWHERE)
    step = max(1, limit // max(1, e.batch * e.heads * width * dim))
    k_XD, v_XD = (t.reshape(-1, dim) for t in (k_BKSD, v_BKSD))
    b = torch.arange(e.batch, device=e.device).view(-1, 1, 1)
    h = torch.arange(e.heads, device=e.device).view(1, -1, 1)
    first = (b * kv_heads + h // (e.heads // kv_heads)) * e.kv_len
    parts = []
    for start in range(0, e.q_len, step):
        stop = min(start + step, e.q_len)
        listed = plan.index_BHLN[:, :, start:stop].expand(e.batch, e.heads, -1, -1)
        rows = (first[..., None] + listed.clamp(min=0)).flatten()
        k, v = (t.index_select(0, rows).view(-1, width, dim) for t in (k_XD, v_XD))
        q_pos = (torch.arange(start, stop, device=e.device) + e.q_offset).expand(e.batch, e.heads, -1)
        places = tuple(t.expand_as(q_pos).reshape(-1, 1, 1) for t in (b, h, q_pos))
        key_TN = listed.flatten(0, 2)
        at = (places[0], places[1], places[2], key_TN.clamp(min=0)[:, None])
        kept = plan.allowed(*at) & (key_TN >= 0)[:, None]
        bias = torch.where(kept, 0.0, float("-inf")).to(q_BHLD.dtype)
        q = q_BHLD[:, :, start:stop].reshape(-1, 1, dim)
        some = kept.any(-1)
        if plan.score is None:
            out = _softmax_attention(q, k, v, bias, some, scale)
        else:
            out = _changed_attention(plan, q, k, v, bias, some, at, scale)
        parts.append(out.view(e.batch, e.heads, stop - start, dim))
    return torch.cat(parts, dim=2)


# -------------------------------------------------------------------------------------------------- one set of tiles


def _softmax_attention(
    q_TiD: Tensor, k_TjD: Tensor, v_TjD: Tensor, bias_Tij: Tensor | None, some_Ti: Tensor | None, scale: float
) -> Tensor:
    """(T, i, D); PyTorch's fused kernels take four axes."""
    if bias_Tij is None or some_Ti is None:
        return scaled_dot_product_attention(q_TiD[:, None], k_TjD[:, None], v_TjD[:, None], scale=scale)[:, 0]
    # A query without a key would divide 0 by 0, in the gradient too: it sees everything, and its output is dropped.
    everywhere = bool(some_Ti.all())
    bias = bias_Tij if everywhere else bias_Tij.masked_fill(~some_Ti[..., None], 0.0)
    out = scaled_dot_product_attention(
        q_TiD[:, None], k_TjD[:, None], v_TjD[:, None], attn_mask=bias[:, None], scale=scale
    )[:, 0]
    return out if everywhere else torch.where(some_Ti[..., None], out, 0.0)


def _changed_attention(
    plan: Plan,
    q_TiD: Tensor,
    k_TjD: Tensor,
    v_TjD: Tensor,
    bias_Tij: Tensor | None,
    some_Ti: Tensor | None,
    places: tuple[Tensor, Tensor, Tensor, Tensor],
    scale: float,
) -> Tensor:
    """The same where the plan changes scores, which no fused kernel does."""
    assert plan.score is not None
    scores = plan.score(q_TiD @ k_TjD.transpose(-1, -2) * scale, *places)
    if bias_Tij is None or some_Ti is None:
        return torch.softmax(scores, dim=-1).to(v_TjD.dtype) @ v_TjD
    scores = scores.masked_fill(bias_Tij == float("-inf"), float("-inf")).masked_fill(~some_Ti[..., None], 0.0)
    return torch.where(some_Ti[..., None], torch.softmax(scores, dim=-1).to(v_TjD.dtype) @ v_TjD, 0.0)
