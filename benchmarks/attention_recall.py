"""What methods and mixers forget: recall beyond the window, beside density and cost.

    python benchmarks/attention_recall.py --seeds 5 --workers 2 --out benchmarks/attention_recall.md

Small models (4 layers, width 64, trained from scratch on fresh exercises) answer two kinds of question: multi-query
associative recall (MQAR), and the spatial needle: in which room, how deep, or when an object was seen on a walk, after
k more rooms, with rooms walked again (revisit) or the whole walk gone twice (repeat). A layer of a window of w tokens
and a convolution of c taps passes on what lies w + c - 2 tokens back, so a stack of them is blind beyond its reach.
Intervals are Student's t over seeds (weights and exercises both drawn anew).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

WINDOW = 16
_W: dict[str, Any] = {"name": "sliding_window", "window": WINDOW, "sinks": 0}
_A: dict[str, Any] = {"name": "dense"}
_MOBA: dict[str, Any] = {"name": "moba", "block": 16, "top_k": 3, "q_block": 16}
_TTT: dict[str, Any] = {"name": "spatial_ttt", "window": WINDOW, "chunk": WINDOW, "fast_heads": 4}
_GDN: dict[str, Any] = {"name": "gated_deltanet"}
_BASED: dict[str, Any] = {"name": "based", "window": WINDOW}

STACKS: dict[str, list[dict[str, Any]]] = {
    "full attention": [_A] * 4,
    "window": [_W] * 4,
    "window 3:1 anchor": [_W, _W, _W, _A],
    "MoBA": [_MOBA] * 4,
    "MoBA 3:1 anchor": [_MOBA] * 3 + [_A],
    "Spatial-TTT": [_TTT] * 4,
    "Spatial-TTT 3:1 anchor": [_TTT, _TTT, _TTT, _A],
    "Gated DeltaNet": [_GDN] * 4,
    "Gated DeltaNet 3:1 anchor": [_GDN, _GDN, _GDN, _A],
    "window + Gated DeltaNet 1:3": [_W, _GDN, _GDN, _GDN],
    "BASED": [_BASED] * 4,
}
"""Layers from the first, by the name shown."""

EXERCISES: dict[str, dict[str, Any]] = {
    "mqar": {"length": 144, "pairs": 8, "queries": 12, "words": 32, "power": 0.5},
    "spatial_needle": {"visits": 10, "frames": 1, "grid": 2, "questions": 12, "objects": 16},
}


def reach(layers: Sequence[dict[str, Any]], conv: int) -> int:
    """Tokens back that a stack of windows alone can pass on."""
    return len(layers) * (WINDOW - 1 + conv - 1)


def run_one(job: tuple[str, str, int, int]) -> dict[str, Any]:
    """Train and test one stack on one exercise with one seed."""
    import torch

    from allocentric.sparse_attn.recall import model, mqar, spatial_needle, training

    torch.set_num_threads(1)
    exercise, stack, seed, steps = job
    module = {"mqar": mqar, "spatial_needle": spatial_needle}[exercise]
    settings = module.Settings(**EXERCISES[exercise])
    shape = model.Settings(layers=tuple(STACKS[stack]))
    found = training.train(
        module, settings, shape, training.Settings(steps=steps, batch=32, learning_rate=5e-3, test=512, seed=seed)
    )
    gap, far = found.exercises.gap_NA, reach(STACKS[stack], shape.conv)
    shown = {"inside the window": gap < WINDOW, "within reach": (gap >= WINDOW) & (gap <= far), "beyond": gap > far}
    shown |= {name: found.exercises.group_NA == index for index, name in enumerate(module.groups)}
    if exercise == "spatial_needle":
        rooms = _rooms_after(found.exercises, settings)
        shown |= {f"k {low}-{high}": (rooms >= low) & (rooms <= high) for low, high in ((0, 2), (3, 6), (7, 11))}
    return {
        "exercise": exercise,
        "stack": stack,
        "seed": seed,
        "density": found.density,
        "parameters": found.parameters,
        "ms_per_update": 1000 * found.seconds / steps,
        "final_loss": float(np.mean(found.losses[-20:])),
        "chance": float(found.exercises.chance_NA.mean()),
        "accuracy": {name: found.accuracy(chosen) for name, chosen in shown.items()},
        "answers": {name: int(chosen.sum()) for name, chosen in shown.items()},
    }


def _rooms_after(exercises: Any, settings: Any) -> np.ndarray:
    """(N, A) rooms between the object's nearest sight and the end of the walk."""
    seen = exercises.place_NA - exercises.gap_NA
    return settings.visits - 1 - seen // (settings.frames * settings.frame_tokens)


