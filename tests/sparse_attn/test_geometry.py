"""Geometry from grids against loops, along streams, and what does not fit."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from attention_loops import MIXED, sequence

from allocentric.core.errors import DataError
from allocentric.sparse_attn.geometry import IMAGE, NOWHERE, TEXT, VIDEO, Clip, Geometry, concatenated

TENSORS = [f.name for f in fields(Geometry) if f.name != "clips"]


def assert_equal(one: Geometry, other: Geometry) -> None:
    for name in TENSORS:
        assert getattr(one, name).equal(getattr(other, name)), name
        assert getattr(one, name).dtype == getattr(other, name).dtype, name
    assert one.clips == other.clips


@pytest.mark.parametrize("pieces", MIXED)
def test_every_token_lies_where_loops_put_it(pieces: list) -> None:
    """Pictures and videos with text before every frame, as Qwen3-VL's timestamps."""
    tokens, geometry = sequence(pieces)
    for name in ("clip", "frame", "t", "y", "x"):
        wanted = [getattr(token, name) for token in tokens]
        assert getattr(geometry, f"{name}_BL")[0].tolist() == wanted, name
    assert geometry.position_BL[0].tolist() == list(range(len(tokens)))
    assert (geometry.batch, geometry.length) == (1, len(tokens))
    clips = {token.clip: Clip(token.frames, token.rows, token.cols) for token in tokens if not token.text}
    assert geometry.clips == (tuple(clips.values()),)
    assert not geometry.answer_BL.any()


def test_grids_are_taken_in_order_over_the_whole_batch_and_merged() -> None:
    """Row 0: a video of 2 frames of 1x2 tokens cut by a timestamp, a picture of 2x1; row 1: padding, a picture."""
    types = torch.tensor([[2, 2, 0, 2, 2, 1, 1, 0], [0, 0, 0, 1, 1, 1, 1, 0]])
    geometry = Geometry.from_grids(
        types,
        image_grid_thw=torch.tensor([[1, 4, 2], [1, 4, 4]]),
        video_grid_thw=torch.tensor([[2, 2, 4]]),
        merge_size=2,
    )
    assert geometry.clips == ((Clip(2, 1, 2), Clip(1, 2, 1)), (Clip(1, 2, 2),))
    assert geometry.modality_BL.tolist() == types.tolist()
    assert geometry.clip_BL.tolist() == [[0, 0, -1, 0, 0, 1, 1, -1], [-1, -1, -1, 0, 0, 0, 0, -1]]
    assert geometry.frame_BL.tolist() == [[0, 0, -1, 1, 1, 2, 2, -1], [-1, -1, -1, 0, 0, 0, 0, -1]]
    assert geometry.t_BL[0].tolist() == [0, 0, -1, 1, 1, 0, 0, -1]
    assert geometry.y_BL.tolist() == [[0, 0, -1, 0, 0, 0, 1, -1], [-1, -1, -1, 0, 0, 1, 1, -1]]
    assert geometry.x_BL.tolist() == [[0, 1, -1, 0, 1, 0, 0, -1], [-1, -1, -1, 0, 1, 0, 1, -1]]
    assert (geometry.modality_BL.dtype, geometry.clip_BL.dtype) == (torch.int8, torch.int32)
    assert geometry.position_BL.dtype == torch.int64


@pytest.mark.parametrize("cut", [0, 1, 3, 4])
def test_a_stream_in_pieces_is_the_stream_at_once(cut: int) -> None:
    pieces = [2, (2, 3), 1, (2, 2, 2, 1), 3, (1, 4)]
    _, whole = sequence(pieces)
    parts = [sequence(part)[1] for part in (pieces[:cut], pieces[cut:]) if part]
    grown = parts[0].extended(parts[1]) if len(parts) == 2 else parts[0]
    assert_equal(grown, whole)
    _, step = sequence([1])
    for _ in range(3):
        grown = grown.extended(step)
    assert_equal(grown, sequence([*pieces, 3])[1])


def test_a_stream_goes_on_after_eviction() -> None:
    """Positions are absolute: keys that left a cache leave a gap, and later tokens count on."""
    _, whole = sequence([4, (2, 2), 4])
    evicted = concatenated(whole[:2], whole[7:])
    assert evicted.position_BL[0].tolist() == [0, 1, 7, 8, 9, 10, 11]
    later = evicted.extended(sequence([1, (1, 2)])[1])
    assert later.position_BL[0, -3:].tolist() == [12, 13, 14]
    assert later.clip_BL[0, -2:].tolist() == [1, 1]
    assert later.frame_BL[0, -2:].tolist() == [1, 1]


