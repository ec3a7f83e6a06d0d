"""Tile sizes of the kernels: what is tried on a GPU, by pass and head width. The fastest is kept per kind of call.

On Hopper a tile of 128 queries fills a warp group's wgmma; two warp groups (8 warps) share it at head widths from 128.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import triton

# (most columns of a head, [(queries, keys, warps, stages)]), the first of each fits any head up to that width.
_TABLE: dict[str, list[tuple[int, list[tuple[int, int, int, int]]]]] = {
    "forward_kernel": [
        (64, [(128, 128, 8, 3), (128, 64, 4, 3), (128, 128, 4, 3), (64, 64, 4, 3)]),
        (128, [(128, 128, 8, 2), (128, 64, 8, 3), (128, 64, 4, 2), (64, 64, 4, 3)]),
        (256, [(128, 64, 8, 2), (64, 64, 4, 2), (64, 32, 4, 2)]),
    ],
    "dq_kernel": [
        (64, [(128, 64, 8, 3), (128, 128, 8, 2), (64, 64, 4, 3)]),
        (128, [(128, 64, 8, 2), (64, 64, 4, 2), (64, 32, 4, 2)]),
        (256, [(64, 64, 8, 1), (64, 32, 4, 2), (32, 32, 4, 1)]),
    ],
    "dkv_kernel": [
        (64, [(64, 128, 8, 3), (64, 64, 4, 3), (32, 128, 4, 3)]),
        (128, [(64, 128, 8, 2), (32, 64, 4, 2), (64, 64, 4, 2)]),
        (256, [(32, 64, 8, 1), (32, 64, 4, 1), (32, 32, 4, 1)]),
    ],
}
_KEYS = [
    "D", "Q_BLOCK", "K_BLOCK", "Q_ORDERED", "K_ORDERED", "CAUSAL", "BANDED", "CHOICE_BLOCK", "BITS", "EVEN_Q"
]  # fmt: skip


def candidates(kernel: str, *, head_dim: int, q_block: int, k_block: int, bytes_each: int) -> list[tuple[int, ...]]:
    """(queries, keys, warps, stages) to try: no tile is larger than the block it is cut from, nor below 16."""
    rows = next(rows for most, rows in _TABLE[kernel] if head_dim <= most)
    shrink = 2 if bytes_each == 4 else 1  # float32 rows take twice the shared memory
    largest_m, largest_n = (max(16, triton.next_power_of_2(block)) for block in (q_block, k_block))
    found: list[tuple[int, ...]] = []
    for tile_m, tile_n, warps, stages in rows:
        entry = (
            max(16, min(tile_m // shrink, largest_m)),
            max(16, min(tile_n // shrink, largest_n)),
            warps,
            stages,
        )
        if entry not in found:
            found.append(entry)
    return found


@cache
def tuned(kernel: Any) -> Any:
    """The kernel with a choice of tiles."""
    if not isinstance(kernel, triton.runtime.JITFunction):
        return _Interpreted(kernel)
    every = sorted({entry for _, rows in _TABLE[kernel.__name__] for entry in rows})
    configs = [_config(*entry) for entry in every]
    prune = {"early_config_prune": _pruned(kernel.__name__)}
    # Only the gradients of keys need to know whether the last block of queries is short.
    key = [name for name in _KEYS if name in kernel.arg_names]
    return triton.autotune(configs=configs, key=key, prune_configs_by=prune)(kernel)


def _pruned(name: str) -> Any:
    def prune(configs: list[Any], named: dict[str, Any], **constants: Any) -> list[Any]:  # noqa: ARG001
        values = named | constants
        entries = candidates(
            name, head_dim=values["D"], q_block=values["Q_BLOCK"], k_block=values["K_BLOCK"],
            bytes_each=values["q"].element_size(),
        )  # fmt: skip
        return [_config(*entry) for entry in entries]

    return prune


def _config(tile_m: int, tile_n: int, warps: int, stages: int) -> Any:
    return triton.Config({"BLOCK_M": tile_m, "BLOCK_N": tile_n}, num_warps=warps, num_stages=stages)


class _Interpreted:
    """A kernel under Triton's interpreter: nothing to time, so tiles are middling ones."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel

    def __getitem__(self, grid: Any) -> Any:
        def launch(**arguments: Any) -> None:
            tile_m, tile_n = (
                min(64, max(16, triton.next_power_of_2(arguments[name]))) for name in ("Q_BLOCK", "K_BLOCK")
            )
            self.kernel[grid](**arguments, BLOCK_M=tile_m, BLOCK_N=tile_n)

        return launch
