"""The Triton kernels under Triton's interpreter, against the fp64 oracle.

The interpreter has to be chosen before Triton is imported, so the cases run in a process of their own.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from functools import partial
from typing import Any

import pytest
import torch
from attention_block_plans import plans, tensors

from allocentric.sparse_attn import executors
from allocentric.sparse_attn.errors import ExecutorError
from allocentric.sparse_attn.executors import dense
from allocentric.sparse_attn.plan import Band, Dense, Extent, Gather, Plan

pytest.importorskip("triton", reason="triton is not installed; run: pip install triton")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
cases = pytest.mark.skipif(not INTERPRETED, reason="runs in the process that test_under_the_interpreter starts")


@pytest.mark.skipif(INTERPRETED, reason="this is that process")
@pytest.mark.slow
@pytest.mark.parametrize("which", ["not slow", "slow"])
def test_under_the_interpreter(which: str) -> None:
    command = [sys.executable, "-m", "pytest", __file__, "-m", which, "-p", "no:cacheprovider", "-o", "addopts=-q"]
    done = subprocess.run(
        [*command, "--import-mode=importlib"],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


@pytest.fixture
def poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that a kernel forgets to write holds NaN instead of whatever was there."""
    plain = torch.empty

    def poisoned(*args: object, **kwargs: object) -> torch.Tensor:
        made = plain(*args, **kwargs)
        return made.fill_(float("nan")) if made.is_floating_point() else made

    monkeypatch.setattr(torch, "empty", poisoned)


def compare(plan: Plan, *, width: int, dtype: torch.dtype, tolerance: float) -> None:
    q, k, v, g = tensors(plan, width=width, dtype=dtype)
    exact = [t.double().requires_grad_() for t in (q, k, v)]
    wanted = dense.attend(plan, *exact, scale=width**-0.5)
    gradients = torch.autograd.grad(wanted, exact, g.double())
    ours = [t.requires_grad_() for t in (q, k, v)]
    out = executors.attend(plan, *ours, scale=width**-0.5, executor="triton_block", training=True)
    found = torch.autograd.grad(out, ours, g)
    for name, a, b in zip(("output", "dq", "dk", "dv"), (out, *found), (wanted, *gradients), strict=True):
        worst = float(((a.double() - b).abs().max() / b.abs().max()).detach())
        assert worst <= tolerance, f"{name}: off by {worst:.1e} of the largest value"


QUICK = ("choice across tiles", "permuted per head")


@cases
@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in plans()]
)
def test_equals_the_oracle_with_every_gradient(name: str) -> None:
    compare(plans()[name], width=16, dtype=torch.float32, tolerance=3e-6)


@cases
@pytest.mark.slow
@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize(
    ("width", "dtype", "tolerance"),
    [
        (32, torch.float16, 3e-3),
        (64, torch.float16, 3e-3),
        (80, torch.float32, 3e-6),  # Qwen2.5-VL's vision tower
        (128, torch.float16, 3e-3),
        (256, torch.float32, 3e-6),
    ],
)
def test_head_widths_and_dtypes(width: int, dtype: torch.dtype, tolerance: float) -> None:
    compare(plans()["window of a later chunk"], width=width, dtype=dtype, tolerance=tolerance)


@cases
@pytest.mark.slow
def test_strided_inputs_and_a_gradient_that_is_a_view() -> None:
    """What a transformers layer hands over: (B, L, H, D) seen as (B, H, L, D)."""
    plan = plans()["window with sinks"]
    q, k, v, g = tensors(plan)
    views = [t.transpose(1, 2).contiguous().transpose(1, 2) for t in (q, k, v)]
    runs = []
    for tensors_of_run, gradient in (((q, k, v), g), (views, g.transpose(1, 2).contiguous().transpose(1, 2))):
        leaves = [t.detach().requires_grad_() for t in tensors_of_run]
        out = executors.attend(plan, *leaves, scale=0.25, executor="triton_block", training=True)
        runs.append([out, *torch.autograd.grad(out, leaves, gradient)])
    for ours, wanted in zip(*runs, strict=True):
        assert torch.equal(ours, wanted)


