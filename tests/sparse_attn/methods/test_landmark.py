"""Landmark attention beside the grouped softmax of the paper's section 3.1, written out."""

from __future__ import annotations

import math

import pytest
import torch
from attention_samples import DIMS, HEAD_DIM, call_of, mixed_geometry, tensors

from allocentric.sparse_attn.executors import dense
from allocentric.sparse_attn.methods import landmark


def weights_by_hand(scores: list[float], i: int, stride: int, kept: set[int]) -> list[float]:
    """Weights of query i: groups p, grouped softmax S, and products with the landmark's; `kept` are past blocks."""
    length = len(scores)
    landmark_of = [
        j if j % stride == stride - 1 else min(j // stride * stride + stride - 1, length) for j in range(length)
    ]
    group = {}
    for j in range(i + 1):
        p_j, p_i = landmark_of[j], landmark_of[i]
        if j // stride != i // stride and j // stride not in kept:
            continue
        group[j] = p_j if p_j != j else (-1 if p_i == j else p_i)
    own = landmark_of[i]
    share = {}
    for j, name in group.items():
        total = sum(math.exp(scores[y]) for y, other in group.items() if other == name)
        share[j] = math.exp(scores[j]) / total
    weights = [0.0] * length
    for j in group:
        if landmark_of[j] == j:
            continue
        weights[j] = share[j] if landmark_of[j] == own else share[j] * share[landmark_of[j]]
    return weights


@pytest.mark.parametrize("top_k", [None, 1, 3])
def test_weights_are_those_of_the_grouped_softmax(top_k: int | None) -> None:
    geometry = mixed_geometry()
    q, k, v = tensors(1, geometry.length)
    call = call_of(geometry, causal=True)
    plan = landmark.build(landmark.Settings(block=7, top_k=top_k, q_block=8), DIMS).plan(q, k, v, call)
    found = dense.probabilities(plan, q, k, scale=call.scale)[0]
    torch.testing.assert_close(found.sum(-1), torch.ones_like(found.sum(-1)))
    for head in (0, 3):
        scores = q[0, head] @ k[0, head // 2].T * HEAD_DIM**-0.5
        for i in range(geometry.length):
            past = sorted(range(i // 8), key=lambda n: -float(scores[i, 8 * n + 7]))
            kept = set(past[:top_k])
            wanted = torch.tensor(weights_by_hand(scores[i].tolist(), i, 8, kept), dtype=torch.float64)
            torch.testing.assert_close(found[head, i], wanted, msg=lambda m, at=(head, i): f"{at}: {m}")


def test_gradients_reach_the_landmarks_keys() -> None:
    geometry = mixed_geometry()
    q, k, v = tensors(1, geometry.length)
    k.requires_grad_()
    call = call_of(geometry, causal=True)
    plan = landmark.build(landmark.EXAMPLE, DIMS).plan(q, k, v, call)
    (g,) = torch.autograd.grad((dense.attend(plan, q, k, v, scale=call.scale) ** 2).sum(), k)
    assert (g[0, :, 7].abs().sum(-1) > 0).all(), "the first landmark is only seen through the change of scores"
