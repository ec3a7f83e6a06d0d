"""BASED against sums over all earlier tokens of the published feature map, one token at a time."""

from __future__ import annotations

import pytest
import torch
from mixer_samples import Rope, assert_equals_reference, disturbed, tokens_and_rope
from torch import Tensor

from allocentric.sparse_attn.contract import Dims
from allocentric.sparse_attn.mixers.based import Settings, build, taylor_features, taylor_series

DIMS = Dims(width=12, heads=3, kv_heads=3, head_dim=6)


def published_features(x: Tensor) -> Tensor:
    """[1, x / d^(1/4), (x x^T) / (sqrt(2) sqrt(d))]: all d^2 squares, as HazyResearch/based@202f499 has them."""
    width = len(x)
    return torch.cat([x.new_ones(1), x / width**0.25, torch.outer(x, x).flatten() / (2 * width) ** 0.5])


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = len(x) // 2
    return x * cos + torch.cat([-x[half:], x[:half]]) * sin


def by_sums(p: dict[str, Tensor], x: Tensor, rope: Rope, window: int, short: int) -> Tensor:
    heads, width = DIMS.heads, DIMS.head_dim
    rows = []
    for row, cos, sin in zip(x, *rope, strict=True):
        outputs = []
        for t in range(len(row)):
            merged = []
            for h in range(heads):
                head, brief = slice(h * width, (h + 1) * width), slice(h * short, (h + 1) * short)
                q = published_features(p["proj_q.weight"][brief] @ row[t])
                values = [p["proj_v.weight"][head] @ row[s] for s in range(t + 1)]
                weights = [q @ published_features(p["proj_k.weight"][brief] @ row[s]) for s in range(t + 1)]
                o = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
                if window:
                    near = range(max(0, t - window + 1), t + 1)
                    q = turned(p["window_q.weight"][head] @ row[t], cos[t], sin[t])
                    keys = [turned(p["window_k.weight"][head] @ row[s], cos[s], sin[s]) for s in near]
                    weights = torch.softmax(torch.stack([q @ k for k in keys]) / width**0.5, dim=0)
                    o = o + sum(w * values[s] for w, s in zip(weights, near, strict=True))
                merged.append(o)
            outputs.append(p["out_proj.weight"] @ torch.cat(merged))
        rows.append(torch.stack(outputs))
    return torch.stack(rows)


@pytest.mark.parametrize(("window", "short", "chunk"), [(4, 4, 4), (0, 3, 4)])
def test_output_and_gradients_are_those_of_sums_over_earlier_tokens(window: int, short: int, chunk: int) -> None:
    torch.manual_seed(0)
    mixer = disturbed(build(Settings(feature_dim=short, window=window, chunk=chunk), DIMS))
    x, rope = tokens_and_rope(DIMS, batch=1, length=10)
    assert_equals_reference(mixer, lambda p, x, r: by_sums(p, x, r, window, short), x, rope)


def test_features_multiply_to_the_series() -> None:
    g = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 50, 16, generator=g, dtype=torch.float64)
    assert taylor_features(q).shape == (50, 153)
    torch.testing.assert_close((taylor_features(q) * taylor_features(k)).sum(-1), taylor_series((q * k).sum(-1)))
    near = torch.linspace(-0.1, 0.1, 21, dtype=torch.float64)
    # What is left out of exp is s^3 / 6 at most, times e^0.1.
    assert (taylor_series(near) - near.exp()).abs().max() < 0.1**3 / 6 * 1.11


def test_cost_is_the_count_of_products() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    mixer = build(Settings(feature_dim=4, window=0, chunk=8), DIMS)
    with FlopCounterMode(display=False) as counter:
        mixer(torch.randn(1, 43, 12))
    assert mixer.cost(43).forward_flops == counter.get_total_flops()
