"""Rows of methods, and of dense attention that they are held against.

Shapes: B batch, H query heads, K key-value heads, L queries, S keys, D head width.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from allocentric.core.catalog import METHODS
from allocentric.sparse_attn import executors
from allocentric.sparse_attn.attend import attend
from allocentric.sparse_attn.bench import inputs
from allocentric.sparse_attn.bench.job import DTYPES, Job
from allocentric.sparse_attn.bench.quality import judge, probe_rows
from allocentric.sparse_attn.bench.timing import measure, peak_bytes
from allocentric.sparse_attn.contract import Call, Selector
from allocentric.sparse_attn.errors import AttentionError
from allocentric.sparse_attn.plan import Extent, Plan

_BACKWARD = 2.5
"""Products of the backward pass per product of the forward: five against two (FlashAttention-2, section 4.1)."""

Row = dict[str, Any]


def dense_row(job: Job, length: int, dtype: str, causal: bool) -> Row:
    """PyTorch's fastest dense kernel on the device."""
    device = torch.device(job.device)
    q, k, v = inputs.tensors(job, length, dtype)
    best: tuple[float, str, Callable[..., Tensor]] | None = None
    compiled_s = 0.0
    options: dict[str, Any] = {
        "is_causal": causal, "scale": job.head_dim**-0.5, "enable_gqa": job.heads != job.kv_heads,
    }  # fmt: skip
    for name, kernel in _dense_kernels(device).items():
        call = partial(kernel, q, k, v, **options)
        try:
            with torch.no_grad():
                timing = measure(call, device=device, repeats=job.repeats)
        except RuntimeError:  # this kernel doesn't take the shape or the dtype
            continue
        if best is None or timing.median_s < best[0]:
            best, compiled_s = (timing.median_s, name, kernel), timing.compile_s
    if best is None:
        raise AttentionError(f"no dense kernel of PyTorch runs {dtype} at head width {job.head_dim} on {job.device}")
    forward_s, name, kernel = best
    run = partial(kernel, **options)
    extent = _extent(job, length, length, causal)
    row = _row(job, "dense", "dense", length, dtype, causal) | {
        "executor": name, "density": 1.0, "select_ms": 0.0, "build_ms": 0.0, "compile_ms": 1e3 * compiled_s,
        "forward_ms": 1e3 * forward_s, "total_ms": 1e3 * forward_s,
        "state_bytes": _cache_bytes(job, length, dtype),
    }  # fmt: skip
    if job.backward:
        row["both_ms"] = 1e3 * _both_s(job, run, q, k, v)
    return row | _speeds(row, job.batch * job.heads * extent.pairs * job.head_dim)


