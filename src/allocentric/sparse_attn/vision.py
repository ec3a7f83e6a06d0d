"""Where the patches of a vision tower lie: towers of the Qwen family call attention per frame or window, in an order
that keeps the patches of one merged token together.

Shapes: N patches of a call of the tower, S patches of one call of attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from allocentric.sparse_attn.geometry import Geometry

_LAYOUT, _FRAMES = "patch_layout", "patch_frames"
"""Keyword arguments on the way to a tower's blocks and to attention functions."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The patches of one call of attention: a picture, a frame of a video, or a window of one."""

    order_S: Tensor
    """Row by row, left to right -> place in the call."""
    back_S: Tensor
    """The inverse."""
    geometry: Geometry
    """One frame, row by row."""

    def attend(self, run: Callable[..., Tensor], q_BHSD: Tensor, k_BHSD: Tensor, v_BHSD: Tensor) -> Tensor:
        """`run` on patches put row by row; the output is in the order of the call."""
        ordered = (t.index_select(2, self.order_S) for t in (q_BHSD, k_BHSD, v_BHSD))
        return run(*ordered, geometry=self.geometry).index_select(2, self.back_S)


@dataclass(kw_only=True)
class Layout:
    """Rows and columns of all patches of a call of the tower, in the order in which its blocks see them."""

    yx_N2: Tensor
    """int64 on the CPU."""
    device: torch.device
    """Of the tower."""
    _frames: dict[tuple[int, ...], list[Frame | None]] = field(default_factory=dict)

    def frames(self, ends: tuple[int, ...]) -> list[Frame | None]:
        """Of consecutive calls of attention, given the cumulative lengths; None where patches form no rectangle."""
        if ends not in self._frames:
            spans = pairwise(ends)
            self._frames[ends] = [_frame(self.yx_N2[start:stop], self.device) for start, stop in spans]
        return self._frames[ends]


def _frame(yx_S2: Tensor, device: torch.device) -> Frame | None:
    if len(yx_S2) == 0:
        return None
    yx_S2 = yx_S2 - yx_S2.amin(0)
    rows, cols = (yx_S2.amax(0) + 1).tolist()
    order_S = torch.argsort(yx_S2[:, 0] * cols + yx_S2[:, 1])
    if rows * cols != len(order_S):
        return None
    return Frame(
        order_S=order_S.to(device),
        back_S=torch.argsort(order_S).to(device),
        geometry=Geometry.of_video(1, 1, rows, cols, device=device),
    )


def attach(tower: Any) -> None:
    """Let a vision tower tell its attention functions where patches lie."""
    if _before_tower in tower._forward_pre_hooks.values():
        return
    tower.register_forward_pre_hook(_before_tower, with_kwargs=True)
    blocks = getattr(tower, "blocks", None)
    for index, block in enumerate(blocks if isinstance(blocks, nn.ModuleList) else ()):
        if isinstance(attention := getattr(block, "attn", None), nn.Module):
            attention.__dict__["layer_idx"] = index
            attention.register_forward_pre_hook(_before_attention, with_kwargs=True)


def _before_tower(tower: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    grid_thw = named.get("grid_thw", arguments[1] if len(arguments) > 1 else None)
    merge = getattr(tower.config, "spatial_merge_size", None)
    named = {key: value for key, value in named.items() if key not in ("geometry", "answer_BL")}
    if grid_thw is None or merge is None or not str(tower.config._attn_implementation).startswith("allocentric:"):
        return arguments, named
    yx_N2 = torch.cat([_merge_order(frames, rows, cols, merge) for frames, rows, cols in grid_thw.tolist()])
    if hasattr(tower, "permute_input_for_window_attn"):  # Qwen2.5-VL puts windows behind each other
        yx_N2 = yx_N2[_window_order(tower, grid_thw, merge)]
    patches = named["hidden_states"] if "hidden_states" in named else arguments[0]
    return arguments, {**named, _LAYOUT: Layout(yx_N2=yx_N2, device=patches.device)}


def _merge_order(frames: int, rows: int, cols: int, merge: int) -> Tensor:
    """(N, 2) rows and columns of patches, those of a merged token behind each other."""
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")
    yx = torch.stack([y, x], -1).view(rows // merge, merge, cols // merge, merge, 2)
    return yx.transpose(1, 2).reshape(-1, 2).repeat(frames, 1)


def _window_order(tower: Any, grid_thw: Tensor, merge: int) -> Tensor:
    from transformers.vision_utils import get_vision_window_index

    index: Tensor = get_vision_window_index(
        grid_thw,
        spatial_merge_size=tower.spatial_merge_size,
        window_size=tower.window_size,
        patch_size=tower.patch_size,
        kwargs={},
    )[0]
    unit = merge * merge
    return (index.cpu()[:, None] * unit + torch.arange(unit)).flatten()


def _before_attention(attention: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:  # noqa: ARG001
    layout: Layout | None = named.get(_LAYOUT)
    if layout is None:
        return None
    rest = {key: value for key, value in named.items() if key != _LAYOUT}
    ends = named.get("cu_seqlens", arguments[1] if len(arguments) > 1 else None)
    if ends is None:
        return arguments, rest
    return arguments, {**rest, _FRAMES: iter(layout.frames(tuple(ends.tolist())))}


def next_frame(others: dict[str, Any]) -> Frame | None:
    """Of the next call of attention within one layer; None where nobody said."""
    frames: Iterator[Frame | None] | None = others.get(_FRAMES)
    return None if frames is None else next(frames, None)
