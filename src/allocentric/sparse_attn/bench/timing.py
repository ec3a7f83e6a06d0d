"""Time and memory of calls on a device."""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Of repeated calls."""

    first_s: float
    """The call before all others: compiles, tunes, fills caches."""
    times_s: tuple[float, ...]
    """The others."""

    @property
    def median_s(self) -> float:
        """Of the others."""
        return statistics.median(self.times_s)

    @property
    def compile_s(self) -> float:
        """What the first call cost beyond an ordinary one."""
        return max(0.0, self.first_s - self.median_s)


def clock_name(device: torch.device) -> str:
    """Which clock times are of."""
    if device.type == "cuda":
        return "GPU time between events"
    return "CPU time of the process" if torch.get_num_threads() == 1 else "wall time"


def measure(call: Callable[[], object], *, device: torch.device, repeats: int) -> Timing:
    """Time a call, once apart and then `repeats` times."""
    timer = _cuda_seconds if device.type == "cuda" else _host_seconds
    first = timer(call, device)
    return Timing(first_s=first, times_s=tuple(timer(call, device) for _ in range(repeats)))


def peak_bytes(call: Callable[[], object], *, device: torch.device) -> int | None:
    """Memory that a call needs above what is held before it; None where the system doesn't tell."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    if not (_STATUS.exists() and _RESET.exists()):
        return None
    try:
        # Freed pages go back, so that the call has to ask for its own.
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        _RESET.write_text("5")
    except OSError:
        return None
    before = _status_bytes("VmRSS")
    call()
    return max(0, _status_bytes("VmHWM") - before)


def _host_seconds(call: Callable[[], object], device: torch.device) -> float:
    # On one thread CPU time leaves out what other processes took.
    clock = time.process_time if clock_name(device).startswith("CPU") else time.perf_counter
    start = clock()
    call()
    return clock() - start


def _cuda_seconds(call: Callable[[], object], device: torch.device) -> float:
    with torch.cuda.device(device):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        call()
        stop.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(stop)) / 1e3


def _status_bytes(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024
