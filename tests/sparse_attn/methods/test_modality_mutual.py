"""Modality-mutual attention against loops, with questions, answers and several turns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from attention_loops import MIXED, Token, assert_pairs, method_of, plan_of, sequence

from allocentric.sparse_attn.methods.modality_mutual import Settings


def rule_of(tokens: list[Token], answer: list[bool]):
    def rule(q: Token, k: Token) -> bool:
        if k.place <= q.place:
            return True
        question = k.text and not answer[k.place]
        # An answer between the two: the question after it belongs to a later turn.
        return not q.text and question and not any(answer[q.place : k.place])

    return rule


@pytest.mark.parametrize("pieces", MIXED)
def test_in_generation_all_later_text_is_the_question(pieces: list) -> None:
    tokens, geometry = sequence(pieces)
    method = method_of("modality_mutual", Settings(block=8))
    rule = rule_of(tokens, [False] * len(tokens))
    assert_pairs(plan_of(method, geometry, causal=True), tokens, rule)
    assert_pairs(plan_of(method, geometry, causal=True, q_len=len(tokens) // 2), tokens, rule)


def test_answers_and_later_turns_are_not_read_ahead() -> None:
    tokens, geometry = sequence([2, (2, 3), 4, 3, 2, (2, 2), 5, 3, 4])
    answer = [False] * len(tokens)
    for start, count in ((12, 3), (26, 3)):
        answer[start : start + count] = [True] * count
    geometry = replace(geometry, answer_BL=torch.tensor([answer]))
    plan = plan_of(method_of("modality_mutual", Settings(block=4)), geometry, causal=True)
    assert_pairs(plan, tokens, rule_of(tokens, answer))
    mask = plan.dense_mask()[0, 0]
    picture = slice(2, 8)
    assert mask[picture, 8:12].all(), "the question"
    assert not mask[picture, 12:].any(), "the answer and all after it"


def test_text_only_is_causal() -> None:
    tokens, geometry = sequence([20])
    plan = plan_of(method_of("modality_mutual", Settings(block=8)), geometry, causal=True)
    assert_pairs(plan, tokens, lambda q, k: k.place <= q.place)


def test_a_single_step_sees_the_cache() -> None:
    _, geometry = sequence([2, (2, 2), 3, 1])
    plan = plan_of(method_of("modality_mutual", Settings(block=4)), geometry, causal=True, q_len=1)
    assert plan.dense_mask().all()
