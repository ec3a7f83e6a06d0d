"""Radial attention: windows between frames narrow with the distance in time, and distant frames are thinned out.

Radial Attention, arXiv 2506.19852; the rule follows `gen_log_mask_shrinked` of mit-han-lab/radial-attention@72788d4,
which loops over all pairs of frames, tokens by tokens. Here every pair of parts of frames is decided in closed form.

Frames a and b of m tokens at distance D = |a - b|, g = bit length of D: token r of a sees token c of b where |r - c|
<= max(2^bitlen(m) / 2^g * decay, block), all of b where D <= 1, and only where D is a multiple of threshold /
(2^bitlen(m) / 2^g) if that is above 1. Then blocks: of the columns of a pair of frames that are seen at all inside a
block, more than 60 % have to be seen by more than a third of the block's rows; the block counts whole.

Beyond the published layout of one video followed by text: the frames of all pictures and videos of a sequence are
counted on; frames of different size, that no raster index compares, see each other whole or not at all; text sees
everything and is seen by everything (as published); a block of frames shorter than a third of a block sees itself. In
a causal stream the frame of the query alone decides, never a later frame in the query's block, so that one call and
chunks agree.

Shapes: B batch, S keys, P parts (of a frame, in one block), Q query blocks, N key blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from allocentric.core import config
from allocentric.sparse_attn.contract import Call, Dims, Selector
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.methods._pictures import Order, blocks_with_text, pictures_first, raster_of
from allocentric.sparse_attn.plan import Blocks, Rule, block_count


class Settings(config.Settings):
    """The published ones, as for Wan 2.1; HunyuanVideo: sink_frame = False."""

    block: int = Field(default=128, ge=1)
    """Tokens in a block."""
    decay: float = Field(default=0.5, gt=0)
    """Factor of the width of windows between frames."""
    threshold: int = Field(default=128, ge=1)
    """Tokens of a window below which more distant frames are thinned out."""
    sink_frame: bool = True
    """Whether every token sees the first frame."""
    cut_frames: bool = True
    """Whether, as published, a frame that starts inside a block loses what lies beyond its first ceil(m / block)
    blocks, but for the blocks' view of themselves. False keeps it."""


