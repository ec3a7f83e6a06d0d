"""AnchorAttention beside its three steps, written out."""

from __future__ import annotations

import pytest
import torch
from attention_samples import DIMS, HEAD_DIM, call_of, mixed_geometry, tensors

from allocentric.sparse_attn.methods import anchor


@pytest.mark.parametrize("q_len", [115, 50])
def test_a_group_sees_the_keys_that_come_close_to_its_anchor(q_len: int) -> None:
    geometry = mixed_geometry()
    length, block, step, theta = geometry.length, 8, 2, 1.5
    q, k, v = tensors(1, length, q_len=q_len)
    method = anchor.build(anchor.Settings(theta=theta, block=block, step=step), DIMS)
    found = method.plan(q, k, v, call_of(geometry, causal=True, q_len=q_len)).dense_mask()[0]
    offset = length - q_len
    for h in range(DIMS.heads):
        scores = q[0, h] @ k[0, h // 2].T * HEAD_DIM**-0.5
        for start in range(0, q_len, block * step):
            rows = range(start, min(start + block * step, q_len))
            near = [*range(min(block, start + offset)), *range(start + offset, rows[-1] + offset + 1)]
            best = {i: max(float(scores[i, j]) for j in near if j <= i + offset) for i in rows}
            seen = set(near) | set(range(block))
            for first in range(start, rows[-1] + 1, block):
                part = range(first, min(first + block, q_len))
                mean_anchor = sum(best[i] for i in part) / len(part)
                mean_scores = scores[list(part)].mean(0)
                seen |= {j for j in range(start + offset) if mean_anchor - float(mean_scores[j]) <= theta}
            for i in rows:
                wanted = torch.tensor([j in seen and j <= i + offset for j in range(length)])
                assert torch.equal(found[h, i], wanted), (h, i)


def test_a_greater_theta_only_adds_keys() -> None:
    geometry = mixed_geometry()
    q, k, v = tensors(1, geometry.length)
    call = call_of(geometry, causal=True)
    masks = [
        anchor.build(anchor.Settings(theta=theta, block=8, step=2), DIMS).plan(q, k, v, call).dense_mask()
        for theta in (0.0, 1.0, 2.0)
    ]
    assert not (masks[0] & ~masks[1]).any()
    assert not (masks[1] & ~masks[2]).any()
    assert masks[0].sum() < masks[1].sum() < masks[2].sum()
