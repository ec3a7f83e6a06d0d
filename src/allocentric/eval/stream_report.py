"""One page per run of streams that opens from the disk: what was right, what it cost, and what was surprising when.

Beside the page lie plots/*.svg and a CSV of every plot's figures.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from allocentric.core.runlog import disk_errors, write_atomically
from allocentric.core.stats import clustered_wilson_interval
from allocentric.eval import stream_plots
from allocentric.eval.arenas import StreamArena
from allocentric.eval.episodes import rows_for_people
from allocentric.eval.pages import render

_BINS = 6
_SURPRISES = 3
"""Streams whose surprise is drawn."""

_OF_ANSWERS = ("seconds", "attended_tokens", "frames", "bytes", "complete")

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Rows of every figure, as they are written to CSV."""

    answers: list[Row]
    """policy, stream, item, time_s, score, seconds, attended_tokens, bytes, complete; one per answer."""
    frames: list[Row]
    """policy, stream, time_s, seconds, bytes, surprise, border; one per frame that a watcher took in."""


def write_stream_report(
    folder: Path, records: Sequence[Mapping[str, Any]], results: Mapping[str, Any], arena: StreamArena
) -> Path:
    """Write report.html, plots/*.svg and plots/*.csv of a run; returns the page.

    Args:
        folder: Run folder.
        records: Lines of samples.jsonl, as `eval.episodes.episode_record` makes them.
        results: Content of results.json.
        arena: Where the streams come from; its pictures are read for the strips.

    Raises:
        UserError: the disk is full.
    """
    found = measured(records, arena)
    level = float(results["level"])
    tables = {
        "accuracy": accuracy_rows(found.answers, level),
        "latency": latency_rows(found),
        "answers": found.answers,
        "frames": found.frames,
    }
    charts = stream_plots.charts(tables, arena.question_chance)
    strips = _strips(found, arena)
    columns, rows = rows_for_people(results)
    page = render(
        "stream.html.j2",
        results=results,
        columns=columns,
        rows=rows,
        level=f"{100 * level:g}",
        latency=tables["latency"],
        charts=charts,
        strips=strips,
        budgets=_budgets(results),
        failures=_failures(records),
    )
    with disk_errors(folder):
        plots = folder / "plots"
        plots.mkdir(exist_ok=True)
        for name, table in tables.items():
            write_atomically(plots / f"{name}.csv", _csv(table))
        for name, svg in charts.items():
            write_atomically(plots / f"{name}.svg", svg)
        for number, strip in enumerate(strips):
            write_atomically(plots / f"surprise-{number}.svg", strip["svg"])
        target = folder / "report.html"
        write_atomically(target, page)
    return target


def measured(records: Sequence[Mapping[str, Any]], arena: StreamArena) -> Measured:
    """Answers and frames of all episodes that are results."""
    answers: list[Row] = []
    frames: list[Row] = []
    for record in records:
        episode = record["episode"]
        if "failed" in episode["outcome"]:
            continue
        stream = str(episode["outcome"]["scene_id"])
        asked_s = arena.asked_s(stream)
        for step in episode["steps"]:
            info = step["info"]
            told = info.get("agent") or {"frames": [], "answer": None}
            named = {"policy": record["policy"], "baseline": bool(record["baseline"]), "stream": stream}
            frames += [{**named, **note} for note in told["frames"]]
            if "answered_item" in info:
                note = told["answer"] or {}
                answers.append(
                    {
                        **named,
                        "item": info["answered_item"],
                        "time_s": asked_s[info["answered_item"]],
                        "score": float(info["score"]),
                        "unreadable": bool(info["unreadable"]),
                        **{
                            key: note.get(key) for key in ("seconds", "attended_tokens", "frames", "bytes", "complete")
                        },
                    }
                )
    return Measured(answers=answers, frames=frames)


