"""Radial attention against the published loops, written out per frame pair and token."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from attention_loops import MIXED, Token, assert_pairs, method_of, plan_of, sequence

from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.methods.radial import Settings, block_map


def sees(distance: int, r: int, c: int, tokens: int, sink: bool, s: Settings) -> bool:
    """Whether token r of a frame sees token c of the frame `distance` away."""
    if sink:
        return True
    if distance > 0:
        length = 2 ** tokens.bit_length() / 2 ** distance.bit_length()
        if length < s.threshold and distance % int(s.threshold / length):
            return False
    if distance <= 1:
        return True
    return abs(r - c) <= max(2 ** tokens.bit_length() / 2 ** distance.bit_length() * s.decay, s.block)


def kept_blocks(start_a: int, start_b: int, local: np.ndarray, s: Settings) -> list[tuple[int, int]]:
    """Blocks that the pair of frames starting at these places keeps."""
    (m, n), block = local.shape, s.block
    rows, cols = -(-m // block), -(-n // block)
    if not s.cut_frames:  # as many as the frame touches
        rows, cols = (
            (start_a + m - 1) // block - start_a // block + 1,
            (start_b + n - 1) // block - start_b // block + 1,
        )
    padded = np.zeros(((rows + 1) * block, (cols + 1) * block), dtype=int)
    padded[start_a % block : start_a % block + m, start_b % block : start_b % block + n] = local
    kept = []
    for i in range(rows):
        for j in range(cols):
            seen = padded[i * block : (i + 1) * block, j * block : (j + 1) * block].sum(0)
            if (seen > 0).any() and np.mean(seen[seen > 0] * 3 > block) > 0.6:
                kept.append((start_a // block + i, start_b // block + j))
    return kept


def published(frames: int, m: int, s: Settings) -> np.ndarray:
    """The published mask of a video, and every block's view of itself."""
    count = -(-frames * m // s.block)
    mask = np.eye(count, dtype=bool)
    for a in range(frames):
        for b in range(frames):
            sink = s.sink_frame and b == 0
            local = np.array([[sees(abs(a - b), r, c, m, sink, s) for c in range(m)] for r in range(m)])
            for i, j in kept_blocks(a * m, b * m, local, s):
                mask[i, j] = True
    return mask


@pytest.mark.parametrize(
    ("frames", "tokens", "settings"),
    [
        (6, 12, Settings(block=6, threshold=16)),
        (9, 12, Settings(block=8, threshold=8, sink_frame=False)),
        (6, 21, Settings(block=8, threshold=32, decay=1.0)),
        (6, 21, Settings(block=8, threshold=32, decay=1.0, cut_frames=False)),
        (12, 7, Settings(block=16, threshold=16, cut_frames=False)),
        (5, 30, Settings(block=4, threshold=4, decay=0.25, sink_frame=False, cut_frames=False)),
    ],
)
def test_block_map_is_the_published_loop(frames: int, tokens: int, settings: Settings) -> None:
    wanted = published(frames, tokens, settings)
    whole = frames * tokens // settings.block
    assert np.array_equal(block_map(frames, tokens, settings).numpy(), wanted[:whole, :whole])
    # And the plan of a video without text keeps whole blocks, by that map.
    geometry = Geometry.of_video(1, frames, 1, tokens)
    mask = plan_of(method_of("radial", settings), geometry, causal=False).dense_mask()[0, 0].numpy()
    spread = wanted.repeat(settings.block, 0).repeat(settings.block, 1)
    assert np.array_equal(mask, spread[: len(mask), : len(mask)])


def part_rule(tokens: list[Token], s: Settings):
    """In a causal stream: the pair of frames of query and key decides, in the blocks of picture tokens."""
    pictured = [token for token in tokens if not token.text]
    rank = {token.place: index for index, token in enumerate(pictured)}
    start = {frame: next(rank[t.place] for t in pictured if t.frame == frame) for frame in {t.frame for t in pictured}}
    by_frame = {t.frame: t for t in pictured}
    kept = {}
    for a, one in by_frame.items():
        for b, other in by_frame.items():
            m, n = one.rows * one.cols, other.rows * other.cols
            sink = (s.sink_frame and b == 0) or (one.rows, one.cols) != (other.rows, other.cols)
            local = np.array([[sees(abs(a - b), r, c, m, False, s) for c in range(n)] for r in range(m)])
            if sink:  # other sizes see each other whole or, where thinned out, not at all
                always = s.sink_frame and b == 0
                local = np.full((m, n), always or sees(abs(a - b), 0, 0, m, False, s))
            kept[a, b] = set(kept_blocks(start[a], start[b], local, s))

    def rule(q: Token, k: Token) -> bool:
        if k.place > q.place:
            return False
        if q.text or k.text:
            return True
        i, j = rank[q.place] // s.block, rank[k.place] // s.block
        return (i, j) in kept[q.frame, k.frame] or (i == j and q.frame == k.frame)

    return rule


@pytest.mark.parametrize("pieces", MIXED)
@pytest.mark.parametrize("cut_frames", [True, False])
def test_streams_with_text_follow_the_rule_frame_by_frame(pieces: list, cut_frames: bool) -> None:
    settings = Settings(block=6, threshold=16, cut_frames=cut_frames)
    tokens, geometry = sequence(pieces)
    plan = plan_of(method_of("radial", settings), geometry, causal=True)
    assert_pairs(plan, tokens, part_rule(tokens, settings))


def test_text_between_frames_moves_no_block() -> None:
    """Timestamps leave the picture tokens' view of each other as it is."""
    settings = Settings(block=8, threshold=16)
    method = method_of("radial", settings)
    _, plain = sequence([(6, 4, 4)])
    tokens, stamped = sequence([2, (6, 4, 4, 3), 5])
    pictures = [token.place for token in tokens if not token.text]
    for causal in (True, False):
        alone = plan_of(method, plain, causal=causal).dense_mask()[0, 0]
        among = plan_of(method, stamped, causal=causal).dense_mask()[0, 0]
        assert among[pictures][:, pictures].equal(alone)


def test_kept_pairs_grow_like_n_log_n() -> None:
    """Doubling a video multiplies the kept pairs by ever less, toward 2 (dense: by 4)."""
    settings = Settings(block=8, threshold=8)
    pairs = [int(block_map(frames, 16, settings).sum()) for frames in (16, 32, 64, 128, 256)]
    growth = [later / earlier for earlier, later in pairwise(pairs)]
    assert all(2.0 < later < earlier for earlier, later in pairwise(growth)), growth
    assert growth[-1] < 2.4
