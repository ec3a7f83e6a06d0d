"""Attention without a softmax, by chunks: a sum over the past is one matrix, within a chunk it is a small product.

    o_t = sum over s <= t of decay^(t - s) kernel(q_t . k_s) v_s,   kernel(q . k) = features(q) . features(k)

The block-wise split of Lightning Attention-2, arXiv 2401.04658. Within a chunk scores come from the kernel, so
features are only spelled out where the past is summed.

Shapes: B batch, H heads, L tokens, D query and key width, F features, V value width, N chunks, C tokens of a chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

_TOKENS_AT_ONCE = 4096
"""Tokens whose chunks are held in memory together; a longer call goes on where they end."""


def _same(x: Tensor) -> Tensor:
    return x


def linear_attention(
    q_BHLD: Tensor,
    k_BHLD: Tensor,
    v_BHLV: Tensor,
    state_BHFV: Tensor,
    *,
    chunk: int,
    log_decay_H: Tensor | None = None,
    features: Callable[[Tensor], Tensor] = _same,
    kernel: Callable[[Tensor], Tensor] = _same,
) -> tuple[Tensor, Tensor]:
    """Sums of a stretch of a stream, and the matrices after it.

    Args:
        q_BHLD: Queries.
        k_BHLD: Keys.
        v_BHLV: Values.
        state_BHFV: Sums of features(k) v^T before the first token; computation is in their dtype.
        chunk: Tokens of a chunk. Changes rounding and speed only.
        log_decay_H: At most 0, per head and token. None: nothing decays.
        features: Of queries or keys, along the last axis.
        kernel: Of products q . k, one by one.
    """
    dtype, length = state_BHFV.dtype, q_BHLD.shape[2]
    q, k, v = (t.to(dtype) for t in (q_BHLD, k_BHLD, v_BHLV))
    if log_decay_H is None:
        log_decay_H = q.new_zeros(q.shape[1])
    whole = length // chunk * chunk
    step = max(chunk, _TOKENS_AT_ONCE // chunk * chunk)
    edges = [*range(0, whole, step), whole, *([length] if length > whole else [])]
    outputs = []
    for start, stop in pairwise(edges):
        size = min(chunk, stop - start)
        q_part, k_part, v_part = (t[:, :, start:stop].unflatten(2, (-1, size)) for t in (q, k, v))
        out, state_BHFV = _chunks(q_part, k_part, v_part, state_BHFV, log_decay_H.to(dtype), features, kernel)
        outputs.append(out)
    return torch.cat(outputs, dim=2), state_BHFV


def _chunks(
    q_BHNCD: Tensor,
    k_BHNCD: Tensor,
    v_BHNCV: Tensor,
    state_BHFV: Tensor,
    log_decay_H: Tensor,
    features: Callable[[Tensor], Tensor],
    kernel: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """All chunks of a stretch, which are of one size."""
    size = q_BHNCD.shape[3]
    place = torch.arange(size, device=q_BHNCD.device)
    rate_H111 = log_decay_H.view(-1, 1, 1, 1)
    distance = place[:, None] - place
    decay_HNCC = torch.where(distance >= 0, (rate_H111 * distance.clamp(min=0)).exp(), 0.0)
    until_end = (rate_H111 * (size - 1 - place)[:, None]).exp()
    since_start = (rate_H111 * (place + 1)[:, None]).exp()
    sums_BHNFV = (features(k_BHNCD) * until_end).transpose(-1, -2) @ v_BHNCV
    over_chunk = (rate_H111[..., 0] * size).exp()
    before = []
    for new_BHFV in sums_BHNFV.unbind(2):
        before.append(state_BHFV)
        state_BHFV = torch.addcmul(new_BHFV, state_BHFV, over_chunk)
    past = (features(q_BHNCD) * since_start) @ torch.stack(before, dim=2)
    own = (kernel(q_BHNCD @ k_BHNCD.transpose(-1, -2)) * decay_HNCC) @ v_BHNCV
    return (past + own).flatten(2, 3), state_BHFV


def flops(length: int, heads: int, key_dim: int, features: int, value_dim: int, chunk: int) -> int:
    """Multiplications and additions of the products in `_chunks`."""
    whole, rest = divmod(length, chunk)

    def of(size: int) -> int:
        return 2 * size * (size * (key_dim + value_dim) + 2 * features * value_dim)

    return heads * (whole * of(chunk) + of(rest))
