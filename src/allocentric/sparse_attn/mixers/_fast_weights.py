"""A small network that learns at test time: SwiGLU fast weights, updated once per chunk of tokens.

    f_W(x) = W1 (SiLU(W0 x) * W2 x)

A chunk is read with the weights that earlier chunks left, then its keys and values change them by one step against
-<f_W(k), v>, with momentum, orthogonalised (Muon), and with every row brought back to the norm it began with.
Large-chunk test-time training (LaCT), arXiv 2505.23884, as Spatial-TTT has it, arXiv 2603.12255
(THU-SI/Spatial-TTT@4d6720e, `models/ttt_operation.py`).

Shapes: N batch rows x fast heads, L tokens, C tokens of a chunk, D width of a fast head, H hidden width of its
network, M = 3 N matrices, R the shorter side of a matrix and S the longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import silu

NEWTON_SCHULZ = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
"""Coefficients of X <- a X + (b A + c A A) X with A = X X^T, step by step; modded-nanogpt's, used by LaCT."""


Muon: TypeAlias = Literal["off", "bf16", "full"]
"""Orthogonalise steps: not at all, in bfloat16 as published, or in the weights' own precision."""


class Matrices(NamedTuple):
    """One tensor for each matrix of the network: the matrices themselves, steps, momentum, norms of rows."""

    w0_NHD: Tensor
    """Into the gate."""
    w1_NDH: Tensor
    """Back out."""
    w2_NHD: Tensor
    """Into the product."""

    def row_norms(self) -> Matrices:
        """L2 norms of rows, (N, H, 1), (N, D, 1), (N, H, 1)."""
        return Matrices(*(w.norm(dim=2, keepdim=True) for w in self))


class Weights(NamedTuple):
    """What a stream has written so far."""

    read: Matrices
    """What tokens are read with."""
    master: Matrices | None = None
    """Sum of all steps, rows at any norm, from which `read` is made. None: steps go to `read` itself ("postnorm")."""
    momentum: Matrices | None = None
    """Last step before orthogonalisation; None: no momentum."""


class Lesson(NamedTuple):
    """What a chunk is learned from."""

    k_NCD: Tensor
    v_NCD: Tensor
    rates_NC3: Tensor
    """Learning rates of every token for w0, w1, w2."""
    momentum_NC: Tensor | None
    """Share of the last step that stays, in (0, 1), per token; its mean over the chunk counts."""


def fresh(initial: Matrices, *, momentum: bool, prenorm: bool) -> Weights:
    """Before the first chunk."""
    still = Matrices(*(torch.zeros_like(w) for w in initial)) if momentum else None
    return Weights(read=initial, master=initial if prenorm else None, momentum=still)


def read(w: Matrices, q_NLD: Tensor) -> Tensor:
    """f_W of every token, (N, L, D)."""
    q_NDL = q_NLD.to(computing_dtype(q_NLD)).transpose(1, 2)
    gate_NHL, up_NHL = (_stacked(w, q_NDL.dtype) @ q_NDL).chunk(2, dim=1)
    return (w.w1_NDH.to(q_NDL.dtype) @ (silu(gate_NHL) * up_NHL)).transpose(1, 2)


def gradient(w: Matrices, lesson: Lesson) -> Matrices:
    """Sum over the chunk of rate times minus the gradient of -<f_W(k), v>."""
    dtype = computing_dtype(lesson.k_NCD)
    k_NCD, v_NCD, rates_NC3 = (t.to(dtype) for t in lesson[:3])
    gate_NHC, up_NHC = (_stacked(w, dtype) @ k_NCD.transpose(1, 2)).chunk(2, dim=1)
    sigmoid_NHC = torch.sigmoid(gate_NHC)
    silu_NHC = gate_NHC * sigmoid_NHC
    d_hidden_NHC = w.w1_NDH.to(dtype).transpose(1, 2) @ v_NCD.transpose(1, 2)
    # SiLU'(g) = sigmoid (1 + g (1 - sigmoid)) = sigmoid + SiLU(g) (1 - sigmoid)
    slope_NHC = torch.addcmul(sigmoid_NHC, silu_NHC, 1 - sigmoid_NHC)
    rate0, rate1, rate2 = rates_NC3.transpose(1, 2).split(1, dim=1)
    return Matrices(
        (d_hidden_NHC * up_NHC * slope_NHC * rate0) @ k_NCD,
        ((silu_NHC * up_NHC * rate1) @ v_NCD).transpose(1, 2),
        (d_hidden_NHC * silu_NHC * rate2) @ k_NCD,
    )


def learn(weights: Weights, lesson: Lesson, norms: Matrices, *, muon: Muon) -> Weights:
    """The weights after a chunk.

    Args:
        weights: Before it.
        lesson: The chunk.
        norms: Row norms of the initial weights.
        muon: How the step is orthogonalised.
    """
    base = weights.read if weights.master is None else weights.master
    wide = base.w0_NHD.dtype
    step = Matrices(*(d.to(wide) for d in gradient(weights.read, lesson)))
    momentum = None
    if weights.momentum is not None:
        assert lesson.momentum_NC is not None
        kept_N11 = lesson.momentum_NC.to(wide).mean(dim=1)[:, None, None]
        step = momentum = Matrices(*(d + m * kept_N11 for d, m in zip(step, weights.momentum, strict=True)))
    if muon != "off":
        step = orthogonal(step, half=muon == "bf16")
    moved = Matrices(*(w + d for w, d in zip(base, step, strict=True)))
    back = Matrices(*(w / (n + 1e-5) * wanted for w, n, wanted in zip(moved, moved.row_norms(), norms, strict=True)))
    return Weights(read=back, master=None if weights.master is None else moved, momentum=momentum)


