"""Sparse, linear and fast-weight attention on one CPU thread beside PyTorch's causal attention in the same run.

    python benchmarks/attention_cpu.py [--json] [--out FILE] [--rounds N] [--lengths ...] [--backward-lengths ...]

Causal, B=1 H=8 D=64. Every figure is the process's CPU time, the best of N; rows take turns within a round, so that a
busy machine slows them alike. What is timed begins with queries, keys and values and ends with the heads' outputs, so
projections are in no row. Selectors are timed with their choice. The branch and the layer of Spatial-TTT have 2 fast
heads of width 256, chunks of 1024, momentum and Muon; they include rates, gates, norms and rotation, and the layer a
window of 1024. Backward passes go to queries, keys, values and the parameters in use.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize, scaled_dot_product_attention

from allocentric.core.catalog import METHODS
from allocentric.sparse_attn.attend import attend
from allocentric.sparse_attn.contract import Dims, Selector
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.mixers import spatial_ttt
from allocentric.sparse_attn.mixers._delta_rule import gated_delta_rule

HEADS, WIDTH = 8, 64
DIMS = Dims(width=HEADS * WIDTH, heads=HEADS, kv_heads=HEADS, head_dim=WIDTH)
WANTED = {
    "band_fp32": 3.5, "band_bf16": 8.0, "topk_blocks": 1.7, "gated_deltanet": 4.0, "spatial_ttt_branch": 3.5,
    "spatial_ttt_layer": 1.8,
}  # fmt: skip
"""Forward pass at the longest length: times faster than causal attention in the same precision."""

Run = Callable[[], Tensor]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing to time."""

    name: str
    what: str
    """For the table's reader."""
    prepare: Callable[[int, bool], tuple[Run, list[Tensor]]]
    """(length, whether gradients are wanted) -> what computes outputs, and what gradients go to."""
    peer: str
    """Row it is compared with."""


def tensors(length: int, dtype: torch.dtype, training: bool) -> list[Tensor]:
    """Queries, keys and values, (1, H, L, D)."""
    g = torch.Generator().manual_seed(length)
    made = [torch.randn(1, HEADS, length, WIDTH, generator=g).to(dtype) for _ in range(3)]
    return [t.requires_grad_(training) for t in made]


def dense(dtype: torch.dtype) -> Callable[[int, bool], tuple[Run, list[Tensor]]]:
    """PyTorch's own."""

    def prepare(length: int, training: bool) -> tuple[Run, list[Tensor]]:
        q, k, v = tensors(length, dtype, training)
        return lambda: scaled_dot_product_attention(q, k, v, is_causal=True), [q, k, v]

    return prepare


def selected(method: Selector, dtype: torch.dtype = torch.float32) -> Callable[[int, bool], tuple[Run, list[Tensor]]]:
    """A method with its choice, by the executor it gets by itself."""

    def prepare(length: int, training: bool) -> tuple[Run, list[Tensor]]:
        q, k, v = tensors(length, dtype, training)
        return lambda: attend(method, q, k, v, causal=True, scale=WIDTH**-0.5), [q, k, v]

    return prepare


def delta_rule(length: int, training: bool) -> tuple[Run, list[Tensor]]:
    """Gated DeltaNet in chunks of 64 on unit keys."""
    q, k, v = tensors(length, torch.float32, False)
    g = torch.Generator().manual_seed(1)
    decay, beta = (torch.rand(1, HEADS, length, generator=g) for _ in range(2))
    start = torch.zeros(1, HEADS, WIDTH, WIDTH)
    leaves = [normalize(q, dim=-1), normalize(k, dim=-1), v, -0.1 * decay, beta]
    for leaf in leaves:
        leaf.requires_grad_(training)
    return lambda: gated_delta_rule(*leaves, start, chunk=64)[0], leaves