def _dense_kernels(device: torch.device) -> dict[str, Callable[..., Tensor]]:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention

    if device.type != "cuda":
        return {"sdpa": scaled_dot_product_attention}

    def only(backend: SDPBackend) -> Callable[..., Tensor]:
        def run(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
            with sdpa_kernel(backend):
                return scaled_dot_product_attention(q, k, v, **options)

        return run

    backends = {
        "cudnn": SDPBackend.CUDNN_ATTENTION,
        "flash": SDPBackend.FLASH_ATTENTION,
        "efficient": SDPBackend.EFFICIENT_ATTENTION,
    }
    return {f"sdpa {name}": only(backend) for name, backend in backends.items()}


def method_row(job: Job, name: str, length: int, dtype: str, dense: Row) -> Row:
    """One method at one length; where it can't run, the reason instead of figures."""
    method = _method(job, name)
    causal = bool(dense["causal"])
    row = _row(job, "method", name, length, dtype, causal)
    try:
        return row | _measured(job, method, length, dtype, dense)
    except (AttentionError, torch.OutOfMemoryError) as error:
        return row | {"refused": str(error).splitlines()[0]}


def causal_of(job: Job, name: str) -> bool:
    """Whether a method is measured causally."""
    method = METHODS.load(name)
    module: Selector = method.build(job.method_settings_of(name), job.dims)
    return module.causal if job.causal is None else job.causal


def _measured(job: Job, method: Selector, length: int, dtype: str, dense: Row) -> Row:
    device = torch.device(job.device)
    q, k, v = inputs.tensors(job, length, dtype)
    scale = job.head_dim**-0.5
    call = Call(extent=_extent(job, length, length, bool(dense["causal"])), scale=scale,
                geometry=inputs.geometry(job, length))  # fmt: skip
    method.check(call)
    with torch.no_grad():
        choosing = measure(partial(method.plan, q, k, v, call), device=device, repeats=job.repeats)
        plan = method.plan(q, k, v, call)
        module = executors.choose(plan, q, training=False, wanted=job.executor)
        build_s, run = _runner(job, module, plan, q, training=False)
        running = measure(partial(run, q, k, v), device=device, repeats=job.repeats)
        held = peak_bytes(partial(run, q, k, v), device=device)
        quality = judge(plan, q, k, v, run(q, k, v), probe_rows(length, job.probes), scale=scale)
    kept = plan.kept_pairs()
    total_s = choosing.median_s + build_s + running.median_s
    row: Row = {
        "executor": module.__name__.rpartition(".")[2],
        "plan": type(plan).__name__,
        "density": kept / (job.batch * job.heads * call.extent.pairs),
        "select_ms": 1e3 * choosing.median_s,
        "build_ms": 1e3 * build_s,
        "forward_ms": 1e3 * running.median_s,
        "total_ms": 1e3 * total_s,
        "compile_ms": 1e3 * (choosing.compile_s + running.compile_s),
        "peak_bytes": held,
        "max_error": quality.max_error,
        "mean_error": quality.mean_error,
        "recall": quality.recall,
        "state_bytes": _cache_bytes(job, length, dtype),
        "speedup": dense["total_ms"] / (1e3 * total_s),
    }
    if job.backward:
        row |= _backward(job, plan, q, k, v, choosing.median_s, dense)
    if job.stream and method.streams and call.extent.causal:
        row |= _streaming(job, method, q, k, v, call)
    return row | _speeds(row, kept * job.head_dim)


def _runner(
    job: Job, module: ModuleType, plan: Plan, q: Tensor, *, training: bool
) -> tuple[float, Callable[..., Tensor]]:
    """Seconds that an executor needs to read the plan, and the rest of it as a function of queries, keys, values."""
    scale = job.head_dim**-0.5
    if not hasattr(module, "prepare"):
        return 0.0, partial(module.attend, plan, scale=scale)
    read = partial(module.prepare, plan, q, training=training)
    build_s = measure(read, device=torch.device(job.device), repeats=job.repeats).median_s
    return build_s, partial(module.attend_prepared, read(), plan, scale=scale)


def _backward(job: Job, plan: Plan, q: Tensor, k: Tensor, v: Tensor, select_s: float, dense: Row) -> Row:
    """Forward and backward, selection and mask building included, by the executor that can do both."""
    module = executors.choose(plan, q, training=True, wanted=job.executor)
    build_s, run = _runner(job, module, plan, q, training=True)
    both_s = _both_s(job, run, q, k, v) + select_s + build_s
    found: Row = {"both_ms": 1e3 * both_s, "both_executor": module.__name__.rpartition(".")[2]}
    return found | ({"both_speedup": dense["both_ms"] / (1e3 * both_s)} if "both_ms" in dense else {})


def _both_s(job: Job, run: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor) -> float:
    leaves = [t.detach().clone().requires_grad_() for t in (q, k, v)]
    g = torch.randn_like(q)

    def both() -> None:
        torch.autograd.grad(run(*leaves), leaves, g)

    return measure(both, device=torch.device(job.device), repeats=job.repeats).median_s


def _streaming(job: Job, method: Selector, q: Tensor, k: Tensor, v: Tensor, call: Call) -> Row:
    """Single steps with a cache of `length` keys."""

    def step() -> Tensor:
        return attend(
            method, q[:, :, -1:], k, v, causal=True, scale=call.scale, geometry=call.geometry, executor=job.executor
        )

    with torch.no_grad():
        return step_figures(job, step)


def step_figures(job: Job, step: Callable[[], object]) -> Row:
    """Tokens a second and percentiles of single steps."""
    times = sorted(measure(step, device=torch.device(job.device), repeats=job.stream).times_s)
    return {
        "tokens_per_s": job.batch / statistics.fmean(times),
        "step_p50_ms": 1e3 * statistics.median(times),
        "step_p95_ms": 1e3 * times[min(len(times) - 1, -(-95 * len(times) // 100) - 1)],
    }


def _speeds(row: Row, pairs_by_width: int) -> Row:
    """Useful TFLOP/s: two products of two operations for every kept pair, and the backward's."""
    flops = 4 * pairs_by_width
    found = {"tflops": flops / row["forward_ms"] / 1e9}
    if "both_ms" in row:
        found["both_tflops"] = (1 + _BACKWARD) * flops / row["both_ms"] / 1e9
    return found


def _method(job: Job, name: str) -> Selector:
    torch.manual_seed(job.seed)
    method: Selector = METHODS.load(name).build(job.method_settings_of(name), job.dims)
    return method.to(job.device).eval()


def _extent(job: Job, q_len: int, kv_len: int, causal: bool) -> Extent:
    return Extent(
        batch=job.batch, heads=job.heads, q_len=q_len, kv_len=kv_len, causal=causal, device=torch.device(job.device)
    )


def _cache_bytes(job: Job, length: int, dtype: str) -> int:
    return 2 * job.batch * job.kv_heads * length * job.head_dim * DTYPES[dtype].itemsize


def _row(job: Job, kind: str, name: str, length: int, dtype: str, causal: bool) -> Row:
    return {"kind": kind, "name": name, "length": length, "dtype": dtype, "device": job.device, "causal": causal}
