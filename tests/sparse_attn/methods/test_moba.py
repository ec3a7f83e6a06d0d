"""MoBA beside its rule, written out for one query after the other."""

from __future__ import annotations

import torch
from attention_samples import DIMS, call_of, mixed_geometry, tensors

from allocentric.sparse_attn.methods import moba


def test_every_query_sees_its_own_block_and_the_best_past_ones() -> None:
    geometry = mixed_geometry()
    q, k, v = tensors(1, geometry.length)
    settings = moba.Settings(block=16, top_k=3, q_block=8)
    plan = moba.build(settings, DIMS).plan(q, k, v, call_of(geometry, causal=True))
    found = plan.dense_mask()[0]
    for head in range(DIMS.heads):
        keys = k[0, head // 2]
        for i in range(geometry.length):
            past = {n: float(q[0, head, i] @ keys[16 * n : 16 * n + 16].mean(0)) for n in range(i // 16)}
            best = {i // 16, *sorted(past, key=lambda n: -past[n])[:2]}
            wanted = torch.tensor([j <= i and j // 16 in best for j in range(geometry.length)])
            assert torch.equal(found[head, i], wanted), (head, i)
