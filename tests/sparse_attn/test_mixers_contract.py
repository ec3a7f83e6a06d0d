"""What every mixer must keep, run over everything in the catalog."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch
from attention_samples import DIMS, HEAD_DIM, mixed_geometry
from torch.func import functional_call

from allocentric.core.catalog import MIXERS
from allocentric.sparse_attn.contract import Mixer, MixerState
from allocentric.sparse_attn.errors import AttentionError, MissingGeometryError
from allocentric.sparse_attn.geometry import Geometry

LENGTH = mixed_geometry().length
CHUNKINGS = ([7] * 16 + [3], [31, 31, 31, 22], [1, 63, 51], [1] * 40 + [75])
TIGHT = {"rtol": 1e-9, "atol": 1e-9}


def _cases(*, quick: bool) -> list[object]:
    """Every mixer under its example, and under each of its variants, which are slow tests where not `quick`."""
    marks = () if quick else (pytest.mark.slow,)
    return [
        pytest.param(name, place, id=f"{name}-{place}", marks=marks if place else ())
        for name in MIXERS.names()
        for place in range(1 + len(getattr(MIXERS.load(name), "VARIANTS", ())))
    ]


CASES = pytest.mark.parametrize(("name", "place"), _cases(quick=False))
ALL_CASES = pytest.mark.parametrize(("name", "place"), _cases(quick=True))


@pytest.fixture(autouse=True)
def _poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that a kernel forgets to write holds NaN instead of whatever was there."""
    torch.set_num_threads(1)
    for name in ("empty", "empty_like"):
        plain = getattr(torch, name)

        def poisoned(*args: object, plain=plain, **kwargs: object) -> torch.Tensor:
            made = plain(*args, **kwargs)
            return made.fill_(float("nan")) if made.is_floating_point() else made

        monkeypatch.setattr(torch, name, poisoned)


def mixer_of(name: str, place: int) -> Mixer:
    """The mixer, every parameter moved from its initial value so that zero-initialised gates let something through."""
    module = MIXERS.load(name)
    torch.manual_seed(0)
    mixer: Mixer = module.build([module.EXAMPLE, *getattr(module, "VARIANTS", ())][place], DIMS).double()
    assert mixer.name == name
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return mixer


