"""What methods and mixers forget: recall beyond the window, beside density and cost.

    python benchmarks/attention_recall.py --seeds 3 --workers 2 --out benchmarks/attention_recall.md

Small models (2 layers, width 64, trained from scratch on fresh exercises) answer two kinds of question: multi-query
associative recall (MQAR), and the spatial needle: in which room, how deep, or when an object was seen on a walk, after
k more rooms, with rooms walked again (revisit) or the whole walk gone twice (repeat). A layer of a window of w tokens
and a convolution of c taps passes on what lies w + c - 2 tokens back, so a stack of them is blind beyond its reach.
Intervals are Student's t over seeds (weights and exercises both drawn anew). Repeating the command continues.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

WINDOW = 16
_W: dict[str, Any] = {"name": "sliding_window", "window": WINDOW, "sinks": 0}
_A: dict[str, Any] = {"name": "dense"}
_MOBA: dict[str, Any] = {"name": "moba", "block": WINDOW, "top_k": 2, "q_block": WINDOW}
_TTT: dict[str, Any] = {
    "name": "spatial_ttt", "window": WINDOW, "chunk": WINDOW, "fast_heads": 1, "muon": "full", "frame_tokens": 8,
    "base_rate": 0.1,
}  # fmt: skip
_GDN: dict[str, Any] = {"name": "gated_deltanet", "chunk": 32}

STACKS: dict[str, list[dict[str, Any]]] = {
    "full attention": [_A, _A],
    "window": [_W, _W],
    "anchor, window": [_A, _W],
    "window, anchor": [_W, _A],
    "Spatial-TTT": [_TTT, _TTT],
    "anchor, Spatial-TTT": [_A, _TTT],
    "Spatial-TTT, anchor": [_TTT, _A],
    "Gated DeltaNet": [_GDN, _GDN],
    "anchor, Gated DeltaNet": [_A, _GDN],
    "MoBA": [_MOBA, _MOBA],
}
"""Layers from the first, by the name shown. An anchor is a layer of full attention."""

Stages = list[tuple[int, int, dict[str, Any]]]
EXERCISES: dict[str, Stages] = {
    "mqar": [(250, 32, {"length": 112, "pairs": 8, "queries": 12, "words": 32, "power": 0.5})],
    "spatial_needle": [
        (250, 64, {"visits": 2, "questions": 12, "rooms": 10, "objects": 16}),
        (150, 64, {"visits": 4, "questions": 12, "rooms": 10, "objects": 16}),
        (150, 32, {"visits": 10, "questions": 16, "rooms": 10, "objects": 16}),
    ],
}
"""(updates, sequences per update, settings); the last stage is tested."""
_WIDTH, _HEADS = 64, 4


def reach(layers: Sequence[dict[str, Any]], conv: int) -> int:
    """Tokens back that a stack of windows alone can pass on."""
    return len(layers) * (WINDOW - 1 + conv - 1)


def run_one(job: tuple[str, str, int]) -> dict[str, Any]:
    """Train and test one stack on one exercise with one seed."""
    import torch

    from allocentric.sparse_attn.recall import model, mqar, spatial_needle, training

    torch.set_num_threads(1)
    exercise, stack, seed = job
    module = {"mqar": mqar, "spatial_needle": spatial_needle}[exercise]
    stages = [training.Stage(n, batch, module.Settings(**values)) for n, batch, values in EXERCISES[exercise]]
    shape = model.Settings(layers=tuple(STACKS[stack]), width=_WIDTH, heads=_HEADS, hidden=2 * _WIDTH)
    found = training.train(module, stages, shape, training.Settings(learning_rate=5e-3, test=512, seed=seed))
    gap, far = found.exercises.gap_NA, reach(STACKS[stack], shape.conv)
    shown = {"inside the window": gap < WINDOW, "within reach": (gap >= WINDOW) & (gap <= far), "beyond": gap > far}
    if exercise == "spatial_needle":
        group = found.exercises.group_NA
        shown |= {f"beyond, {name}": (gap > far) & (group == index) for index, name in enumerate(module.groups)}
        rooms = _rooms_after(found.exercises, stages[-1].exercise)
        shown |= {f"k = {low}-{high}": (rooms >= low) & (rooms <= high) for low, high in ((0, 2), (3, 5), (6, 9))}
    return {
        "exercise": exercise,
        "stack": stack,
        "seed": seed,
        "density": found.density,
        "parameters": found.parameters,
        "seconds": found.seconds,
        "final_loss": float(np.mean(found.losses[-20:])),
        "chance": float(found.exercises.chance_NA.mean()),
        "accuracy": {name: found.accuracy(chosen) for name, chosen in shown.items()},
        "answers": {name: int(chosen.sum()) for name, chosen in shown.items()},
    }


def _rooms_after(exercises: Any, settings: Any) -> np.ndarray:
    """(N, A) rooms walked through after the object's nearest sight; -1 where an earlier answer is nearer."""
    seen = exercises.place_NA - exercises.gap_NA
    visit = seen // (settings.frames * settings.frame_tokens)
    return np.where(visit < settings.visits, settings.visits - 1 - visit, -1)


