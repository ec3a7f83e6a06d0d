"""MMInference beside its patterns, written out."""

from __future__ import annotations

import math

import pytest
import torch
from attention_samples import DIMS, HEAD_DIM, call_of, mixed_geometry, tensors

from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.methods import mminference
from allocentric.sparse_attn.methods.mminference import Boundary, Grid

LENGTH, BLOCK, LAST = 115, 8, 16


def attention_by_hand(scores: torch.Tensor, i: int, at: int) -> list[float]:
    row = [math.exp(float(scores[i, j])) if j <= at else 0.0 for j in range(scores.shape[1])]
    return [weight / sum(row) for weight in row]


def grid_by_hand(pattern: Grid, strides: tuple[int, ...], scores: torch.Tensor, offset: int) -> torch.Tensor:
    q_len = scores.shape[0]
    mass = [0.0] * LENGTH
    for i in range(max(0, q_len - LAST), q_len):
        mass = [a + b for a, b in zip(mass, attention_by_hand(scores, i, i + offset), strict=True)]
    _, s, p = max((sum(mass[p::s]), -s, p) for s in strides for p in range(s))
    s = -s
    wanted = torch.zeros(q_len, LENGTH, dtype=torch.bool)
    for i in range(q_len):
        at = i + offset
        for j in range(at + 1):
            lines = (pattern.vertical and j % s == p) or (pattern.horizontal and at % s == p)
            near = j < pattern.sinks or at - j < pattern.window
            wanted[i, j] = near or lines or (pattern.slash and j % s == at % s)
    return wanted


def boundary_by_hand(pattern: Boundary, picture: list[bool], scores: torch.Tensor, offset: int) -> torch.Tensor:
    q_len = scores.shape[0]
    order = [i for i in range(q_len) if not picture[i + offset]] + [i for i in range(q_len) if picture[i + offset]]
    tiles = [order[start : start + BLOCK] for start in range(0, q_len, BLOCK)]
    wanted = torch.zeros(q_len, LENGTH, dtype=torch.bool)
    for group in (False, True):
        queries = [i for i in order if picture[i + offset] == group]
        rows = {i: attention_by_hand(scores, i, i + offset) for i in queries[-LAST:]}
        sides = [None] if pattern.kind == "q_boundary" else [False, True]
        for side in sides:
            keys = [j for j in range(LENGTH) if side is None or picture[j] == side]
            sums = {j: sum(row[j] for row in rows.values()) for j in keys}
            sums.update(dict.fromkeys(keys[: pattern.first], math.inf))
            columns = set(sorted(keys, key=lambda j: -sums[j])[: pattern.vertical])
            rank = {j: n for n, j in enumerate(keys)}
            distances: set[int] = set()
            if side is None or side == group:
                back = dict.fromkeys(range(len(keys)), 0.0)
                for i, row in rows.items():
                    for j in keys[: rank[i + offset] + 1]:
                        back[rank[i + offset] - rank[j]] += row[j]
                back.update(dict.fromkeys(range(pattern.near), math.inf))
                distances = set(sorted(back, key=lambda d: -back[d])[: pattern.slash])
            for tile in tiles:
                ours = [i for i in tile if picture[i + offset] == group]
                if not ours:
                    continue
                seen = set(columns)
                if distances:
                    low, high = rank[ours[0] + offset], rank[ours[-1] + offset]
                    seen |= {keys[r - d] for r in range(low, high + 1) for d in distances if r - d >= 0}
                for i in ours:
                    for j in seen:
                        wanted[i, j] |= j <= i + offset
    return wanted


@pytest.mark.parametrize("q_len", [LENGTH, 61])
def test_patterns_equal_their_rules(q_len: int) -> None:
    geometry = mixed_geometry()
    q, k, v = tensors(1, LENGTH, q_len=q_len)
    method = mminference.build(mminference.EXAMPLE, DIMS)
    found = method.plan(q, k, v, call_of(geometry, causal=True, q_len=q_len)).dense_mask()[0]
    picture = (geometry.modality_BL[0] > 0).tolist()
    for h, pattern in enumerate(mminference.EXAMPLE.heads):
        scores = q[0, h] @ k[0, h // 2].T * HEAD_DIM**-0.5
        if isinstance(pattern, Grid):
            # The video has frames of 4x4 tokens with one token of text before each.
            wanted = grid_by_hand(pattern, pattern.strides or (17, 4), scores, LENGTH - q_len)
        else:
            wanted = boundary_by_hand(pattern, picture, scores, LENGTH - q_len)
        assert torch.equal(found[h], wanted), pattern


def test_a_grid_is_found_in_the_middle_of_noise() -> None:
    geometry = mixed_geometry()
    q, k, _ = tensors(1, LENGTH)
    q[..., 0] = 3.0
    k[0, :, 5::17, 0] += 9.0
    method = mminference.build(mminference.Settings(heads=(Grid(strides=(17, 11, 13), window=1, sinks=0),)), DIMS)
    plan = method.plan(q, k, k, call_of(geometry, causal=True))
    seen = plan.dense_mask()[0, 0]
    assert seen[-1].nonzero().flatten().tolist() == sorted({*range(5, LENGTH, 17), LENGTH - 1})
    assert seen[5 + 17 * 3].sum() == 5 + 17 * 3 + 1


def test_text_alone_has_no_grid() -> None:
    q, k, v = tensors(1, LENGTH)
    method = mminference.build(mminference.Settings(heads=(Grid(window=3, sinks=2),)), DIMS)
    seen = method.plan(q, k, v, call_of(Geometry.of_text(1, LENGTH), causal=True)).dense_mask()[0, 0]
    assert seen[50].nonzero().flatten().tolist() == [0, 1, 48, 49, 50]
