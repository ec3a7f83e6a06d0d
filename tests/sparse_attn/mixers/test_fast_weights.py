"""Fast weights against published outputs, autograd, singular values and bfloat16 arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from allocentric.eval.checks.attention import check
from allocentric.sparse_attn.mixers import _fast_weights as fast
from allocentric.sparse_attn.mixers._fast_weights import Lesson, Matrices

ROWS, CHUNK, WIDTH, HIDDEN = 2, 7, 6, 9


def matrices(hidden: int = HIDDEN, seed: int = 0) -> Matrices:
    g = torch.Generator().manual_seed(seed)
    shapes = [(ROWS, hidden, WIDTH), (ROWS, WIDTH, hidden), (ROWS, hidden, WIDTH)]
    return Matrices(*(torch.randn(shape, generator=g, dtype=torch.double) / 2 for shape in shapes))


def lesson(seed: int = 1) -> Lesson:
    g = torch.Generator().manual_seed(seed)
    k, v = (torch.randn(ROWS, CHUNK, WIDTH, generator=g, dtype=torch.double) for _ in range(2))
    rates, momentum = (torch.rand(ROWS, CHUNK, n, generator=g, dtype=torch.double) for n in (3, 1))
    return Lesson(k, v, rates, momentum[..., 0])


def test_published_outputs_in_all_eight_variants(shared_data: Path) -> None:
    """Spatial-TTT's own outputs: with and without Muon, momentum and master copy."""
    found = check(shared_data / "attention").as_json["spatial_ttt_fast_weights.npz"]
    assert (found["n"], found["agree"]) == (8, 8)
    assert found["max_relative_error"] < 1e-3


def test_a_step_is_the_gradient_of_the_inner_product_token_by_token() -> None:
    w, taught = matrices(), lesson()
    found = fast.gradient(w, taught)
    wanted = [torch.zeros_like(m) for m in w]
    for row in range(ROWS):
        for token in range(CHUNK):
            leaves = [m[row].clone().requires_grad_() for m in w]
            k, v = taught.k_NCD[row, token], taught.v_NCD[row, token]
            gate = leaves[0] @ k
            score = (leaves[1] @ (gate / (1 + torch.exp(-gate)) * (leaves[2] @ k))) @ v
            for n, d in enumerate(torch.autograd.grad(score, leaves)):
                wanted[n][row] += taught.rates_NC3[row, token, n] * d
    for name, ours, right in zip(("w0", "w1", "w2"), found, wanted, strict=True):
        torch.testing.assert_close(ours, right, msg=lambda m, n=name: f"d{n}: {m}")


@pytest.mark.parametrize("hidden", [4, 6, 9])
def test_orthogonalising_acts_on_singular_values_alone(hidden: int) -> None:
    step = matrices(hidden)
    for ours, given in zip(fast.orthogonal(step, half=False), step, strict=True):
        u, s, vt = torch.linalg.svd(given, full_matrices=False)
        s = s / (given.norm(dim=(1, 2))[:, None] + 1e-7)
        for a, b, c in fast.NEWTON_SCHULZ:
            s = a * s + b * s**3 + c * s**5
        torch.testing.assert_close(ours, u @ torch.diag_embed(s) @ vt)
        assert ((s > 0.5) & (s < 1.5)).all(), "not near 1"


def test_rounded_products_are_those_of_bfloat16() -> None:
    """The products of bfloat16 matrices, summed in single precision and rounded, bit for bit."""
    step = Matrices(*(m.float() for m in matrices(hidden=WIDTH)))
    found = fast.orthogonal(step, half=True)
    for ours, given in zip(found, step, strict=True):
        x = given.bfloat16()
        x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
        for a, b, c in fast.NEWTON_SCHULZ:
            gram = x @ x.transpose(1, 2)
            x = a * x + (b * gram + c * gram @ gram) @ x
        assert torch.equal(ours, x.float())


def by_hand(w: Matrices, chunks: list[Lesson], *, prenorm: bool) -> list[Tensor]:
    """Section 3 of the paper with Muon off, matrix by matrix."""
    read, master = list(w), list(w)
    last: list[Tensor | float] = [0.0, 0.0, 0.0]
    for taught in chunks:
        assert taught.momentum_NC is not None
        for n, d in enumerate(fast.gradient(Matrices(*read), taught)):
            last[n] = d + taught.momentum_NC.mean(1)[:, None, None] * last[n]
        for n in range(3):
            master[n] = (master if prenorm else read)[n] + last[n]
        for n in range(3):
            read[n] = torch.stack([
                torch.stack([row / (row.norm() + 1e-5) * begun.norm() for row, begun in zip(m, b, strict=True)])
                for m, b in zip(master[n], w[n], strict=True)
            ])  # fmt: skip
    return read


@pytest.mark.parametrize("prenorm", [False, True])
def test_rows_return_to_their_norms_and_the_master_copy_does_not(prenorm: bool) -> None:
    w, chunks = matrices(), [lesson(seed) for seed in range(3)]
    weights = fast.fresh(w, momentum=True, prenorm=prenorm)
    for taught in chunks:
        weights = fast.learn(weights, taught, w.row_norms(), muon="off")
    for ours, right in zip(weights.read, by_hand(w, chunks, prenorm=prenorm), strict=True):
        torch.testing.assert_close(ours, right)
    for norm, begun in zip(weights.read.row_norms(), w.row_norms(), strict=True):
        torch.testing.assert_close(norm, begun, rtol=1e-4, atol=0)
    assert (weights.master is not None) == prenorm
    if weights.master is not None:
        grown = weights.master.row_norms().w0_NHD / w.row_norms().w0_NHD
        assert (grown - 1).abs().max() > 0.1


def test_pieces_cut_where_chunks_end() -> None:
    assert list(fast.pieces(10, 4, 0)) == [(0, 4, True), (4, 8, True), (8, 10, False)]
    assert list(fast.pieces(5, 4, 3)) == [(0, 1, True), (1, 5, True)]
    assert list(fast.pieces(2, 4, 1)) == [(0, 2, False)]


def test_gradients_reach_everything_that_was_learned_from() -> None:
    g = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn(ROWS, 11, WIDTH, generator=g, dtype=torch.double) for _ in range(3))
    rates, momentum = torch.rand(ROWS, 11, 3, generator=g).double(), torch.rand(ROWS, 11, generator=g).double()

    def run(*given: Tensor) -> Tensor:
        w, (q, k, v, rates, momentum) = Matrices(*given[:3]), given[3:]
        return fast.block_causal(w, q, k, v, rates, momentum, chunk=4, muon="full", prenorm=True)

    leaves = [t.clone().requires_grad_() for t in (*matrices(hidden=4), q, k, v, rates, momentum)]
    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)


def test_counts_of_products() -> None:
    """18 D H per token as LaCT says, and 30 d^3 for a square matrix orthogonalised."""
    per_chunk = fast.read_flops(64, 8, 16) + fast.learn_flops(64, 8, 16, muon="off")
    assert per_chunk == 18 * 8 * 16 * 64
    assert fast.learn_flops(64, 8, 8, muon="full") - fast.learn_flops(64, 8, 8, muon="off") == 3 * 30 * 8**3
