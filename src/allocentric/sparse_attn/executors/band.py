"""Windows by PyTorch's dense kernels on overlapping stretches: exact, differentiable, on every device.

Queries are cut into chunks. A chunk and the keys its window reaches are one small dense problem, whose mask is the
same for all chunks but those near the ends. Keys are cut into blocks of a chunk's size and stretches are put together
from whole blocks, so that gradients are added block by block and not once per chunk on the whole sequence. Query heads
that share a key head lie below each other, so keys are never repeated.

Shapes: B batch, H query heads, K key-value heads, G = H / K, L queries, S keys, D head width, i queries of a chunk, j
keys of a stretch.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from allocentric.sparse_attn.plan import Band, Plan

SMALLEST_CHUNK, LARGEST_CHUNK = 64, 256
"""Bounds of a chunk; half a window in between. Small chunks look at fewer pairs in vain, large ones make larger
products."""


def refusal(plan: Plan, q_BHLD: Tensor, *, training: bool) -> str | None:  # noqa: ARG001
    """Only plain bands."""
    if not isinstance(plan, Band):
        return f"it runs windows, not a {type(plan).__name__} plan"
    if plan.rule is not None or plan.score is not None:
        return "it runs windows without a further rule or change of scores"
    return None


def attend(plan: Plan, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, *, scale: float) -> Tensor:
    """Attention in a band."""
    assert isinstance(plan, Band)
    e = plan.extent
    chunk = min(max(plan.window // 2, SMALLEST_CHUNK), LARGEST_CHUNK)
    # Without causality there may be queries so far behind the last key that they see nothing: they give 0.
    served = e.q_len if e.causal or plan.sinks else min(e.q_len, e.kv_len + plan.window - 1)
    keys, values = (_Stretches.of(plan, t, chunk) for t in (k_BKSD, v_BKSD))
    masks = _Masks(plan, q_BHLD.shape[1] // k_BKSD.shape[1])
    parts = []
    for start in range(0, served, chunk):
        stop = min(start + chunk, served)
        low, k = keys.between(*_reach(plan, start, stop))
        _, v = values.between(*_reach(plan, start, stop))
        q_BKiD = q_BHLD[:, :, start:stop].unflatten(1, (k.shape[1], -1)).flatten(2, 3)
        mask_ij = masks.of(start, stop, low, k.shape[2])
        out_BKiD = scaled_dot_product_attention(q_BKiD, k, v, attn_mask=mask_ij, scale=scale)
        parts.append(out_BKiD.unflatten(2, (-1, stop - start)).flatten(1, 2))
    return pad(torch.cat(parts, dim=2), (0, 0, 0, e.q_len - served))


def _reach(plan: Band, start: int, stop: int) -> tuple[int, int]:
    """First and one-past-last key that queries [start, stop) of the call see, sinks before the window apart."""
    e = plan.extent
    low = min(max(start + e.q_offset - plan.window + 1, 0), e.kv_len - 1)
    high = stop + e.q_offset if e.causal else max(stop + plan.window - 1, plan.sinks)
    return low, max(min(high, e.kv_len), low + 1)


@dataclass(frozen=True)
class _Stretches:
    """Keys or values, cut into blocks."""

    blocks: tuple[Tensor, ...]
    """The first may be shorter than a chunk, and so may the last."""
    whole: Tensor | None
    """(B, K, S, D): what the blocks are cut from, where no gradient is asked for: stretches of it need no copy."""
    sinks: Tensor
    """(B, K, T, D): what every query sees."""
    edges: list[int]
    """Position where every block begins, and the end of the last."""

    @staticmethod
    def of(plan: Band, t_BKSD: Tensor, chunk: int) -> _Stretches:
        """Blocks end where the queries' chunks begin and end, as far back as the first query's window reaches."""
        first, _ = _reach(plan, 0, 1)
        _, last = _reach(plan, plan.extent.q_len - 1, plan.extent.q_len)
        lead = (plan.extent.q_offset - first) % chunk
        inner = range(first + lead, last, chunk)
        edges = [*([first] if lead else []), *inner, last]
        sizes = [end - begin for begin, end in pairwise(edges)]
        blocks = t_BKSD[:, :, first:last].split(sizes, dim=2)
        whole = None if torch.is_grad_enabled() and t_BKSD.requires_grad else t_BKSD
        return _Stretches(blocks, whole, t_BKSD[:, :, : min(plan.sinks, plan.extent.kv_len)], edges)

    def between(self, low: int, high: int) -> tuple[int, Tensor]:
        """Whole blocks that hold keys [low, high), after the sinks before them.

        Returns:
            Position of the first block's first key, and (B, K, j, D).
        """
        first, last = bisect_right(self.edges, low) - 1, bisect_left(self.edges, high)
        begin = self.edges[first]
        if self.whole is not None and not min(self.sinks.shape[2], begin):
            return begin, self.whole[:, :, begin : self.edges[last]]
        return begin, torch.cat([self.sinks[:, :, :begin], *self.blocks[first:last]], dim=2)


@dataclass(frozen=True)
class _Masks:
    """Which pairs of a chunk and its stretch count; chunks that lie alike share a mask."""

    plan: Band
    groups: int
    """G: the mask is repeated for query heads that share a key head."""
    made: dict[tuple[int, ...], Tensor] = field(default_factory=dict)

    def of(self, start: int, stop: int, begin: int, width: int) -> Tensor:
        """(G * i, j) bool: queries [start, stop) of the call; the stretch's blocks begin at key `begin`."""
        e = self.plan.extent
        sinks = min(self.plan.sinks, begin)
        where = start + e.q_offset if begin < self.plan.sinks else -1
        key = (stop - start, start + e.q_offset - begin, width, where)
        if key not in self.made:
            q = torch.arange(start, stop, device=e.device) + e.q_offset
            k = torch.arange(begin - sinks, begin - sinks + width, device=e.device)
            k[:sinks] = torch.arange(sinks, device=e.device)
            zero = torch.zeros((), dtype=torch.long, device=e.device)
            self.made[key] = self.plan.allowed(zero, zero, q[:, None], k).repeat(self.groups, 1)
        return self.made[key]
