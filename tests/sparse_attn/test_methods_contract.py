"""What every attention method must keep, run over everything in the catalog."""

from __future__ import annotations

import pytest
import torch
from attention_samples import DIMS, HEAD_DIM, call_of, mixed_geometry, modes, tensors, video_geometry

from allocentric.core.catalog import METHODS
from allocentric.sparse_attn import executors
from allocentric.sparse_attn.attend import attend
from allocentric.sparse_attn.contract import Distilled, Selector
from allocentric.sparse_attn.errors import AttentionError, MissingGeometryError
from allocentric.sparse_attn.executors import dense
from allocentric.sparse_attn.geometry import Geometry

NAMES = METHODS.names()
SCALE = HEAD_DIM**-0.5


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


def example(name: str) -> Selector:
    module = METHODS.load(name)
    torch.manual_seed(0)
    method: Selector = module.build(module.EXAMPLE, DIMS).double()
    assert method.name == name
    return method


def geometry_for(causal: bool, batch: int = 1) -> Geometry:
    return mixed_geometry(batch) if causal else video_geometry(batch)


@pytest.mark.parametrize("name", NAMES)
def test_executors_equal_the_oracle_with_every_gradient(name: str) -> None:
    method = example(name)
    for causal in modes(method):
        geometry = geometry_for(causal, 2)
        call = call_of(geometry, causal=causal)
        q, k, v = (t.requires_grad_() for t in tensors(2, geometry.length))
        plan = method.plan(q, k, v, call)
        wanted = dense.attend(plan, q, k, v, scale=SCALE)
        g = torch.randn_like(wanted)
        gradients = torch.autograd.grad(wanted, (q, k, v), g, retain_graph=True)
        names = executors.able(plan, q, training=True)
        assert names, f"{name}: nothing runs its plan"
        for executor in names:
            out = executors.attend(plan, q, k, v, scale=SCALE, executor=executor, training=True)
            torch.testing.assert_close(out, wanted, msg=lambda m, e=executor: f"{e} output: {m}")
            found = torch.autograd.grad(out, (q, k, v), g, retain_graph=True)
            for what, ours, right in zip("qkv", found, gradients, strict=True):
                torch.testing.assert_close(ours, right, msg=lambda m, e=executor, w=what: f"{e} d{w}: {m}")


@pytest.mark.parametrize("name", [name for name in NAMES if example(name).trainable])
def test_gradients_of_parameters_equal_the_oracles_and_every_parameter_learns(name: str) -> None:
    """Through the output, or through the method's own `distillation_loss` where a choice has no gradient."""
    method = example(name)
    parameters = dict(method.named_parameters())
    assert parameters, f"{name} says it is trained and has nothing to train"
    for parameter in parameters.values():
        torch.nn.init.normal_(parameter, std=0.3)
    for causal in modes(method):
        geometry = geometry_for(causal, 2)
        call = call_of(geometry, causal=causal)
        q, k, v = tensors(2, geometry.length)
        plan = method.plan(q, k, v, call)
        names = executors.able(plan, q, training=True)
        outputs = [dense.attend(plan, q, k, v, scale=SCALE)]
        outputs += [executors.attend(plan, q, k, v, scale=SCALE, executor=e, training=True) for e in names]
        assert len(outputs) > 1
        if outputs[0].requires_grad:
            g = torch.randn_like(outputs[0])
            found = [torch.autograd.grad(out, list(parameters.values()), g, retain_graph=True) for out in outputs]
            for executor, theirs in zip(names, found[1:], strict=True):
                torch.testing.assert_close(theirs, found[0], msg=lambda m, e=executor: f"{e}: {m}")
        else:
            assert isinstance(method, Distilled), f"{name}: nothing trains its parameters"
            found = [torch.autograd.grad(method.distillation_loss(q, k, call), list(parameters.values()))]
        for what, gradient in zip(parameters, found[0], strict=True):
            assert (gradient != 0).any(), f"{what} has no gradient"


@pytest.mark.parametrize("name", NAMES)
def test_density_is_the_count_of_kept_pairs(name: str) -> None:
    method = example(name)
    for causal in modes(method):
        geometry = geometry_for(causal)
        call = call_of(geometry, causal=causal)
        plan = method.plan(*tensors(1, geometry.length), call)
        mask = plan.dense_mask()
        assert plan.kept_pairs() == int(mask.sum())
        assert plan.density == int(mask.sum()) / (call.extent.heads * plan.extent.pairs)
        assert 0 < plan.density < 1, "the example prunes nothing"
        if causal:
            assert bool(mask.triu(1).any()) == method.looks_ahead, "a query sees a later key"


