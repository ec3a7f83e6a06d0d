"""The gated delta rule: a matrix per head that forgets, and corrects what it would have answered.

    S <- exp(g) S;  S <- S + beta k (v - S^T k)^T;  o = S^T q

Yang et al., Gated Delta Networks, arXiv 2412.06464. Within a chunk the corrections solve one triangular system (the
"WY" form of its section 3.3); from chunk to chunk the matrix moves by one affine map. Only these maps run one after
the other, everything else is computed for all chunks at once.

Shapes: B batch, H heads, L tokens, D key width, V value width, X = B H, N chunks, C tokens of a chunk.
"""

from __future__ import annotations

import importlib.util
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import pad

from allocentric.core.errors import MissingPackageError

Kernel: TypeAlias = Literal["auto", "torch", "fla"]

_TOKENS_AT_ONCE = 4096
"""Tokens whose chunks are held in memory together; a longer call goes on where they end."""


def gated_delta_rule(
    q_BHLD: Tensor,
    k_BHLD: Tensor,
    v_BHLV: Tensor,
    log_decay_BHL: Tensor,
    beta_BHL: Tensor,
    state_BHDV: Tensor,
    *,
    chunk: int,
    kernel: Kernel = "auto",
) -> tuple[Tensor, Tensor]:
    """Outputs of a stretch of a stream, and the matrices after it.

    Args:
        q_BHLD: Queries, scaled as they should be.
        k_BHLD: Keys, of length 1 or less for a stable recurrence.
        v_BHLV: Values.
        log_decay_BHL: At most 0.
        beta_BHL: Step sizes, within [0, 1].
        state_BHDV: Matrices before the first token; computation is in their dtype.
        chunk: Tokens of a chunk. Changes rounding and speed only.
        kernel: "fla" is flash-linear-attention's (CUDA); "auto" takes it where it is installed and can run.

    Raises:
        MissingPackageError: kernel "fla" and no such package.
    """
    dtype, length = state_BHDV.dtype, q_BHLD.shape[2]
    if kernel == "fla" or (kernel == "auto" and _fla_can(v_BHLV)):
        return _by_fla(q_BHLD, k_BHLD, v_BHLV, log_decay_BHL, beta_BHL, state_BHDV)
    q, k, v, g, beta = (t.to(dtype).flatten(0, 1) for t in (q_BHLD, k_BHLD, v_BHLV, log_decay_BHL, beta_BHL))
    outputs, state, shape = [], state_BHDV.flatten(0, 1), state_BHDV.shape[:2]
    step = max(chunk, _TOKENS_AT_ONCE // chunk * chunk)
    for start in range(0, length, step):
        span = slice(start, start + step)
        run = _step if length == 1 else _chunks
        out, state = run(q[:, span], k[:, span], v[:, span], g[:, span], beta[:, span], state, min(chunk, length))
        outputs.append(out)
    return torch.cat(outputs, dim=1).unflatten(0, shape), state.unflatten(0, shape)


def _step(
    q_XLD: Tensor,
    k_XLD: Tensor,
    v_XLV: Tensor,
    g_XL: Tensor,
    beta_XL: Tensor,
    state_XDV: Tensor,
    chunk: int,  # noqa: ARG001
) -> tuple[Tensor, Tensor]:
    """One token (L = 1) by the recurrence itself."""
    state = state_XDV * g_XL.exp()[..., None]
    correction_XLV = beta_XL[..., None] * (v_XLV - k_XLD @ state)
    state = torch.baddbmm(state, k_XLD.transpose(1, 2), correction_XLV)
    return q_XLD @ state, state


def _chunks(
    q_XLD: Tensor, k_XLD: Tensor, v_XLV: Tensor, g_XL: Tensor, beta_XL: Tensor, state_XDV: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    """All chunks of a stretch."""
    length, missing = q_XLD.shape[1], -q_XLD.shape[1] % chunk
    # Tokens filled up have no key, no step and no decay, so they change nothing.
    q, k, v = (pad(t, (0, 0, 0, missing)).unflatten(1, (-1, chunk)) for t in (q_XLD, k_XLD, v_XLV))
    g, beta = (pad(t, (0, missing)).unflatten(1, (-1, chunk)) for t in (g_XL, beta_XL))
    total_XNC = g.cumsum(-1)
    after = torch.ones(chunk, chunk, dtype=torch.bool, device=q.device).triu(1)
    # The mask comes before exp: above the diagonal the exponent is positive and may overflow.
    decay_XNCC = (total_XNC[..., :, None] - total_XNC[..., None, :]).masked_fill(after, float("-inf")).exp()
    since_start = total_XNC.exp()[..., None]
    until_end = (total_XNC[..., -1:] - total_XNC).exp()[..., None]
    k_beta = k * beta[..., None]
    # Corrections u solve (I + A) u = beta (v - decayed S k): one system, right sides for S and for v.
    system = (k_beta @ k.transpose(-1, -2)) * decay_XNCC
    sides = torch.cat([k_beta * since_start, v * beta[..., None]], dim=-1)
    solved = torch.linalg.solve_triangular(system, sides, upper=False, unitriangular=True)
    moved = (k * until_end).transpose(-1, -2) @ solved
    width = q.shape[-1]
    kept = torch.diag_embed(total_XNC[..., -1:].exp().expand(*total_XNC.shape[:2], width)) - moved[..., :width]
    states = []
    for kept_XDD, new_XDV in zip(kept.unbind(1), moved[..., width:].unbind(1), strict=True):
        states.append(state_XDV)
        state_XDV = torch.baddbmm(new_XDV, kept_XDD, state_XDV)
    before_XNDV = torch.stack(states, dim=1)
    corrections = solved[..., width:] - solved[..., :width] @ before_XNDV
    scores = (q @ k.transpose(-1, -2)) * decay_XNCC
    out = (q * since_start) @ before_XNDV + scores @ corrections
    return out.flatten(1, 2)[:, :length], state_XDV


def flops(length: int, heads: int, key_dim: int, value_dim: int, chunk: int) -> int:
    """Multiplications and additions of the products in `_chunks`, the triangular system at half a product."""
    both = key_dim + value_dim
    per_chunk = 2 * chunk * chunk * key_dim * 2 + chunk * chunk * both + 2 * chunk * key_dim * both
    per_chunk += 2 * key_dim * key_dim * value_dim + 2 * 2 * chunk * key_dim * value_dim + 2 * chunk**2 * value_dim
    return heads * -(-length // chunk) * per_chunk


def _fla_can(v_BHLV: Tensor) -> bool:
    """Its kernels need a GPU and half precision."""
    half = v_BHLV.dtype in (torch.float16, torch.bfloat16)
    return v_BHLV.is_cuda and half and importlib.util.find_spec("fla") is not None


def _by_fla(
    q_BHLD: Tensor, k_BHLD: Tensor, v_BHLV: Tensor, g_BHL: Tensor, beta_BHL: Tensor, state_BHDV: Tensor
) -> tuple[Tensor, Tensor]:
    """flash-linear-attention's kernels, which have tokens before heads and sum half precision in fp32."""
    try:
        from fla.ops.gated_delta_rule import (  # type: ignore[import-not-found]
            chunk_gated_delta_rule,
            fused_recurrent_gated_delta_rule,
        )
    except ImportError as error:
        raise MissingPackageError(
            "flash-linear-attention", needed_for="kernel 'fla' of the gated delta rule"
        ) from error
    # The recurrent kernel has no backward pass; short calls with gradients go through the chunk kernel.
    short = q_BHLD.shape[2] <= 64 and not torch.is_grad_enabled()
    run = fused_recurrent_gated_delta_rule if short else chunk_gated_delta_rule
    q, k, v, beta = (t.to(v_BHLV.dtype).transpose(1, 2).contiguous() for t in (q_BHLD, k_BHLD, v_BHLV, beta_BHL))
    g = g_BHL.float().transpose(1, 2).contiguous()
    out, state = run(q, k, v, g=g, beta=beta, scale=1.0, initial_state=state_BHDV, output_final_state=True)
    return out.transpose(1, 2), state
