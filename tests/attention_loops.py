"""Sequences of text and pictures as plain Python records, and masks from rules on pairs of them, looped over.

What methods build in tensors is compared with these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from attention_samples import DIMS, HEAD_DIM, KV_HEADS, call_of

from allocentric.core.catalog import METHODS
from allocentric.core.config import Settings
from allocentric.sparse_attn.contract import Selector
from allocentric.sparse_attn.geometry import IMAGE, TEXT, VIDEO, Geometry
from allocentric.sparse_attn.plan import Blocks, Plan


class Token(NamedTuple):
    """One token. Text has clip and frame -1."""

    place: int
    clip: int = -1
    frame: int = -1
    t: int = -1
    y: int = -1
    x: int = -1
    frames: int = 0
    rows: int = 0
    cols: int = 0

    @property
    def text(self) -> bool:
        return self.clip < 0


Piece = int | tuple[int, int] | tuple[int, int, int] | tuple[int, int, int, int]
"""n text tokens; a picture (rows, cols); a video (frames, rows, cols[, text tokens before every frame])."""

MIXED: list[Sequence[Piece]] = [
    (3, (4, 5), 2, (3, 4, 5, 1), 4),
    ((3, 3, 4),),
    (2, (5, 7), (2, 3), 1, (2, 5, 7), 3),
    (11,),
    ((6, 6), 5),
]
"""Sizes that no block, window or stride divides, pictures at either end, text alone."""


def sequence(pieces: Sequence[Piece]) -> tuple[list[Token], Geometry]:
    """Records, and the geometry that the processor's output gives."""
    tokens: list[Token] = []
    types: list[int] = []
    grids: dict[int, list[list[int]]] = {IMAGE: [], VIDEO: []}
    clip = frame = 0

    def text(count: int) -> None:
        for _ in range(count):
            tokens.append(Token(len(tokens)))
            types.append(TEXT)

    for piece in pieces:
        if isinstance(piece, int):
            text(piece)
            continue
        kind = IMAGE if len(piece) == 2 else VIDEO
        frames, rows, cols = (1, *piece) if kind == IMAGE else piece[:3]
        grids[kind].append([frames, rows, cols])
        for t in range(frames):
            text(piece[3] if len(piece) == 4 else 0)
            for y in range(rows):
                for x in range(cols):
                    tokens.append(Token(len(tokens), clip, frame, t, y, x, frames, rows, cols))
                    types.append(kind)
            frame += 1
        clip += 1
    geometry = Geometry.from_grids(
        torch.tensor([types]),
        image_grid_thw=torch.tensor(grids[IMAGE]) if grids[IMAGE] else None,
        video_grid_thw=torch.tensor(grids[VIDEO]) if grids[VIDEO] else None,
        merge_size=1,
    )
    return tokens, geometry


def method_of(name: str, settings: Settings, **dims: int) -> Selector:
    """The method by its file's name."""
    method: Selector = METHODS.load(name).build(settings, DIMS.__class__(**{**DIMS.__dict__, **dims}))
    return method


def plan_of(method: Selector, geometry: Geometry, *, causal: bool, q_len: int | None = None) -> Plan:
    """Of a method that looks at no content: queries and keys are empty."""
    call = call_of(geometry, causal=causal, q_len=q_len)
    q = torch.zeros(geometry.batch, call.extent.heads, call.extent.q_len, HEAD_DIM)
    k = torch.zeros(geometry.batch, KV_HEADS, geometry.length, HEAD_DIM)
    method.check(call)
    return method.plan(q, k, k, call)


def assert_pairs(
    plan: Plan, tokens: Sequence[Token], rule: Callable[[Token, Token], bool], *, head: int = 0, row: int = 0
) -> None:
    """The plan keeps exactly the pairs (query, key) that the rule says, for queries at the end of `tokens`."""
    assert_full_blocks_are_full(plan)
    found = plan.dense_mask()[row, head].numpy()
    queries = tokens[len(tokens) - found.shape[0] :]
    wanted = np.array([[rule(q, k) for k in tokens] for q in queries])
    different = np.argwhere(found != wanted)
    assert not len(different), (
        f"{len(different)} pairs differ, first query {queries[different[0][0]]} key {tokens[different[0][1]]}: "
        f"plan {found[tuple(different[0])]}"
    )


def assert_lists_are_tight(plan: Plan) -> None:
    """Every listed block holds a pair that counts: nothing is looked at in vain."""
    for blocks, kept in plan.listed_pairs():  # type: ignore[attr-defined]
        some = kept.unflatten(-1, (-1, plan.k_block)).any(-1).any(-2)  # type: ignore[attr-defined]
        listed = torch.arange(some.shape[-1]) < plan.num_BHQ[:, :, blocks, None]  # type: ignore[attr-defined]
        assert torch.equal(some, listed.expand_as(some))


def assert_full_blocks_are_full(plan: Plan) -> None:
    """In a block that is flagged as full every pair counts."""
    flags = getattr(plan, "full_BHQN", None)
    if flags is None:
        return
    rows = {name: getattr(plan, name) for name in ("extent", "rule", "q_block", "k_block", "num_BHQ", "index_BHQN")}
    everything = Blocks(**{**rows, "rule": None, "extent": replace(plan.extent, causal=False)})
    for (blocks, kept), (_, pairs) in zip(plan.listed_pairs(), everything.listed_pairs(), strict=True):  # type: ignore[attr-defined]
        missing = (pairs & ~kept).unflatten(-1, (-1, plan.k_block)).any(-1).any(-2)  # type: ignore[attr-defined]
        listed = torch.arange(missing.shape[-1]) < plan.num_BHQ[:, :, blocks, None]  # type: ignore[attr-defined]
        assert not (missing & listed & flags[:, :, blocks]).any()
