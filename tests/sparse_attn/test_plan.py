"""Plans mean what they say: masks against loops, counts against masks, permutations there and back."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from allocentric.sparse_attn import executors, plan
from allocentric.sparse_attn.executors import dense
from allocentric.sparse_attn.plan import Band, Blocks, Dense, Extent, Gather, Plan, blocks_of_map

CPU = torch.device("cpu")


def extent(q_len: int, kv_len: int, *, causal: bool = True, batch: int = 1, heads: int = 1) -> Extent:
    return Extent(batch=batch, heads=heads, q_len=q_len, kv_len=kv_len, causal=causal, device=CPU)


def in_order(q: int, k: int, e: Extent) -> bool:
    """What causality leaves of a pair (query of the call, key)."""
    return not e.causal or k <= q + e.kv_len - e.q_len


def rule(b: torch.Tensor, h: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """Different in every batch row and head."""
    return (q + 2 * k + h + 3 * b) % 3 != 0


def ruled(b: int, h: int, q: int, k: int) -> bool:
    return (q + 2 * k + h + 3 * b) % 3 != 0


def shapes() -> list[tuple[int, int, bool]]:
    """(queries, keys, causal): whole, chunk, step, cross."""
    return [(9, 9, True), (4, 11, True), (1, 7, True), (9, 9, False), (5, 8, False)]


def assert_mask(of: Plan, wanted: np.ndarray) -> None:
    assert np.array_equal(of.dense_mask().numpy(), wanted)
    assert of.kept_pairs() == wanted.sum()
    pairs = sum(in_order(q, k, of.extent) for q in range(of.extent.q_len) for k in range(of.extent.kv_len))
    assert of.extent.pairs == pairs
    assert of.density == wanted.sum() / (of.extent.batch * of.extent.heads * pairs)


def loops(e: Extent, keep) -> np.ndarray:
    wanted = np.zeros((e.batch, e.heads, e.q_len, e.kv_len), dtype=bool)
    for b, h, q, k in itertools.product(*(range(n) for n in wanted.shape)):
        wanted[b, h, q, k] = in_order(q, k, e) and keep(b, h, q, k)
    return wanted


@pytest.mark.parametrize(("q_len", "kv_len", "causal"), shapes())
def test_dense(q_len: int, kv_len: int, causal: bool) -> None:
    e = extent(q_len, kv_len, causal=causal, batch=2, heads=3)
    assert_mask(Dense(extent=e), loops(e, lambda b, h, q, k: True))
    assert_mask(Dense(extent=e, rule=rule), loops(e, lambda b, h, q, k: ruled(b, h, q + e.q_offset, k)))


@pytest.mark.parametrize(("q_len", "kv_len", "causal"), shapes())
def test_bands_are_counted_in_closed_form(q_len: int, kv_len: int, causal: bool) -> None:
    e = extent(q_len, kv_len, causal=causal, heads=2)
    for window, sinks in itertools.product((1, 2, 5, 8, 9, 30), (0, 1, 3, 8, 40)):
        wanted = loops(e, lambda b, h, q, k, w=window, s=sinks: abs(q + e.q_offset - k) < w or k < s)
        assert_mask(Band(extent=e, window=window, sinks=sinks), wanted)
    more = loops(e, lambda b, h, q, k: (abs(q + e.q_offset - k) < 4 or k < 2) and ruled(b, h, q + e.q_offset, k))
    assert_mask(Band(extent=e, window=4, sinks=2, rule=rule), more)


def random_blocks(seed: int, *, permuted: bool) -> Blocks:
    """Any lists at all: short blocks, empty lists, axes of 1, orders of queries and keys."""
    draw = random.Random(seed)
    causal = draw.random() < 0.5
    q_len = draw.randint(1, 13)
    kv_len = q_len + draw.randint(0, 6) if causal else draw.randint(1, 13)
    e = extent(q_len, kv_len, causal=causal, batch=draw.randint(1, 2), heads=draw.choice([1, 2, 4]))
    q_block, k_block = draw.randint(1, 5), draw.randint(1, 5)
    n_q, n_k = -(-q_len // q_block), -(-kv_len // k_block)
    axes = draw.choice([1, e.batch]), draw.choice([1, e.heads])
    g = torch.Generator().manual_seed(seed)
    index = torch.stack([torch.randperm(n_k, generator=g) for _ in range(axes[0] * axes[1] * n_q)])
    num = torch.randint(0, n_k + 1, (*axes, n_q), generator=g, dtype=torch.int32)
    orders: dict[str, torch.Tensor] = {}
    if permuted:
        rows = draw.choice([1, e.batch]), draw.choice([1, e.heads])
        for name, length in (("q_order_BHL", q_len), ("k_order_BHS", kv_len)):
            each = [torch.randperm(length, generator=g) for _ in range(rows[0] * rows[1])]
            orders[name] = torch.stack(each).view(*rows, length)
    return Blocks(
        extent=e,
        rule=rule if draw.random() < 0.7 else None,
        q_block=q_block,
        k_block=k_block,
        num_BHQ=num,
        index_BHQN=index.view(*axes, n_q, n_k).to(torch.int32),
        **orders,
    )


def kept_by_lists(p: Blocks, b: int, h: int, q: int, k: int) -> bool:
    """Whether the lists hold the pair (query of the call, key)."""

    def of(tensor: torch.Tensor) -> torch.Tensor:
        return tensor[b % tensor.shape[0], h % tensor.shape[1]]

    q_place = q if p.q_order_BHL is None else of(p.q_order_BHL).tolist().index(q)
    k_place = k if p.k_order_BHS is None else of(p.k_order_BHS).tolist().index(k)
    block = q_place // p.q_block
    listed = of(p.index_BHQN)[block, : int(of(p.num_BHQ)[block])].tolist()
    return k_place // p.k_block in listed and (p.rule is None or ruled(b, h, q + p.extent.q_offset, k))


@pytest.mark.parametrize("permuted", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_random_lists_of_blocks(seed: int, permuted: bool) -> None:
    p = random_blocks(seed, permuted=permuted)
    assert_mask(p, loops(p.extent, lambda b, h, q, k: kept_by_lists(p, b, h, q, k)))


@pytest.mark.parametrize("seed", range(8))
def test_permuted_lists_give_what_permuted_tensors_give(seed: int) -> None:
    """There and back: attention on tensors permuted by hand, its outputs put back, and every gradient."""
    g = torch.Generator().manual_seed(seed)
    e = extent(12, 15, causal=False, heads=2)
    q, k, v = (torch.randn(1, 2, n, 8, generator=g, dtype=torch.float64, requires_grad=True) for n in (12, 15, 15))
    q_order, k_order = torch.randperm(12, generator=g), torch.randperm(15, generator=g)
    chosen = torch.rand(1, 1, 3, 5, generator=g) < 0.6
    chosen[..., 0] = True
    plain = blocks_of_map(e, chosen, q_block=4, k_block=3)
    by_hand = dense.attend(plain, q[:, :, q_order], k[:, :, k_order], v[:, :, k_order], scale=0.3)
    wanted = by_hand[:, :, torch.argsort(q_order)]
    ours = replace(plain, q_order_BHL=q_order[None, None], k_order_BHS=k_order[None, None])
    weight = torch.randn(wanted.shape, generator=g, dtype=torch.float64)
    gradients = torch.autograd.grad(wanted, (q, k, v), weight, retain_graph=True)
    for executor in ("dense", "gather"):
        out = executors.attend(ours, q, k, v, scale=0.3, executor=executor, training=True)
        torch.testing.assert_close(out, wanted)
        for found, right in zip(torch.autograd.grad(out, (q, k, v), weight), gradients, strict=True):
            torch.testing.assert_close(found, right)


@pytest.mark.parametrize("seed", range(6))
def test_maps_of_blocks_lose_only_what_lies_after(seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    e = extent(9, 14, causal=True, batch=2)
    chosen = torch.rand(2, 1, 3, 5, generator=g) < 0.6
    for permuted in (False, True):
        q_order = torch.stack([torch.randperm(9, generator=g) for _ in range(2)])[:, None] if permuted else None
        k_order = torch.stack([torch.randperm(14, generator=g) for _ in range(2)])[:, None] if permuted else None
        p = blocks_of_map(e, chosen, q_block=4, k_block=3, q_order_BHL=q_order, k_order_BHS=k_order)
        for b, block in itertools.product(range(2), range(3)):
            listed = p.index_BHQN[b, 0, block, : p.num_BHQ[b, 0, block]].tolist()
            queries = range(block * 4, min(block * 4 + 4, 9))
            last = max(q if q_order is None else int(q_order[b, 0, q]) for q in queries) + 5
            wanted = []
            for n in range(5):
                keys = range(n * 3, min(n * 3 + 3, 14))
                first = min(k if k_order is None else int(k_order[b, 0, k]) for k in keys)
                if chosen[b, 0, block, n] and first <= last:
                    wanted.append(n)
            assert sorted(listed) == wanted
        whole = replace(p, num_BHQ=chosen.sum(-1, dtype=torch.int32), index_BHQN=_all_listed(chosen))
        assert p.dense_mask().equal(whole.dense_mask()), "a dropped block held a pair that counts"


def _all_listed(chosen: torch.Tensor) -> torch.Tensor:
    return torch.argsort(chosen.int(), dim=-1, descending=True, stable=True).int()


@pytest.mark.parametrize(("q_len", "kv_len", "causal"), shapes())
def test_lists_of_keys(q_len: int, kv_len: int, causal: bool) -> None:
    e = extent(q_len, kv_len, causal=causal, batch=2, heads=2)
    g = torch.Generator().manual_seed(q_len)
    index = torch.stack([torch.randperm(kv_len, generator=g)[:4] for _ in range(2 * q_len)]).view(2, 1, q_len, -1)
    index = index.masked_fill(torch.rand(index.shape, generator=g) < 0.3, -1)

    def keep(b: int, h: int, q: int, k: int) -> bool:
        return k in index[b, 0, q].tolist() and ruled(b, h, q + e.q_offset, k)

    assert_mask(Gather(extent=e, rule=rule, index_BHLN=index), loops(e, keep))


def test_counting_in_slabs_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    e = extent(11, 17, heads=2)
    plans = [Dense(extent=e, rule=rule), Band(extent=e, window=4, rule=rule), random_blocks(3, permuted=True)]
    whole = [(p.kept_pairs(), p.dense_mask()) for p in plans]
    monkeypatch.setattr(plan, "_PAIRS_AT_ONCE", 40)
    for p, (pairs, mask) in zip(plans, whole, strict=True):
        assert p.kept_pairs() == pairs
        assert p.dense_mask().equal(mask)


def test_looking_ahead_keeps_the_queries_at_the_end() -> None:
    e = extent(3, 8).looking_ahead()
    assert (e.causal, e.q_offset, e.pairs) == (False, 5, 24)
    assert extent(3, 8, causal=False).q_offset == 0
    # The rule talks about stream positions and may allow later keys.
    mask = Dense(extent=e, rule=lambda b, h, q, k: k <= q + 1).dense_mask()[0, 0]
    assert mask.sum(-1).tolist() == [7, 8, 8]


def test_rows_without_a_key_give_zero_and_no_gradient() -> None:
    e = extent(4, 4, causal=False)
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 1, 4, 4, generator=g, dtype=torch.float64, requires_grad=True) for _ in range(3))
    index = torch.tensor([[[[0, 1], [-1, -1], [2, -1], [3, 0]]]])
    for executor in ("dense", "gather"):
        out = executors.attend(Gather(extent=e, index_BHLN=index), q, k, v, scale=1.0, executor=executor)
        assert (out[0, 0, 1] == 0).all()
        (gradient,) = torch.autograd.grad(out.sum(), q)
        assert (gradient[0, 0, 1] == 0).all()
        assert gradient.isfinite().all()
