"""Small sequences with pictures, and the sizes every method is run at."""

from __future__ import annotations

import torch

from allocentric.sparse_attn.contract import Call, Dims, Selector
from allocentric.sparse_attn.geometry import IMAGE, TEXT, VIDEO, Geometry
from allocentric.sparse_attn.plan import Extent

HEADS, KV_HEADS, HEAD_DIM = 4, 2, 16
DIMS = Dims(width=64, heads=HEADS, kv_heads=KV_HEADS, head_dim=HEAD_DIM, layers=2)


def mixed_geometry(batch: int = 1) -> Geometry:
    """Text, a picture of 4x4 tokens, a video of 5 frames of 4x4 with a timestamp before each, text: 115 tokens."""
    row = [TEXT] * 5 + [IMAGE] * 16 + [TEXT] * 3 + ([TEXT] + [VIDEO] * 16) * 5 + [TEXT] * 6
    types = torch.tensor([row] * batch)
    return Geometry.from_grids(
        types,
        image_grid_thw=torch.tensor([[1, 8, 8]] * batch),
        video_grid_thw=torch.tensor([[5, 8, 8]] * batch),
        merge_size=2,
    )


def video_geometry(batch: int = 1) -> Geometry:
    """Six frames of 4x4 tokens and nothing else: 96 tokens."""
    return Geometry.of_video(batch, 6, 4, 4)


def tensors(
    batch: int, length: int, *, seed: int = 0, dtype: torch.dtype = torch.float64, q_len: int | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random queries, keys and values."""
    g = torch.Generator().manual_seed(seed)
    q = torch.randn(batch, HEADS, q_len or length, HEAD_DIM, generator=g, dtype=dtype)
    k = torch.randn(batch, KV_HEADS, length, HEAD_DIM, generator=g, dtype=dtype)
    v = torch.randn(batch, KV_HEADS, length, HEAD_DIM, generator=g, dtype=dtype)
    return q, k, v


def call_of(geometry: Geometry, *, causal: bool, q_len: int | None = None) -> Call:
    """A call over the whole geometry."""
    extent = Extent(
        batch=geometry.batch,
        heads=HEADS,
        q_len=q_len or geometry.length,
        kv_len=geometry.length,
        causal=causal,
        device=torch.device("cpu"),
    )
    return Call(extent=extent, scale=HEAD_DIM**-0.5, geometry=geometry)


def modes(method: Selector) -> list[bool]:
    """Causal and not, as far as the method serves it."""
    return [causal for causal, able in ((True, method.causal), (False, method.bidirectional)) if able]
