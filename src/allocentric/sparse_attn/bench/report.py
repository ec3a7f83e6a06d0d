"""Tables of a measured job: for the terminal, as Markdown, as CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def _plain(value: Any) -> str:
    return str(value)


def _milliseconds(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _short(value: float) -> str:
    return f"{value:.3g}"


def _times(value: float) -> str:
    return f"{value:.2f}x"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _mib(value: float) -> str:
    return f"{value / 2**20:.1f}"


COLUMNS: list[tuple[str, str, Callable[[Any], str]]] = [
    ("kind", "kind", _plain),
    ("name", "name", _plain),
    ("length", "length", _plain),
    ("dtype", "dtype", _plain),
    ("executor", "executor", _plain),
    ("density", "density", _short),
    ("select ms", "select_ms", _milliseconds),
    ("build ms", "build_ms", _milliseconds),
    ("forward ms", "forward_ms", _milliseconds),
    ("total ms", "total_ms", _milliseconds),
    ("speed-up", "speedup", _times),
    ("fw+bw ms", "both_ms", _milliseconds),
    ("fw+bw speed-up", "both_speedup", _times),
    ("compile ms", "compile_ms", _milliseconds),
    ("TFLOP/s", "tflops", _short),
    ("of peak", "share_of_peak", _percent),
    ("of dense", "share_of_dense", _percent),
    ("peak MiB", "peak_bytes", _mib),
    ("max error", "max_error", _short),
    ("mean error", "mean_error", _short),
    ("recall", "recall", _percent),
    ("state MiB", "state_bytes", _mib),
    ("tokens/s", "tokens_per_s", _short),
    ("step p50 ms", "step_p50_ms", _milliseconds),
    ("step p95 ms", "step_p95_ms", _milliseconds),
    ("base / this", "ratio", _times),
    ("fw+bw base / this", "both_ratio", _times),
]
"""Heading, key and format; a column without any value is left out."""

MEANING = (
    "Times are medians of {repeats} calls ({clock}). Total is selection, mask building and forward; speed-up is the "
    "total of dense attention of the same run over it, fw+bw speed-up likewise. TFLOP/s counts products of kept pairs "
    "only (mixers: all products of the layer, projections included). Errors are against fp64 under the same plan, and "
    "recall is the share of dense attention's weight on kept pairs, both on {probes} queries. Peak MiB is what a "
    "forward call needs beside its inputs. State is the cache of keys and values, or the mixer's own."
)


def table(result: dict[str, Any]) -> tuple[list[str], list[list[str]], list[str]]:
    """Column headings, rows of text, and notes."""
    rows = result["rows"]
    used = [column for column in COLUMNS if any(row.get(column[1]) is not None for row in rows)]
    measured = [row for row in rows if "refused" not in row]
    cells = [["" if row.get(key) is None else write(row[key]) for _, key, write in used] for row in measured]
    job = result["job"]
    notes = [
        ", ".join(f"{name} {value}" for name, value in result["machine"].items()),
        f"B={job['batch']} H={job['heads']} K={job['kv_heads']} D={job['head_dim']}",
        MEANING.format(repeats=job["repeats"], clock=result["clock"], probes=job["probes"]),
    ]
    notes += [
        f"{row['name']} at {row['length']} in {row['dtype']}: {row['refused']}" for row in rows if "refused" in row
    ]
    if "base" in result:
        notes.append(f"base is commit {result['base']}; base / this above 1 is faster than the base")
    return [heading for heading, _, _ in used], cells, notes


def markdown(result: dict[str, Any], *, command: str) -> str:
    """The page."""
    columns, rows, notes = table(result)
    job = result["job"]
    lines = ["# Attention", "", f"    {command}", ""]
    lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    lines += [""] + [f"{note}\n" for note in notes]
    changed = {**job["settings"], **job["mixer_settings"]}
    if changed:
        lines.append(f"Settings that aren't the published ones: `{json.dumps(changed)}`\n")
    return "\n".join(lines)


def write(result: dict[str, Any], folder: Path, *, command: str) -> list[Path]:
    """`attention.md`, `attention.csv` with every figure, `attention.json`, and plots, in `folder`."""
    from allocentric.sparse_attn.bench import plots

    folder.mkdir(parents=True, exist_ok=True)
    drawn = plots.draw(result["rows"], folder)
    page = markdown(result, command=command) + "\n" + "\n".join(f"![{p.stem}]({p.name})" for p in drawn) + "\n"
    (folder / "attention.md").write_text(page, encoding="utf-8")
    text = json.dumps({**result, "command": command}, indent=1)
    (folder / "attention.json").write_text(text + "\n", encoding="utf-8")
    write_csv(result["rows"], folder / "attention.csv")
    return [folder / "attention.md", folder / "attention.csv", folder / "attention.json", *drawn]


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """One line per row, one column per figure that any row has."""
    keys = list(dict.fromkeys(key for row in rows for key in row if key != "state"))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, keys, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
