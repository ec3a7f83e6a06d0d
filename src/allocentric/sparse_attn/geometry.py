"""Where every token of a sequence lies: modality, clip, time, row, column, and its place in the stream.

A processor's `grid_thw` and the positions of the picture tokens say all of it. A `Geometry` travels to attention
functions as the keyword argument `geometry` of the model; in streaming it grows with the cache.

Shapes: B batch, L tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from allocentric.core.errors import DataError

TEXT, IMAGE, VIDEO = 0, 1, 2
"""Values of `modality_BL`, as in the processors' `mm_token_type_ids`."""
NOWHERE = -1
"""Time, row, column, frame and clip of text."""


class Clip(NamedTuple):
    """Extent of one picture (frames = 1) or video, in tokens after merging."""

    frames: int
    rows: int
    cols: int


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Geometry of the tokens of a batch, or of the keys in a cache."""

    modality_BL: Tensor
    """int8: TEXT, IMAGE or VIDEO."""
    clip_BL: Tensor
    """int32: index into `clips` of the row; NOWHERE for text."""
    frame_BL: Tensor
    """int32: running index over all pictures and latent video frames of the row; NOWHERE for text."""
    t_BL: Tensor
    """int32: latent frame within the clip."""
    y_BL: Tensor
    """int32: row of the token in its frame, from the top."""
    x_BL: Tensor
    """int32: column of the token in its frame, from the left."""
    position_BL: Tensor
    """int64: absolute index in the stream; survives eviction from a cache."""
    answer_BL: Tensor
    """bool: text that the model is trained to say, so that nothing before it may read it."""
    clips: tuple[tuple[Clip, ...], ...]
    """Per row of the batch, every picture and video in order."""

    @property
    def batch(self) -> int:
        """B."""
        return self.modality_BL.shape[0]

    @property
    def length(self) -> int:
        """L."""
        return self.modality_BL.shape[1]

    def __getitem__(self, span: slice) -> Geometry:
        """Tokens `span` of every row."""
        return self._each(lambda tensor: tensor[:, span])

    def ends(self, first: int, last: int) -> Geometry:
        """The first and the last tokens of every row, as an evicting cache keeps them.

        Clips of which nothing is left are forgotten, those left and their frames counted anew; positions stay.
        """
        if self.length <= first + last:
            return self
        kept = concatenated(self[:first], self[self.length - last :])
        clip_BL, frame_BL = kept.clip_BL.clone(), kept.frame_BL.clone()
        clips = []
        for row, known in enumerate(kept.clips):
            old_L = kept.clip_BL[row].long()
            left = torch.unique(old_L[old_L >= 0]).tolist()
            clips.append(tuple(known[index] for index in left))
            number, start = old_L.new_full((len(known) + 1,), NOWHERE), old_L.new_zeros(len(known) + 1)
            number[left] = torch.arange(len(left), device=number.device)
            start[left] = start.new_tensor([0, *accumulate(clip.frames for clip in clips[-1])][: len(left)])
            clip_BL[row] = number[old_L]  # text is at -1, the last entry
            frame_BL[row] = torch.where(old_L >= 0, start[old_L] + kept.t_BL[row], NOWHERE)
        return replace(kept, clip_BL=clip_BL, frame_BL=frame_BL, clips=tuple(clips))

    def rows(self, rows: slice | Sequence[int]) -> Geometry:
        """Some rows of the batch."""
        index = list(range(self.batch))[rows] if isinstance(rows, slice) else list(rows)
        picked = self._each(lambda tensor: tensor[index])
        return replace(picked, clips=tuple(self.clips[row] for row in index))

    def to(self, device: torch.device | str) -> Geometry:
        """The same on `device`."""
        return self._each(lambda tensor: tensor.to(device))

    def extended(self, later: Geometry) -> Geometry:
        """These tokens followed by `later` ones, whose clips, frames and positions are counted on from here.

        Args:
            later: Of the same batch, numbered from 0 as `from_grids` does.
        """
        if later.batch != self.batch:
            raise DataError(f"geometry of {self.batch} rows can't be continued by one of {later.batch} rows")
        clips = torch.tensor([len(row) for row in self.clips], dtype=torch.int32, device=self.clip_BL.device)[:, None]
        frames = torch.tensor(
            [sum(clip.frames for clip in row) for row in self.clips], dtype=torch.int32, device=self.clip_BL.device
        )[:, None]
        start = self.position_BL[:, -1:] + 1 if self.length else 0
        shifted = replace(
            later,
            clip_BL=torch.where(later.clip_BL >= 0, later.clip_BL + clips, later.clip_BL),
            frame_BL=torch.where(later.frame_BL >= 0, later.frame_BL + frames, later.frame_BL),
            position_BL=later.position_BL + start,
        )
        both = tuple(mine + theirs for mine, theirs in zip(self.clips, later.clips, strict=True))
        return concatenated(replace(self, clips=both), shifted)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Geometry:
        return Geometry(**{name: change(getattr(self, name)) for name in _TENSORS}, clips=self.clips)

    @staticmethod
    def of_text(batch: int, length: int, *, device: torch.device | str = "cpu") -> Geometry:
        """A batch without pictures."""
        nowhere = torch.full((batch, length), NOWHERE, dtype=torch.int32, device=device)
        return Geometry(
            modality_BL=torch.zeros(batch, length, dtype=torch.int8, device=device),
            clip_BL=nowhere,
            frame_BL=nowhere,
            t_BL=nowhere,
            y_BL=nowhere,
            x_BL=nowhere,
            position_BL=torch.arange(length, device=device).expand(batch, length),
            answer_BL=torch.zeros(batch, length, dtype=torch.bool, device=device),
            clips=((),) * batch,
        )

    @staticmethod
    def of_video(batch: int, frames: int, rows: int, cols: int, *, device: torch.device | str = "cpu") -> Geometry:
        """A batch whose rows are one video each, without text."""
        types = torch.full((batch, frames * rows * cols), VIDEO, dtype=torch.int8)
        grid = torch.tensor([[frames, rows, cols]] * batch)
        return Geometry.from_grids(types, video_grid_thw=grid, merge_size=1).to(device)

    @staticmethod
    def from_grids(
        token_type_BL: Tensor,
        *,
        image_grid_thw: Tensor | None = None,
        video_grid_thw: Tensor | None = None,
        merge_size: int,
        answer_BL: Tensor | None = None,
    ) -> Geometry:
        """Geometry of a processor's output.

        Args:
            token_type_BL: The processor's `mm_token_type_ids`: TEXT, IMAGE or VIDEO per token (padding is text).
            image_grid_thw: (images, 3) patches along time, rows and columns, in order over the whole batch.
            video_grid_thw: (videos, 3) the same. A video's tokens may be interrupted by text (timestamps).
            merge_size: Patches per token along rows and columns.
            answer_BL: bool, True on what the model is trained to say (`labels != -100`); None: nothing.

        Raises:
            DataError: the picture tokens don't fill the grids exactly.
        """
        if answer_BL is not None and answer_BL.shape != token_type_BL.shape:
            raise DataError(f"answer_BL is {tuple(answer_BL.shape)}, the tokens are {tuple(token_type_BL.shape)}")
        grids = {IMAGE: _sizes(image_grid_thw, merge_size), VIDEO: _sizes(video_grid_thw, merge_size)}
        types = token_type_BL.to("cpu", torch.int8)
        columns = torch.full((5, *types.shape), NOWHERE, dtype=torch.int32)
        clips = tuple(_fill_row(types[row], columns[:, row], grids, row) for row in range(types.shape[0]))
        for modality, rest in grids.items():
            if rest:
                raise DataError(f"{len(rest)} {_NAMES[modality]} grid(s) are left over: no tokens stand for them")
        clip, frame, t, y, x = columns.to(token_type_BL.device)
        return Geometry(
            modality_BL=types.to(token_type_BL.device),
            clip_BL=clip,
            frame_BL=frame,
            t_BL=t,
            y_BL=y,
            x_BL=x,
            position_BL=torch.arange(types.shape[1], device=token_type_BL.device).expand(types.shape),
            answer_BL=_flags(answer_BL, clip),
            clips=clips,
        )


_NAMES = {IMAGE: "image", VIDEO: "video"}
_TENSORS = tuple(f.name for f in fields(Geometry) if f.name != "clips")


def concatenated(first: Geometry, second: Geometry) -> Geometry:
    """Tokens of two geometries that are numbered alike, one after the other; the clips are those of the first."""
    joined = {name: torch.cat([getattr(first, name), getattr(second, name)], dim=1) for name in _TENSORS}
    return Geometry(**joined, clips=first.clips)


def _sizes(grid_thw: Tensor | None, merge_size: int) -> list[Clip]:
    """Clips still to be placed, in order."""
    if grid_thw is None:
        return []
    sizes = []
    for frames, rows, cols in grid_thw.tolist():
        if rows % merge_size or cols % merge_size:
            raise DataError(f"a grid of {rows}x{cols} patches does not divide into merges of {merge_size}")
        sizes.append(Clip(int(frames), int(rows) // merge_size, int(cols) // merge_size))
    return sizes


def _fill_row(types_L: Tensor, columns_5L: Tensor, grids: dict[int, list[Clip]], row: int) -> tuple[Clip, ...]:
    """Write clip, frame, t, y, x of one row; takes its clips off `grids`."""
    clips: list[Clip] = []
    frames = 0
    cursor = 0
    places = {modality: torch.nonzero(types_L == modality).flatten() for modality in (IMAGE, VIDEO)}
    used = {IMAGE: 0, VIDEO: 0}
    pictured = torch.nonzero(types_L > 0).flatten()
    while cursor < len(pictured):
        modality = int(types_L[pictured[cursor]])
        if not grids[modality]:
            raise DataError(f"row {row}: {_NAMES[modality]} tokens without a grid")
        clip = grids[modality].pop(0)
        size = clip.frames * clip.rows * clip.cols
        where = places[modality][used[modality] : used[modality] + size]
        if len(where) < size:
            raise DataError(
                f"row {row}: a grid of {size} tokens is followed by {len(where)} {_NAMES[modality]} tokens"
            )
        t, y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.int32) for n in clip), indexing="ij")
        index = torch.full((size,), len(clips), dtype=torch.int32)
        columns_5L[:, where] = torch.stack([index, t.flatten() + frames, t.flatten(), y.flatten(), x.flatten()])
        used[modality] += size
        cursor += size
        clips.append(clip)
        frames += clip.frames
    return tuple(clips)


def _flags(answer_BL: Tensor | None, like_BL: Tensor) -> Tensor:
    if answer_BL is None:
        return torch.zeros_like(like_BL, dtype=torch.bool)
    return answer_BL.to(like_BL.device, torch.bool)
