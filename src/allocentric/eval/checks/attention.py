"""Recompute what published attention code gave for stored inputs.

The files hold inputs and outputs of the published implementations, one case each under `caseN/`, with their settings
in `caseN/meta` as JSON. A comparison is one function, named after its file.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from allocentric.core.errors import DataError, MissingPackageError
from allocentric.eval.checks import CheckResult

Case = Mapping[str, np.ndarray[Any, Any]]
"""Arrays of a case by name."""


def check(
    fixtures: Annotated[Path, typer.Option(help="Folder with the .npz files.")],
) -> CheckResult:
    """Recompute what published attention code gave for stored inputs."""
    files = [fixtures / f"{name}.npz" for name in COMPARISONS if (fixtures / f"{name}.npz").is_file()]
    if not files:
        raise DataError(f"{fixtures} holds none of {', '.join(f'{name}.npz' for name in COMPARISONS)}")
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingPackageError("torch", needed_for="the check of attention", extra="hf") from None
    found = {file.name: _compare(file) for file in files}
    return CheckResult(
        columns=("file", "cases", "agree", "largest relative error"),
        rows=[
            (name, str(row["n"]), str(row["agree"]), f"{row['max_relative_error']:.2g}") for name, row in found.items()
        ],
        as_json=found,
        ok=all(row["n"] == row["agree"] for row in found.values()),
    )


def radial_block_masks(case: Case, meta: Mapping[str, Any]) -> tuple[float, float]:
    """Share of blocks that differ, and 0, the limit: Radial attention, mit-han-lab/radial-attention@72788d4."""
    from allocentric.sparse_attn.methods.radial import Settings, block_map

    settings = Settings(block=meta["block"], decay=meta["decay"], sink_frame=meta["model"] == "wan")
    ours = block_map(meta["frames"], meta["tokens_per_frame"], settings).numpy()
    if ours.shape != case["mask"].shape:
        raise DataError(f"mask has shape {case['mask'].shape}, the settings give {ours.shape}")
    return float(np.mean(ours != case["mask"])), 0.0


def moba(case: Case, meta: Mapping[str, Any]) -> tuple[float, float]:
    """Relative error of outputs, and its limit 1e-5: MoBA, MoonshotAI/MoBA@61e456b, by the `gather` executor."""
    import torch

    from allocentric.sparse_attn.attend import attend
    from allocentric.sparse_attn.contract import Dims
    from allocentric.sparse_attn.methods.moba import Settings, build

    q_BHLD, k_BHLD, v_BHLD = (torch.from_numpy(case[name]).transpose(0, 1)[None] for name in "qkv")
    heads, head_dim = q_BHLD.shape[1], q_BHLD.shape[3]
    dims = Dims(width=heads * head_dim, heads=heads, kv_heads=heads, head_dim=head_dim)
    method = build(Settings(block=meta["chunk"], top_k=meta["topk"]), dims)
    ours = attend(method, q_BHLD, k_BHLD, v_BHLD, causal=True, scale=head_dim**-0.5, executor="gather")
    return relative_error(ours[0].transpose(0, 1).numpy(), case["out"]), 1e-5


def spatial_ttt_fast_weights(case: Case, meta: Mapping[str, Any]) -> tuple[float, float]:
    """Relative error of outputs, and its limit: 1e-4, or 2e-2 with Muon, whose published form rounds to bfloat16.

    Spatial-TTT, THU-SI/Spatial-TTT@4d6720e: `block_causal_lact_swiglu` and its prenorm form.
    """
    import torch

    from allocentric.sparse_attn.mixers._fast_weights import Matrices, block_causal

    given = {name: torch.from_numpy(array) for name, array in case.items() if name != "meta"}
    ours = block_causal(
        Matrices(given["w0"], given["w1"], given["w2"]),
        given["q"],
        given["k"],
        given["v"],
        torch.cat([given[f"lr{n}"] for n in range(3)], dim=-1),
        given["momentum"][..., 0] if meta["momentum"] else None,
        chunk=meta["chunk"],
        muon="bf16" if meta["muon"] else "off",
        prenorm=meta["variant"] == "prenorm",
    )
    return relative_error(ours.numpy(), case["out"]), 2e-2 if meta["muon"] else 1e-4


COMPARISONS: dict[str, Callable[[Case, Mapping[str, Any]], tuple[float, float]]] = {
    function.__name__: function for function in (radial_block_masks, moba, spatial_ttt_fast_weights)
}
"""File name without .npz -> (error, limit) of a case."""


def relative_error(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> float:
    """Norm of the difference over the norm of theirs."""
    difference = np.linalg.norm(ours.astype(np.float64) - theirs)
    return float(difference / np.linalg.norm(theirs.astype(np.float64)))


def _compare(file: Path) -> dict[str, Any]:
    cases = _cases(file)
    errors = []
    for name, case in cases.items():
        try:
            meta = json.loads(str(case["meta"]))
            errors.append(COMPARISONS[file.stem](case, meta))
        except (KeyError, ValueError) as error:
            raise DataError(f"{file}, {name}: {error} is missing or not what it should be") from None
        except DataError as error:
            raise DataError(f"{file}, {name}: {error}") from None
    return {
        "n": len(errors),
        "agree": sum(error <= limit for error, limit in errors),
        "max_relative_error": max(error for error, _ in errors),
    }


def _cases(file: Path) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    """Arrays by case and name."""
    cases: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
    try:
        with np.load(file, allow_pickle=False) as arrays:
            for key in arrays.files:
                case, _, name = key.partition("/")
                cases.setdefault(case, {})[name] = arrays[key]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"can't read {file}: {error}") from None
    if not cases:
        raise DataError(f"{file} holds no cases")
    return cases
