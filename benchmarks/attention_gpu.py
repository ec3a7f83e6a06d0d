"""What sparse attention reaches on a GPU: one command for an H200 or H100, over five minutes.

    python benchmarks/attention_gpu.py [--out benchmarks/attention_gpu.md] [--json]

First every kind of plan through `triton_block` and `flex` on the device against the fp64 oracle, output and gradients:
speed of wrong kernels is worth nothing. Then, causal, bf16, D=128, H=16:

- `dense`: PyTorch's fastest dense kernel at each length, as a share of the device's peak; wanted 50 % at 16K and more.
- `window`: sliding windows. Speed-up over dense times density; wanted 0.55 forward, 0.45 forward and backward.
- `dynamic`: the best 128 x 128 blocks of every query block by pooled scores (MInference's block-sparse heads),
  selection and block lists included, likewise; wanted 0.40 forward.
- `fast_weights`: Spatial-TTT's chunk update (gradients of the fast network, momentum, Muon in bf16, renormalisation),
  as a share of peak; wanted 30 % at chunks of 2K and more.

What is measured is told on stderr as it comes. `--json` prints the figures; `wanted` says which reach what is wanted.
Times are medians, GPU time between events.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from allocentric.sparse_attn import executors
from allocentric.sparse_attn.bench import run as bench
from allocentric.sparse_attn.bench.job import DTYPES, Job
from allocentric.sparse_attn.bench.timing import measure
from allocentric.sparse_attn.executors import dense
from allocentric.sparse_attn.mixers import _fast_weights as fast
from allocentric.sparse_attn.plan import Band, BlockChoice, Dense, Extent, Plan, blocks_of_map

WANTED = {"dense": 0.50, "window": 0.55, "window_both": 0.45, "dynamic": 0.40, "fast_weights": 0.30}
TOLERANCE = {"fp32": 1e-4, "bf16": 3e-2}
Figures = dict[str, Any]


def main() -> None:
    arguments = _arguments()
    job = Job(
        device=arguments.device, dtypes=(arguments.dtype,), heads=arguments.heads, kv_heads=arguments.heads,
        head_dim=arguments.head_dim, lengths=tuple(arguments.lengths), repeats=arguments.repeats, stream=0,
        peak_tflops=arguments.peak,
    )  # fmt: skip
    job.check()
    peak = bench.peak_tflops(job, arguments.dtype)
    if peak is None:
        sys.exit(f"the peak of {bench.machine(job)['device']} is not known; give it with --peak TFLOPS")
    figures: Figures = {"machine": bench.machine(job), "peak_tflops": peak, "errors": {}}
    for executor in arguments.executors:
        figures["errors"][executor] = errors(job, executor)
    figures["attention"] = attention(job, arguments)
    figures["fast_weights"] = [fast_weights(job, chunk, arguments.fast_width, peak) for chunk in arguments.chunks]
    figures["wanted"] = reached(figures)
    page = markdown(figures)
    if arguments.out:
        arguments.out.write_text(page, encoding="utf-8")
    print(json.dumps(figures) if arguments.json else page)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bf16", choices=list(DTYPES))
    parser.add_argument("--peak", type=float, help="TFLOP/s of a device whose data sheet isn't known")
    parser.add_argument("--lengths", type=int, nargs="+", default=[16384, 32768, 65536])
    parser.add_argument("--windows", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--blocks", type=int, nargs="+", default=[16, 32], help="of 128 keys, per query block")
    parser.add_argument("--chunks", type=int, nargs="+", default=[2048, 4096, 8192])
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--head-dim", type=int, default=128)
    parser.add_argument("--fast-width", type=int, default=512, help="of a fast head; Qwen3-VL-2B's 2048 in four")
    parser.add_argument("--executors", nargs="+", default=["triton_block", "flex"])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--out", type=Path, help="Markdown file")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _odd(b: torch.Tensor, h: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    return (q + k + h) % 3 != b % 2


def plans(device: str) -> dict[str, Plan]:
    """Every kind that block-sparse kernels take, at lengths that are no multiples."""
    e = Extent(batch=2, heads=4, q_len=700, kv_len=1000, causal=True, device=torch.device(device))
    both = replace(e, causal=False)
    g = torch.Generator().manual_seed(0)
    some = (torch.rand(2, 4, 6, 16, generator=g) < 0.4).to(device)
    chosen = (torch.rand(2, 4, 700, 16, generator=g) < 0.5).to(device)
    order = torch.rand(2, 4, 700, generator=g).argsort(-1).to(device)
    choice = BlockChoice(chosen_BHLN=chosen, q_offset=300, block=64)
    return {
        "dense": Dense(extent=e),
        "window": Band(extent=e, window=150, sinks=5),
        "window both ways": Band(extent=both, window=150, sinks=70),
        "blocks": blocks_of_map(both, some, q_block=128, k_block=64),
        "chosen blocks": blocks_of_map(e, some, q_block=128, k_block=64, rule=choice),
        "any rule": blocks_of_map(e, some, q_block=128, k_block=64, rule=_odd),
        "permuted": replace(blocks_of_map(both, some, q_block=128, k_block=64), extent=e, q_order_BHL=order),
        "one query": Band(extent=replace(e, q_len=1), window=150),
    }


def errors(job: Job, executor: str) -> dict[str, float]:
    """Largest difference from the oracle over output and gradients, as a share of the largest value."""
    found = {}
    for dtype in ("fp32", "bf16"):
        for name, plan in plans(job.device).items():
            worst = found[f"{name} {dtype}"] = _worst(plan, executor, DTYPES[dtype])
            print(f"{executor}: {name} in {dtype} is off by {worst:.1e}", file=sys.stderr, flush=True)
            if not worst <= TOLERANCE[dtype]:
                sys.exit(f"{executor} is wrong on this device: {name} in {dtype} is off by {worst:.1e}")
    return found


def _worst(plan: Plan, executor: str, dtype: torch.dtype) -> float:
    e = plan.extent
    g = torch.Generator().manual_seed(1)
    shapes = ((4, e.q_len), (2, e.kv_len), (2, e.kv_len), (4, e.q_len))
    q, k, v, do = (torch.randn(2, heads, length, 64, generator=g).to(e.device, dtype) for heads, length in shapes)
    training = not (executor == "flex" and e.device.type == "cpu")
    exact = [t.double().requires_grad_(training) for t in (q, k, v)]
    ours = [t.clone().requires_grad_(training) for t in (q, k, v)]
    wanted = dense.attend(plan, *exact, scale=0.125)
    out = executors.attend(plan, *ours, scale=0.125, executor=executor, training=training)
    pairs = [(out, wanted)]
    if training:
        found = torch.autograd.grad(out, ours, do)
        pairs += zip(found, torch.autograd.grad(wanted, exact, do.double()), strict=True)
    return max(float(((a.double() - b).abs().max() / b.abs().max()).detach()) for a, b in pairs)


def attention(job: Job, arguments: argparse.Namespace) -> list[Figures]:
    """Rows of `allocentric bench attention` for every window and every number of blocks."""
    rows: list[Figures] = []
    for executor in arguments.executors:
        wanted: list[tuple[str, dict[str, Any], str]] = [
            ("sliding_window", {"window": window, "sinks": 4}, f"window {window}") for window in arguments.windows
        ]
        wanted += [
            ("minference", {"block": 128, "heads": [{"kind": "block_sparse", "blocks": blocks}]}, f"{blocks} blocks")
            for blocks in arguments.blocks
        ]
        for name, settings, label in wanted:
            one = job.model_copy(update={"methods": (name,), "settings": {name: settings}, "executor": executor})
            measured = bench.run(one)["rows"]
            print(json.dumps({label: measured}), file=sys.stderr, flush=True)
            had = {row["length"] for row in rows if row["kind"] == "dense"}
            rows += [
                row | {"label": "dense"} for row in measured if row["kind"] == "dense" and row["length"] not in had
            ]
            rows += [row | {"label": label} for row in measured if row["kind"] != "dense"]
    for row in rows:
        if "speedup" in row:
            row["efficiency"] = row["speedup"] * row["density"]
        if "both_speedup" in row:
            row["both_efficiency"] = row["both_speedup"] * row["density"]
    return rows


def fast_weights(job: Job, chunk: int, width: int, peak: float) -> Figures:
    """One update of the fast weights from a chunk; fast heads enough to fill the device."""
    device, dtype = torch.device(job.device), DTYPES[job.dtypes[0]]
    heads = max(1, 16 * 2048 // chunk) if device.type == "cuda" else 1
    g = torch.Generator().manual_seed(0)
    initial = fast.Matrices(*(torch.randn(heads, width, width, generator=g).to(device) / width**0.5 for _ in range(3)))
    weights = fast.fresh(initial, momentum=True, prenorm=False)
    k, v = (torch.nn.functional.normalize(torch.randn(heads, chunk, width, generator=g), dim=-1) for _ in range(2))
    lesson = fast.Lesson(
        k.to(device, dtype), v.to(device, dtype), torch.full((heads, chunk, 3), 1e-3, device=device),
        torch.full((heads, chunk), 0.9, device=device),
    )  # fmt: skip
    norms = initial.row_norms()
    call = partial(fast.learn, weights, lesson, norms, muon="bf16")
    with torch.no_grad():
        eager = measure(call, device=device, repeats=job.repeats).median_s
        fused = eager
        if device.type == "cuda":
            fused = measure(torch.compile(call), device=device, repeats=job.repeats).median_s
    seconds = min(eager, fused)
    flops = heads * fast.learn_flops(chunk, width, width, muon="bf16")
    print(f"chunk {chunk}: {eager:.4f} s, compiled {fused:.4f} s", file=sys.stderr, flush=True)
    return {
        "chunk": chunk, "fast_heads": heads, "eager_ms": 1e3 * eager, "compiled_ms": 1e3 * fused,
        "tflops": flops / seconds / 1e12, "share_of_peak": flops / seconds / 1e12 / peak,
    }  # fmt: skip


def reached(figures: Figures) -> dict[str, Figures]:
    """The lowest share over all rows that count, and whether it is what is wanted."""
    rows = figures["attention"]
    best: dict[tuple[str, int], Figures] = {}
    for row in rows:
        if "efficiency" in row:
            key = row["label"], row["length"]
            best[key] = max(best.get(key, row), row, key=lambda r: r["efficiency"])
    windows = [row for (label, _), row in best.items() if label.startswith("window")]
    dynamic = [row for (label, _), row in best.items() if label.endswith("blocks")]
    values = {
        "dense": [row["share_of_peak"] for row in rows if row["kind"] == "dense" and row["length"] >= 16384],
        "window": [row["efficiency"] for row in windows],
        "window_both": [row["both_efficiency"] for row in windows if "both_efficiency" in row],
        "dynamic": [row["efficiency"] for row in dynamic],
        "fast_weights": [row["share_of_peak"] for row in figures["fast_weights"] if row["chunk"] >= 2048],
    }
    return {
        name: {"lowest": min(found), "wanted": WANTED[name], "reached": min(found) >= WANTED[name]}
        for name, found in values.items()
        if found
    }


def markdown(figures: Figures) -> str:
    def cell(row: Figures, key: str) -> str:
        value = row.get(key)
        return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)

    def rows_of(rows: list[Figures], keys: list[str]) -> list[str]:
        lines = ["| " + " | ".join(key.replace("_", " ") for key in keys) + " |", "|" + "---|" * len(keys)]
        return [*lines, *("| " + " | ".join(cell(row, key) for key in keys) + " |" for row in rows), ""]

    lines = ["# Attention on a GPU", "", "    python " + " ".join(sys.argv), ""]
    lines += [", ".join(f"{name} {value}" for name, value in figures["machine"].items()), ""]
    lines += rows_of(
        [{"what": name, **row} for name, row in figures["wanted"].items()], ["what", "lowest", "wanted", "reached"]
    )
    keys = ["label", "executor", "length", "density", "select_ms", "build_ms", "forward_ms", "total_ms", "tflops"]
    keys += ["share_of_peak", "speedup", "efficiency", "both_ms", "both_speedup", "both_efficiency", "compile_ms"]
    lines += rows_of(figures["attention"], [*keys, "peak_bytes", "max_error", "recall", "refused"])
    keys = ["chunk", "fast_heads", "eager_ms", "compiled_ms", "tflops", "share_of_peak"]
    lines += rows_of(figures["fast_weights"], keys)
    lines += ["Efficiency is speed-up times density. Largest errors against fp64, output and gradients:", ""]
    lines += [
        f"- {executor}: " + ", ".join(f"{name} {value:.1e}" for name, value in found.items())
        for executor, found in figures["errors"].items()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
