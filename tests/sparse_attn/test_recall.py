"""Dynamic methods keep more attention than as many random keys would, on inputs with structure."""

from __future__ import annotations

import pytest
import torch
from attention_samples import DIMS, HEAD_DIM, HEADS, KV_HEADS, call_of, mixed_geometry, video_geometry

from allocentric.core.catalog import METHODS
from allocentric.sparse_attn.contract import Call, Selector
from allocentric.sparse_attn.plan import Plan

TRAINING_FREE = ["anchor", "landmark", "minference", "mminference", "moba", "vmoba"]
KINDS = 8
"""Orthogonal directions that stretches of keys belong to and that queries look for."""


def structured(call: Call, stretch_L: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries and keys of sequences whose stretches have a kind each; all queries of a stretch look for one kind.

    A fourth of a score comes from the first keys, which everything looks at.
    """
    length = call.extent.kv_len
    g = torch.Generator().manual_seed(0)
    count = int(stretch_L.max()) + 1
    k = 0.3 * torch.randn(1, KV_HEADS, length, HEAD_DIM, generator=g, dtype=torch.float64)
    q = 0.3 * torch.randn(1, HEADS, length, HEAD_DIM, generator=g, dtype=torch.float64)
    kind_k = torch.randint(0, KINDS, (KV_HEADS, count), generator=g)
    kind_q = torch.randint(0, KINDS, (HEADS, count), generator=g)
    k[0] += 4 * torch.nn.functional.one_hot(kind_k[:, stretch_L], HEAD_DIM)
    q[0] += 4 * torch.nn.functional.one_hot(kind_q[:, stretch_L], HEAD_DIM)
    q[..., KINDS], k[..., :2, KINDS] = 2.0, 4.0
    return q, k


def attention(q: torch.Tensor, k: torch.Tensor, call: Call) -> torch.Tensor:
    scores = q @ k.repeat_interleave(HEADS // KV_HEADS, 1).transpose(-1, -2) * call.scale
    if call.extent.causal:
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), float("-inf"))
    return scores.softmax(-1)


def recall_of_chance(plan: Plan, weights: torch.Tensor) -> float:
    """Mean over queries of the share of keys kept: what as many random keys of those allowed keep on average."""
    allowed = (weights > 0).sum(-1)
    return float((plan.dense_mask().sum(-1) / allowed).mean())


@pytest.mark.parametrize("name", TRAINING_FREE)
def test_recall_is_above_that_of_random_keys(name: str) -> None:
    module = METHODS.load(name)
    method: Selector = module.build(module.EXAMPLE, DIMS)
    causal = method.causal
    geometry = mixed_geometry() if causal else video_geometry()
    call = call_of(geometry, causal=causal)
    stretch = torch.arange(geometry.length) // 8
    if name == "vmoba":
        stretch = module.blocks_of_grid(geometry, module.EXAMPLE.cube)[0]
    q, k = structured(call, stretch)
    if name == "mminference":
        # One place of every frame (four by four tokens and one of text) is looked at by all.
        k[..., 5::17, KINDS] = 6.0
    if name == "landmark":
        # What training makes of landmarks: they stand for their block.
        k = torch.nn.functional.pad(k, (0, 0, 0, 5)).unflatten(2, (15, 8))
        k[..., 7, :] = k[..., :7, :].mean(3)
        k = k.flatten(2, 3)[:, :, : geometry.length]
    weights = attention(q, k, call)
    plan = method.plan(q, k, k, call)
    kept = float((weights * plan.dense_mask()).sum(-1).mean())
    chance = recall_of_chance(plan, weights)
    assert kept > chance + 0.2 * (1 - chance), f"{name} keeps {kept:.3f}, chance {chance:.3f}"


def test_dma_keeps_the_keys_whose_values_say_that_they_matter() -> None:
    module = METHODS.load("dma")
    method = module.build(module.EXAMPLE, DIMS).double()
    call = call_of(mixed_geometry(), causal=True)
    g = torch.Generator().manual_seed(0)
    q, k = structured(call, torch.arange(call.extent.kv_len) // 8)
    matters = torch.rand(KV_HEADS, call.extent.kv_len, generator=g) < 0.1
    k[0, :, :, KINDS] = torch.where(matters, 10.0, 0.0)
    v = torch.zeros_like(k)
    v[0, :, :, 0] = matters.double()
    with torch.no_grad():
        method.a_K.fill_(1.0)
        method.weight.weight.zero_()
        for head in range(KV_HEADS):
            method.weight.weight[head, head * HEAD_DIM] = 1.0
    weights = attention(q, k, call)
    plan = method.plan(q, k, v, call)
    kept = float((weights * plan.dense_mask()).sum(-1).mean())
    assert kept > 0.8 > recall_of_chance(plan, weights)