def summarise(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By exercise and stack: mean and 95 % interval over seeds of every accuracy, in percent."""
    table: dict[str, dict[str, Any]] = {}
    for exercise in dict.fromkeys(run["exercise"] for run in runs):
        table[exercise] = {}
        for stack in dict.fromkeys(run["stack"] for run in runs if run["exercise"] == exercise):
            mine = [run for run in runs if run["exercise"] == exercise and run["stack"] == stack]
            cells = {name: _interval([run["accuracy"][name] for run in mine]) for name in mine[0]["accuracy"]}
            table[exercise][stack] = {
                "seeds": len(mine),
                "density": float(np.mean([run["density"] for run in mine])),
                "parameters": mine[0]["parameters"],
                "ms_per_update": float(np.median([run["ms_per_update"] for run in mine])),
                "chance": 100 * mine[0]["chance"],
                "accuracy": cells,
            }
    return table


def _interval(values: Sequence[float]) -> dict[str, float]:
    found = 100 * np.array(values)
    half = 0.0
    if len(found) > 1:
        half = float(student.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found)))
    return {"mean": float(found.mean()), "low": float(found.mean() - half), "high": float(found.mean() + half)}


def markdown(table: dict[str, dict[str, Any]], command: str, hardware: str) -> str:
    """The tables as a page."""
    lines = ["# Recall of methods and mixers", "", f"`{command}`", "", hardware, ""]
    for exercise, rows in table.items():
        names = list(next(iter(rows.values()))["accuracy"])
        chance = next(iter(rows.values()))["chance"]
        lines += [f"## {exercise}", "", f"Percent right, 95 % interval over seeds; chance {chance:.1f}.", ""]
        lines += ["| layers | density | ms/update | " + " | ".join(names) + " |", "|---" * (len(names) + 3) + "|"]
        for stack, row in rows.items():
            cells = [_cell(row["accuracy"][name]) for name in names]
            lines.append(
                f"| {stack} | {row['density']:.2f} | {row['ms_per_update']:.0f} | " + " | ".join(cells) + " |"
            )
        lines.append("")
    return "\n".join(lines)


def _cell(value: dict[str, float]) -> str:
    if np.isnan(value["mean"]):
        return "–"
    return f"{value['mean']:.1f} [{max(value['low'], 0):.1f}, {min(value['high'], 100):.1f}]"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=400, help="updates per model")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--stacks", nargs="*", default=list(STACKS), choices=list(STACKS), metavar="STACK")
    parser.add_argument("--exercises", nargs="*", default=list(EXERCISES), choices=list(EXERCISES))
    parser.add_argument("--out", type=Path, help="Markdown page; the runs go beside it as .json")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    jobs = [
        (e, s, seed, options.steps) for seed in range(options.seeds) for e in options.exercises for s in options.stacks
    ]
    runs, start_s = [], time.monotonic()
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        for run in pool.imap_unordered(run_one, jobs):
            runs.append(run)
            left_s = (time.monotonic() - start_s) / len(runs) * (len(jobs) - len(runs))
            print(f"{len(runs)}/{len(jobs)}, {left_s:.0f} s left: {run['exercise']} {run['stack']}", file=sys.stderr)
    runs.sort(key=lambda run: jobs.index((run["exercise"], run["stack"], run["seed"], options.steps)))
    table = summarise(runs)
    import torch

    hardware = (
        f"{platform.machine()}, {options.workers} processes of one thread, torch {torch.__version__}; "
        f"{options.seeds} seeds of {options.steps} updates of 32 sequences, 512 test sequences each"
    )
    page = markdown(table, "python " + " ".join(sys.argv), hardware)
    if options.out:
        options.out.write_text(page, encoding="utf-8")
        options.out.with_suffix(".json").write_text(json.dumps({"table": table, "runs": runs}, indent=1) + "\n")
    print(json.dumps(table) if options.json else page)


if __name__ == "__main__":
    main()
