"""Triton kernels of block-sparse attention: forward, gradient of queries, gradients of keys and values.

A query block walks through its list of key blocks: first the full ones, whose pairs all count, then the rest, where a
token rule given as data decides: causality, a window with sinks, a table of chosen blocks per query, or one bit per
pair. Block sizes of the plan and tile sizes of the kernel are independent: a block is cut into tiles, of which the
last may be short. The gradients of keys and values walk the lists turned round, and sum over the query heads of a
group in registers, so nothing is added atomically and results repeat bit for bit.

The online softmax and its backward follow FlashAttention-2 (arXiv 2307.08691, algorithms 1 and 2), in base 2.

Shapes: B batch, H query heads, K key-value heads, L queries, S keys, D head width, Q query blocks, N listed blocks.
"""
# Triton's language has no types that mypy could check.
# mypy: ignore-errors

import triton
import triton.language as tl


@triton.jit
def _keep(
    q_row, k_pos, k_first, choice_base, bit_base, bit_row, bit_col, table, bits, q_offset, window, sinks, choice_width,
    WORDS: tl.constexpr, CAUSAL: tl.constexpr, BANDED: tl.constexpr, CHOICE_BLOCK: tl.constexpr,
    ONE_CHOICE: tl.constexpr, BITS: tl.constexpr,
):  # fmt: skip
    """Whether pairs count. Index tensors have two axes, one of which is 1; `q_row` is the query of the call."""
    q_pos = q_row + q_offset
    keep = (q_row >= 0) & (k_pos >= 0)
    if CAUSAL:
        keep = keep & (k_pos <= q_pos)
    if BANDED:
        near = (q_pos - k_pos < window) & (k_pos - q_pos < window)
        keep = keep & (near | (k_pos < sinks))
    if CHOICE_BLOCK > 0:
        row = table + choice_base + q_row.to(tl.int64) * choice_width
        if ONE_CHOICE:
            keep = keep & (tl.load(row + k_first // CHOICE_BLOCK) != 0)
        else:
            keep = keep & (tl.load(row + k_pos // CHOICE_BLOCK) != 0)
    if BITS:
        word = tl.load(bits + bit_base + bit_row * WORDS + bit_col // 32)
        keep = keep & (((word >> (bit_col % 32)) & 1) != 0)
    return keep


@triton.jit
def _places(
    tile, length, order, order_base, BLOCK: tl.constexpr, TILE: tl.constexpr, ORDERED: tl.constexpr,
    CHECKED: tl.constexpr,
):  # fmt: skip
    """Of one tile: block, offsets inside it, places in the permuted sequence (0 where short), their original
    positions, and which are real. Without CHECKED all are real.
    """
    tiles: tl.constexpr = (BLOCK + TILE - 1) // TILE
    block = tile // tiles
    inside = (tile % tiles) * TILE + tl.arange(0, TILE)
    place = block * BLOCK + inside
    real = (inside < BLOCK) & (place < length)
    if CHECKED:
        place = tl.where(real, place, 0)
        inside = tl.where(real, inside, 0)
    position = place
    if ORDERED:
        position = tl.load(order + order_base + place)
    return block, inside, place, position, real


@triton.jit
def _rows(base, place, stride, d, real, D: tl.constexpr, BLOCK_D: tl.constexpr, CHECKED: tl.constexpr):
    """(TILE, BLOCK_D) of rows of a sequence; 0 where there is none. Without CHECKED all are there."""
    pointers = base + place[:, None].to(tl.int64) * stride + d[None, :]
    if D != BLOCK_D:
        rows = tl.load(pointers, mask=real[:, None] & (d[None, :] < D), other=0.0)
    elif CHECKED:
        rows = tl.load(pointers, mask=real[:, None], other=0.0)
    else:
        rows = tl.load(pointers)
    return rows


@triton.jit
def _store_rows(base, place, d, real, value, D: tl.constexpr):
    """Write rows of a contiguous sequence."""
    mask = real[:, None] & (d[None, :] < D)
    tl.store(base + place[:, None].to(tl.int64) * D + d[None, :], value.to(base.dtype.element_ty), mask=mask)


@triton.jit
def forward_kernel(
    q, k, v, out, lse, index, full, num, q_order, k_order, table, bits,
    qb, qh, ql, kb, kh, kl, vb, vh, vl, list_b, list_h, q_order_b, q_order_h, k_order_b, k_order_h,
    table_b, table_h, bits_b, bits_h,
    H, GROUPS, L, S, N, BIT_N, q_offset, window, sinks, choice_width, scale_log2,
    D: tl.constexpr, BLOCK_D: tl.constexpr, Q_BLOCK: tl.constexpr, K_BLOCK: tl.constexpr, Q_ORDERED: tl.constexpr,
    K_ORDERED: tl.constexpr, CAUSAL: tl.constexpr, BANDED: tl.constexpr, CHOICE_BLOCK: tl.constexpr,
    BITS: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """One tile of queries of one head."""
    # Later queries see more under causality: they start first.
    tile = tl.num_programs(0) - 1 - tl.program_id(0)
    b = tl.program_id(1) // H
    h = tl.program_id(1) % H
    d = tl.arange(0, BLOCK_D)
    q_block, q_in, q_place, q_pos, q_real = _places(
        tile, L, q_order, b * q_order_b + h * q_order_h, Q_BLOCK, BLOCK_M, Q_ORDERED, True
    )
    q_MD = _rows(q + b.to(tl.int64) * qb + h.to(tl.int64) * qh, q_place, ql, d, q_real, D, BLOCK_D, True)
    k_base = k + b.to(tl.int64) * kb + (h // GROUPS).to(tl.int64) * kh
    v_base = v + b.to(tl.int64) * vb + (h // GROUPS).to(tl.int64) * vh
    row = b * list_b + h * list_h + q_block
    full_count = tl.load(full + row)
    count = tl.load(num + row)
    index_base = index + row.to(tl.int64) * N
    WORDS: tl.constexpr = (K_BLOCK + 31) // 32
    TILES: tl.constexpr = (K_BLOCK + BLOCK_N - 1) // BLOCK_N
    SHORT_K: tl.constexpr = K_BLOCK % BLOCK_N != 0
    ONE_CHOICE: tl.constexpr = (CHOICE_BLOCK % BLOCK_N == 0) and (not SHORT_K) and (not K_ORDERED)
    bit_row_base = (b * bits_b + h * bits_h + q_block).to(tl.int64) * BIT_N
    choice_base = b.to(tl.int64) * table_b + h.to(tl.int64) * table_h

    best = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for step in range(0, full_count * TILES):
        k_tile = tl.load(index_base + step // TILES) * TILES + step % TILES
        _, _, k_place, _, k_real = _places(k_tile, S, k_order, 0, K_BLOCK, BLOCK_N, False, SHORT_K)
        k_ND = _rows(k_base, k_place, kl, d, k_real, D, BLOCK_D, SHORT_K)
        s_MN = tl.dot(q_MD, tl.trans(k_ND), input_precision="ieee") * scale_log2
        if SHORT_K:
            s_MN = tl.where(k_real[None, :], s_MN, float("-inf"))
        new = tl.maximum(best, tl.max(s_MN, 1))
        p_MN = tl.exp2(s_MN - new[:, None])
        shrink = tl.exp2(best - new)
        total = total * shrink + tl.sum(p_MN, 1)
        v_ND = _rows(v_base, k_place, vl, d, k_real, D, BLOCK_D, SHORT_K)
        acc = tl.dot(p_MN.to(v_ND.dtype), v_ND, acc * shrink[:, None], input_precision="ieee")
        best = new
    for step in range(full_count * TILES, count * TILES):
        entry = step // TILES
        k_tile = tl.load(index_base + entry) * TILES + step % TILES
        _, k_in, k_place, k_pos, k_real = _places(
            k_tile, S, k_order, b * k_order_b + h * k_order_h, K_BLOCK, BLOCK_N, K_ORDERED, True
        )
        k_ND = _rows(k_base, k_place, kl, d, k_real, D, BLOCK_D, True)
        s_MN = tl.dot(q_MD, tl.trans(k_ND), input_precision="ieee") * scale_log2
        keep = _keep(
            q_pos[:, None], k_pos[None, :], k_tile // TILES * K_BLOCK + k_tile % TILES * BLOCK_N, choice_base,
            (bit_row_base + entry - full_count) * Q_BLOCK * WORDS, q_in[:, None], k_in[None, :], table, bits,
            q_offset, window, sinks, choice_width, WORDS, CAUSAL, BANDED, CHOICE_BLOCK, ONE_CHOICE, BITS,
        )  # fmt: skip
        s_MN = tl.where(keep & k_real[None, :] & q_real[:, None], s_MN, float("-inf"))
        new = tl.maximum(best, tl.max(s_MN, 1))
        # A row without any allowed key so far has -inf as its best; exp2(-inf - 0) is 0 as it should be.
        finite = tl.where(new == float("-inf"), 0.0, new)
        p_MN = tl.exp2(s_MN - finite[:, None])
        shrink = tl.exp2(best - finite)
        total = total * shrink + tl.sum(p_MN, 1)
        v_ND = _rows(v_base, k_place, vl, d, k_real, D, BLOCK_D, True)
        acc = tl.dot(p_MN.to(v_ND.dtype), v_ND, acc * shrink[:, None], input_precision="ieee")
        best = new

    empty = total == 0.0
    acc = acc / tl.where(empty, 1.0, total)[:, None]
    # exp2(score - inf) is 0: rows that see nothing have no gradient.
    lse_M = tl.where(empty, float("inf"), best + tl.log2(tl.where(empty, 1.0, total)))
    head = (b * H + h).to(tl.int64) * L
    _store_rows(out + head * D, q_place, d, q_real, acc, D)
    tl.store(lse + head + q_place, lse_M, mask=q_real)


@triton.jit
def dq_kernel(
    q, k, v, do, dq, lse, delta, index, full, num, q_order, k_order, table, bits,
    qb, qh, ql, kb, kh, kl, vb, vh, vl, ob, oh, ol, list_b, list_h, q_order_b, q_order_h, k_order_b, k_order_h,
    table_b, table_h, bits_b, bits_h,
    H, GROUPS, L, S, N, BIT_N, q_offset, window, sinks, choice_width, scale, scale_log2,
    D: tl.constexpr, BLOCK_D: tl.constexpr, Q_BLOCK: tl.constexpr, K_BLOCK: tl.constexpr, Q_ORDERED: tl.constexpr,
    K_ORDERED: tl.constexpr, CAUSAL: tl.constexpr, BANDED: tl.constexpr, CHOICE_BLOCK: tl.constexpr,
    BITS: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Gradient of one tile of queries of one head."""
    tile = tl.num_programs(0) - 1 - tl.program_id(0)
    b = tl.program_id(1) // H
    h = tl.program_id(1) % H
    d = tl.arange(0, BLOCK_D)
    q_block, q_in, q_place, q_pos, q_real = _places(
        tile, L, q_order, b * q_order_b + h * q_order_h, Q_BLOCK, BLOCK_M, Q_ORDERED, True
    )
    q_MD = _rows(q + b.to(tl.int64) * qb + h.to(tl.int64) * qh, q_place, ql, d, q_real, D, BLOCK_D, True)
    do_MD = _rows(do + b.to(tl.int64) * ob + h.to(tl.int64) * oh, q_place, ol, d, q_real, D, BLOCK_D, True)
    head = (b * H + h).to(tl.int64) * L
    lse_M = tl.load(lse + head + q_place, mask=q_real, other=float("inf"))
    delta_M = tl.load(delta + head + q_place, mask=q_real, other=0.0)
    k_base = k + b.to(tl.int64) * kb + (h // GROUPS).to(tl.int64) * kh
    v_base = v + b.to(tl.int64) * vb + (h // GROUPS).to(tl.int64) * vh
    row = b * list_b + h * list_h + q_block
    full_count = tl.load(full + row)
    count = tl.load(num + row)
    index_base = index + row.to(tl.int64) * N
    WORDS: tl.constexpr = (K_BLOCK + 31) // 32
    TILES: tl.constexpr = (K_BLOCK + BLOCK_N - 1) // BLOCK_N
    SHORT_K: tl.constexpr = K_BLOCK % BLOCK_N != 0
    ONE_CHOICE: tl.constexpr = (CHOICE_BLOCK % BLOCK_N == 0) and (not SHORT_K) and (not K_ORDERED)
    bit_row_base = (b * bits_b + h * bits_h + q_block).to(tl.int64) * BIT_N
    choice_base = b.to(tl.int64) * table_b + h.to(tl.int64) * table_h

    dq_MD = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for step in range(0, full_count * TILES):
        k_tile = tl.load(index_base + step // TILES) * TILES + step % TILES
        _, _, k_place, _, k_real = _places(k_tile, S, k_order, 0, K_BLOCK, BLOCK_N, False, SHORT_K)
        k_ND = _rows(k_base, k_place, kl, d, k_real, D, BLOCK_D, SHORT_K)
        v_ND = _rows(v_base, k_place, vl, d, k_real, D, BLOCK_D, SHORT_K)
        s_MN = tl.dot(q_MD, tl.trans(k_ND), input_precision="ieee") * scale_log2
        # Rows of k beyond a short tile are 0, so what they add to the gradient of q is 0.
        p_MN = tl.exp2(s_MN - lse_M[:, None])
        if SHORT_K:
            p_MN = tl.where(k_real[None, :], p_MN, 0.0)
        dp_MN = tl.dot(do_MD, tl.trans(v_ND), input_precision="ieee")
        ds_MN = p_MN * (dp_MN - delta_M[:, None])
        dq_MD = tl.dot(ds_MN.to(k_ND.dtype), k_ND, dq_MD, input_precision="ieee")
    for step in range(full_count * TILES, count * TILES):
        entry = step // TILES
        k_tile = tl.load(index_base + entry) * TILES + step % TILES
        _, k_in, k_place, k_pos, k_real = _places(
            k_tile, S, k_order, b * k_order_b + h * k_order_h, K_BLOCK, BLOCK_N, K_ORDERED, True
        )
        k_ND = _rows(k_base, k_place, kl, d, k_real, D, BLOCK_D, True)
        v_ND = _rows(v_base, k_place, vl, d, k_real, D, BLOCK_D, True)
        s_MN = tl.dot(q_MD, tl.trans(k_ND), input_precision="ieee") * scale_log2
        keep = _keep(
            q_pos[:, None], k_pos[None, :], k_tile // TILES * K_BLOCK + k_tile % TILES * BLOCK_N, choice_base,
            (bit_row_base + entry - full_count) * Q_BLOCK * WORDS, q_in[:, None], k_in[None, :], table, bits,
            q_offset, window, sinks, choice_width, WORDS, CAUSAL, BANDED, CHOICE_BLOCK, ONE_CHOICE, BITS,
        )  # fmt: skip
        s_MN = tl.where(keep & k_real[None, :] & q_real[:, None], s_MN, float("-inf"))
        p_MN = tl.exp2(s_MN - lse_M[:, None])
        dp_MN = tl.dot(do_MD, tl.trans(v_ND), input_precision="ieee")
        ds_MN = p_MN * (dp_MN - delta_M[:, None])
        dq_MD = tl.dot(ds_MN.to(k_ND.dtype), k_ND, dq_MD, input_precision="ieee")
    _store_rows(dq + head * D, q_place, d, q_real, dq_MD * scale, D)


@triton.jit
def dkv_kernel(
    q, k, v, do, dk, dv, lse, delta, entries, bounds, full, q_order, k_order, table, bits,
    qb, qh, ql, kb, kh, kl, vb, vh, vl, ob, oh, ol, list_b, list_h, entry_b, entry_h, bound_b, bound_h,
    q_order_b, q_order_h, k_order_b, k_order_h, table_b, table_h, bits_b, bits_h,
    H, GROUPS, L, S, N, BIT_N, q_offset, window, sinks, choice_width, scale, scale_log2,
    D: tl.constexpr, BLOCK_D: tl.constexpr, Q_BLOCK: tl.constexpr, K_BLOCK: tl.constexpr, Q_ORDERED: tl.constexpr,
    K_ORDERED: tl.constexpr, CAUSAL: tl.constexpr, BANDED: tl.constexpr, CHOICE_BLOCK: tl.constexpr,
    BITS: tl.constexpr, EVEN_Q: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Gradients of one tile of keys and values of one key-value head."""
    kv_heads = H // GROUPS
    b = tl.program_id(1) // kv_heads
    kv_head = tl.program_id(1) % kv_heads
    d = tl.arange(0, BLOCK_D)
    k_tile = tl.program_id(0)
    # Names are never reused: what a loop assigns must keep its type if it was there before.
    k_block, k_in, k_place, k_unmoved, k_real = _places(k_tile, S, k_order, 0, K_BLOCK, BLOCK_N, False, True)
    k_ND = _rows(k + b.to(tl.int64) * kb + kv_head.to(tl.int64) * kh, k_place, kl, d, k_real, D, BLOCK_D, True)
    v_ND = _rows(v + b.to(tl.int64) * vb + kv_head.to(tl.int64) * vh, k_place, vl, d, k_real, D, BLOCK_D, True)
    WORDS: tl.constexpr = (K_BLOCK + 31) // 32
    TILES: tl.constexpr = (Q_BLOCK + BLOCK_M - 1) // BLOCK_M
    SHORT_Q: tl.constexpr = (Q_BLOCK % BLOCK_M != 0) or (not EVEN_Q)
    K_TILES: tl.constexpr = (K_BLOCK + BLOCK_N - 1) // BLOCK_N
    ONE_CHOICE: tl.constexpr = (CHOICE_BLOCK % BLOCK_N == 0) and (K_BLOCK % BLOCK_N == 0) and (not K_ORDERED)
    k_first = k_tile // K_TILES * K_BLOCK + k_tile % K_TILES * BLOCK_N

    dk_ND = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    dv_ND = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    for member in range(0, GROUPS):
        h = kv_head * GROUPS + member
        k_pos = k_unmoved
        if K_ORDERED:
            k_pos = tl.load(k_order + b * k_order_b + h * k_order_h + k_place)
        q_base = q + b.to(tl.int64) * qb + h.to(tl.int64) * qh
        do_base = do + b.to(tl.int64) * ob + h.to(tl.int64) * oh
        head = (b * H + h).to(tl.int64) * L
        entry_base = entries + b.to(tl.int64) * entry_b + h.to(tl.int64) * entry_h
        bound = bounds + b * bound_b + h * bound_h + 2 * k_block
        first = tl.load(bound)
        first_partial = tl.load(bound + 1)
        end = tl.load(bound + 2)
        for step in range(first * TILES, first_partial * TILES):
            q_tile = (tl.load(entry_base + step // TILES) // N) * TILES + step % TILES
            _full_block, _full_in, q_place, _q_unmoved, q_real = _places(
                q_tile, L, q_order, 0, Q_BLOCK, BLOCK_M, False, SHORT_Q
            )
            q_MD = _rows(q_base, q_place, ql, d, q_real, D, BLOCK_D, SHORT_Q)
            do_MD = _rows(do_base, q_place, ol, d, q_real, D, BLOCK_D, SHORT_Q)
            lse_M = tl.load(lse + head + q_place, mask=q_real, other=float("inf"))
            delta_M = tl.load(delta + head + q_place, mask=q_real, other=0.0)
            s_NM = tl.dot(k_ND, tl.trans(q_MD), input_precision="ieee") * scale_log2
            p_NM = tl.exp2(s_NM - lse_M[None, :])
            dv_ND = tl.dot(p_NM.to(do_MD.dtype), do_MD, dv_ND, input_precision="ieee")
            dp_NM = tl.dot(v_ND, tl.trans(do_MD), input_precision="ieee")
            ds_NM = p_NM * (dp_NM - delta_M[None, :])
            dk_ND = tl.dot(ds_NM.to(q_MD.dtype), q_MD, dk_ND, input_precision="ieee")
        for step in range(first_partial * TILES, end * TILES):
            listed = tl.load(entry_base + step // TILES)
            q_block = listed // N
            q_tile = q_block * TILES + step % TILES
            _same_block, q_in, q_place, q_pos, q_real = _places(
                q_tile, L, q_order, b * q_order_b + h * q_order_h, Q_BLOCK, BLOCK_M, Q_ORDERED, True
            )
            q_MD = _rows(q_base, q_place, ql, d, q_real, D, BLOCK_D, True)
            do_MD = _rows(do_base, q_place, ol, d, q_real, D, BLOCK_D, True)
            lse_M = tl.load(lse + head + q_place, mask=q_real, other=float("inf"))
            delta_M = tl.load(delta + head + q_place, mask=q_real, other=0.0)
            full_count = tl.load(full + b * list_b + h * list_h + q_block)
            bit_row = (b * bits_b + h * bits_h + q_block).to(tl.int64) * BIT_N + listed % N - full_count
            keep = _keep(
                q_pos[None, :], k_pos[:, None], k_first, b.to(tl.int64) * table_b + h.to(tl.int64) * table_h,
                bit_row * Q_BLOCK * WORDS, q_in[None, :], k_in[:, None], table, bits, q_offset, window, sinks,
                choice_width, WORDS, CAUSAL, BANDED, CHOICE_BLOCK, ONE_CHOICE, BITS,
            )  # fmt: skip
            s_NM = tl.dot(k_ND, tl.trans(q_MD), input_precision="ieee") * scale_log2
            s_NM = tl.where(keep & k_real[:, None] & q_real[None, :], s_NM, float("-inf"))
            p_NM = tl.exp2(s_NM - lse_M[None, :])
            dv_ND = tl.dot(p_NM.to(do_MD.dtype), do_MD, dv_ND, input_precision="ieee")
            dp_NM = tl.dot(v_ND, tl.trans(do_MD), input_precision="ieee")
            ds_NM = p_NM * (dp_NM - delta_M[None, :])
            dk_ND = tl.dot(ds_NM.to(q_MD.dtype), q_MD, dk_ND, input_precision="ieee")
    base = (b * kv_heads + kv_head).to(tl.int64) * S * D
    _store_rows(dk + base, k_place, d, k_real, dk_ND * scale, D)
    _store_rows(dv + base, k_place, d, k_real, dv_ND, D)