def orthogonal(step: Matrices, *, half: bool) -> Matrices:
    """Every matrix with its singular values brought near 1, by five Newton-Schulz steps.

    Small singular values are blown up by the first steps, so rounding shows: the published numbers need the published
    rounding.

    Args:
        step: Of any scale.
        half: In bfloat16, as published. CPUs without matrix units multiply bfloat16 slowly; there the same numbers are
            multiplied in single precision and the products rounded, which gives the same bits as bfloat16 would.
    """
    # The shorter side first, so that the Gram matrix is the smaller one.
    turned = [w.shape[1] > w.shape[2] for w in step]
    x_MRS = torch.cat([w.transpose(1, 2) if turn else w for w, turn in zip(step, turned, strict=True)])
    if half:
        x_MRS = x_MRS.to(torch.bfloat16) if x_MRS.is_cuda else x_MRS.float()
    x_MRS = _schulz_rounded(x_MRS) if half and not x_MRS.is_cuda else _schulz(x_MRS)
    parts = x_MRS.to(step.w0_NHD.dtype).chunk(3)
    return Matrices(*(w.transpose(1, 2) if turn else w for w, turn in zip(parts, turned, strict=True)))


def _schulz(x_MRS: Tensor) -> Tensor:
    x_MRS = x_MRS / (x_MRS.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for a, b, c in NEWTON_SCHULZ:
        gram_MRR = x_MRS @ x_MRS.transpose(1, 2)
        polynomial_MRR = torch.baddbmm(gram_MRR, gram_MRR, gram_MRR, beta=b, alpha=c)
        x_MRS = torch.baddbmm(x_MRS, polynomial_MRR, x_MRS, beta=a)
    return x_MRS


def _schulz_rounded(x_MRS: Tensor) -> Tensor:
    """Matrix by matrix, which leaves everything in a core's cache."""
    return torch.stack([_schulz_rounded_one(x_RS) for x_RS in x_MRS])


def _schulz_rounded_one(x_RS: Tensor) -> Tensor:
    half_RS = x_RS.to(torch.bfloat16)
    half_RS = half_RS / (half_RS.norm() + 1e-7)
    for a, b, c in NEWTON_SCHULZ:
        x_RS = half_RS.float()
        half_RR = (x_RS @ x_RS.t()).to(torch.bfloat16)
        square_RR = ((c * half_RR).float() @ half_RR.float()).to(torch.bfloat16)
        polynomial_RR = (b * half_RR + square_RR).float()
        half_RS = a * half_RS + (polynomial_RR @ x_RS).to(torch.bfloat16)
    rounded_RS: Tensor = half_RS.float()
    return rounded_RS


def pieces(length: int, chunk: int, pending: int) -> Iterator[tuple[int, int, bool]]:
    """How `length` tokens meet the chunks of a stream: (first, one past the last, whether a chunk ends here).

    Args:
        length: New tokens.
        chunk: C.
        pending: Tokens seen since the last chunk ended.
    """
    start = 0
    while start < length:
        stop = min(length, start + chunk - pending)
        yield start, stop, stop - start == chunk - pending
        start, pending = stop, 0


def block_causal(
    initial: Matrices,
    q_NLD: Tensor,
    k_NLD: Tensor,
    v_NLD: Tensor,
    rates_NL3: Tensor,
    momentum_NL: Tensor | None,
    *,
    chunk: int,
    muon: Muon,
    prenorm: bool,
) -> Tensor:
    """A whole sequence at once: (N, L, D), every token read with what the chunks before its own have written."""
    weights = fresh(initial, momentum=momentum_NL is not None, prenorm=prenorm)
    norms = initial.row_norms()
    outputs = []
    for start, stop, full in pieces(q_NLD.shape[1], chunk, 0):
        outputs.append(read(weights.read, q_NLD[:, start:stop]))
        if full and stop < q_NLD.shape[1]:
            kept = None if momentum_NL is None else momentum_NL[:, start:stop]
            lesson = Lesson(k_NLD[:, start:stop], v_NLD[:, start:stop], rates_NL3[:, start:stop], kept)
            weights = learn(weights, lesson, norms, muon=muon)
    return torch.cat(outputs, dim=1)


def read_flops(length: int, width: int, hidden: int) -> int:
    """Multiplications and additions of `read` per fast head."""
    return 6 * width * hidden * length


def learn_flops(chunk: int, width: int, hidden: int, *, muon: Muon) -> int:
    """Multiplications and additions of the matrix products of `learn` per fast head and chunk."""
    small, large = sorted((width, hidden))
    schulz = 3 * len(NEWTON_SCHULZ) * (4 * small * small * large + 2 * small**3)
    return 12 * width * hidden * chunk + (0 if muon == "off" else schulz)


def computing_dtype(x: Tensor) -> torch.dtype:
    """Of the large products: half precision is slower than single on CPUs without matrix units, and less exact."""
    return x.dtype if x.is_cuda else torch.promote_types(x.dtype, torch.float32)


def _stacked(w: Matrices, dtype: torch.dtype) -> Tensor:
    """(N, 2 H, D): W0 above W2, one product for both."""
    return torch.cat([w.w0_NHD, w.w2_NHD], dim=1).to(dtype)
