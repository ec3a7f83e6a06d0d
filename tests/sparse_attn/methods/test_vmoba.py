"""VMoBA beside its rule, written out with dictionaries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from attention_samples import DIMS, call_of, mixed_geometry, tensors, video_geometry

from allocentric.sparse_attn.contract import Call
from allocentric.sparse_attn.methods import vmoba
from allocentric.sparse_attn.plan import Extent

Entry = tuple[int, int, int]
SETTINGS = vmoba.Settings(frames=4, area=(3, 3), cube=(4, 3, 2), q_block=8)


def blocks_by_hand(layer: int) -> list[tuple[int, ...]]:
    """Block of every token of six frames of 4x4; no cell divides the grid."""
    cells = [(4, 99, 99), (99, 3, 3), (4, 3, 2)]
    size = cells[layer % 3]
    tokens = [(t, y, x) for t in range(6) for y in range(4) for x in range(4)]
    return [tuple(place // s for place, s in zip(token, size, strict=True)) for token in tokens]


def chosen_by_hand(
    q: torch.Tensor, k: torch.Tensor, blocks: list[tuple[int, ...]], tau: float, scope: Callable[[Entry], object]
) -> set[Entry]:
    """(block, head, query) that are seen; entries with the same `scope` compete."""
    names = sorted(set(blocks))
    gates: dict[object, dict[Entry, float]] = {}
    for c, name in enumerate(names):
        members = [i for i, block in enumerate(blocks) if block == name]
        for h in range(q.shape[0]):
            mean = k[h // 2, members].mean(0)
            for i in range(q.shape[1]):
                gates.setdefault(scope((c, h, i)), {})[(c, h, i)] = float(q[h, i] @ mean)
    seen: set[Entry] = set()
    for group in gates.values():
        low, high = min(group.values()), max(group.values())
        share = {entry: (gate - low) / (high - low) for entry, gate in group.items()}
        total = sum(share.values()) + 1e-6
        own = [entry for entry in group if names[entry[0]] == blocks[entry[2]]]
        missing = max(tau - sum(share[entry] for entry in own) / total, 0.0)
        seen.update(own)
        taken = 0.0
        for entry in sorted((e for e in group if e not in set(own)), key=lambda e: -share[e]):
            seen.add(entry)
            taken += share[entry]
            if taken / total >= missing:
                break
    return seen


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("query_head", lambda entry: entry[1:]),
        ("block", lambda entry: entry[0]),
        ("head_global", lambda entry: entry[1]),
        ("overall", lambda entry: None),
    ],
)
def test_shares_of_gates_in_every_scope_and_layer(name: str, scope: Callable[[Entry], object], layer: int) -> None:
    geometry = video_geometry()
    q, k, v = tensors(1, geometry.length)
    settings = SETTINGS.model_copy(update={"scope": name, "tau": 0.4})
    plan = vmoba.build(settings, replace(DIMS, layer=layer)).plan(q, k, v, call_of(geometry, causal=False))
    blocks = blocks_by_hand(layer)
    seen = chosen_by_hand(q[0], k[0], blocks, 0.4, scope)
    names = sorted(set(blocks))
    wanted = torch.zeros(DIMS.heads, geometry.length, geometry.length, dtype=torch.bool)
    for c, h, i in seen:
        wanted[h, i] |= torch.tensor([block == names[c] for block in blocks])
    assert torch.equal(plan.dense_mask()[0], wanted)


def test_top_k_takes_the_own_block_and_the_best_others() -> None:
    geometry = video_geometry()
    q, k, v = tensors(1, geometry.length)
    settings = SETTINGS.model_copy(update={"select": "top_k", "top_k": 2})
    plan = vmoba.build(settings, replace(DIMS, layer=2)).plan(q, k, v, call_of(geometry, causal=False))
    blocks = blocks_by_hand(2)
    means = {name: k[0][:, [b == name for b in blocks]].mean(1) for name in set(blocks)}
    found = plan.dense_mask()[0]
    for h in range(DIMS.heads):
        for i in range(geometry.length):
            others = sorted(set(blocks) - {blocks[i]}, key=lambda name: -float(q[0, h, i] @ means[name][h // 2]))
            wanted = torch.tensor([block in (blocks[i], others[0]) for block in blocks])
            assert torch.equal(found[h, i], wanted)


def test_tokens_outside_pictures_are_one_block() -> None:
    geometry = mixed_geometry()
    block = vmoba.blocks_of_grid(geometry, (2, 2, 2))[0]
    text = geometry.clip_BL[0] < 0
    assert len(set(block[text].tolist())) == 1
    # A picture of 4x4 is 2x2 blocks; a video of 5 frames 3x2x2.
    assert len(set(block[~text].tolist())) == 4 + 12


def test_a_row_of_the_batch_does_not_count_in_anothers_share() -> None:
    geometry = video_geometry(2)
    q, k, v = tensors(2, geometry.length)
    method = vmoba.build(SETTINGS.model_copy(update={"scope": "overall"}), DIMS)
    both = method.plan(q, k, v, call_of(geometry, causal=False)).dense_mask()
    extent = Extent(batch=1, heads=4, q_len=96, kv_len=96, causal=False, device=torch.device("cpu"))
    alone = method.plan(q[1:], k[1:], v[1:], Call(extent=extent, scale=0.25, geometry=geometry.rows([1])))
    assert torch.equal(both[1:], alone.dense_mask())