def test_from_nothing() -> None:
    _, first = sequence([2, (2, 2)])
    assert_equal(Geometry.of_text(1, 0).extended(first), first)


def test_slices_and_rows() -> None:
    types = torch.tensor([[1, 1, 0], [0, 1, 1]])
    both = Geometry.from_grids(types, image_grid_thw=torch.tensor([[1, 1, 2], [1, 2, 1]]), merge_size=1)
    assert both.rows([1]).y_BL.tolist() == [[-1, 0, 1]]
    assert both.rows([1]).clips == ((Clip(1, 2, 1),),)
    assert_equal(both.rows(slice(0, 1)), both.rows([0]))
    assert both.rows([1, 0]).clips == (both.clips[1], both.clips[0])
    assert both[1:].x_BL.tolist() == [[1, -1], [0, 0]]
    assert_equal(both.to("cpu"), both)


def test_text_and_videos_by_themselves() -> None:
    text = Geometry.of_text(2, 3)
    assert_equal(text, Geometry.from_grids(torch.zeros(2, 3, dtype=torch.int64), merge_size=2))
    assert (text.clip_BL == NOWHERE).all()
    assert (text.modality_BL == TEXT).all()
    video = Geometry.of_video(2, 3, 2, 2)
    grids = torch.tensor([[3, 2, 2]] * 2)
    types = torch.full((2, 12), VIDEO)
    assert_equal(video, Geometry.from_grids(types, video_grid_thw=grids, merge_size=1))


def test_answers_travel_along() -> None:
    labels = torch.tensor([[-100, -100, 5, 6]])
    geometry = Geometry.from_grids(torch.zeros(1, 4), merge_size=1, answer_BL=labels != -100)
    assert geometry.answer_BL.tolist() == [[False, False, True, True]]
    assert geometry[1:].extended(geometry).answer_BL.tolist() == [[False, True, True, False, False, True, True]]
    with pytest.raises(DataError, match=r"answer_BL is \(1, 3\), the tokens are \(1, 4\)"):
        Geometry.from_grids(torch.zeros(1, 4), merge_size=1, answer_BL=torch.zeros(1, 3))


@pytest.mark.parametrize(
    ("types", "grids", "message"),
    [
        ([IMAGE] * 3, [[1, 2, 2]], "a grid of 4 tokens is followed by 3 image tokens"),
        ([IMAGE] * 4 + [TEXT] + [IMAGE] * 4, [[1, 2, 2]], "row 0: image tokens without a grid"),
        ([TEXT] * 3, [[1, 2, 2]], r"1 image grid\(s\) are left over"),
        ([VIDEO] * 4, [[1, 2, 2]], "row 0: video tokens without a grid"),
        ([IMAGE] * 4, [[1, 3, 2]], "3x2 patches does not divide into merges of 2"),
    ],
)
def test_what_does_not_fit_is_refused(types: list[int], grids: list[list[int]], message: str) -> None:
    merge = 2 if "merges" in message else 1
    with pytest.raises(DataError, match=message):
        Geometry.from_grids(torch.tensor([types]), image_grid_thw=torch.tensor(grids), merge_size=merge)


def test_another_batch_cannot_go_on() -> None:
    with pytest.raises(DataError, match="geometry of 1 rows can't be continued by one of 2 rows"):
        Geometry.of_text(1, 2).extended(Geometry.of_text(2, 2))


def test_ends_are_numbered_as_if_nothing_had_been_between() -> None:
    """A picture of 2 x 3, a video of 2 x 2 x 2 and a picture of 3 x 3 with text around them."""
    types = torch.tensor([[TEXT, *[IMAGE] * 6, TEXT, *[VIDEO] * 8, TEXT, *[IMAGE] * 9, TEXT]], dtype=torch.int8)
    images, videos = torch.tensor([[1, 2, 3], [1, 3, 3]]), torch.tensor([[2, 2, 2]])
    whole = Geometry.from_grids(types, image_grid_thw=images, video_grid_thw=videos, merge_size=1)
    kept = whole.ends(7, 11)
    without = torch.cat([types[:, :7], types[:, 16:]], dim=1)
    alone = Geometry.from_grids(without, image_grid_thw=images, merge_size=1)
    assert_equal(replace(kept, position_BL=alone.position_BL), alone)
    assert kept.position_BL[0].tolist() == [*range(7), *range(16, 27)]
    cut = whole.ends(0, 12)  # one token of the video's second frame is left
    assert cut.clips == ((Clip(2, 2, 2), Clip(1, 3, 3)),)
    assert cut.frame_BL[0].tolist() == [1, NOWHERE, *[2] * 9, NOWHERE]
    assert whole.ends(20, 20) is whole
