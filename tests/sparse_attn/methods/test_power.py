"""PowerAttention against its definition, and its promise on reach."""

from __future__ import annotations

import pytest
import torch
from attention_loops import Token, assert_lists_are_tight, assert_pairs, method_of, plan_of

from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.methods.power import Settings


@pytest.mark.parametrize(
    ("length", "settings"),
    [
        (41, Settings(block=1, window=1, sinks=0)),
        (77, Settings(block=4, window=3, sinks=1)),
        (64, Settings(block=8, window=1, sinks=2)),
    ],
)
def test_distances(length: int, settings: Settings) -> None:
    powers = {2**p for p in range(20)}

    def rule(q: Token, k: Token) -> bool:
        distance = q.place // settings.block - k.place // settings.block
        near = 0 <= distance < settings.window
        return k.place <= q.place and (near or distance in powers or k.place < settings.sinks * settings.block)

    tokens = [Token(i) for i in range(length)]
    method = method_of("power", settings)
    plan = plan_of(method, Geometry.of_text(1, length), causal=True)
    assert_pairs(plan, tokens, rule)
    assert_lists_are_tight(plan)
    chunk = plan_of(method, Geometry.of_text(1, length), causal=True, q_len=length // 3)
    assert_pairs(chunk, tokens, rule)


def test_d_layers_reach_all_within_two_to_the_d_blocks() -> None:
    """Any distance below 2^d needs at most d layers, and 2^d - 1 needs all of them."""
    length, depth = 128, 6
    mask = plan_of(
        method_of("power", Settings(block=1, window=1, sinks=0)), Geometry.of_text(1, length), causal=True
    ).dense_mask()[0, 0]
    distance = torch.arange(length)[:, None] - torch.arange(length)
    reach = torch.eye(length)
    for layer in range(1, depth + 1):
        reach = ((reach @ mask.float()) > 0).float()
        assert reach[(distance >= 0) & (distance < 2**layer)].all()
        assert not reach[distance == 2 ** (layer + 1) - 1].any()


def test_keys_of_a_query_grow_with_the_logarithm() -> None:
    settings = Settings(block=1, window=1, sinks=0)
    for length in (64, 256, 1024):
        last = plan_of(method_of("power", settings), Geometry.of_text(1, length), causal=True, q_len=1)
        assert last.kept_pairs() == 4 * length.bit_length()  # four heads; distances 0, 1, 2 ... length / 2