def fast_weights(
    *, layer: bool, video: bool = False, muon: Literal["full", "bf16"] = "full"
) -> Callable[[int, bool], tuple[Run, list[Tensor]]]:
    """The branch alone, or with the window; on text, or on a video of 16 x 16 tokens a frame with its convolution.

    Steps are orthogonalised in single precision, as all else in these rows, or with the roundings to bfloat16 of the
    published code, which a CPU without matrix units imitates bit by bit.
    """

    def prepare(length: int, training: bool) -> tuple[Run, list[Tensor]]:
        torch.manual_seed(0)
        settings = spatial_ttt.Settings(
            window=1024, chunk=1024, fast_heads=4, muon=muon, conv="causal" if video else "off"
        )
        mixer = spatial_ttt.build(settings, DIMS)
        q, k, v = tensors(length, torch.float32, training)
        x = torch.randn(1, length, DIMS.width)
        angles = torch.arange(length)[:, None] * 1e4 ** -torch.arange(0, 1, 2 / WIDTH)
        rope = (torch.cat([angles, angles], -1).cos()[None], torch.cat([angles, angles], -1).sin()[None])
        geometry = Geometry.of_video(1, length // 256, 16, 16) if video else None

        def run() -> Tensor:
            state = mixer.initial_state(1, device="cpu", dtype=torch.float32)
            if layer:
                return mixer.heads(x, q, k, v, rope=rope, geometry=geometry, state=state)
            flat = [t.transpose(1, 2).flatten(2) for t in (q, k, v)]
            return mixer.remember(x, *flat, rope=rope, place_BL6=None, state=state)

        used = [mixer.w0, mixer.w1, mixer.w2, mixer.gate_proj.weight, mixer.norm.weight]
        return run, [q, k, v, *used]

    return prepare


def rows() -> list[Row]:
    """Peers first."""
    window, minference = METHODS.load("sliding_window"), METHODS.load("minference")
    blocks = minference.Settings(heads=(minference.BlockSparse(blocks=8),), block=128)
    band_fp32, band_bf16 = (window.build(window.Settings(window=w, sinks=0), DIMS) for w in (512, 256))
    topk = minference.build(blocks, DIMS)
    half, full = torch.bfloat16, torch.float32
    return [
        Row(name="sdpa_fp32", what="causal attention, fp32", prepare=dense(full), peer="sdpa_fp32"),
        Row(name="sdpa_bf16", what="causal attention, bf16", prepare=dense(half), peer="sdpa_bf16"),
        Row(name="band_fp32", what="window 512, fp32", prepare=selected(band_fp32), peer="sdpa_fp32"),
        Row(name="band_bf16", what="window 256, bf16", prepare=selected(band_bf16, half), peer="sdpa_bf16"),
        Row(name="topk_blocks", what="8 blocks of 128 by block means", prepare=selected(topk), peer="sdpa_fp32"),
        Row(name="gated_deltanet", what="gated delta rule, chunk 64", prepare=delta_rule, peer="sdpa_fp32"),
        Row(
            name="spatial_ttt_branch",
            what="fast weights, chunk 1024, Muon in fp32",
            prepare=fast_weights(layer=False),
            peer="sdpa_fp32",
        ),
        Row(
            name="spatial_ttt_layer",
            what="the same and window 1024",
            prepare=fast_weights(layer=True),
            peer="sdpa_fp32",
        ),
        Row(
            name="spatial_ttt_branch_bf16",
            what="fast weights, Muon rounded to bfloat16 as published",
            prepare=fast_weights(layer=False, muon="bf16"),
            peer="sdpa_fp32",
        ),
        Row(
            name="spatial_ttt_layer_bf16",
            what="the same and window 1024",
            prepare=fast_weights(layer=True, muon="bf16"),
            peer="sdpa_fp32",
        ),
        Row(
            name="spatial_ttt_video",
            what="window, fast weights with Muon in fp32, convolution of a video",
            prepare=fast_weights(layer=True, video=True),
            peer="sdpa_fp32",
        ),
    ]


def once(run: Run, leaves: Sequence[Tensor], training: bool) -> float:
    """CPU seconds of a forward pass, or of forward and backward."""
    gc.collect()
    with nullcontext() if training else torch.no_grad():
        start = time.process_time()
        out = run()
        if training:
            torch.autograd.grad(out, leaves, torch.ones_like(out), allow_unused=True)
        return time.process_time() - start


def measure(lengths: Sequence[int], rounds: int, *, training: bool) -> Iterator[tuple[int, dict[str, list[float]]]]:
    """CPU seconds of every row, length by length; one round at each length warms up and isn't counted."""
    for length in lengths:
        jobs = {row.name: row.prepare(length, training) for row in rows()}
        seconds: dict[str, list[float]] = {name: [] for name in jobs}
        for turn in range(rounds + 1):
            for name, (run, leaves) in jobs.items():
                spent = once(run, leaves, training)
                if turn:
                    seconds[name].append(spent)
        yield length, seconds


def ratios(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Times faster than the peer, of the best of each."""
    return {
        row.name: round(min(seconds[row.peer]) / min(seconds[row.name]), 3) for row in rows() if row.name != row.peer
    }


def machine(options: argparse.Namespace) -> dict[str, object]:
    """What the figures depend on."""
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "rounds": options.rounds,
        "shape": f"B=1 H={HEADS} D={WIDTH}, causal",
    }


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def table(title: str, found: dict[int, dict[str, list[float]]]) -> list[str]:
    """CPU milliseconds and, in brackets, times faster than the peer, as Markdown."""
    lines = [f"## {title}", "", "| | " + " | ".join(f"L={length}" for length in found) + " |"]
    lines.append("|---|" + "---:|" * len(found))
    for row in rows():
        cells = []
        for seconds in found.values():
            best = f"{1e3 * min(seconds[row.name]):.0f} ms"
            cells.append(best if row.name == row.peer else f"{best} ({ratios(seconds)[row.name]:.2f}x)")
        lines.append(f"| {row.what} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def document(
    forward: dict[int, dict[str, list[float]]], both: dict[int, dict[str, list[float]]], facts: dict[str, object]
) -> str:
    """All of it as Markdown."""
    command = "python benchmarks/attention_cpu.py " + " ".join(sys.argv[1:])
    lines = [
        "# Attention on one CPU thread",
        "",
        f"`{command.strip()}`",
        "",
        "; ".join(f"{name} {value}" for name, value in facts.items()) + ".",
        "CPU time of the process, best of the rounds, rows taking turns; in brackets times faster than causal",
        "attention of the same precision in the same run. No row includes projections.",
        "",
    ]
    lines += table("Forward", forward) if forward else []
    lines += table("Forward and backward", both) if both else []
    longest = max(forward) if forward else 0
    if forward:
        lines += [f"## Aims at L={longest}, forward", "", "| | wanted | found |", "|---|---:|---:|"]
        found = ratios(forward[longest])
        lines += [f"| {name} | {aim}x | {found[name]:.2f}x |" for name, aim in WANTED.items()]
    return "\n".join(lines) + "\n"


def as_json(
    forward: dict[int, dict[str, list[float]]], both: dict[int, dict[str, list[float]]], facts: dict[str, object]
) -> dict[str, object]:
    """Ratios of the longest forward pass by name, those of backward passes as NAME_fb_LENGTH, and all seconds."""
    out: dict[str, object] = dict(ratios(forward[max(forward)])) if forward else {}
    for length, seconds in both.items():
        out |= {f"{name}_fb_{length}": value for name, value in ratios(seconds).items()}
    out["length"] = max(forward) if forward else None
    out["seconds"] = {str(length): seconds for length, seconds in forward.items()}
    out["seconds_fb"] = {str(length): seconds for length, seconds in both.items()}
    return out | {"machine": facts}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--out", type=Path, help="write the tables as Markdown")
    parser.add_argument("--rounds", type=int, default=5, help="how often each row is timed at each length")
    parser.add_argument("--lengths", type=int, nargs="*", default=[1024, 2048, 4096, 8192, 16384])
    parser.add_argument("--backward-lengths", type=int, nargs="*", default=[1024, 4096, 8192, 16384])
    options = parser.parse_args()
    torch.set_num_threads(1)
    forward = dict(measure(options.lengths, options.rounds, training=False))
    both = dict(measure(options.backward_lengths, options.rounds, training=True))
    facts = machine(options)
    text = document(forward, both, facts)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")
    print(json.dumps(as_json(forward, both, facts)) if options.json else text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
