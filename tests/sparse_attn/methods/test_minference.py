"""MInference beside its three patterns, written out, and its search on heads whose pattern is known."""

from __future__ import annotations

import math

import pytest
import torch
from attention_samples import DIMS, HEAD_DIM, call_of, mixed_geometry, tensors

from allocentric.core.errors import SettingsError
from allocentric.sparse_attn.contract import Call, Dims
from allocentric.sparse_attn.methods import minference
from allocentric.sparse_attn.methods.minference import AShape, BlockSparse, VerticalSlash, search
from allocentric.sparse_attn.plan import Band, Blocks, Extent

LENGTH = 115


def lines_by_hand(scores: torch.Tensor, offset: int, pattern: VerticalSlash, last_q: int) -> tuple[set[int], set[int]]:
    """Columns and distances of one head from scores (L, S)."""
    columns, distances = [0.0] * scores.shape[1], [0.0] * scores.shape[1]
    for i in range(max(0, scores.shape[0] - last_q), scores.shape[0]):
        row = [math.exp(float(scores[i, j])) for j in range(i + offset + 1)]
        for j, weight in enumerate(row):
            columns[j] += weight / sum(row)
            distances[i + offset - j] += weight / sum(row)
    columns[: pattern.first] = [math.inf] * pattern.first
    distances[: pattern.near] = [math.inf] * pattern.near

    def best(values: list[float], count: int) -> set[int]:
        return set(sorted(range(len(values)), key=lambda n: -values[n])[:count])

    return best(columns, pattern.vertical), best(distances, pattern.slash)


@pytest.mark.parametrize("q_len", [LENGTH, 50])
def test_patterns_equal_their_rules(q_len: int) -> None:
    q, k, v = tensors(1, LENGTH, q_len=q_len)
    call = call_of(mixed_geometry(), causal=True, q_len=q_len)
    found = minference.build(minference.EXAMPLE, DIMS).plan(q, k, v, call).dense_mask()[0]
    offset = LENGTH - q_len
    j = torch.arange(LENGTH)
    for h, pattern in enumerate(minference.EXAMPLE.heads):
        scores = q[0, h] @ k[0, h // 2].T * HEAD_DIM**-0.5
        if isinstance(pattern, VerticalSlash):
            columns, distances = lines_by_hand(scores, offset, pattern, 16)
        for start in range(0, q_len, 8):
            rows = range(start, min(start + 8, q_len))
            if isinstance(pattern, AShape):
                seen = [(j < 3) | (j > i + offset - 10) for i in rows]
            elif isinstance(pattern, VerticalSlash):
                keys = columns | {i + offset - d for i in rows for d in distances}
                seen = [torch.tensor([int(at) in keys for at in j]) for _ in rows]
            else:
                mean = q[0, h, list(rows)].mean(0)
                begins = [n for n in range(0, LENGTH, 8) if n <= start + offset]
                best = sorted(begins, key=lambda n: -float(mean @ k[0, h // 2, n : n + 8].mean(0)))[:3]
                # Blocks that begin inside the tile come on top; causality leaves of later ones nothing.
                inside = [n for n in range(0, LENGTH, 8) if n > start + offset]
                keys = {at for n in [*best, *inside] for at in range(n, n + 8)}
                seen = [torch.tensor([int(at) in keys for at in j]) for _ in rows]
            for i, row in zip(rows, seen, strict=True):
                assert torch.equal(found[h, i], row & (j <= i + offset)), (pattern, i)


def test_layers_of_one_pattern_need_no_lists_of_single_keys() -> None:
    q, k, v = tensors(1, LENGTH)
    call = call_of(mixed_geometry(), causal=True)
    a_shape = minference.build(minference.Settings(heads=(AShape(sinks=2, window=9),)), DIMS)
    assert a_shape.streams
    assert isinstance(a_shape.plan(q, k, v, call), Band)
    blocks = minference.build(minference.Settings(heads=(BlockSparse(blocks=2),), block=8), DIMS).plan(q, k, v, call)
    assert isinstance(blocks, Blocks)
    assert (blocks.k_block, blocks.rule) == (8, None)


def test_patterns_of_layers_follow_one_another() -> None:
    patterns = tuple(AShape(sinks=n, window=9) for n in range(8))
    second = Dims(width=64, heads=4, kv_heads=2, head_dim=16, layer=1, layers=2)
    assert minference.build(minference.Settings(heads=patterns), second).heads == patterns[4:]
    with pytest.raises(SettingsError, match="got 3 patterns for 2 layers of 4 heads"):
        minference.build(minference.Settings(heads=patterns[:3]), second)


def heads_of_known_pattern(length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, 3, length, 16): near keys, lines, and blocks of a common direction."""
    g = torch.Generator().manual_seed(0)
    q, k = torch.zeros(2, 1, 3, length, 16, dtype=torch.float64)
    angle = torch.arange(length)[:, None] * torch.tensor([0.05, 0.035, 0.02, 0.012], dtype=torch.float64)
    wave = torch.cat([angle.cos(), angle.sin()], dim=1)
    q[0, 0, :, :8], k[0, 0, :, :8] = 2 * wave, wave
    # Its last queries look elsewhere, which misleads what is estimated from them.
    q[0, 0, -16:] = torch.randn(16, 16, generator=g, dtype=torch.float64)
    columns = torch.randperm(length // 2, generator=g)[:12]
    q[0, 1, :, 0], k[0, 1, columns, 0] = 6.0, 2.0
    blocks = length // 16
    kind = torch.randint(0, 16, (blocks,), generator=g).repeat_interleave(16)
    k[0, 2] = 3 * torch.nn.functional.one_hot(kind, 16).double()
    wanted = torch.randint(0, 16, (blocks,), generator=g).repeat_interleave(16)
    q[0, 2] = 6 * torch.nn.functional.one_hot(wanted, 16).double()
    return q, k


def test_search_finds_the_pattern_of_every_head_within_the_budget() -> None:
    q, k = heads_of_known_pattern(256)
    found = search(q, k, scale=1.0, budget=0.25, block=16, last_q=16, skip=64)
    assert [one.pattern.kind for one in found] == ["a_shape", "vertical_slash", "block_sparse"]
    assert all(one.density <= 0.25 for one in found)
    assert all(one.recall > 0.6 for one in found), [one.recall for one in found]


def test_search_measures_what_the_method_does() -> None:
    q, k = heads_of_known_pattern(128)
    found = search(q, k, scale=1.0, budget=0.3, block=16, last_q=16)
    dims = Dims(width=48, heads=3, kv_heads=3, head_dim=16)
    settings = minference.Settings(heads=tuple(one.pattern for one in found), block=16, last_q=16)
    extent = Extent(batch=1, heads=3, q_len=128, kv_len=128, causal=True, device=torch.device("cpu"))
    mask = minference.build(settings, dims).plan(q, k, k, Call(extent=extent, scale=1.0)).dense_mask()[0]
    scores = (q[0] @ k[0].transpose(-1, -2)).masked_fill(torch.ones(128, 128, dtype=torch.bool).triu(1), -math.inf)
    kept = (scores.softmax(-1) * mask).sum(-1).mean(-1)
    torch.testing.assert_close(kept, torch.tensor([one.recall for one in found], dtype=kept.dtype))
    assert [one.density for one in found] == pytest.approx((mask.sum((1, 2)) / extent.pairs).tolist())
