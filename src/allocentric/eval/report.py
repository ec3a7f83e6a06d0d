"""One page per run that opens from the disk: the table, the bars, and every question with all that explains it.

The page is self-contained: no network, no framework, pictures inside. Everything a model said is data: the template
escapes it, and the content policy of the page forbids every script but its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from allocentric.core.bulk import many_records
from allocentric.core.config import settings_hash
from allocentric.core.progress import Progress, SilentProgress
from allocentric.core.runlog import disk_errors, read_json, write_atomically
from allocentric.core.types import Item
from allocentric.eval.bars import Bar, bars_svg, cells_csv
from allocentric.eval.honesty.rows import read_checks
from allocentric.eval.item_pages import ItemPages
from allocentric.eval.pages import colors_of, render
from allocentric.eval.recipe import limited
from allocentric.eval.scored import ScoredRun, load_run
from allocentric.eval.tables import honesty

MOST_ITEMS = 2_000
"""Questions of a page; more would not open in a browser."""


@many_records()
def write_report(folder: Path, *, page: Path | None = None, progress: Progress | None = None) -> Path:
    """Write the page of one run, finished or not, and plots/*.svg and plots/cells.csv into its folder.

    Args:
        folder: Run folder.
        page: File to write; None takes report.html of the folder.
        progress: Advances by one per item.

    Returns:
        The file written.

    Raises:
        UserError: `folder` is no run folder, or the disk is full.
    """
    run = load_run(folder)
    results = run.results
    charts = _charts(results)
    html = _page(run, results, charts, progress or SilentProgress())
    target = page or folder / "report.html"
    with disk_errors(folder):
        plots = folder / "plots"
        plots.mkdir(exist_ok=True)
        write_atomically(plots / "cells.csv", cells_csv(results))
        for name, svg in charts.items():
            write_atomically(plots / f"{name}.svg", svg)
        write_atomically(target, html)
    return target


def _page(run: ScoredRun, results: Mapping[str, Any], charts: Mapping[str, str], progress: Progress) -> str:
    shown = limited(run.plan.items, MOST_ITEMS, seed=0)
    builder = ItemPages(run, shown)
    progress.start(len(shown), "page")
    items = []
    for item in shown:
        items.append(builder.page(item))
        progress.advance()
    progress.stop()
    return render(
        "run.html.j2",
        results=results,
        facts=_facts(run, results),
        honesty=honesty(read_checks(run.folder)),
        settings=yaml.safe_dump(run.plan.settings, sort_keys=False, allow_unicode=True),
        board=_board(results, results["profile"], _speeds(run)),
        profiles=_profile_table(results),
        charts=list(charts.values()),
        items=items,
        models=[model["model"] for model in results["models"]],
        kinds=sorted({item.kind for item in shown}),
        scenes=list(dict.fromkeys(item.scene_id for item in shown)),
        maps=list(builder.maps.values()),
        frames=json.dumps(builder.thumbnails.uris),
        problems=[*_left_out(run, shown), *builder.thumbnails.problems],
        level=f"{100 * results['interval']['level']:g}",
    )


def _left_out(run: ScoredRun, shown: Sequence[Item]) -> list[str]:
    """What the page says where it does not show every question; the numbers are always over all of them."""
    count = len(run.plan.items)
    if len(shown) == count:
        return []
    return [f"{len(shown):,} of {count:,} questions are shown, as many of each type; samples.jsonl holds all"]


# ---------------------------------------------------------------------------------------------- table, bars and facts


def _board(results: Mapping[str, Any], profile: str, speeds: Mapping[str, str]) -> dict[str, Any]:
    """Rows of the leaderboard under one profile: models by score, then baselines by score, then chance."""
    rows = [
        {
            "model": model["model"],
            "baseline": model["baseline"],
            "failed": model["failed"],
            "items": model["items"],
            "seconds": speeds.get(model["model"], "–"),
            **model["profiles"][profile],
        }
        for model in results["models"]
    ]
    rows.sort(key=lambda row: (row["baseline"], -(row["overall"]["score"] or -1.0), row["model"]))
    first = results["models"][0]["profiles"][profile]
    names = list(first["cells"])
    best = {name: max((row["cells"][name]["score"] or 0.0 for row in rows), default=0.0) for name in names}
    return {
        "cells": names,
        "rows": rows,
        "best": best,
        "left_out": any(row["left_out"] for row in rows),
        "undefined": any(row["overall"]["score"] is None and row["overall"]["n"] for row in rows),
        "chance": {"overall": first["overall"]["chance"], **{n: first["cells"][n]["chance"] for n in names}},
    }


def _profile_table(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"model": model["model"], "summaries": [model["profiles"][profile] for profile in results["profiles"]]}
        for model in results["models"]
    ]


def _charts(results: Mapping[str, Any]) -> dict[str, str]:
    """SVG of every cell and of the whole, by name."""
    profile = results["profile"]
    colors = colors_of([(model["model"], model["baseline"]) for model in results["models"]])
    models = sorted(
        ((model["model"], model["profiles"][profile]) for model in results["models"]),
        key=lambda pair: -(pair[1]["overall"]["score"] or -1.0),
    )

    def chart(title: str, cells: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
        bars = [Bar(name=m, score=c["score"], low=c["low"], high=c["high"], color=colors[m]) for m, c in cells]
        return bars_svg(title, bars, cells[0][1]["chance"])

    charts = {"overall": chart("overall", [(model, summary["overall"]) for model, summary in models])}
    for name in models[0][1]["cells"]:
        charts[name] = chart(name.replace("_", " "), [(model, summary["cells"][name]) for model, summary in models])
    return charts


def _speeds(run: ScoredRun) -> dict[str, str]:
    """Median seconds per answer, where the backend measured them."""
    speeds = {}
    for label, answers in run.answers.items():
        seconds = sorted(r.seconds for r in answers.values() if r.seconds)
        if seconds:
            speeds[label] = f"{seconds[len(seconds) // 2]:.2f}"
    return speeds


def _facts(run: ScoredRun, results: Mapping[str, Any]) -> list[tuple[str, str]]:
    benchmark, interval, frames = results["benchmark"], results["interval"], results["frames"]
    environment = (read_json(run.folder, "env.json") or {"environments": [{}]})["environments"][-1]
    shown = "no pictures" if frames["count"] == 0 else f"up to {frames['count']} per question"
    packages = environment.get("packages", {})
    wanted = ("allocentric", "torch", "transformers", "vllm", "openai", "numpy")
    return [
        ("benchmark", f"{benchmark['title']}, {benchmark['row_count']} rows, sha256 {benchmark['sha256'][:16]}…"),
        ("asked", f"{results['items']['count']} items, sha256 {results['items']['sha256'][:16]}…"),
        ("scoring profile", results["profile"]),
        ("frames", shown + (", as one video" if frames["as_video"] else "")),
        (
            "intervals",
            f"{100 * interval['level']:g} %, {interval['replicates']} bootstrap replicates, {interval['method']}",
        ),
        ("settings", settings_hash(run.plan.settings)),
        ("command", " ".join(environment.get("command", [])) or "unknown"),
        ("commit", environment.get("git_commit") or "not from a checkout"),
        ("machine", _machine(environment)),
        ("versions", ", ".join(f"{name} {packages[name]}" for name in wanted if name in packages)),
    ]


def _machine(environment: Mapping[str, Any]) -> str:
    gpus = environment.get("gpus") or ["no GPU"]
    memory = f"{environment.get('memory_gib', '?')} GiB"
    return f"{environment.get('cpu', '?')} × {environment.get('cpu_count', '?')}, {memory}, {', '.join(gpus)}"
