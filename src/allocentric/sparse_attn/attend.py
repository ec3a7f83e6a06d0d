"""From a method and tensors to outputs: padding, plan, executor.

Padding never reaches a method. Rows of a batch that hold different numbers of tokens run apart, each on its own
tokens, so that blocks, windows and frames start at the first real token of every row and a row's output does not
depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import pad

from allocentric.sparse_attn import executors
from allocentric.sparse_attn.contract import Call, Selector
from allocentric.sparse_attn.errors import AttentionError
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.plan import Extent


def attend(
    method: Selector,
    q_BHLD: Tensor,
    k_BKSD: Tensor,
    v_BKSD: Tensor,
    *,
    causal: bool,
    scale: float,
    geometry: Geometry | None = None,
    valid_BS: Tensor | None = None,
    spans: Sequence[tuple[int, int]] | None = None,
    executor: str = "auto",
) -> Tensor:
    """Attention of one layer.

    Args:
        method: Decides the pairs.
        q_BHLD: Queries: the last L tokens of the stream where `causal`.
        k_BKSD: Keys of the whole cache.
        v_BKSD: Values.
        causal: Whether a query sees only keys at its own position and before.
        scale: Factor of the scores.
        geometry: Of the S keys, padding included.
        valid_BS: bool, False on padding, which lies left or right of a row's tokens. None: no padding.
        spans: The same as `row_spans` gives it, for callers that know it already.
        executor: Name, or "auto".

    Returns:
        (B, H, L, D); 0 at queries that are padding.

    Raises:
        AttentionError: the method or the executor can't serve the call, or padding lies between tokens.
    """
    run = partial(_attend_unpadded, method, causal=causal, scale=scale, executor=executor)
    if spans is None and valid_BS is not None:
        spans = row_spans(valid_BS)
    if spans is None or all(span == (0, k_BKSD.shape[2]) for span in spans):
        return run(q_BHLD, k_BKSD, v_BKSD, geometry=geometry)
    q_offset = k_BKSD.shape[2] - q_BHLD.shape[2] if causal else 0
    rows = []
    for row, (start, stop) in enumerate(spans):
        q_start, q_stop = max(start - q_offset, 0), max(min(stop - q_offset, q_BHLD.shape[2]), 0)
        if q_stop <= q_start:
            rows.append(torch.zeros_like(q_BHLD[row : row + 1]))
            continue
        part = run(
            q_BHLD[row : row + 1, :, q_start:q_stop],
            k_BKSD[row : row + 1, :, start:stop],
            v_BKSD[row : row + 1, :, start:stop],
            geometry=None if geometry is None else geometry.rows([row])[start:stop],
        )
        rows.append(pad(part, (0, 0, q_start, q_BHLD.shape[2] - q_stop)))
    return torch.cat(rows)


def _attend_unpadded(
    method: Selector,
    q_BHLD: Tensor,
    k_BKSD: Tensor,
    v_BKSD: Tensor,
    *,
    causal: bool,
    scale: float,
    geometry: Geometry | None,
    executor: str,
) -> Tensor:
    batch, heads, q_len, _ = q_BHLD.shape
    extent = Extent(batch=batch, heads=heads, q_len=q_len, kv_len=k_BKSD.shape[2], causal=causal, device=q_BHLD.device)
    call = Call(extent=extent, scale=scale, geometry=geometry)
    method.check(call)
    plan = method.plan(q_BHLD, k_BKSD, v_BKSD, call)
    training = torch.is_grad_enabled() and any(t.requires_grad for t in (q_BHLD, k_BKSD, v_BKSD))
    return executors.attend(plan, q_BHLD, k_BKSD, v_BKSD, scale=scale, executor=executor, training=training)


def row_spans(valid_BS: Tensor) -> list[tuple[int, int]]:
    """First and one-past-last token of every row.

    Raises:
        AttentionError: padding lies between tokens.
    """
    spans = []
    for row, valid in enumerate(valid_BS.to("cpu", torch.bool)):
        where = torch.nonzero(valid).flatten()
        start, stop = (int(where[0]), int(where[-1]) + 1) if len(where) else (0, 0)
        if stop - start != len(where):
            raise AttentionError(f"row {row} has padding between its tokens; pad on the left or on the right only")
        spans.append((start, stop))
    return spans
