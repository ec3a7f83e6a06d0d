"""Modality-mutual attention: picture tokens also see the question that follows them; all else stays causal.

AKI, arXiv 2503.02597 (no code of theirs is used: its licence is non-commercial). What is unlocked is one rectangle,
picture queries by question keys. The question is the text after the picture up to the next text that the model is
trained to say (`Geometry.answer_BL`); in generation, all of the prompt that is in the call. Picture tokens see no
later picture. Meant for instruction tuning and after: in pre-training, earlier text would read later text through the
pictures, as the paper warns.

There is no dense limit: text stays causal. The question has to come in the same call as the picture; in chunks,
picture queries see the part of it that has come.

Shapes: B batch, L queries, S keys, Q query blocks, N key blocks.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from allocentric.core import config
from allocentric.sparse_attn.contract import Call, Dims, Selector
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.plan import Blocks, Extent, Rule, block_count, blocks_of_map


class Settings(config.Settings):
    """The rule itself has none."""

    block: int = Field(default=64, ge=1)
    """Queries and keys that are computed together. Changes speed only."""


EXAMPLE = Settings(block=8)
EXHAUSTIVE = None


class ModalityMutual(Selector):
    """The same rectangle for every head."""

    name = "modality_mutual"
    causal = True
    bidirectional = False
    streams = False
    looks_ahead = True
    needs_geometry = True

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings

    def plan(self, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, call: Call) -> Blocks:  # noqa: ARG002
        """Blocks at and before the queries, and blocks of questions for blocks that hold picture queries."""
        extent, block = call.extent.looking_ahead(), self.settings.block
        geometry = call.geometry_for(self.name)
        turn, pictured, question = turns(geometry)
        n_q, n_k = block_count(extent.q_len, block), block_count(extent.kv_len, block)
        last_Q = (torch.arange(1, n_q + 1, device=extent.device) * block).clamp(max=extent.q_len) - 1 + extent.q_offset
        before_QN = torch.arange(n_k, device=extent.device) * block <= last_Q[:, None]
        asks = _turns_in_blocks(turn, question, block)
        shows = _turns_in_blocks(turn[:, extent.q_offset :], pictured[:, extent.q_offset :], block, asks.shape[-1])
        # Float products of zeros and ones: positive where a block pair shares a turn.
        ahead_BQN = shows @ asks.transpose(1, 2) > 0
        rule = _rule(turn, pictured, question)
        return blocks_of_map(
            extent,
            (before_QN | ahead_BQN)[:, None],
            q_block=block,
            k_block=block,
            rule=rule,
            full_BHQN=_wholly_before(extent, n_q, n_k, block)[None, None],
        )


def _wholly_before(extent: Extent, n_q: int, n_k: int, block: int) -> Tensor:
    """(Q, N) bool: key blocks that end at or before the first query of a query block."""
    first_Q = torch.arange(n_q, device=extent.device) * block + extent.q_offset
    return torch.arange(1, n_k + 1, device=extent.device) * block <= first_Q[:, None] + 1


def turns(geometry: Geometry) -> tuple[Tensor, Tensor, Tensor]:
    """(B, S): answers begun so far (int64), whether a token is a picture's, whether it is text of a question."""
    before = torch.nn.functional.pad(geometry.answer_BL, (1, 0))[:, :-1]
    turn = (geometry.answer_BL & ~before).long().cumsum(1)
    pictured = geometry.clip_BL >= 0
    return turn, pictured, ~pictured & ~geometry.answer_BL


def _turns_in_blocks(turn_BL: Tensor, flag_BL: Tensor, block: int, count: int | None = None) -> Tensor:
    """(B, blocks, turns) float: 1 where a block holds a flagged token of a turn."""
    batch, length = turn_BL.shape
    blocks, count = block_count(length, block), count or int(turn_BL.max()) + 1
    found = torch.zeros(batch, blocks * count, device=turn_BL.device)
    index = torch.arange(length, device=turn_BL.device) // block * count + turn_BL
    return found.scatter_reduce(1, index, flag_BL.float(), "amax").view(batch, blocks, count)


def _rule(turn_BS: Tensor, pictured_BS: Tensor, question_BS: Tensor) -> Rule:
    def rule(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:  # noqa: ARG001
        return (k <= q) | (pictured_BS[b, q] & question_BS[b, k] & (turn_BS[b, q] == turn_BS[b, k]))

    return rule


def build(settings: Settings, dims: Dims) -> ModalityMutual:  # noqa: ARG001
    """The method for one layer."""
    return ModalityMutual(settings)
