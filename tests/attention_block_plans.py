"""Plans of every kind that block-sparse executors take, at sizes that are no multiples of their blocks."""

from __future__ import annotations

from dataclasses import replace

import torch

from allocentric.sparse_attn.plan import Band, BlockChoice, Blocks, Dense, Extent, Plan, blocks_of_map

HEADS, KV_HEADS = 2, 1


def extent(length: int, kv_len: int | None = None, *, causal: bool, batch: int = 2) -> Extent:
    return Extent(
        batch=batch, heads=HEADS, q_len=length, kv_len=kv_len or length, causal=causal, device=torch.device("cpu")
    )


def orders(length: int, *axes: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(length)
    return torch.rand(*axes, length, generator=g).argsort(-1)


def chosen(*shape: int, share: float = 0.5) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(shape[-1])) < share


def with_full(plan: Blocks) -> Blocks:
    """The same with its full blocks marked, found by counting."""
    flags = torch.zeros(plan.index_BHQN.shape, dtype=torch.bool).expand(2, HEADS, -1, -1).clone()
    for blocks, kept in plan.listed_pairs():
        tiles = kept.unflatten(-1, (-1, plan.k_block))
        flags[:, :, blocks] = tiles.all(-1).all(-2)
    return replace(plan, full_BHQN=flags)


def odd(b: torch.Tensor, h: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    return (q + 2 * k + h) % 3 != b % 2


def plans() -> dict[str, Plan]:
    causal, both = extent(83, causal=True), extent(70, 83, causal=False)
    late = extent(37, 101, causal=True)
    table = BlockChoice(chosen_BHLN=chosen(2, HEADS, 37, 7), q_offset=64, block=16)
    return {
        "dense causal": Dense(extent=causal),
        "dense": Dense(extent=both),
        "dense with a rule": Dense(extent=causal, rule=odd),
        "window with sinks": Band(extent=causal, window=20, sinks=3),
        "window without causality": Band(extent=both, window=13, sinks=60),
        "window of a later chunk": Band(extent=late, window=40, sinks=5),
        "window with a rule": Band(extent=late, window=40, rule=odd),
        "one query": Band(extent=extent(1, 83, causal=True), window=30, sinks=2),
        "blocks": blocks_of_map(both, chosen(2, HEADS, 3, 6), q_block=32, k_block=16),
        "causal blocks, some queries see nothing": blocks_of_map(
            causal, chosen(2, HEADS, 11, 6, share=0.3), q_block=8, k_block=16
        ),
        "blocks that fit no tile": blocks_of_map(late, chosen(1, 1, 2, 5), q_block=24, k_block=21),
        "blocks with a rule and full ones": with_full(
            blocks_of_map(
                both, chosen(1, HEADS, 5, 3), q_block=16, k_block=32, rule=lambda b, h, q, k: (q < 40) | (k > q)
            )
        ),
        "chosen by every query": blocks_of_map(late, chosen(2, HEADS, 2, 7), q_block=32, k_block=16, rule=table),
        "choice across tiles": blocks_of_map(late, chosen(2, HEADS, 2, 5), q_block=32, k_block=24, rule=table),
        "permuted per head": replace(
            # Cut without causality: a permuted block has no place before or after its queries.
            blocks_of_map(replace(causal, causal=False), chosen(1, HEADS, 3, 6), q_block=32, k_block=16),
            extent=causal,
            q_order_BHL=orders(83, 2, HEADS),
            k_order_BHS=orders(83, 1, HEADS),
        ),
        "permuted alike, with a rule": replace(
            blocks_of_map(both, chosen(1, 1, 5, 6), q_block=16, k_block=16, rule=odd),
            q_order_BHL=orders(70, 1, 1),
            k_order_BHS=orders(83, 1, 1),
        ),
        "permuted, nothing to check": replace(
            blocks_of_map(both, chosen(1, 1, 5, 6), q_block=16, k_block=16), k_order_BHS=orders(83, 2, 1)
        ),
    }


def tensors(plan: Plan, *, width: int = 16, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """Queries, keys, values, and a gradient of the output."""
    e = plan.extent
    g = torch.Generator().manual_seed(3)
    shapes = (
        (e.batch, HEADS, e.q_len, width),
        (e.batch, KV_HEADS, e.kv_len, width),
        (e.batch, KV_HEADS, e.kv_len, width),
        (e.batch, HEADS, e.q_len, width),
    )
    return [torch.randn(shape, generator=g).to(dtype) for shape in shapes]
