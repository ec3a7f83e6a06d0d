"""SeerAttention: the gate written out, and training that finds what the attention map holds."""

from __future__ import annotations

import cmath

import pytest
import torch
from attention_samples import DIMS, HEAD_DIM, call_of, mixed_geometry, tensors

from allocentric.sparse_attn.contract import Call, Dims
from allocentric.sparse_attn.methods import seer
from allocentric.sparse_attn.plan import Extent, blocks_of_map

BLOCK = 8


def rotated_by_hand(row: torch.Tensor, position: int) -> torch.Tensor:
    half = len(row) // 2
    pairs = [complex(row[n], row[n + half]) * cmath.exp(1j * position * 10_000.0 ** (-n / half)) for n in range(half)]
    return torch.tensor([p.real for p in pairs] + [p.imag for p in pairs], dtype=row.dtype)


@pytest.mark.parametrize("q_len", [115, 50])
def test_gate_and_choice_equal_their_rule(q_len: int) -> None:
    geometry = mixed_geometry()
    length = geometry.length
    q, k, v = tensors(1, length, q_len=q_len)
    torch.manual_seed(0)
    method = seer.build(seer.EXAMPLE, DIMS).double()
    call = call_of(geometry, causal=True, q_len=q_len)
    found = method.plan(q, k, v, call).dense_mask()[0]
    log_map = method.gate(q, k, call.extent)[0]
    offset = length - q_len
    for h in range(DIMS.heads):
        for tile, start in enumerate(range(0, q_len, BLOCK)):
            rows = list(range(start, min(start + BLOCK, q_len)))
            query = rotated_by_hand(q[0, h, rows].mean(0) @ method.q_weight_HDG[h].detach(), start + offset)
            scores = {}
            for n in range(0, rows[-1] + offset + 1, BLOCK):
                keys = k[0, h // 2, n : n + BLOCK]
                pooled = torch.cat([keys.max(0).values, keys.min(0).values, keys.mean(0)])
                scores[n] = query @ rotated_by_hand(pooled @ method.k_weight_KEG[h // 2].detach(), n) * 8**-0.5
            wanted = torch.stack(list(scores.values())).log_softmax(0)
            torch.testing.assert_close(log_map[h, tile, : len(scores)], wanted.detach())
            assert (log_map[h, tile, len(scores) :] == float("-inf")).all()
            own = {n for n in scores if n + BLOCK > start + offset}
            others = sorted(set(scores) - own, key=lambda n: -float(scores[n]))
            best = own | set(others[: max(0, 3 - len(own))])
            for i in rows:
                seen = torch.tensor([j // BLOCK * BLOCK in best and j <= i + offset for j in range(length)])
                assert torch.equal(found[h, i], seen)


def test_a_threshold_keeps_what_lies_above_it_and_the_own_blocks() -> None:
    geometry = mixed_geometry()
    q, k, v = tensors(1, geometry.length)
    torch.manual_seed(0)
    method = seer.build(seer.Settings(block=BLOCK, gate_width=8, threshold=0.1), DIMS).double()
    call = call_of(geometry, causal=True)
    plan = method.plan(q, k, v, call)
    gate = method.gate(q, k, call.extent).exp()
    own = torch.eye(gate.shape[-1], dtype=torch.bool)
    assert torch.equal(plan.dense_mask()[..., ::BLOCK][:, :, BLOCK - 1 :: BLOCK], ((gate >= 0.1) | own)[:, :, :14])


def test_pooled_attention_is_the_greatest_weight_of_every_block() -> None:
    geometry = mixed_geometry()
    q, k, _ = tensors(1, geometry.length)
    call = call_of(geometry, causal=True)
    scores = q @ k.repeat_interleave(2, 1).transpose(-1, -2) * HEAD_DIM**-0.5
    later = torch.ones(115, 115, dtype=torch.bool).triu(1)
    weights = torch.nn.functional.pad(scores.masked_fill(later, float("-inf")).softmax(-1), (0, 5, 0, 5))
    wanted = torch.nn.functional.max_pool2d(weights, BLOCK)
    torch.testing.assert_close(seer.pooled_attention(q, k, call, BLOCK), wanted)


def structured(seed: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Blocks of keys of one of eight kinds, told by a pair of opposite keys that their mean hides."""
    g = torch.Generator().manual_seed(seed)
    kinds = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(99)))[0][:8]
    noise = torch.randn(2, 1, 2, length, 16, generator=g) * 0.2
    k, q = noise[0], noise[1]
    for start in range(0, length, BLOCK):
        kind = kinds[int(torch.randint(0, 8, (), generator=g))]
        k[0, :, start] += 4 * kind
        k[0, :, start + 1] -= 4 * kind
        q[0, :, start : start + BLOCK] += 4 * kinds[int(torch.randint(0, 8, (), generator=g))]
    return q, k


def recall(plan_mask: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> float:
    later = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).triu(1)
    weights = (q @ k.transpose(-1, -2) * 0.25).masked_fill(later, float("-inf")).softmax(-1)
    return float((weights * plan_mask).sum(-1).mean())


def test_distillation_raises_recall_from_the_untrained_gate_towards_the_oracle() -> None:
    length, top_k = 192, 5
    dims = Dims(width=32, heads=2, kv_heads=2, head_dim=16)
    extent = Extent(batch=1, heads=2, q_len=length, kv_len=length, causal=True, device=torch.device("cpu"))
    call = Call(extent=extent, scale=0.25)
    torch.manual_seed(0)
    method = seer.build(seer.Settings(block=BLOCK, gate_width=32, top_k=top_k), dims)
    held_out = structured(1000, length)

    def measure() -> float:
        return recall(method.plan(*held_out, held_out[1], call).dense_mask(), *held_out)

    untrained = measure()
    optimiser = torch.optim.Adam(method.parameters(), lr=0.01)
    losses = []
    for step in range(40):
        loss = method.distillation_loss(*structured(step, length), call)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2
    blocks = length // BLOCK
    later = torch.ones(length, length, dtype=torch.bool).triu(1)
    q, k = held_out
    weights = (q @ k.transpose(-1, -2) * 0.25).masked_fill(later, float("-inf")).softmax(-1)
    mass = weights.unflatten(3, (blocks, BLOCK)).sum(4).unflatten(2, (blocks, BLOCK)).sum(3)
    mass.diagonal(dim1=-2, dim2=-1).fill_(float("inf"))
    best = torch.zeros_like(mass, dtype=torch.bool).scatter(-1, mass.topk(top_k, -1).indices, True)
    oracle = recall(blocks_of_map(extent, best, q_block=BLOCK, k_block=BLOCK).dense_mask(), *held_out)
    trained = measure()
    assert untrained < trained <= oracle + 1e-6
    assert trained > untrained + 0.5 * (oracle - untrained), (untrained, trained, oracle)