def accuracy_rows(answers: Sequence[Row], level: float) -> list[Row]:
    """Mean score and its interval per policy, in parts of as many answers each by the time they are asked at."""
    times = sorted({row["time_s"] for row in answers})
    if not times:
        return []
    every = np.array([row["time_s"] for row in answers])
    edges = np.unique(np.quantile(every, np.linspace(0, 1, min(_BINS, len(times)) + 1)))
    edges = np.array([edges[0], edges[0]]) if len(edges) == 1 else edges
    rows: list[Row] = []
    for policy in dict.fromkeys(row["policy"] for row in answers):
        mine = [row for row in answers if row["policy"] == policy]
        for low, high in pairwise(edges):
            reach = np.nextafter(high, np.inf) if high == edges[-1] else high
            part = [row for row in mine if low <= row["time_s"] < reach]
            if not part:
                continue
            scores = np.array([row["score"] for row in part])
            interval = clustered_wilson_interval(scores, [row["stream"] for row in part], level=level)
            rows.append(
                {
                    "policy": policy,
                    "baseline": part[0]["baseline"],
                    "from_s": float(low),
                    "to_s": float(high),
                    "time_s": float(np.mean([row["time_s"] for row in part])),
                    "score": float(scores.mean()),
                    "low": interval.low,
                    "high": interval.high,
                    "n": len(part),
                }
            )
    return rows


def latency_rows(found: Measured) -> list[Row]:
    """Median and 95th percentile of the wall time per frame and per answer, tokens and bytes, per watcher."""
    rows = []
    for policy in dict.fromkeys(row["policy"] for row in found.frames):
        frames = [row for row in found.frames if row["policy"] == policy]
        answers = [row for row in found.answers if row["policy"] == policy and row["seconds"] is not None]
        tokens = [row["attended_tokens"] for row in answers if row["attended_tokens"] is not None]
        rows.append(
            {
                "policy": policy,
                "frames": len(frames),
                "frame_p50_ms": _quantile([row["seconds"] for row in frames], 0.5, 1e3),
                "frame_p95_ms": _quantile([row["seconds"] for row in frames], 0.95, 1e3),
                "answers": len(answers),
                "answer_p50_ms": _quantile([row["seconds"] for row in answers], 0.5, 1e3),
                "answer_p95_ms": _quantile([row["seconds"] for row in answers], 0.95, 1e3),
                "attended_mean": float(np.mean(tokens)) if tokens else None,
                "attended_max": max(tokens, default=None),
                "peak_bytes": max(row["bytes"] for row in frames),
                "cut_off": sum(not row["complete"] for row in answers),
            }
        )
    return rows


def _quantile(values: Sequence[float], share: float, unit: float) -> float | None:
    return float(np.quantile(values, share)) * unit if values else None


def _strips(found: Measured, arena: StreamArena) -> list[dict[str, Any]]:
    """Surprise over time of the first streams, for every watcher that looks at it."""
    surprising = [row for row in found.frames if row["surprise"] is not None]
    strips = []
    for stream in list(dict.fromkeys(row["stream"] for row in surprising))[:_SURPRISES]:
        pictures = arena.pictures(stream, stream_plots.STRIP_PICTURES)
        for policy in dict.fromkeys(row["policy"] for row in surprising if row["stream"] == stream):
            rows = [row for row in surprising if (row["stream"], row["policy"]) == (stream, policy)]
            strips.append(
                {"stream": stream, "policy": policy, "svg": stream_plots.surprise(rows, pictures), "frames": len(rows)}
            )
    return strips


def _budgets(results: Mapping[str, Any]) -> dict[str, int]:
    return dict(results.get("budgets", {}))


def _failures(records: Sequence[Mapping[str, Any]]) -> list[str]:
    failed = [record for record in records if "failed" in record["episode"]["outcome"]]
    return [f"{record['policy']}: {record['episode']['outcome']['failed']}" for record in failed]


def _csv(rows: Sequence[Row]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]) if rows else ["empty"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
