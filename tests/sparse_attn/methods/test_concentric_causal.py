"""Concentric causal attention: rings, positions and mask against loops and the published example."""

from __future__ import annotations

import pytest
import torch
from attention_loops import MIXED, Token, assert_pairs, method_of, plan_of, sequence

from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.methods.concentric_causal import Settings, position_ids, rings


def peeled(rows: int, cols: int) -> list[list[int]]:
    """Ring of every token, by taking off the border again and again."""
    ring = [[-1] * cols for _ in range(rows)]
    step, top, left, bottom, right = 0, 0, 0, rows - 1, cols - 1
    while top <= bottom and left <= right:
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                if y in (top, bottom) or x in (left, right):
                    ring[y][x] = step
        step, top, left, bottom, right = step + 1, top + 1, left + 1, bottom - 1, right - 1
    return ring


def rule(q: Token, k: Token) -> bool:
    if q.text or q.frame != k.frame:
        return k.place <= q.place
    ring = peeled(q.rows, q.cols)
    return ring[k.y][k.x] <= ring[q.y][q.x]


@pytest.mark.parametrize("pieces", MIXED)
def test_rings_and_mask(pieces: list) -> None:
    tokens, geometry = sequence(pieces)
    for token, ring in zip(tokens, rings(geometry)[0].tolist(), strict=True):
        assert ring == (0 if token.text else peeled(token.rows, token.cols)[token.y][token.x])
    method = method_of("concentric_causal", Settings(block=8))
    assert_pairs(plan_of(method, geometry, causal=True), tokens, rule)
    # A chunk that begins inside a picture: its queries see the same keys as in one call.
    assert_pairs(plan_of(method, geometry, causal=True, q_len=len(tokens) // 2), tokens, rule)


@pytest.mark.parametrize("pieces", MIXED)
def test_positions_count_rings(pieces: list) -> None:
    tokens, geometry = sequence(pieces)
    wanted, following = [], 0
    for index, token in enumerate(tokens):
        if token.text:
            wanted.append(following)
            following += 1
            continue
        ring = peeled(token.rows, token.cols)
        wanted.append(following + ring[token.y][token.x])
        if index + 1 == len(tokens) or tokens[index + 1].frame != token.frame:
            following += max(max(row) for row in ring) + 1
    assert position_ids(geometry)[0].tolist() == wanted


def test_the_published_picture_takes_twelve_positions() -> None:
    """24 x 24 tokens after 35 of text, as in LLaVA-1.5: rings 35 ... 46, text goes on at 47."""
    tokens, geometry = sequence([35, (24, 24), 3])
    ids = position_ids(geometry)[0]
    assert ids[:35].tolist() == list(range(35))
    assert ids[35 : 35 + 24].eq(35).all(), "the first row is the outer ring"
    assert ids[35 + 12 * 24 + 12] == 46, "the middle is the last ring"
    assert ids[-3:].tolist() == [47, 48, 49]
    assert len(tokens) == 35 + 576 + 3


def test_positions_stay_when_the_stream_goes_on() -> None:
    _, geometry = sequence([3, (2, 4, 5, 1), 2, (3, 3), 4])
    whole = position_ids(geometry)
    for stop in range(1, geometry.length):
        assert position_ids(geometry[:stop]).equal(whole[:, :stop])


def test_a_batch_of_different_rows() -> None:
    rows = [sequence([2, (3, 4), 4]), sequence([3, (1, 3, 3), 6])]
    both = Geometry.from_grids(
        torch.cat([geometry.modality_BL for _, geometry in rows]),
        image_grid_thw=torch.tensor([[1, 3, 4]]),
        video_grid_thw=torch.tensor([[1, 3, 3]]),
        merge_size=1,
    )
    plan = plan_of(method_of("concentric_causal", Settings(block=4)), both, causal=True)
    for row, (tokens, geometry) in enumerate(rows):
        assert_pairs(plan, tokens, rule, row=row)
        assert position_ids(both)[row].equal(position_ids(geometry)[0])