@pytest.mark.parametrize("name", NAMES)
def test_exhaustive_settings_are_dense_attention(name: str) -> None:
    module = METHODS.load(name)
    if module.EXHAUSTIVE is None:
        assert "no dense limit" in module.__doc__.lower(), (
            "EXHAUSTIVE = None needs its reason: '... no dense limit ...'"
        )
        return
    method = module.build(module.EXHAUSTIVE, DIMS).double()
    for causal in modes(method):
        geometry = geometry_for(causal)
        call = call_of(geometry, causal=causal)
        plan = method.plan(*tensors(1, geometry.length), call)
        assert plan.density == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_later_tokens_change_nothing_and_chunks_and_steps_equal_one_call(name: str) -> None:
    method = example(name)
    if not (method.streams and method.causal):
        pytest.skip(f"{name} looks at later tokens when it chooses, and says so")
    geometry = mixed_geometry()
    q, k, v = tensors(1, geometry.length)
    whole = attend(method, q, k, v, causal=True, scale=SCALE, geometry=geometry)
    cut = 70
    _, k2, v2 = tensors(1, geometry.length, seed=1)
    later_k, later_v = torch.cat([k[:, :, :cut], k2[:, :, cut:]], 2), torch.cat([v[:, :, :cut], v2[:, :, cut:]], 2)
    disturbed = attend(method, q, later_k, later_v, causal=True, scale=SCALE, geometry=geometry)
    torch.testing.assert_close(disturbed[:, :, :cut], whole[:, :, :cut])
    for sizes in ([40, 33, 42], [1, 63, 51], [1] * geometry.length):
        parts, start = [], 0
        for size in sizes:
            stop = start + size
            parts.append(
                attend(
                    method, q[:, :, start:stop], k[:, :, :stop], v[:, :, :stop],
                    causal=True, scale=SCALE, geometry=geometry[:stop],
                )
            )  # fmt: skip
            start = stop
        torch.testing.assert_close(torch.cat(parts, 2), whole, msg=lambda m, s=sizes: f"chunks {s[:3]}: {m}")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_and_neighbours_change_nothing(name: str, side: str) -> None:
    method = example(name)
    for causal in modes(method):
        geometry = geometry_for(causal)
        length, extra = geometry.length, 9
        q, k, v = tensors(2, length)
        alone = [
            attend(method, q[r : r + 1], k[r : r + 1], v[r : r + 1], causal=causal, scale=SCALE, geometry=geometry)
            for r in range(2)
        ]
        before, after = (extra, 0) if side == "left" else (0, extra)
        valid = torch.ones(2, length + extra, dtype=torch.bool)
        valid[0, :before] = False
        valid[0, length + before :] = False
        padded = [_padded(t, before, after) for t in (q, k, v)]
        text = Geometry.of_text(1, extra)
        places = [text.extended(geometry), geometry] if side == "left" else [geometry.extended(text), geometry]
        longer = _stacked([places[0], places[0]])
        # Row 1 is as long as the padded row: its own tokens fill the padding.
        out = attend(method, *padded, causal=causal, scale=SCALE, geometry=longer, valid_BS=valid)
        torch.testing.assert_close(out[:1, :, before : before + length], alone[0])
        assert (out[0, :, ~valid[0]] == 0).all()


def _padded(t: torch.Tensor, before: int, after: int) -> torch.Tensor:
    out = torch.full((t.shape[0], t.shape[1], before + t.shape[2] + after, t.shape[3]), float("nan"), dtype=t.dtype)
    out[:, :, before : before + t.shape[2]] = t
    out[1] = torch.nan_to_num(out[1])
    return out


def _stacked(rows: list[Geometry]) -> Geometry:
    from dataclasses import fields

    parts = {f.name: torch.cat([getattr(row, f.name) for row in rows]) for f in fields(Geometry) if f.name != "clips"}
    return Geometry(**parts, clips=sum((row.clips for row in rows), ()))


@pytest.mark.parametrize("name", NAMES)
def test_batch_rows_are_independent(name: str) -> None:
    method = example(name)
    for causal in modes(method):
        geometry = geometry_for(causal, 2)
        q, k, v = tensors(2, geometry.length)
        both = attend(method, q, k, v, causal=causal, scale=SCALE, geometry=geometry)
        alone = attend(method, q[1:], k[1:], v[1:], causal=causal, scale=SCALE, geometry=geometry.rows([1]))
        torch.testing.assert_close(both[1:], alone)


@pytest.mark.parametrize("name", NAMES)
def test_gradcheck(name: str) -> None:
    """Finite differences agree with the gradients of the output, with the choice held as it is."""
    method = example(name)
    for causal in modes(method):
        geometry = geometry_for(causal)
        q, k, v = tensors(1, geometry.length)
        plan = method.plan(q, k, v, call_of(geometry, causal=causal))
        rows = [0, 37, geometry.length - 1]

        def few(
            q_few: torch.Tensor, k_few: torch.Tensor, v_few: torch.Tensor, plan=plan, q=q, k=k, v=v, rows=rows
        ) -> torch.Tensor:
            qq, kk, vv = q.clone(), k.clone(), v.clone()
            qq[:, :, rows, :2], kk[:, :, rows, :2], vv[:, :, rows, :2] = q_few, k_few, v_few
            return executors.attend(plan, qq, kk, vv, scale=SCALE, training=True)[:, :, rows]

        inputs = [t[:, :, rows, :2].clone().requires_grad_() for t in (q, k, v)]
        assert torch.autograd.gradcheck(few, inputs, fast_mode=True)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_method_cannot_serve_is_refused(name: str) -> None:
    method = example(name)
    q, k, v = tensors(1, 32)
    if method.needs_geometry:
        with pytest.raises(MissingGeometryError, match=name):
            attend(method, q, k, v, causal=method.causal, scale=SCALE)
    if not (method.causal and method.bidirectional):
        with pytest.raises(AttentionError, match=name):
            attend(method, q, k, v, causal=not method.causal, scale=SCALE, geometry=Geometry.of_text(1, 32))
