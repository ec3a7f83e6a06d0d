"""Measure a job."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch

from allocentric.core import config
from allocentric.core.progress import Progress, SilentProgress
from allocentric.sparse_attn.bench.job import DTYPES, Job
from allocentric.sparse_attn.bench.methods import Row, causal_of, dense_row, method_row
from allocentric.sparse_attn.bench.mixers import mixer_row
from allocentric.sparse_attn.bench.timing import clock_name

PEAK_TFLOPS = {
    ("H200", "bf16"): 989.4, ("H200", "fp16"): 989.4, ("H200", "fp32"): 66.9,
    ("H100", "bf16"): 989.4, ("H100", "fp16"): 989.4, ("H100", "fp32"): 66.9,
    ("A100", "bf16"): 311.9, ("A100", "fp16"): 311.9, ("A100", "fp32"): 19.5,
}  # fmt: skip
"""Dense, by device name and dtype: data sheets of NVIDIA H100 SXM5, H200 SXM and A100 SXM4."""


def run(job: Job, progress: Progress | None = None) -> dict[str, Any]:
    """Rows of every method and mixer, dense attention first, with what they were measured on."""
    progress = progress or SilentProgress()
    job.check()
    methods, mixers = job.names()
    modes = {name: causal_of(job, name) for name in methods}
    wanted = {*modes.values(), *([True] if mixers else [])}
    threads = torch.get_num_threads()
    torch.set_num_threads(job.threads)
    rows: list[Row] = []
    progress.start(len(job.dtypes) * len(job.lengths) * (len(wanted) + len(methods) + len(mixers)), "attention")
    try:
        for dtype in job.dtypes:
            for length in job.lengths:
                dense = {}
                for causal in sorted(wanted, reverse=True):
                    dense[causal] = _shared(job, dense_row(job, length, dtype, causal), None)
                    rows.append(dense[causal])
                    progress.advance(status=f"dense {length}")
                for name in methods:
                    held_against = dense[modes[name]]
                    rows.append(_shared(job, method_row(job, name, length, dtype, held_against), held_against))
                    progress.advance(status=f"{name} {length}")
                for name in mixers:
                    rows.append(_shared(job, mixer_row(job, name, length, dtype, dense[True]), dense[True]))
                    progress.advance(status=f"{name} {length}")
    finally:
        clock = clock_name(torch.device(job.device))
        torch.set_num_threads(threads)
        progress.stop()
    return {"job": config.resolved(job), "machine": machine(job), "clock": clock, "rows": rows}


def machine(job: Job) -> dict[str, str]:
    """Hardware and versions."""
    from allocentric import __version__

    device = torch.device(job.device)
    found = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name(),
        "threads": str(job.threads),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "allocentric": __version__,
        "system": f"{platform.system()} {platform.machine()}",
    }
    if device.type == "cuda":
        import importlib.metadata

        found["cuda"] = str(torch.version.cuda)
        try:
            found["triton"] = importlib.metadata.version("triton")
        except importlib.metadata.PackageNotFoundError:
            found["triton"] = "none"
    return found


def peak_tflops(job: Job, dtype: str) -> float | None:
    """Of the device in that dtype, as given or from the data sheet; None: unknown."""
    assert dtype in DTYPES
    if job.peak_tflops is not None:
        return job.peak_tflops
    name = machine(job)["device"]
    return next((peak for (card, kind), peak in PEAK_TFLOPS.items() if card in name and kind == dtype), None)


def _shared(job: Job, row: Row, dense: Row | None) -> Row:
    """Shares of the device's peak and of dense attention's speed."""
    if "tflops" not in row:
        return row
    peak = peak_tflops(job, row["dtype"])
    row["share_of_peak"] = None if peak is None else row["tflops"] / peak
    row["share_of_dense"] = row["tflops"] / (dense or row)["tflops"]
    return row


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "CPU"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")
