"""MaxViT's windows and grids against loops."""

from __future__ import annotations

import pytest
from attention_loops import MIXED, Token, assert_lists_are_tight, assert_pairs, method_of, plan_of, sequence

from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.methods.maxvit import Settings


def rule_of(s: Settings, grid: bool, causal: bool):
    def group(at: int, size: int) -> int:
        if not grid:
            return next(i for i in range(size) if i * s.window <= at < (i + 1) * s.window)
        cell = -(-size // s.grid)
        return at % cell

    def rule(q: Token, k: Token) -> bool:
        if causal and k.place > q.place:
            return False
        if q.text or k.text:
            return True
        if q.frame != k.frame:
            return s.others
        return group(q.y, q.rows) == group(k.y, k.rows) and group(q.x, q.cols) == group(k.x, k.cols)

    return rule


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("settings", [Settings(window=2, grid=3, block=4), Settings(window=3, grid=2, others=True)])
def test_even_layers_have_windows_and_odd_ones_grids(settings: Settings, layer: int, causal: bool) -> None:
    method = method_of("maxvit", settings, layer=layer)
    for pieces in MIXED:
        tokens, geometry = sequence(pieces)
        plan = plan_of(method, geometry, causal=causal)
        assert_pairs(plan, tokens, rule_of(settings, layer == 1, causal))


def test_a_window_and_a_grid_reach_the_whole_picture() -> None:
    """As in the paper: two layers connect any two tokens of a picture whose edges are P x G."""
    geometry = Geometry.of_video(1, 1, 12, 12)
    masks = [
        plan_of(method_of("maxvit", Settings(window=4, grid=3), layer=layer), geometry, causal=False).dense_mask()[
            0, 0
        ]
        for layer in (0, 1)
    ]
    assert (masks[0].sum(-1) == 16).all()
    assert (masks[1].sum(-1) == 9).all()
    assert ((masks[1].float() @ masks[0].float()) > 0).all()


def test_groups_are_sorted_so_that_lists_hold_no_block_in_vain() -> None:
    for layer in (0, 1):
        plan = plan_of(
            method_of("maxvit", Settings(window=4, grid=4, block=16), layer=layer),
            Geometry.of_video(1, 2, 16, 16),
            causal=False,
        )
        assert_lists_are_tight(plan)
        assert plan.num_BHQ.max() == 1  # one group is one block
