"""What memory policies keep of hours of video: recall, count, where, change, plain and perturbed.

    python benchmarks/streaming_table.py --streams 8 4 2 --out benchmarks/streaming_table.md

Each stream is a quiz of `datasets.supersensing`: walks through furnished houses with things set down in them, all four
tasks at once. Every policy of `agents/memory` that keeps frames, features or text watches the same frames through the
shipped light encoder, with every question known from the start, and the exact reader answers from what it recalls; a
guess is worth its expected score. `ideal` rows see with perfect eyes, so they measure the policy alone. Streams of one
number share houses with all others (one town, other courses and things), so intervals are over courses.

Houses are drawn once for all streams, into --store; repeating the command continues it and the .jsonl beside --out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from allocentric.agents.encoders.contract import Encoder
from allocentric.core.catalog import MEMORY
from allocentric.core.errors import UserError
from allocentric.eval.streaming import cells, table
from allocentric.eval.streaming.cells import Cell, Policy
from allocentric.eval.streaming.store import StoredEncoder


def policies(budget_bytes: int, encoder: Encoder, only: list[str] | None) -> tuple[list[Policy], list[str]]:
    """Rows, and why other policies have none."""
    rows, left_out = [], []
    for name in MEMORY.names():
        if only and name not in only:
            continue
        row = Policy(label=name, name=name, settings={"budget_bytes": budget_bytes})
        try:
            cells.build_memory(row, encoder)
        except (UserError, TypeError) as error:
            left_out.append(f"{name}: {error}")
        else:
            rows.append(row)
    if not only or "bag_of_frames" in only:
        for frames in (4, 16):
            settings = {"budget_bytes": budget_bytes, "frames_per_label": frames}
            label = f"bag_of_frames, ideal eyes, {frames} frames"
            rows.append(Policy(label=label, name="bag_of_frames", settings=settings, ideal=True))
    return rows, left_out


def columns(arguments: argparse.Namespace) -> Iterator[Cell]:
    """Cells in the order they are run: one stream of each first, so that a stopped run has whole tables."""
    for number in range(max(arguments.streams)):
        for minutes, streams in zip(arguments.minutes, arguments.streams, strict=True):
            for perturbation in arguments.perturbations:
                if number < streams:
                    yield Cell(minutes=minutes, perturbation=perturbation, number=number)


def run(arguments: argparse.Namespace, rows_path: Path) -> list[str]:
    """Watch what is missing; rows are appended as streams end."""
    from allocentric.core.catalog import ENCODERS

    module: Any = ENCODERS.load(arguments.encoder)
    store = Path(arguments.store)
    encoder = StoredEncoder(module.build(module.Settings()), store)
    wanted, left_out = policies(arguments.budget_bytes, encoder, arguments.policies)
    setup = {"fps": arguments.fps, "budget_bytes": arguments.budget_bytes, "encoder": arguments.encoder}
    done = {(row["policy"], row["minutes"], row["perturbation"], row["number"]) for row in rows_of(rows_path, setup)}
    for cell in columns(arguments):
        missing = [row for row in wanted if (row.label, cell.minutes, cell.perturbation, cell.number) not in done]
        if not missing:
            continue
        began = time.process_time()
        made = cells.quiz_of(cell, arguments.fps, store)
        golds = cells.golds(made.items)
        lines = []
        for watched in cells.watch(made, missing, encoder):
            row = {**cell.model_dump(), **asdict(watched), "stream": f"{cell.number}", "setup": setup}
            lines.append(json.dumps({**row, "golds": golds if not lines else []}))
            assert watched.peak_bytes <= watched.budget_bytes, row
        made.stream.close()
        with rows_path.open("a", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in lines))
        seconds = time.process_time() - began
        print(
            f"{cell.minutes:g} min {cell.perturbation} {cell.number}: {seconds:.0f} s CPU", file=sys.stderr, flush=True
        )
    return left_out


def rows_of(path: Path, setup: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a run of this setup."""
    return [row for row in table.read_rows(path) if row["setup"] == setup]


def main() -> None:
    """Run, then write the table, the plots and the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[10, 60, 240])
    parser.add_argument("--streams", type=int, nargs="+", default=[8, 4, 2], help="streams of each length")
    parser.add_argument("--perturbations", nargs="+", default=["plain", "revisit", "repeat"])
    parser.add_argument("--policies", nargs="+", help="default: all that work on features")
    parser.add_argument("--encoder", default="convolutional")
    parser.add_argument("--fps", type=float, default=0.5)
    parser.add_argument("--budget-bytes", type=int, default=2**20)
    parser.add_argument("--store", default="data/streaming_table", help="folder of pictures and features")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/streaming_table.md"))
    parser.add_argument("--only-report", action="store_true", help="write what is there")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows_path = arguments.out.with_suffix(".jsonl")
    rows_path.parent.mkdir(parents=True, exist_ok=True)
    left_out = [] if arguments.only_report else run(arguments, rows_path)
    setup = {"fps": arguments.fps, "budget_bytes": arguments.budget_bytes, "encoder": arguments.encoder}
    entries = table.entries_of(rows_of(rows_path, setup))
    head = [
        "# What memory policies keep of hours of video",
        "",
        f"`python benchmarks/streaming_table.py --streams {' '.join(map(str, arguments.streams))}`",
        "",
        f"Encoder {arguments.encoder}, {arguments.fps:g} frames a second, 128 x 96; every policy keeps at most "
        f"{arguments.budget_bytes:,} bytes. Mean score in percent (mean relative accuracy for numbers), 95 % "
        "intervals over streams, over answers where there is one stream; a guess among options that are left is worth "
        "its expected score. `blind` is the constant answer best on other streams of that length; `chance` is of "
        "questions with options. Minutes are of what is asked about: `revisit` walks the same houses again for as "
        "long, with things elsewhere, and `repeat` plays the same minutes twice, so both show twice as many.",
        *(["", "Not in the table: " + "; ".join(left_out) + "."] if left_out else []),
    ]
    arguments.out.write_text(table.as_markdown(entries, head=head), encoding="utf-8")
    written = table.draw(entries, arguments.out.parent, arguments.out.stem)
    if arguments.json:
        print(json.dumps(table.as_json(entries)))
    else:
        print("\n".join(map(str, [arguments.out, *written])))


if __name__ == "__main__":
    main()
