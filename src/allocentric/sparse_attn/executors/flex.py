"""Any plan but lists of single keys by PyTorch's compiled `flex_attention`: block lists from the plan, never a search.

The first call of a kind compiles (seconds; a C++ compiler on the CPU). On the CPU it runs forward only.

Shapes: B batch, H query heads, K key-value heads, L queries, S keys, D head width, Q query blocks, M key blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.nn.functional import pad

from allocentric.sparse_attn.executors._lists import Lists, chosen_map, lists_of, lists_of_map
from allocentric.sparse_attn.executors._permute import permuted, restored
from allocentric.sparse_attn.plan import Blocks, Gather, Plan, Rule, block_count

_TILE = {"cpu": 32, "cuda": 128}
"""Block sizes that its kernels take are multiples of this; other lists are put on blocks of this size."""
_MOST_KINDS = 512
"""Compiled kinds (method, shape, dtype) before torch refuses another; its own limit of 8 is for whole models."""


def refusal(plan: Plan, q_BHLD: Tensor, *, training: bool) -> str | None:
    """Why it can't run this; None where it can."""
    if isinstance(plan, Gather):
        return "it runs blocks, and a Gather plan lists single keys"
    if q_BHLD.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return f"its kernels take float32, float16 and bfloat16, not {str(q_BHLD.dtype).removeprefix('torch.')}"
    if q_BHLD.shape[-1] < 16:
        return f"its kernels need a head width of 16 or more, got {q_BHLD.shape[-1]}"
    if q_BHLD.device.type not in _TILE:
        return f"it is compiled for cpu and cuda, not {q_BHLD.device.type}"
    if q_BHLD.device.type == "cpu" and training:
        return "flex_attention has no backward on the CPU"
    return None


def prepare(plan: Plan, q_BHLD: Tensor, *, training: bool) -> BlockMask:
    """The plan as flex_attention reads it. Costs as much as its block lists."""
    tile = _TILE[q_BHLD.device.type]
    lists = lists_of(plan, q_block=tile, k_block=tile)
    on_tiles = lists.q_block % tile == 0 and lists.k_block % tile == 0
    listed = None
    if not on_tiles:
        assert isinstance(plan, Blocks)
        listed = chosen_map(plan)
        lists = _on_tiles(plan, listed, tile)
    return block_mask(lists, mask_mod(plan, listed), plan.extent.q_len, plan.extent.kv_len, backward=training)


def attend_prepared(
    mask: BlockMask, plan: Plan, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, *, scale: float
) -> Tensor:
    """Attention under a plan that `prepare` has read."""
    q, k, v = permuted(plan, q_BHLD, k_BKSD, v_BKSD)
    with torch._dynamo.config.patch(recompile_limit=_MOST_KINDS, accumulated_recompile_limit=4 * _MOST_KINDS):
        out = _compiled()(
            q, k, v, score_mod=score_mod(plan), block_mask=mask, scale=scale, enable_gqa=q.shape[1] != k.shape[1]
        )
    return restored(plan, out)


def attend(plan: Plan, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, *, scale: float) -> Tensor:
    """Attention under a plan."""
    training = torch.is_grad_enabled() and any(t.requires_grad for t in (q_BHLD, k_BKSD, v_BKSD))
    mask = prepare(plan, q_BHLD, training=training)
    return attend_prepared(mask, plan, q_BHLD, k_BKSD, v_BKSD, scale=scale)


@lru_cache(maxsize=1)
def _compiled() -> Callable[..., Tensor]:
    # Sizes and settings stay constants of the compiled code: as symbols, which torch makes of numbers that vary, they
    # give wrong outputs on the CPU (torch 2.13). Whole graph or an error: an uncompiled flex_attention is 7 to 15
    # times slower and holds all scores.
    compiled: Callable[..., Tensor] = torch.compile(flex_attention, fullgraph=True, dynamic=False)
    return compiled


