"""Rows of mixers: the whole layer with its projections, its state's bytes against length, and single steps.

Shapes: B batch, L tokens, E model width, R rotated width.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from allocentric.core.catalog import MIXERS
from allocentric.core.errors import MissingPackageError
from allocentric.sparse_attn.bench import inputs
from allocentric.sparse_attn.bench.job import DTYPES, Job
from allocentric.sparse_attn.bench.methods import Row, step_figures
from allocentric.sparse_attn.bench.timing import measure, peak_bytes
from allocentric.sparse_attn.contract import Mixer
from allocentric.sparse_attn.errors import AttentionError
from allocentric.sparse_attn.geometry import Geometry


def mixer_row(job: Job, name: str, length: int, dtype: str, dense: Row) -> Row:
    """One mixer at one length; where it can't run, the reason instead of figures."""
    row: Row = {
        "kind": "mixer", "name": name, "length": length, "dtype": dtype, "device": job.device, "causal": True,
    }  # fmt: skip
    try:
        return row | _measured(job, name, length, dtype, dense)
    except (AttentionError, MissingPackageError, torch.OutOfMemoryError) as error:
        return row | {"refused": str(error).splitlines()[0]}


def _measured(job: Job, name: str, length: int, dtype: str, dense: Row) -> Row:
    device = torch.device(job.device)
    torch.manual_seed(job.seed)
    mixer: Mixer = MIXERS.load(name).build(job.mixer_settings_of(name), job.dims)
    mixer = mixer.to(device, DTYPES[dtype]).eval()
    x = torch.randn(job.batch, length, job.dims.width, generator=torch.Generator().manual_seed(job.seed))
    x = x.to(device, DTYPES[dtype])
    rope, geometry = _rope(job, length, x), inputs.geometry(job, length)
    run = partial(mixer, x, rope=rope, geometry=geometry)
    with torch.no_grad():
        running = measure(run, device=device, repeats=job.repeats)
        held = peak_bytes(run, device=device)
        state = mixer.initial_state(job.batch, device=device, dtype=x.dtype)
        mixer(x, rope=rope, geometry=geometry, state=state)
    flops = mixer.cost(length).forward_flops * job.batch
    parts = state.nbytes()
    row: Row = {
        "executor": "mixer", "density": None, "forward_ms": 1e3 * running.median_s,
        "total_ms": 1e3 * running.median_s, "compile_ms": 1e3 * running.compile_s, "peak_bytes": held,
        "state_bytes": sum(parts.values()), "state": parts, "growth": mixer.growth,
        "tflops": flops / running.median_s / 1e12, "speedup": dense["total_ms"] / (1e3 * running.median_s),
    }  # fmt: skip
    if job.backward:
        both_s = _both_s(job, mixer, x, rope, geometry)
        row |= {"both_ms": 1e3 * both_s, "both_speedup": dense["both_ms"] / (1e3 * both_s)}
    if job.stream and mixer.streams:
        row |= _streaming(job, mixer, x, rope, geometry)
    return row


def _both_s(job: Job, mixer: Mixer, x: Tensor, rope: tuple[Tensor, Tensor], geometry: Geometry) -> float:
    leaf = x.clone().requires_grad_()
    weights = [p for p in mixer.parameters() if p.requires_grad]
    g = torch.randn_like(x)

    def both() -> None:
        torch.autograd.grad(mixer(leaf, rope=rope, geometry=geometry), [leaf, *weights], g, allow_unused=True)

    return measure(both, device=torch.device(job.device), repeats=job.repeats).median_s


def _streaming(job: Job, mixer: Mixer, x: Tensor, rope: tuple[Tensor, Tensor], geometry: Geometry) -> Row:
    """Single steps after the whole sequence but its last tokens, which are the steps."""
    steps = min(job.stream + 1, x.shape[1] - 1)
    start = x.shape[1] - steps
    state = mixer.initial_state(job.batch, device=x.device, dtype=x.dtype)
    tokens = iter(range(start, x.shape[1]))

    def step() -> Tensor:
        span = slice(at := next(tokens), at + 1)
        turn = rope[0][:, span], rope[1][:, span]
        return mixer(x[:, span], rope=turn, geometry=geometry[span], state=state)  # type: ignore[no-any-return]

    with torch.no_grad():
        before = rope[0][:, :start], rope[1][:, :start]
        mixer(x[:, :start], rope=before, geometry=geometry[:start], state=state)
        return step_figures(job.model_copy(update={"stream": steps - 1}), step)


def _rope(job: Job, length: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """Cos and sin of plain rotary positions with base 10000."""
    half = torch.arange(0, job.head_dim, 2, device=x.device).float() / job.head_dim
    angle = torch.arange(length, device=x.device).float()[:, None] * 10000.0**-half
    both = torch.cat([angle, angle], dim=-1)[None]
    return both.cos().to(x.dtype), both.sin().to(x.dtype)