def complete(runs: Sequence[dict[str, Any]], seeds: int) -> list[dict[str, Any]]:
    """The runs of every exercise and stack that has all its seeds, in the order of this file."""
    found = {(run["exercise"], run["stack"], run["seed"]): run for run in runs}
    rows = [[found.get((e, s, seed)) for seed in range(seeds)] for e in EXERCISES for s in STACKS]
    return [run for row in rows if None not in row for run in row if run is not None]


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
                "seconds": float(np.median([run["seconds"] for run in mine])),
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
        lines += ["| layers | density | s | " + " | ".join(names) + " |", "|---" * (len(names) + 3) + "|"]
        for stack, row in rows.items():
            cells = [_cell(row["accuracy"][name]) for name in names]
            lines.append(f"| {stack} | {row['density']:.2f} | {row['seconds']:.0f} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _cell(value: dict[str, float]) -> str:
    if np.isnan(value["mean"]):
        return "–"
    return f"{value['mean']:.1f} [{max(value['low'], 0):.1f}, {min(value['high'], 100):.1f}]"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--stacks", nargs="*", default=list(STACKS), choices=list(STACKS), metavar="STACK")
    parser.add_argument("--exercises", nargs="*", default=list(EXERCISES), choices=list(EXERCISES))
    parser.add_argument(
        "--out",
        type=Path,
        help="Markdown page of every stack that has all its seeds; the runs go beside it as .jsonl and are continued",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    jobs = [(e, s, seed) for seed in range(options.seeds) for e in options.exercises for s in options.stacks]
    kept = options.out.with_suffix(".jsonl") if options.out else None
    runs = [json.loads(line) for line in kept.read_text().splitlines()] if kept and kept.exists() else []
    done = {(run["exercise"], run["stack"], run["seed"]) for run in runs}
    left = [job for job in jobs if job not in done]
    start_s = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        for count, run in enumerate(pool.imap_unordered(run_one, left), 1):
            runs.append(run)
            if kept:
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(run) + "\n")
            left_s = (time.monotonic() - start_s) / count * (len(left) - count)
            name = f"{run['exercise']}, {run['stack']}, seed {run['seed']}"
            print(f"{count}/{len(left)}, {left_s:.0f} s left: {name}: {run['accuracy']}", file=sys.stderr, flush=True)
    table = summarise(complete(runs, options.seeds))
    hardware = (
        f"{platform.machine()}, {options.workers} processes of one thread, torch {version('torch')}; "
        f"{options.seeds} seeds, 512 test sequences each"
    )
    page = markdown(table, "python " + shlex.join(sys.argv), hardware)
    if options.out:
        options.out.write_text(page, encoding="utf-8")
    print(json.dumps(table) if options.json else page)


if __name__ == "__main__":
    main()