def inputs(
    mixer: Mixer, batch: int = 2, length: int = LENGTH, seed: int = 1
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor], Geometry]:
    """Tokens, a rotary embedding of their positions, and where they lie."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, length, DIMS.width, generator=g, dtype=torch.float64)
    angles = torch.arange(length)[:, None] * 0.5 ** torch.arange(HEAD_DIM // 2, dtype=torch.float64)
    angles = torch.cat([angles, angles], dim=-1).expand(batch, -1, -1)
    return x, (angles.cos(), angles.sin()), mixed_geometry(batch)[:length]


def fresh(mixer: Mixer, batch: int = 2, dtype: torch.dtype = torch.float64) -> MixerState:
    return mixer.initial_state(batch, device="cpu", dtype=dtype)


def run(
    mixer: Mixer, data: tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor], Geometry],
    span: slice = slice(None), state: MixerState | None = None,
) -> torch.Tensor:  # fmt: skip
    x, (cos, sin), geometry = data
    y: torch.Tensor = mixer(x[:, span], rope=(cos[:, span], sin[:, span]), geometry=geometry[span], state=state)
    return y


def streamed(
    mixer: Mixer, data: tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor], Geometry],
    sizes: Sequence[int], state: MixerState, start: int = 0,
) -> torch.Tensor:  # fmt: skip
    parts = []
    for size in sizes:
        parts.append(run(mixer, data, slice(start, start + size), state))
        start += size
    return torch.cat(parts, dim=1)


def rows_of(
    data: tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor], Geometry], rows: list[int]
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor], Geometry]:
    x, (cos, sin), geometry = data
    return x[rows], (cos[rows], sin[rows]), geometry.rows(rows)


def assert_states_agree(found: MixerState, wanted: MixerState) -> None:
    assert found.seen == wanted.seen
    assert found.tensors.keys() == wanted.tensors.keys()
    for name, tensor in wanted.tensors.items():
        torch.testing.assert_close(found.tensors[name], tensor, **TIGHT, msg=lambda m, n=name: f"state {n}: {m}")


@ALL_CASES
def test_one_call_chunks_and_steps_agree(name: str, place: int) -> None:
    mixer = mixer_of(name, place)
    if not mixer.streams:
        pytest.skip(f"{name} waits for later tokens, and says so")
    data = inputs(mixer)
    with torch.no_grad():
        state = fresh(mixer)
        whole = run(mixer, data, state=state)
        torch.testing.assert_close(run(mixer, data), whole, **TIGHT)
        assert whole.isfinite().all()
        assert whole.abs().mean() > 1e-3, "the example gives nothing to compare"
        for sizes in CHUNKINGS:
            other = fresh(mixer)
            found = streamed(mixer, data, sizes, other)
            torch.testing.assert_close(found, whole, **TIGHT, msg=lambda m, s=sizes: f"chunks {s[:3]}: {m}")
            assert_states_agree(other, state)


@CASES
@pytest.mark.slow
def test_every_token_alone_agrees(name: str, place: int) -> None:
    mixer = mixer_of(name, place)
    data = inputs(mixer)
    with torch.no_grad():
        state, other = fresh(mixer), fresh(mixer)
        torch.testing.assert_close(streamed(mixer, data, [1] * LENGTH, other), run(mixer, data, state=state), **TIGHT)
        assert_states_agree(other, state)


@CASES
def test_gradients_through_a_state_are_those_of_one_call(name: str, place: int) -> None:
    mixer = mixer_of(name, place)
    if not mixer.streams:
        pytest.skip(f"{name} waits for later tokens, and says so")
    x, rope, geometry = inputs(mixer)
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=x.dtype)
    found = []
    for sizes in ([LENGTH], [31, 31, 31, 22]):
        x_leaf = x.clone().requires_grad_()
        y = streamed(mixer, (x_leaf, rope, geometry), sizes, fresh(mixer))
        found.append(torch.autograd.grad((y * weights).sum(), [x_leaf, *mixer.parameters()], allow_unused=True))
    names = ["x", *(label for label, _ in mixer.named_parameters())]
    for label, whole, chunked in zip(names, *found, strict=True):
        assert whole is not None, f"{label} has no gradient"
        assert whole.isfinite().all(), label
        assert whole.abs().max() > 0, f"{label}'s gradient is 0"
        torch.testing.assert_close(chunked, whole, rtol=1e-8, atol=1e-8, msg=lambda m, n=label: f"d{n}: {m}")


@CASES
@pytest.mark.slow
def test_gradcheck(name: str, place: int) -> None:
    mixer = mixer_of(name, place)
    data = inputs(mixer, batch=1, length=40)
    labels = [label for label, _ in mixer.named_parameters()]

    def of_all(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        given = dict(zip(labels, parameters, strict=True))
        y: torch.Tensor = functional_call(mixer, given, (x,), {"rope": data[1], "geometry": data[2]})
        return y

    leaves = [data[0].requires_grad_(), *(p.detach().clone().requires_grad_() for p in mixer.parameters())]
    assert torch.autograd.gradcheck(of_all, leaves, fast_mode=True)


@CASES
def test_later_tokens_change_nothing(name: str, place: int) -> None:
    mixer = mixer_of(name, place)
    data = inputs(mixer)
    cut = 70
    x = torch.cat([data[0][:, :cut], torch.randn_like(data[0][:, cut:])], dim=1)
    with torch.no_grad():
        disturbed = run(mixer, (x, *data[1:]))
        torch.testing.assert_close(disturbed[:, :cut], run(mixer, data)[:, :cut], **TIGHT)
        assert not torch.allclose(disturbed[:, cut:], run(mixer, data)[:, cut:])


@CASES
def test_batch_rows_are_independent(name: str, place: int) -> None:
    mixer = mixer_of(name, place)
    data = inputs(mixer, batch=3)
    with torch.no_grad():
        alone = run(mixer, rows_of(data, [1]))
        torch.testing.assert_close(run(mixer, data)[1:2], alone, **TIGHT)


@ALL_CASES
def test_the_state_is_as_large_as_it_says(name: str, place: int) -> None:
    mixer = mixer_of(name, place)
    data = inputs(mixer)
    sizes = []
    with torch.no_grad():
        for length in (0, 1, 40, 80, LENGTH):
            state = fresh(mixer)
            if length:
                run(mixer, data, slice(0, length), state)
            for label, tensor in state.tensors.items():
                held = tensor.untyped_storage().nbytes()
                assert held == state.nbytes()[label], f"{label} holds on to {held} bytes and says {state.nbytes()}"
            sizes.append(sum(state.nbytes().values()))
            assert mixer.cost(length).state_bytes * 2 == sizes[-1]
    if mixer.growth == "constant":
        assert len(set(sizes)) == 1
    else:
        per_token = (sizes[3] - sizes[2]) / 40
        assert per_token > 0
        assert sizes[4] == sizes[3] + per_token * (LENGTH - 80)


@CASES
def test_cost_counts_products(name: str, place: int) -> None:
    mixer = mixer_of(name, place)
    costs = [mixer.cost(length).forward_flops for length in (64, 128, 256, 512)]
    assert costs[0] >= 2 * 64 * sum(p.numel() for p in mixer.parameters() if p.ndim == 2) / 4
    steps = [after - before for before, after in itertools.pairwise(costs)]
    if mixer.growth == "constant":
        assert steps[2] == pytest.approx(2 * steps[1], rel=0.02), "the cost of a token grows with the stream"
    else:
        assert steps[2] > 2.02 * steps[1]


@CASES
def test_a_restored_snapshot_forgets_what_came_after(name: str, place: int) -> None:
    mixer = mixer_of(name, place)
    data, other = inputs(mixer), inputs(mixer, seed=5)
    with torch.no_grad():
        state = fresh(mixer)
        run(mixer, data, slice(0, 45), state)
        kept = state.snapshot()
        wanted = run(mixer, data, slice(45, 78), state)
        state.restore(kept)
        run(mixer, other, slice(45, 61), state)
        state.restore(kept)
        assert state.seen == [45, 45]
        assert torch.equal(run(mixer, data, slice(45, 78), state), wanted)


@ALL_CASES
@pytest.mark.parametrize("at", [21, 45])
def test_a_row_that_begins_anew_forgets_and_its_neighbour_does_not(name: str, place: int, at: int) -> None:
    mixer = mixer_of(name, place)
    data, other = inputs(mixer), inputs(mixer, seed=5)
    with torch.no_grad():
        state = fresh(mixer)
        run(mixer, data, slice(0, at), state)
        state.reset([0], fresh(mixer, 1))
        assert state.seen == [0, at]
        first, second = rows_of(other, [0]), rows_of(data, [1])
        alone = [fresh(mixer, 1), fresh(mixer, 1)]
        run(mixer, second, slice(0, at), alone[1])
        start = 0
        for size in (5, 1, 26):
            x = torch.cat([first[0][:, start : start + size], second[0][:, at + start : at + start + size]])
            spans = slice(start, start + size), slice(at + start, at + start + size)
            rope = tuple(torch.cat([a[:, spans[0]], b[:, spans[1]]]) for a, b in zip(first[1], second[1], strict=True))
            where = _joined(first[2][spans[0]], second[2][spans[1]])
            y = mixer(x, rope=rope, geometry=where, state=state)
            wanted = [run(mixer, d, s, a) for d, s, a in zip((first, second), spans, alone, strict=True)]
            torch.testing.assert_close(y, torch.cat(wanted), **TIGHT)
            start += size
        for row in range(2):
            assert_states_agree(state.take([row]), alone[row])


def _joined(first: Geometry, second: Geometry) -> Geometry:
    from dataclasses import fields

    parts = {
        f.name: torch.cat([getattr(first, f.name), getattr(second, f.name)])
        for f in fields(Geometry) if isinstance(getattr(first, f.name), torch.Tensor)
    }  # fmt: skip
    rest = {f.name: getattr(first, f.name) for f in fields(Geometry) if f.name not in (*parts, "clips")}
    return Geometry(**parts, **rest, clips=first.clips + second.clips)


@CASES
def test_rows_are_picked_and_repeated(name: str, place: int) -> None:
    mixer = mixer_of(name, place)
    data = inputs(mixer)
    with torch.no_grad():
        state = fresh(mixer)
        run(mixer, data, slice(0, 45), state)
        state.reorder(torch.tensor([1, 0, 1]))
        found = run(mixer, rows_of(data, [1, 0, 1]), slice(45, LENGTH), state)
        torch.testing.assert_close(found, run(mixer, data)[[1, 0, 1], 45:], **TIGHT)


@CASES
def test_detach_cuts_the_graph(name: str, place: int) -> None:
    mixer = mixer_of(name, place)
    x, rope, geometry = inputs(mixer)
    first, second = x[:, :45].clone().requires_grad_(), x[:, 45:80].clone().requires_grad_()
    state = fresh(mixer)
    data = (torch.cat([first, second], dim=1), rope, geometry)
    run(mixer, data, slice(0, 45), state)
    kept = state.take([0, 1])
    state.detach()
    assert not any(tensor.requires_grad for tensor in state.tensors.values())
    cut = torch.autograd.grad(
        run(mixer, data, slice(45, 80), state).sum(), [first, second], allow_unused=True, materialize_grads=True
    )
    assert cut[0].abs().max() == 0
    assert cut[1].abs().max() > 0
    through = torch.autograd.grad(run(mixer, data, slice(45, 80), kept).sum(), [first])
    assert through[0].abs().max() > 0


@CASES
@pytest.mark.slow
def test_half_precision_stays_near(name: str, place: int) -> None:
    mixer = mixer_of(name, place)
    x, rope, geometry = inputs(mixer)
    with torch.no_grad():
        wanted = run(mixer, (x, rope, geometry))
        half = mixer.to(torch.bfloat16)
        state = fresh(half, dtype=torch.bfloat16)
        before = {label: tensor.dtype for label, tensor in state.tensors.items()}
        data = (x.to(torch.bfloat16), (rope[0].to(torch.bfloat16), rope[1].to(torch.bfloat16)), geometry)
        found = streamed(half, data, [64, 1, LENGTH - 65], state)
    assert found.dtype == torch.bfloat16
    assert {label: tensor.dtype for label, tensor in state.tensors.items()} == before
    assert (found.double() - wanted).norm() < 0.1 * wanted.norm()


@CASES
def test_what_a_mixer_cannot_serve_is_refused(name: str, place: int) -> None:
    mixer = mixer_of(name, place)
    data = inputs(mixer)
    with pytest.raises(AttentionError, match=r"2 rows and a state of 3.*reorder"):
        run(mixer, data, state=fresh(mixer, 3))
    if mixer.needs_geometry:
        with pytest.raises(MissingGeometryError, match=name):
            mixer(data[0], rope=data[1])