HOPPER = {
    "window with sinks": (128, torch.bfloat16),
    "chosen by every query": (64, torch.float16),
    "permuted per head": (80, torch.bfloat16),
    "window with a rule": (256, torch.bfloat16),
    "dense": (32, torch.float32),
}


@pytest.mark.skipif(INTERPRETED, reason="the interpreter tunes nothing")
def test_what_is_tried_on_a_gpu_fits_the_blocks() -> None:
    from allocentric.sparse_attn.executors import _triton_kernels as kernels
    from allocentric.sparse_attn.executors._triton_tiles import tuned

    for kernel in (kernels.forward_kernel, kernels.dq_kernel, kernels.dkv_kernel):
        tuner = tuned(kernel)
        assert set(tuner.keys) <= set(kernel.arg_names)
        for width, q_block, k_block in ((16, 128, 128), (128, 8, 2048), (256, 64, 40)):
            tuner.nargs = {}
            named = {"D": width, "Q_BLOCK": q_block, "K_BLOCK": k_block, "q": torch.zeros(1, dtype=torch.bfloat16)}
            configs = tuner.prune_configs(named)
            assert configs
            for config in configs:
                assert 16 <= config.kwargs["BLOCK_M"] <= max(16, q_block)
                assert 16 <= config.kwargs["BLOCK_N"] <= max(16, 2 * k_block)


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="compiles the kernels")
@pytest.mark.parametrize("name", HOPPER)
def test_kernels_compile_for_hopper(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Needs no GPU: to machine code, with every tile size of the table, in the shared memory that a Hopper has."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from allocentric.sparse_attn.executors import _triton_launch, _triton_tiles, triton_block

    launches: list[tuple[Any, dict[str, Any]]] = []

    class Recorder:
        def __init__(self, kernel: Any) -> None:
            self.kernel = kernel

        def __getitem__(self, grid: Any) -> Any:
            return lambda **arguments: launches.append((self.kernel, arguments))

    monkeypatch.setattr(_triton_launch, "tuned", Recorder)
    width, dtype = HOPPER[name]
    plan = plans()[name]
    q, k, v, g = tensors(plan, width=width, dtype=dtype)
    leaves = [t.requires_grad_() for t in (q, k, v)]
    prepared = triton_block.prepare(plan, q, training=True)
    triton_block.attend_prepared(prepared, plan, *leaves, scale=0.1).backward(g)
    assert [kernel.__name__ for kernel, _ in launches] == ["forward_kernel", "dq_kernel", "dkv_kernel"]
    for kernel, arguments in launches:
        entries = _triton_tiles.candidates(
            kernel.__name__, head_dim=width, q_block=arguments["Q_BLOCK"], k_block=arguments["K_BLOCK"],
            bytes_each=dtype.itemsize,
        )  # fmt: skip
        for tile_m, tile_n, warps, stages in entries:
            values = {**arguments, "BLOCK_M": tile_m, "BLOCK_N": tile_n}
            assert set(values) == set(kernel.arg_names)
            signature, constants, attributes = _signature(kernel, values)
            source = ASTSource(kernel, signature, constants, attributes)
            options = {"num_warps": warps, "num_stages": stages, "enable_fp_fusion": True}
            made = compile(source, target=GPUTarget("cuda", 90, 32), options=options)
            assert made.metadata.shared <= 227 * 1024
            assert made.asm["cubin"]
            if dtype != torch.float32:
                assert "wgmma" in made.asm["ptx"] or tile_m < 64 or "dkv" in kernel.__name__


def _signature(kernel: Any, values: dict[str, Any]) -> tuple[dict[str, str], dict[Any, Any], dict[Any, Any]]:
    """What a launch with these arguments specialises on: ones are constants, pointers and multiples of 16 aligned."""
    pointers = {
        torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.int32: "*i32",
        torch.uint8: "*u8",
    }  # fmt: skip
    signature, constants, attributes = {}, {}, {}
    for place, parameter in enumerate(kernel.params):
        value = values[parameter.name]
        aligned = isinstance(value, torch.Tensor) or (isinstance(value, int) and value % 16 == 0)
        if parameter.is_constexpr or (isinstance(value, int) and value == 1):
            signature[parameter.name] = "constexpr"
            constants[(place,)] = value
            continue
        if isinstance(value, torch.Tensor):
            signature[parameter.name] = pointers[value.dtype]
        else:
            signature[parameter.name] = "fp32" if isinstance(value, float) else "i32"
        if aligned:
            attributes[(place,)] = [["tt.divisibility", 16]]
    return signature, constants, attributes


def test_turned_lists_hold_the_same_entries() -> None:
    from allocentric.sparse_attn.executors._lists import lists_of
    from allocentric.sparse_attn.executors._triton_launch import turned

    lists = lists_of(plans()["blocks with a rule and full ones"])
    widest = lists.index_BHQN.shape[-1]
    entries, bounds = turned(lists, 3)
    for b, h in ((0, 0), (1, 1)):
        of_row, bound = entries[b, h].tolist(), bounds[b, h].tolist()
        for block in range(3):
            for full, span in (
                (True, bound[2 * block : 2 * block + 2]),
                (False, bound[2 * block + 1 : 2 * block + 3]),
            ):
                found = [divmod(entry, widest) for entry in of_row[slice(*span)]]
                wanted = [
                    (q, n)
                    for q in range(lists.num_BHQ.shape[2])
                    for n in range(int(lists.num_BHQ[b, h, q]))
                    if int(lists.index_BHQN[b, h, q, n]) == block and (n < int(lists.full_BHQ[b, h, q])) is full
                ]
                assert found == wanted


def test_bits_are_the_rule() -> None:
    from allocentric.sparse_attn.executors._triton_rules import _packed

    flags = torch.rand(3, 5, 70, generator=torch.Generator().manual_seed(0)) < 0.5
    words = _packed(flags)
    assert words.dtype == torch.int32
    assert words.shape == (3, 5, 3)
    key = torch.arange(70)
    assert torch.equal((words[..., key // 32] >> (key % 32)) & 1 == 1, flags)


def test_what_it_cannot_run_is_refused_with_one_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    e = Extent(batch=1, heads=2, q_len=64, kv_len=64, causal=True, device=torch.device("cpu"))
    q = torch.zeros(1, 2, 64, 16)
    band = Band(extent=e, window=8)
    biased = Dense(extent=e, score=lambda s, b, h, q, k: s + 1)
    gather = Gather(extent=e, index_BHLN=torch.zeros(1, 1, 64, 1, dtype=torch.int64))
    refused = partial(executors.attend, scale=1.0, executor="triton_block")
    with pytest.raises(ExecutorError, match=r"change of scores .*'dense' would"):
        refused(biased, q, q, q)
    with pytest.raises(ExecutorError, match="single keys; 'gather' would"):
        refused(gather, q, q, q)
    with pytest.raises(ExecutorError, match="not float64; 'band' would"):
        refused(band, q.double(), q.double(), q.double())
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(ExecutorError, match="bit patterns; float16 and float32 are right there; 'band' would"):
        refused(band, *[q.bfloat16()] * 3)
    wide = torch.zeros(1, 2, 64, 272)
    with pytest.raises(ExecutorError, match="256 at most, got 272; 'band' would"):
        refused(band, wide, wide, wide)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ExecutorError, match=r"need a CUDA device, got cpu .*; 'band' would"):
        refused(band, q, q, q)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExecutorError, match="pip install triton; 'band' would"):
        refused(band, q, q, q)
