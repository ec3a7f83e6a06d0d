"""Depthwise 3 x 3 x 3 convolution over time, rows and columns of picture tokens, in whole clips or along a stream.

Every tap names a token of the same clip; past the clip's edges the nearest token inside takes its place ("replicate").
A stream adds one rule: a tap on a token that may not be seen yet takes the token it is centred on instead, so that the
taps in force always add up to the whole kernel.

Shapes: B batch, L tokens, n picture tokens of one row, P picture tokens remembered, C channels, J = 27 taps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from allocentric.sparse_attn.geometry import Geometry

TAPS = 27
_TOKENS_AT_ONCE = 512
"""Tokens convolved together, so that what is added up stays in a core's cache."""


class PictureConv(nn.Module):
    """One channel, one kernel; no bias; begins as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, 3, 3, 3))
        """Over time, rows, columns, as `nn.Conv3d` has it."""
        nn.init.dirac_(self.weight, groups=channels)

    def forward(self, x_BLC: Tensor, past_BPC: Tensor, sources: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Tokens of pictures convolved, all others as they are.

        Args:
            x_BLC: Tokens.
            past_BPC: The picture tokens before them, the latest last.
            sources: Per row, what `sources_of` says.
        """
        rows = []
        for x_LC, past_PC, (where_n, source_nJ) in zip(x_BLC, past_BPC, sources, strict=True):
            stream = torch.cat([past_PC.to(x_LC.dtype), x_LC[where_n]])
            mixed: Tensor = _Gathered.apply(stream, source_nJ, self.weight.flatten(1))  # type: ignore[no-untyped-call]
            rows.append(x_LC.index_copy(0, where_n, mixed))
        return torch.stack(rows)


def places_of(geometry: Geometry) -> Tensor:
    """(B, L, 6) int32: frame, row, column within the clip, and its frames, rows and columns (0 for text)."""
    extents = torch.zeros(geometry.batch, geometry.length, 3, dtype=torch.int32, device=geometry.t_BL.device)
    for row, clips in enumerate(geometry.clips):
        if clips:
            table = torch.tensor([tuple(clip) for clip in clips], dtype=torch.int32, device=extents.device)
            index = geometry.clip_BL[row].long()
            extents[row] = torch.where(index[:, None] >= 0, table[index.clamp(min=0)], 0)
    here = torch.stack([geometry.t_BL, geometry.y_BL, geometry.x_BL], dim=-1)
    return torch.cat([here.to(torch.int32), extents], dim=-1)


def sources_of(place_L6: Tensor, past: int, *, look_ahead: bool) -> tuple[Tensor, Tensor]:
    """What the taps of one row's tokens lie on.

    Args:
        place_L6: Of the tokens, as `places_of` says.
        past: P, picture tokens remembered before these.
        look_ahead: Whether a token may see the later ones among these; otherwise none after its own.

    Returns:
        (n,) int64: which tokens are of pictures; and (n, J) int64: indices into the remembered picture tokens followed
        by these.
    """
    where_n = torch.nonzero(place_L6[:, 3] > 0).flatten()
    here_n3, extent_n3 = place_L6[where_n].long().split(3, dim=1)
    step = torch.arange(-1, 2, device=place_L6.device)
    offset_J3 = torch.cartesian_prod(step, step, step)
    tap_nJ3 = torch.minimum((here_n3[:, None] + offset_J3).clamp(min=0), extent_n3[:, None] - 1)
    stride_n3 = torch.stack([extent_n3[:, 1] * extent_n3[:, 2], extent_n3[:, 2], torch.ones_like(where_n)], dim=1)
    own_n1 = past + torch.arange(len(where_n), device=place_L6.device)[:, None]
    source_nJ = own_n1 + ((tap_nJ3 - here_n3[:, None]) * stride_n3[:, None]).sum(-1)
    last = past + len(where_n) - 1
    seen = source_nJ <= (last if look_ahead else own_n1)
    return where_n, torch.where(seen, source_nJ, own_n1)


def remembered(past_BPC: Tensor, x_BLC: Tensor, sources: list[tuple[Tensor, Tensor]]) -> Tensor:
    """(B, P, C): the last picture tokens after these."""
    extent = past_BPC.shape[1]
    rows = [
        torch.cat([past_PC, x_LC[where_n].to(past_PC.dtype)])[-extent:]
        for past_PC, x_LC, (where_n, _) in zip(past_BPC, x_BLC, sources, strict=True)
    ]
    return torch.stack(rows)


class _Gathered(torch.autograd.Function):
    """Sum over taps of kernel times source; keeps the inputs alone for its gradients, not 27 copies of them."""

    @staticmethod
    def forward(ctx: Any, stream_SC: Tensor, source_nJ: Tensor, weight_CJ: Tensor) -> Tensor:
        ctx.save_for_backward(stream_SC, source_nJ, weight_CJ)
        taps = weight_CJ.t().to(stream_SC.dtype).contiguous()
        out_nC = stream_SC.new_zeros(source_nJ.shape[0], stream_SC.shape[1])
        for start in range(0, len(out_nC), _TOKENS_AT_ONCE):
            part = out_nC[start : start + _TOKENS_AT_ONCE]
            for tap, source_n in zip(taps, source_nJ[start : start + _TOKENS_AT_ONCE].unbind(1), strict=True):
                part.addcmul_(stream_SC.index_select(0, source_n), tap)
        return out_nC

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_nC: Tensor) -> tuple[Tensor, None, Tensor]:
        stream_SC, source_nJ, weight_CJ = ctx.saved_tensors
        taps = weight_CJ.t().to(stream_SC.dtype).contiguous()
        d_stream_SC = torch.zeros_like(stream_SC)
        d_taps_JC = torch.zeros_like(taps)
        for start in range(0, len(d_nC), _TOKENS_AT_ONCE):
            part = d_nC[start : start + _TOKENS_AT_ONCE]
            for j, source_n in enumerate(source_nJ[start : start + _TOKENS_AT_ONCE].unbind(1)):
                d_stream_SC.index_add_(0, source_n, part * taps[j])
                d_taps_JC[j] += (part * stream_SC.index_select(0, source_n)).sum(0)
        return d_stream_SC, None, d_taps_JC.t().to(weight_CJ.dtype)
