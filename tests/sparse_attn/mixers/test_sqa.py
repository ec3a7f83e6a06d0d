"""SQA against attention of every query by itself; and what it costs."""

from __future__ import annotations

import pytest
import torch
from mixer_samples import Rope, assert_equals_reference, disturbed, tokens_and_rope
from torch import Tensor

from allocentric.core.errors import SettingsError
from allocentric.sparse_attn.contract import Dims
from allocentric.sparse_attn.errors import AttentionError
from allocentric.sparse_attn.mixers.sqa import Settings, build

DIMS = Dims(width=12, heads=8, kv_heads=4, head_dim=4)


def by_queries(
    p: dict[str, Tensor], x: Tensor, rope: Rope, heads: int, kv_heads: int, window: int, sinks: int
) -> Tensor:
    def turned(v: Tensor, row: int, t: int) -> Tensor:
        return v * rope[0][row, t] + torch.cat([-v[2:], v[:2]]) * rope[1][row, t]

    rows = []
    for b, row in enumerate(x):
        outputs = []
        for t in range(len(row)):
            merged = []
            for h in range(heads):
                g = h // (heads // kv_heads)
                q = turned(p["attention.q_proj.weight"][4 * h : 4 * h + 4] @ row[t], b, t)
                seen = [s for s in range(t + 1) if t - s < window or s < sinks]
                keys = [turned(p["attention.k_proj.weight"][4 * g : 4 * g + 4] @ row[s], b, s) for s in seen]
                weights = torch.softmax(torch.stack([q @ k for k in keys]) / 2, dim=0)
                values = [p["attention.v_proj.weight"][4 * g : 4 * g + 4] @ row[s] for s in seen]
                merged.append(sum(w * v for w, v in zip(weights, values, strict=True)))
            outputs.append(p["attention.o_proj.weight"] @ torch.cat(merged))
        rows.append(torch.stack(outputs))
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("settings", "heads", "kv_heads", "window", "sinks"),
    [(Settings(), 4, 4, 99, 0), (Settings(query_heads=2, kv_heads=1, window=5, sinks=2), 2, 1, 5, 2)],
)
def test_output_and_gradients_are_those_of_every_query_by_itself(
    settings: Settings, heads: int, kv_heads: int, window: int, sinks: int
) -> None:
    torch.manual_seed(0)
    x, rope = tokens_and_rope(DIMS, batch=1, length=9)
    assert_equals_reference(
        disturbed(build(settings, DIMS)),
        lambda p, x, r: by_queries(p, x, r, heads, kv_heads, window, sinks),
        x,
        rope,
    )


def test_scores_cost_the_share_of_heads_that_is_left() -> None:
    half, quarter = build(Settings(query_heads=4), DIMS), build(Settings(query_heads=2, kv_heads=2), DIMS)
    scores = [m.cost(1000).forward_flops - m.attention.flops(1000) for m in (half, quarter)]
    assert scores[0] == 4 * 4 * 4 * (1000 * 1001 // 2)
    assert scores[0] == 2 * scores[1]


def test_what_cannot_be_built_or_taken_over_is_said() -> None:
    with pytest.raises(SettingsError, match="3 query heads don't share 2 key-value heads"):
        build(Settings(query_heads=3, kv_heads=2), DIMS)
    with pytest.raises(SettingsError, match="more than the 8 of the layer"):
        build(Settings(query_heads=16, kv_heads=4), DIMS)
    with pytest.raises(AttentionError, match="trained from scratch"):
        build(Settings(), DIMS).adopt(torch.nn.Linear(2, 2))