def mask_mod(plan: Plan, listed_BHQM: Tensor | None = None) -> Rule:
    """The plan's rule on places of the permuted sequences; with `listed` also whether the block is listed."""
    q_position, k_position = _positions(plan)
    if listed_BHQM is None:
        return lambda b, h, q, k: plan.allowed(b, h, q_position(b, h, q), k_position(b, h, k))
    assert isinstance(plan, Blocks)
    q_block, k_block = plan.q_block, plan.k_block
    listed = listed_BHQM.expand(plan.extent.batch, plan.extent.heads, -1, -1)

    def in_listed_block(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        allowed = plan.allowed(b, h, q_position(b, h, q), k_position(b, h, k))
        return allowed & listed[b, h, q // q_block, k // k_block]

    return in_listed_block


def score_mod(plan: Plan) -> Callable[..., Tensor] | None:
    """The plan's change of scores on places of the permuted sequences."""
    change = plan.score
    if change is None:
        return None
    q_position, k_position = _positions(plan)
    return lambda score, b, h, q, k: change(score, b, h, q_position(b, h, q), k_position(b, h, k))


def _positions(plan: Plan) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """Place in the permuted call -> absolute position, for queries and keys."""
    e = plan.extent
    offset = e.q_offset
    q_order = k_order = None
    if isinstance(plan, Blocks):
        q_order = None if plan.q_order_BHL is None else plan.q_order_BHL.expand(e.batch, e.heads, -1)
        k_order = None if plan.k_order_BHS is None else plan.k_order_BHS.expand(e.batch, e.heads, -1)
    return _lookup(q_order, offset), _lookup(k_order, 0)


def _lookup(order_BHL: Tensor | None, offset: int) -> Callable[..., Tensor]:
    if order_BHL is None:
        return lambda _b, _h, place: place + offset
    return lambda b, h, place: order_BHL[b, h, place] + offset


def block_mask(lists: Lists, rule: Rule, q_len: int, kv_len: int, *, backward: bool) -> BlockMask:
    """flex_attention's mask: it wants every list as wide as there are key blocks."""
    width = block_count(kv_len, lists.k_block)
    partial = lists.num_BHQ - lists.full_BHQ
    # Full blocks stand first in our lists; flex keeps two lists.
    place = torch.arange(lists.index_BHQN.shape[-1], device=lists.index_BHQN.device)
    after_full = (place + lists.full_BHQ[..., None]).clamp(max=len(place) - 1)
    rest = torch.gather(lists.index_BHQN, 3, after_full.long())
    rest, whole = (pad(t, (0, width - t.shape[-1])).contiguous() for t in (rest, lists.index_BHQN))
    return BlockMask.from_kv_blocks(
        partial,
        rest,
        lists.full_BHQ,
        whole,
        BLOCK_SIZE=(lists.q_block, lists.k_block),
        mask_mod=rule,
        seq_lengths=(q_len, kv_len),
        compute_q_blocks=backward,
    )


def _on_tiles(plan: Blocks, listed_BHQM: Tensor, tile: int) -> Lists:
    """Lists of tiles that a listed block touches; the mask says which pairs inside count."""
    e = plan.extent
    listed = listed_BHQM.to(torch.float32)
    q_tiles = _tile_of_block(e.q_len, plan.q_block, tile).to(listed)
    k_tiles = _tile_of_block(e.kv_len, plan.k_block, tile).to(listed)
    some = (q_tiles @ listed @ k_tiles.T) > 0
    return lists_of_map(some, torch.zeros_like(some), q_block=tile, k_block=tile)


def _tile_of_block(length: int, block: int, tile: int) -> Tensor:
    """(tiles, blocks) bool: whether they share a token."""
    tiles = torch.arange(block_count(length, tile))[:, None] * tile
    blocks = torch.arange(block_count(length, block)) * block
    return (blocks < tiles + tile) & (blocks + block > tiles)