EXAMPLE = Settings(block=8, threshold=16)
EXHAUSTIVE = Settings(block=1, threshold=1, decay=1e9)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The part of a frame that lies in a block, for one row of the batch."""

    frame_P: Tensor
    """int64: running index of the frame."""
    rows_P: Tensor
    """int64: rows of the frame, with `cols_P` its size."""
    cols_P: Tensor
    """int64: columns."""
    first_P: Tensor
    """int64: first token, counted in its frame."""
    last_P: Tensor
    """int64: last token that the frame has in this block, come yet or not."""
    block_P: Tensor
    """int64: block, counted over picture tokens."""
    of_token_S: Tensor
    """int64: key position -> part; text belongs to part 0 by name only."""


class Radial(Selector):
    """The same blocks for every head."""

    name = "radial"
    causal = True
    bidirectional = True
    streams = True
    needs_geometry = True

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings

    def plan(self, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, call: Call) -> Blocks:  # noqa: ARG002
        """Pairs of parts of frames, and the blocks they lie in."""
        extent, block = call.extent, self.settings.block
        geometry = call.geometry_for(self.name)
        order = pictures_first(geometry, extent)
        parts = parts_of(geometry, order, block)
        seen = [seen_parts(row, self.settings) for row in parts]
        if not extent.causal:
            seen = [pairs | _of_blocks(pairs, row) for pairs, row in zip(seen, parts, strict=True)]
        chosen_BQN = torch.stack(
            [
                _chosen(pairs, row.of_token_S[extent.q_offset :], row.block_P, order, index, extent.kv_len, block)
                for index, (pairs, row) in enumerate(zip(seen, parts, strict=True))
            ]
        )
        rule = _rule(seen, torch.stack([row.of_token_S for row in parts]), order.text_BS)
        return blocks_with_text(extent, order, chosen_BQN, block=block, rule=rule)


def block_map(frames: int, tokens_per_frame: int, settings: Settings) -> Tensor:
    """(N, N) bool: the published mask of a video without text; incomplete blocks at its end are left out."""
    geometry = Geometry.of_video(1, frames, 1, tokens_per_frame)
    call_order = torch.arange(geometry.length)[None]
    order = Order(
        key_BS=call_order,
        place_BS=call_order,
        query_BL=call_order,
        query_place_BL=call_order,
        text_BS=torch.zeros_like(call_order, dtype=torch.bool),
    )
    parts = parts_of(geometry, order, settings.block)[0]
    whole = geometry.length // settings.block
    return _map(seen_parts(parts, settings), parts)[:whole, :whole]


def parts_of(geometry: Geometry, order: Order, block: int) -> list[Parts]:
    """Parts of frames of every row of the batch; blocks are cut from picture tokens in the order of the stream."""
    raster = raster_of(geometry)
    found = []
    for row in range(geometry.batch):
        pictured = order.key_BS[row][~order.text_BS[row][order.key_BS[row]]]
        place = order.place_BS[row][pictured]
        index, size = raster.frame_index[row][pictured], raster.frame_size[row][pictured]
        frame = geometry.frame_BL[row].long()[pictured]
        blocks = block_count(geometry.length, block)
        part, of_place = torch.unique_consecutive(frame * blocks + place // block, return_inverse=True)
        head = torch.zeros_like(part).scatter(0, of_place.flip(0), torch.arange(len(place) - 1, -1, -1).to(part))
        start = (place - index)[head]  # of the frame, in places
        of_token = torch.zeros(geometry.length, dtype=torch.int64, device=part.device).scatter(0, pictured, of_place)
        found.append(
            Parts(
                frame_P=frame[head],
                rows_P=raster.size_BS3[row, :, 1][pictured][head],
                cols_P=raster.size_BS3[row, :, 2][pictured][head],
                first_P=(part % blocks * block - start).clamp(min=0),
                last_P=torch.minimum((part % blocks + 1) * block - start, size[head]) - 1,
                block_P=part % blocks,
                of_token_S=of_token,
            )
        )
    return found


def seen_parts(parts: Parts, settings: Settings) -> Tensor:
    """(P, P) bool: whether the tokens of one part see the tokens of another."""
    block = settings.block
    distance = (parts.frame_P[:, None] - parts.frame_P).abs()
    tokens = (parts.rows_P * parts.cols_P)[:, None]
    # Powers of two up to 2^63 are exact, and so are their ratios.
    reach = 2.0 ** (_bit_length(tokens) - _bit_length(distance))
    width = (reach.double() * settings.decay).clamp(min=block).minimum(tokens.double()).floor().long()
    whole = distance <= 1
    thinned = (reach < settings.threshold) & (distance % (settings.threshold / reach).floor().long().clamp(min=1) != 0)
    if settings.sink_frame:
        whole, thinned = whole | (parts.frame_P == 0), thinned & (parts.frame_P != 0)
    whole = whole | (parts.rows_P[:, None] != parts.rows_P) | (parts.cols_P[:, None] != parts.cols_P)
    width = torch.where(whole, tokens + parts.last_P + 1, width)
    # A column c of a part with rows r0..r1 is seen by `least` rows where r0 + least - 1 - width <= c <= r1 - least + 1
    # + width: an interval, so that both counts of columns are lengths.
    touched = _columns(parts, width, least=1)
    dense = _columns(parts, width, least=block // 3 + 1)
    kept = (5 * dense > 3 * touched) & ~thinned
    if settings.cut_frames:
        kept = kept & _whole_blocks(parts, block)[:, None] & _whole_blocks(parts, block)
    return kept | torch.eye(len(kept), dtype=torch.bool, device=kept.device)


def _columns(parts: Parts, width_PP: Tensor, *, least: int) -> Tensor:
    """(P, P): columns of the second part that at least `least` rows of the first see."""
    first = torch.maximum(parts.first_P[:, None] + least - 1 - width_PP, parts.first_P)
    last = torch.minimum(parts.last_P[:, None] - least + 1 + width_PP, parts.last_P)
    most = torch.minimum((parts.last_P - parts.first_P + 1)[:, None], 2 * width_PP + 1)
    return torch.where(most >= least, (last - first + 1).clamp(min=0), 0)


def _whole_blocks(parts: Parts, block: int) -> Tensor:
    """(P,) bool: parts among the first ceil(m / block) blocks of their frame."""
    tokens = parts.rows_P * parts.cols_P
    return (parts.first_P + block - 1) // block < (tokens + block - 1) // block


def _bit_length(n: Tensor) -> Tensor:
    """As int.bit_length of integers below 2^53."""
    return torch.frexp(n.double()).exponent


def _map(seen_PP: Tensor, parts: Parts) -> Tensor:
    """(N, N) bool: blocks in which some pair of parts is seen."""
    count = int(parts.block_P.max()) + 1 if len(parts.block_P) else 0
    columns = torch.zeros(len(seen_PP), count, dtype=torch.int32, device=seen_PP.device)
    columns.index_add_(1, parts.block_P, seen_PP.to(torch.int32))
    rows = torch.zeros(count, count, dtype=torch.int32, device=seen_PP.device)
    return rows.index_add_(0, parts.block_P, columns) > 0


def _of_blocks(seen_PP: Tensor, parts: Parts) -> Tensor:
    """(P, P) bool: what parts see once whole blocks are kept."""
    return _map(seen_PP, parts)[parts.block_P[:, None], parts.block_P]


def _chosen(
    seen_PP: Tensor, part_L: Tensor, block_P: Tensor, order: Order, row: int, kv_len: int, block: int
) -> Tensor:
    """(Q, N) bool: blocks with a picture token that some picture token of a query block sees."""
    queries = len(part_L)
    n_q, n_k = block_count(queries, block), block_count(kv_len, block)
    pictured = ~order.text_BS[row, -queries:]
    columns = torch.zeros(len(seen_PP), n_k, dtype=torch.int32, device=part_L.device)
    columns.index_add_(1, block_P, seen_PP.to(torch.int32))
    members = torch.unique((order.query_place_BL[row] // block * max(1, len(seen_PP)) + part_L)[pictured])
    chosen = torch.zeros(n_q, n_k, dtype=torch.int32, device=part_L.device)
    if len(members):
        chosen.index_add_(0, members // len(seen_PP), columns[members % len(seen_PP)])
    return chosen > 0


def _rule(seen: list[Tensor], part_BS: Tensor, text_BS: Tensor) -> Rule:
    most = max(1, *(len(pairs) for pairs in seen))
    seen_BPP = torch.stack(
        [torch.nn.functional.pad(pairs, (0, most - len(pairs), 0, most - len(pairs))) for pairs in seen]
    )

    def rule(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:  # noqa: ARG001
        return text_BS[b, q] | text_BS[b, k] | seen_BPP[b, part_BS[b, q], part_BS[b, k]]

    return rule


def build(settings: Settings, dims: Dims) -> Radial:  # noqa: ARG001
    """The method for one layer."""
    return Radial(settings)
