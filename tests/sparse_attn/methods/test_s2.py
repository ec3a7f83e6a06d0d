"""S2's shares per head against the published layout, and together they are everything."""

from __future__ import annotations

import pytest
from attention_loops import Token, assert_lists_are_tight, assert_pairs, method_of, plan_of

from allocentric.sparse_attn.errors import AttentionError
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.methods.s2 import Settings

HEADS = {"head": [0, 1, 2, 3], "kv_head": [0, 0, 1, 1]}
"""Phase of each of the four query heads, which share two key-value heads."""


@pytest.mark.parametrize(
    ("length", "settings"),
    [
        (90, Settings(block=4, local_blocks=2, stride=4, phase="head")),
        (61, Settings(block=8, local_blocks=1, stride=2, phase="kv_head")),
        (50, Settings(block=3, local_blocks=3, stride=3, offset=2, phase="head")),
        (64, Settings(block=8, local_blocks=1, stride=8, phase="head", dense_heads=1)),
        (64, Settings(block=8, local_blocks=1, stride=8, phase="kv_head", dense_heads=1)),
    ],
)
def test_shares_of_heads(length: int, settings: Settings) -> None:
    tokens = [Token(i) for i in range(length)]
    method = method_of("s2", settings)
    plan = plan_of(method, Geometry.of_text(1, length), causal=True)
    chunk = plan_of(method, Geometry.of_text(1, length), causal=True, q_len=13)
    phases = HEADS[settings.phase]
    for head, phase in enumerate(phases):

        def rule(q: Token, k: Token, phase: int = phase) -> bool:
            i, j = q.place // settings.block, k.place // settings.block
            strided = (j + phase + settings.offset) % settings.stride == 0
            dense = phase > max(phases) - settings.dense_heads
            return k.place <= q.place and (i - j < settings.local_blocks or strided or dense)

        assert_pairs(plan, tokens, rule, head=head)
        assert_pairs(chunk, tokens, rule, head=head)
    assert_lists_are_tight(plan)


@pytest.mark.parametrize(("phase", "stride"), [("head", 4), ("head", 3), ("kv_head", 2)])
def test_the_heads_together_see_everything(phase: str, stride: int) -> None:
    settings = Settings(block=4, local_blocks=1, stride=stride, phase=phase)
    mask = plan_of(method_of("s2", settings), Geometry.of_text(1, 101), causal=True).dense_mask()[0]
    assert mask.any(0).equal(mask.new_ones(101, 101).tril())
    # And no far block is seen by two phases.
    phases = mask[::2] if phase == "kv_head" else mask[:stride]
    far = mask.new_ones(101, 101).tril(-8)
    assert (phases.sum(0)[far] == 1).all()


def test_fewer_phases_than_the_stride_are_refused() -> None:
    with pytest.raises(
        AttentionError, match=r"stride 4 needs as many phases and there are 2 .* phase: head for up to 4"
    ):
        method_of("s2", Settings(stride=4))
    with pytest.raises(AttentionError, match=r"take a stride of at most 4$"):
        method_of("s2", Settings(stride=5, phase="head"))
